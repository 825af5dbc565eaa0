// The recordings in real Chromium: on our chrome.sockets in a page and in an extension's service worker, and on
// Chromium's own, in the same run.

import assert from 'node:assert/strict';
import test from 'node:test';
import { isDeepStrictEqual } from 'node:util';

import { startHost, within } from '../host.mjs';
import { RECORDINGS, compare, nodePeers } from '../replay.mjs';
import { makeExtension, servePages, startBrowser } from './browser.mjs';

/**
 * Where ours differs from Chromium's own: the recording, the step, and which of the rules of SPEC.md under "Where the
 * page is followed and not Chromium 156" it is. Nothing else may, and these must.
 */
const DIFFERENCES = [
  ['server_listen_port_too_large', 2, '4: ports are not cut to 16 bits'],
  ['server_listen_twice', 4, '3: a socket that listens refuses to listen'],
  ['server_listen_twice', 5, '3: and nothing happens to it'],
  ['server_listen_twice', 6, '3: and it is as it was'],
  ['server_paused_before_listen_queues', 8, '1: a server socket that was paused accepts again'],
  ['server_paused_with_accept_pending', 6, '2: no accept comes through a pause'],
];

/** Where ours is played. */
const WHERE = [
  'in a service worker, by native messaging and the WebSocket that comes of it',
  'in a service worker, by native messaging alone',
  'in a page, by WebSocket',
];

/** Plays a recording in a page or a worker, where a stage is; `api` is what is evaluated there to get chrome.sockets. */
async function playIn(place, recording, isChromium, api) {
  const peers = nodePeers();
  try {
    await place.evaluate(`void stage.begin(${JSON.stringify(recording)}, ${isChromium}, ${api})`);
    for (;;) {
      const { came, name, args } = await place.evaluate(() => stage.next());
      if (came) return came;
      const value = await peers[name](...args);
      await place.evaluate((value) => stage.answer(value), value);
    }
  } finally {
    peers.end();
  }
}

const inTurn = (recording, place, isChromium, api) =>
  within(`the end of ${recording.name}`, playIn(place, recording, isChromium, api));

test('each recording in Chromium: in a page, in a service worker, and on its own chrome.sockets', { timeout: 300_000 }, async (t) => {
  const origin = await servePages(t);
  const host = await startHost(t, '--origin', origin);
  const different = [];
  // The permissions of an extension are those of its manifest.
  for (const manifest of new Set(RECORDINGS.map(({ manifest }) => JSON.stringify(manifest)))) {
    const recordings = RECORDINGS.filter((recording) => JSON.stringify(recording.manifest) === manifest);
    const real = await makeExtension(t, 'test/browser/stage-worker.mjs', JSON.parse(manifest));
    const ours = await makeExtension(t, 'test/browser/stage-worker.mjs', JSON.parse(manifest));
    // This one may open no WebSocket.
    const content_security_policy = { extension_pages: "script-src 'self'; connect-src 'none'" };
    const plain = await makeExtension(t, 'test/browser/stage-worker.mjs', { ...JSON.parse(manifest), content_security_policy });
    const extensions = [real, ours, plain];
    const browser = await startBrowser(t, { extensions, real });
    const workers = await Promise.all(extensions.map((extension) => browser.worker(extension)));
    const [realWorker, ourWorker, plainWorker] = workers;
    assert.deepEqual(await Promise.all(workers.map((worker) => worker.evaluate('isChromiums'))), [true, false, false]);
    const page = await browser.page(origin);
    await page.addScriptTag({ type: 'module', url: '/test/browser/stage-page.mjs' });
    for (const recording of recordings) {
      await t.test(recording.name, async (t) => {
        const connect = `connectTo(${JSON.stringify(host.url)}, ${JSON.stringify(recording.name)}, ${manifest})`;
        const [chromiums, ...ours] = await Promise.all([
          inTurn(recording, realWorker, true, 'api'),
          inTurn(recording, ourWorker, false, 'api'),
          inTurn(recording, plainWorker, false, 'api'),
          inTurn(recording, page, false, connect),
        ]);
        for (const [index, where] of WHERE.entries()) await t.test(where, () => compare(recording, ours[index]));
        await t.test("on Chromium's own", () => compare(recording, chromiums, true));
        for (const [index, step] of recording.steps.entries()) {
          const [theirs, ...all] = [chromiums, ...ours].map((came) => came[index]);
          if (all.some((came) => !isDeepStrictEqual(came, theirs))) different.push([recording.name, index + 1, { step, theirs, all }]);
        }
      });
    }
    const ways = await Promise.all(workers.map((worker) => worker.evaluate('ways')));
    assert.deepEqual(ways, [[], ['by WebSocket'], ['not by WebSocket']]);
    await browser.context.close();
  }
  await t.test('they differ where they should, and nowhere else', () => {
    const name = ([recording, step]) => `${recording}, step ${step}`;
    const shown = different.map((one) => `${name(one)}: ${JSON.stringify(one[2])}`).join('\n');
    assert.deepEqual(different.map(name), DIFFERENCES.map(name), shown);
  });
});
