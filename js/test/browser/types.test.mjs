// Checks the types of this package against those of Chrome, by compiling types/*.mts.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const JS = fileURLToPath(new URL('../../', import.meta.url));
const CHECKS = fileURLToPath(new URL('types/', import.meta.url));
const PACKAGES = fileURLToPath(new URL('node_modules/', import.meta.url));

/** The type packages and options of each file. @types/chrome-apps has errors of its own. */
const TYPES = { 'apps.mts': ['chrome-apps', '--skipLibCheck'], 'extension.mts': ['chrome'] };

/** This file declares chrome.sockets globally, so it is compiled alone. */
const INSTALLED = 'installed.mts';

/** What porters use beside `chrome.sockets`. */
const PORTS = 'ports.mts';

const original = await readFile(join(JS, 'index.d.ts'), 'utf8');
const originalExtension = await readFile(join(JS, 'extension.d.ts'), 'utf8');
const GLOBAL = /\ndeclare global \{\n[^]*?\n\}\n/;

for (const [file, options] of Object.entries(TYPES)) {
  test(`the types agree with @types/${options[0]}`, async (t) => {
    assert.equal(await compiled(await packed(t, [original], originalExtension), file, 1), '');
  });
}

test('every error in the types is detected', async (t) => {
  const wrong = [...mutants()];
  assert.ok(wrong.length > 150, `${wrong.length}`);
  const folder = await packed(t, [original, ...wrong.map(({ text }) => text)]);
  const noticed = new Set();
  for (const file of Object.keys(TYPES)) {
    const output = await compiled(folder, file, wrong.length + 1);
    for (const [, index] of output.matchAll(/^(\d+)\/[\w.]+\(\d+,\d+\): error/gm)) noticed.add(Number(index));
  }
  assert.ok(!noticed.delete(0), 'the original types have an error');
  assert.deepEqual(wrong.filter((_, index) => !noticed.has(index + 1)).map(({ what }) => what), []);
});

test('importing chrome-sockets/extension declares chrome.sockets beside @types/chrome', async (t) => {
  const compile = async (extension) => compiled(await packed(t, [original], extension), INSTALLED, 1);
  assert.equal(await compile(originalExtension), '');
  const lines = originalExtension.split('\n');
  const members = [...lines.keys()].filter((index) => /^ +const /.test(lines[index]));
  assert.equal(members.length, 3);
  for (const index of members) {
    for (const other of ['', lines[index].replace(/: \w+/, ': symbol')]) {
      assert.notEqual(await compile(lines.with(index, other).join('\n')), '', `${lines[index]} -> ${other}`);
    }
  }
});

test('the types of chrome-sockets/socket and chrome-sockets/shim', async (t) => {
  assert.equal(await compiled(await packed(t, [original]), PORTS, 1), '');
});

/** Mutates the types: removes each member and each question mark, and replaces each type. */
function* mutants() {
  const lines = original.split('\n');
  for (const [index, line] of lines.entries()) {
    if (!/^  \S/.test(line) || /^\s*(\/\*\*|\*|\/\/)/.test(line)) continue;
    const others = new Set(['']);
    for (const { 0: word, index: at } of line.matchAll(/\b(number|string|boolean|ArrayBuffer|ArrayBufferView|(?<=Promise<)void)\b/g)) {
      others.add(`${line.slice(0, at)}symbol${line.slice(at + word.length)}`);
    }
    for (const { index: at } of line.matchAll(/\?:/g)) others.add(line.slice(0, at) + line.slice(at + 1));
    for (const other of others) {
      const text = lines.with(index, other).join('\n');
      yield { text, what: `${index + 1}: ${line.trim()} -> ${other.trim()}` };
    }
  }
}

/** Makes a folder with a numbered package for each of these types, and the checks. */
async function packed(test, types, extension = originalExtension.replace(GLOBAL, '')) {
  const folder = await mkdtemp(join(tmpdir(), 'chrome-sockets-types-'));
  test.after(() => rm(folder, { recursive: true, force: true }));
  const described = JSON.parse(await readFile(join(JS, 'package.json')));
  await Promise.all(types.map(async (text, index) => {
    const own = join(folder, String(index));
    await mkdir(own);
    await Promise.all([
      cp(CHECKS, own, { recursive: true }),
      ...['shim.d.ts', 'socket.d.ts'].map((name) => cp(join(JS, name), join(own, name))),
      writeFile(join(own, 'extension.d.ts'), extension),
      writeFile(join(own, 'index.d.ts'), text),
      // The compiler identifies packages by name and version.
      writeFile(join(own, 'package.json'), JSON.stringify({ ...described, version: `0.0.${index}` })),
    ]);
  }));
  return folder;
}

/** Compiles one of the checks in this many packages with strict rules. Returns the output of the compiler. */
async function compiled(cwd, file, count) {
  const files = Array.from({ length: count }, (_, index) => join(String(index), file));
  const [types, ...options] = TYPES[file] ?? ['chrome'];
  const child = spawn(process.execPath, [
    join(PACKAGES, 'typescript/bin/tsc'), '--noEmit', '--strict', '--pretty', 'false', '--target', 'es2022', '--module', 'nodenext',
    '--typeRoots', join(PACKAGES, '@types'), '--types', types, ...options, ...files,
  ], { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { output += text; });
  const code = await new Promise((resolve) => child.once('close', resolve));
  assert.equal(code === 0, output === '', `the compiler ended with ${code} and printed: ${output}`);
  return output;
}
