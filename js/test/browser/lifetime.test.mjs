// A page under load is reloaded, and its host is killed.

import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';

import { ALL_PERMISSIONS, startHost, within } from '../host.mjs';
import { servePages, startBrowser } from './browser.mjs';
import { freePort } from './example.mjs';

/** The number of connections. */
const LOAD = 8;

/** A connection that sends and checks the echo until it ends. */
function peer(port) {
  const socket = net.connect(port, '127.0.0.1');
  const block = Buffer.alloc(16_384, (Math.random() * 256) | 0);
  const state = { echoed: 0, isWhole: true };
  const write = () => socket.write(block);
  socket.on('connect', () => { for (let sent = 0; sent < 4; sent += 1) write(); });
  socket.on('data', (data) => {
    if (!data.every((byte) => byte === block[0])) state.isWhole = false;
    const before = Math.floor(state.echoed / block.length);
    state.echoed += data.length;
    for (let done = before; done < Math.floor(state.echoed / block.length); done += 1) write();
  });
  socket.on('error', () => {});
  state.ended = new Promise((resolve) => socket.once('close', resolve));
  state.end = () => socket.destroy();
  return state;
}

/** Waits until all of these connections have transferred data. */
async function busy(peers) {
  const late = Date.now() + 30_000;
  while (!peers.every(({ echoed }) => echoed > 200_000)) {
    assert.ok(Date.now() < late, `too little was echoed: ${peers.map(({ echoed }) => echoed)}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(peers.every(({ isWhole }) => isWhole), 'the echo is what was sent');
}

test('a page under load continues after its host is killed and after a reload', { timeout: 240_000 }, async (t) => {
  const origin = await servePages(t);
  const host = await startHost(t, '--origin', origin);
  const browser = await startBrowser(t);
  const page = await browser.page(origin);
  const port = await freePort();
  const load = () => Array.from({ length: LOAD }, () => peer(port));
  const start = async () => {
    await page.addScriptTag({ type: 'module', url: '/test/browser/lifetime-page.mjs' });
    await page.waitForFunction(() => globalThis.serve !== undefined);
    await page.evaluate(([url, port, manifest]) => serve(url, port, manifest), [host.url, port, ALL_PERMISSIONS]);
  };
  const logged = (count) => page.waitForFunction((count) => log.length >= count && log.splice(0), count, { timeout: 30_000 });
  await start();
  assert.deepEqual(await (await logged(1)).jsonValue(), [['listen', 0]]);

  const first = load();
  await busy(first);
  await host.kill();
  await within('the end of all connections', Promise.all(first.map(({ ended }) => ended)));
  await startHost(t, '--origin', origin, '--listen', host.address);
  const ends = await (await logged(LOAD + 2)).jsonValue();
  assert.deepEqual(ends, [...Array(LOAD).fill(['onReceiveError', -100]), ['onAcceptError', -100], ['listen', 0]]);

  // A reload ends the connections of the page. New connections wait for the reloaded page.
  const second = load();
  await busy(second);
  const reloaded = page.reload();
  await within('the end of all connections', Promise.all(second.map(({ ended }) => ended)));
  const third = load();
  await reloaded;
  await start();
  assert.deepEqual(await (await logged(1)).jsonValue(), [['kept']]);
  await busy(third);
  third.forEach(({ end }) => end());
});
