// The npm package chrome-dgram, which implements Node's `dgram` on chrome.sockets: in Node, in a page and in the service worker
// of an extension. The package has no tests; the test of its repository is a conversation as `greet` has it.

import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import test from 'node:test';

import { ALL_PERMISSIONS, Inbox, client, startHost, within } from '../host.mjs';
import { makeExtension, servePages, startBrowser } from './browser.mjs';
import { bundled } from './bundled.mjs';
import * as program from './chrome-dgram-client.mjs';

/** An ordinary UDP program. */
async function peer(t) {
  const socket = dgram.createSocket('udp4');
  t.after(() => socket.close());
  const received = new Inbox();
  socket.on('message', (data, from) => received.push({ data, from }));
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const send = (data, port) => new Promise((resolve) => socket.send(data, port, '127.0.0.1', resolve));
  return { received, send, port: socket.address().port };
}

/** Checks the functions of the program in some place. */
async function worksIn(t, place) {
  const it = await peer(t);
  const greeted = place.greet(it.port);
  const { data, from } = await it.received.next('a greeting');
  assert.equal(`${data}`, 'beep');
  await it.send('boop', from.port);
  assert.equal(`${(await it.received.next('the first answer')).data}`, 'pass1');
  assert.equal(`${(await it.received.next('the second answer')).data}`, 'pass2');
  assert.equal(await within('the end', greeted), '127.0.0.1');
  const port = await place.echo(0);
  for (const length of [1, 4096, 1000]) {
    await it.send(Buffer.alloc(length, 'x'), port);
    const { data, from } = await it.received.next('the echo');
    assert.ok(data.equals(Buffer.alloc(length, 'x')) && from.port === port, `${length}`);
  }
  await assert.rejects(async () => { await place.echo(port); }, /failed to bind.*net::ERR_ADDRESS_IN_USE/);
  assert.match(await place.sendNowhere(), /send error -105/);
  await it.send('still', port);
  assert.equal(`${(await it.received.next('the echo')).data}`, 'still');
  assert.ok(it.received.isEmpty);
}

/** The functions of a page or worker. */
const inBrowser = (place) => Object.fromEntries(['greet', 'echo', 'sendNowhere'].map((name) =>
  [name, (value) => place.evaluate(([name, value]) => globalThis[name](value), [name, value])]));

test('chrome-dgram in Node', async (t) => {
  const sockets = await client(t, await startHost(t), { app: 'dgram' });
  globalThis.chrome = { sockets, runtime: Object.assign(sockets.runtime, { id: 'dgram' }) };
  // It sends the whole memory below a buffer, as in browsers, whose buffers share none.
  const { poolSize } = Buffer;
  Buffer.poolSize = 0;
  t.after(() => { Buffer.poolSize = poolSize; });
  const loaded = createRequire(import.meta.url)('chrome-dgram');
  await worksIn(t, Object.fromEntries(Object.entries(program).map(([name, run]) => [name, (value) => run(loaded, value)])));
});

test('chrome-dgram in a service worker', { timeout: 120_000 }, async (t) => {
  const extension = await makeExtension(t, 'bundle.mjs', ALL_PERMISSIONS);
  await writeFile(join(extension, 'js/bundle.mjs'), await bundled('chrome-dgram-worker.mjs'));
  const browser = await startBrowser(t, { extensions: [extension] });
  await worksIn(t, inBrowser(await browser.worker(extension)));
});

test('chrome-dgram in a page', { timeout: 120_000 }, async (t) => {
  const origin = await servePages(t);
  const host = await startHost(t, '--origin', origin);
  const browser = await startBrowser(t);
  const page = await browser.page(origin);
  await page.addScriptTag({ type: 'module', content: await bundled('chrome-dgram-page.mjs') });
  await page.waitForFunction(() => globalThis.load !== undefined);
  await page.evaluate(([url, manifest]) => load(url, manifest), [host.url, ALL_PERMISSIONS]);
  await worksIn(t, inBrowser(page));
});
