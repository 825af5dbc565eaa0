// The npm package chrome-net, bundled for browsers, in a page and in the service worker of an extension.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';

import { ALL_PERMISSIONS, startHost } from '../host.mjs';
import { makeExtension, servePages, startBrowser } from './browser.mjs';
import { bundled } from './bundled.mjs';
import { curl, fetched } from './curl.mjs';

/** Checks the responses of the server. */
async function isServed(t, place, port) {
  const url = `http://127.0.0.1:${port}`;
  const twice = await fetched('--write-out', ' on %{num_connects}\n', `${url}/bytes/3`, `${url}/bytes/4`);
  assert.equal(`${twice}`, 'xxx on 1\nxxxx on 0\n');
  const sizes = Array.from({ length: 20 }, (_, index) => 1000 * index);
  const all = await Promise.all(sizes.map((size) => fetched(`${url}/bytes/${size}`)));
  assert.deepEqual(all.map(({ length }) => length), sizes);
  assert.ok((await fetched(`${url}/bytes/${8 << 20}`)).equals(Buffer.alloc(8 << 20, 'x')));
  // Outgoing connections.
  const other = createServer((socket) => socket.on('error', () => {}).write('a line\n'));
  await new Promise((resolve) => other.listen(0, '127.0.0.1', resolve));
  const line = other.address().port;
  assert.equal(`${await fetched(`${url}/line/${line}`)}`, 'a line\n');
  await new Promise((resolve) => other.close(resolve));
  assert.equal(`${await fetched(`${url}/line/${line}`)}`, 'ECONNREFUSED');
  // Errors.
  const again = await place.evaluate((port) => serve(port).catch((error) => error.message), port);
  assert.equal(again, 'EADDRINUSE');
  assert.equal((await curl(`${url}/bytes/1`)).out.length, 1);
}

test('chrome-net serves HTTP from a service worker', { timeout: 120_000 }, async (t) => {
  const extension = await makeExtension(t, 'bundle.mjs', ALL_PERMISSIONS);
  await writeFile(join(extension, 'js/bundle.mjs'), await bundled('chrome-net-worker.mjs'));
  const browser = await startBrowser(t, { extensions: [extension] });
  const worker = await browser.worker(extension);
  await isServed(t, worker, await worker.evaluate(() => serve(0)));
});

test('chrome-net serves HTTP from a page', { timeout: 120_000 }, async (t) => {
  const origin = await servePages(t);
  const host = await startHost(t, '--origin', origin);
  const browser = await startBrowser(t);
  const page = await browser.page(origin);
  await page.addScriptTag({ type: 'module', content: await bundled('chrome-net-page.mjs') });
  await page.waitForFunction(() => globalThis.serveAt !== undefined);
  await isServed(t, page, await page.evaluate(([url, manifest]) => serveAt(url, manifest, 0), [host.url, ALL_PERMISSIONS]));
});
