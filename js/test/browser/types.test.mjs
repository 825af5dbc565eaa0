// The types of this package are those of Chrome: types/*.mts says what is meant, and the compiler whether it holds.

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

/** What each file is compiled with. @types/chrome-apps has errors of its own. */
const TYPES = { 'apps.mts': ['chrome-apps', '--skipLibCheck'], 'extension.mts': ['chrome'] };

/** What declares chrome.sockets for all that is compiled with it, so there can be one of it at once. */
const INSTALLED = 'installed.mts';

const right = await readFile(join(JS, 'index.d.ts'), 'utf8');
const rightExtension = await readFile(join(JS, 'extension.d.ts'), 'utf8');
const GLOBAL = /\ndeclare global \{\n[^]*?\n\}\n/;

for (const [file, options] of Object.entries(TYPES)) {
  test(`the types agree with @types/${options[0]}`, async (t) => {
    assert.equal(await compiled(await packed(t, [right], rightExtension), file, 1), '');
  });
}

test('whatever is wrong in the types is noticed', async (t) => {
  const wrong = [...mutants()];
  assert.ok(wrong.length > 150, `${wrong.length}`);
  const folder = await packed(t, [right, ...wrong.map(({ text }) => text)]);
  const noticed = new Set();
  for (const file of Object.keys(TYPES)) {
    const said = await compiled(folder, file, wrong.length + 1);
    for (const [, index] of said.matchAll(/^(\d+)\/[\w.]+\(\d+,\d+\): error/gm)) noticed.add(Number(index));
  }
  assert.ok(!noticed.delete(0), 'what is right is taken for wrong');
  assert.deepEqual(wrong.filter((_, index) => !noticed.has(index + 1)).map(({ what }) => what), []);
});

test('importing chrome-sockets/extension declares chrome.sockets beside @types/chrome, and each line of that counts', async (t) => {
  const compile = async (extension) => compiled(await packed(t, [right], extension), INSTALLED, 1);
  assert.equal(await compile(rightExtension), '');
  const lines = rightExtension.split('\n');
  const members = [...lines.keys()].filter((index) => /^ +const /.test(lines[index]));
  assert.equal(members.length, 2);
  for (const index of members) {
    for (const other of ['', lines[index].replace(/: \w+/, ': symbol')]) {
      assert.notEqual(await compile(lines.with(index, other).join('\n')), '', `${lines[index]} -> ${other}`);
    }
  }
});

/** The types with each member gone, each type another one, and each question mark gone. */
function* mutants() {
  const lines = right.split('\n');
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

/** A folder with a package for each of these types, numbered, and the checks in it. */
async function packed(test, types, extension = rightExtension.replace(GLOBAL, '')) {
  const folder = await mkdtemp(join(tmpdir(), 'chrome-sockets-types-'));
  test.after(() => rm(folder, { recursive: true, force: true }));
  const described = JSON.parse(await readFile(join(JS, 'package.json')));
  await Promise.all(types.map(async (text, index) => {
    const own = join(folder, String(index));
    await mkdir(own);
    await Promise.all([
      cp(CHECKS, own, { recursive: true }),
      writeFile(join(own, 'extension.d.ts'), extension),
      writeFile(join(own, 'index.d.ts'), text),
      // The compiler takes two packages of one name and version for the same.
      writeFile(join(own, 'package.json'), JSON.stringify({ ...described, version: `0.0.${index}` })),
    ]);
  }));
  return folder;
}

/** Compiles one of the checks in so many packages, with strict rules, and gives what the compiler says. */
async function compiled(cwd, file, count) {
  const files = Array.from({ length: count }, (_, index) => join(String(index), file));
  const [types, ...options] = TYPES[file] ?? ['chrome'];
  const child = spawn(process.execPath, [
    join(PACKAGES, 'typescript/bin/tsc'), '--noEmit', '--strict', '--pretty', 'false', '--target', 'es2022', '--module', 'nodenext',
    '--typeRoots', join(PACKAGES, '@types'), '--types', types, ...options, ...files,
  ], { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { said += text; });
  const code = await new Promise((resolve) => child.once('close', resolve));
  assert.equal(code === 0, said === '', `the compiler ended with ${code}, and said: ${said}`);
  return said;
}
