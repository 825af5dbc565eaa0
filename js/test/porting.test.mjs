// Runs the JavaScript of docs/porting.md.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { certificate, run } from './certificates.mjs';
import { startHost, within } from './host.mjs';

const text = await readFile(new URL('../../docs/porting.md', import.meta.url), 'utf8');
const BLOCKS = [...text.matchAll(/^( *)```js\n([^]*?)^ *```$/gm)].map(([, indent, code]) => code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''));

/** Starts the only block that has these words, with the package installed. `line` waits for its output. */
async function start(t, words, files = {}) {
  const [code, ...others] = BLOCKS.filter((block) => block.includes(words));
  assert.ok(code && others.length === 0, words);
  const host = await startHost(t);
  const folder = await mkdtemp(join(tmpdir(), 'chrome-sockets-porting-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await mkdir(join(folder, 'node_modules'));
  await symlink(fileURLToPath(new URL('../', import.meta.url)), join(folder, 'node_modules/chrome-sockets'));
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  await writeFile(join(folder, 'block.mjs'), code.replaceAll('ws://127.0.0.1:8787', host.url));
  const child = spawn(process.execPath, ['block.mjs'], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  const line = (pattern) => within(`${pattern}`, new Promise((resolve, reject) => {
    const look = () => {
      const found = pattern.exec(output);
      if (found) resolve(found);
    };
    child.stdout.setEncoding('utf8').on('data', (data) => {
      output += data;
      look();
    });
    child.once('close', () => reject(new Error(`it ended with the output ${output}`)));
    look();
  }));
  return { line };
}

test('the globals of an app', async (t) => {
  const { line } = await start(t, 'launched on');
  await line(/^launched on (linux|mac|win|openbsd)$/m);
});

test('the files of a package', async (t) => {
  const { line } = await start(t, 'filesAt(');
  await line(/^the content$/m);
});

test('the old chrome.socket', async (t) => {
  const { line } = await start(t, 'readAll(socketId)');
  await line(/^hello\nthe end: 0$/m);
});

test('a TLS server', async (t) => {
  const { pem, file } = certificate(t);
  const { line } = await start(t, 'setTls(', { 'certificate.pem': pem.certificate, 'key.pem': pem.privateKey });
  const [, port] = await line(/^0 (\d+)$/m);
  const { out } = await run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-quiet', '-ign_eof', '-CAfile', file, '-verify_return_error'], 'echo\n');
  assert.equal(out, 'echo\n');
});

test('the state of the permission, in a program that has no permissions', async (t) => {
  const { line } = await start(t, 'loopback-network');
  await line(/^unknown$/m);
});

test('every block is run, and every link leads somewhere', async () => {
  assert.equal(BLOCKS.length, 5);
  for (const [, link] of text.matchAll(/\]\((?!https?:)([^)#]+)/g)) {
    await readFile(new URL(link, new URL('../../docs/', import.meta.url))).catch((error) => assert.equal(error.code, 'EISDIR', link));
  }
});
