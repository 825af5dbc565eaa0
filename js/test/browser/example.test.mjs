// The example extension as its README describes it: installed, loaded and requested by curl, also after its worker or host is
// killed.

import assert from 'node:assert/strict';
import { readFile, readdir, readlink } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import test from 'node:test';

import { PROGRAM, within } from '../host.mjs';
import { idOf, startBrowser, startUnwatched } from './browser.mjs';
import { curl } from './curl.mjs';
import { EXAMPLE, example, page } from './example.mjs';

test('the README has the right id and port', async () => {
  const readme = await readFile(join(EXAMPLE, 'README.md'), 'utf8');
  assert.ok(readme.includes(`install --extension ${await idOf(EXAMPLE)} --manifest examples/extension/sockets.json`));
  assert.ok(readme.includes('curl http://127.0.0.1:8080/'));
});

test('it is a web server for curl', { timeout: 120_000 }, async (t) => {
  const { url, options } = await example(t);
  await startUnwatched(t, options);
  assert.equal((await page(url)).count, 1);
  const { out } = await curl('--include', url, `${url}nothing`, '--write-out', '%{num_connects}');
  const [, ...answers] = `${out}`.split(/HTTP\/1\.1 /);
  assert.match(answers[0], /^200 OK\r\nContent-Type: text\/html[^]*Hello from a service worker[^]*request number 2\.\n1$/);
  assert.match(answers[1], /^404 Not Found\r\n[^]*0$/);
  assert.match(`${(await curl('--head', url)).out}`, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n$/);
  for (const wrong of [['--data', 'a=b'], ['--header', `Long: ${'x'.repeat(20_000)}`]]) {
    assert.match(`${(await curl('--include', ...wrong, url)).out}`, /^HTTP\/1\.1 4[^]*Connection: close/);
  }
  const many = await Promise.all(Array.from({ length: 20 }, () => page(url)));
  assert.equal(new Set(many.map(({ count }) => count)).size, 20);
});

test('a stopped worker restarts by itself', { timeout: 180_000 }, async (t) => {
  const { folder, url, options } = await example(t);
  const browser = await startBrowser(t, options);
  const first = await page(url);
  const inside = await browser.page(`chrome-extension://${await idOf(folder)}/manifest.json`);
  const session = await browser.context.newCDPSession(inside);
  await session.send('ServiceWorker.enable');
  await session.send('ServiceWorker.stopAllWorkers');
  await within('the end of its host', untilRefused(url));
  const second = await page(url);
  assert.deepEqual({ isAnother: second.since > first.since, count: second.count }, { isAnother: true, count: 1 });
});

test('after its native host is killed under load, the worker closes connections and serves again', { timeout: 120_000 }, async (t) => {
  const { folder, url, options } = await example(t);
  await startUnwatched(t, options);
  const before = await page(url);
  const silent = net.connect(new URL(url).port, '127.0.0.1');
  silent.on('error', () => {});
  const ended = new Promise((resolve) => silent.once('close', resolve));
  const count = 8;
  const load = Array.from({ length: count }, async () => {
    // Until the first request fails.
    for (let asked = 0; ; asked += 1) if ((await curl('--fail', '--max-time', '20', url)).code !== 0) return asked;
  });
  while ((await page(url)).count < before.count + 3 * count) ;
  process.kill(await hostOf(folder, silent.remotePort), 'SIGKILL');
  await within('the end of the silent connection', ended);
  const asked = await within('the end of the load', Promise.all(load));
  const after = await page(url);
  assert.equal(after.since, before.since, 'the same worker');
  assert.ok(after.count > asked.reduce((sum, one) => sum + one), `${after.count}`);
});

/** The process id of the native host of this extension that listens on this port. */
async function hostOf(folder, port) {
  const inode = await listenerOn(port);
  const caller = `chrome-extension://${await idOf(folder)}/`;
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (!line.startsWith(PROGRAM) || !line.includes(caller)) continue;
    const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
    const open = await Promise.all(descriptors.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')));
    if (open.includes(`socket:[${inode}]`)) return Number(pid);
  }
  throw new Error(`no host listens on port ${port}`);
}

/** The inode of the listening socket of this port. */
async function listenerOn(port) {
  const LISTENS = '0A';
  for (const line of (await readFile('/proc/net/tcp', 'utf8')).split('\n')) {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    if (state === LISTENS && parseInt(local.split(':')[1], 16) === port) return inode;
  }
  throw new Error(`no listener on port ${port}`);
}

/** Waits until connections are refused. */
async function untilRefused(url) {
  while ((await curl(url)).code !== 7) ;
}
