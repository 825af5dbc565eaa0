// Replays the recordings in a real Chromium: on our chrome.sockets in a page and in the service worker of an extension, and on
// Chromium's own.

import assert from 'node:assert/strict';
import test from 'node:test';
import { isDeepStrictEqual } from 'node:util';

import { startHost, within } from '../host.mjs';
import { RECORDINGS, compare, nodePeers } from '../replay.mjs';
import { makeExtension, servePages, startBrowser } from './browser.mjs';

/**
 * The steps in which ours must differ from Chromium's own: the recording, the step, and the rule of SPEC.md under "Where the
 * page is followed and not Chromium 156".
 */
const DIFFERENCES = [
  ['server_listen_port_too_large', 2, '4: ports are not cut to 16 bits'],
  ['server_listen_twice', 4, '3: a socket that listens refuses to listen'],
  ['server_listen_twice', 5, '3: and nothing happens to it'],
  ['server_listen_twice', 6, '3: and it is as it was'],
  ['server_paused_before_listen_queues', 8, '1: a server socket that was paused accepts again'],
  ['server_paused_with_accept_pending', 6, '2: no accept comes through a pause'],
  ['udp_bind_bad_address', 6, '6: ports are not cut to 16 bits'],
  ['udp_bind_bad_address', 7, '6: and the socket is not bound'],
  ['udp_paused', 7, '6: no datagram comes through a pause'],
  ['udp_paused', 12, '6: and it comes when the socket is resumed'],
];

/** The places of ours. */
const WHERE = [
  'in a service worker, over native messaging and its WebSocket',
  'in a service worker, over native messaging only',
  'in a page, over WebSocket',
];

/** Replays a recording in a page or worker with a `player`. The expression `api` gets chrome.sockets there. */
async function playIn(place, recording, isChromium, api) {
  const peers = nodePeers();
  try {
    await place.evaluate(`void player.play(${JSON.stringify(recording)}, ${isChromium}, ${api})`);
    for (;;) {
      const { results, name, args } = await place.evaluate(() => player.next());
      if (results) return results;
      const value = await peers[name](...args);
      await place.evaluate((value) => player.answer(value), value);
    }
  } finally {
    peers.end();
  }
}

const inTurn = (recording, place, isChromium, api) =>
  within(`the end of ${recording.name}`, playIn(place, recording, isChromium, api));

test('each recording in a page, in a service worker, and on the chrome.sockets of Chromium', { timeout: 300_000 }, async (t) => {
  const origin = await servePages(t);
  const host = await startHost(t, '--origin', origin);
  const different = [];
  // One browser for each manifest, which sets the permissions of its extensions.
  for (const manifest of new Set(RECORDINGS.map(({ manifest }) => JSON.stringify(manifest)))) {
    const recordings = RECORDINGS.filter((recording) => JSON.stringify(recording.manifest) === manifest);
    const real = await makeExtension(t, 'test/browser/recording-worker.mjs', JSON.parse(manifest));
    const ours = await makeExtension(t, 'test/browser/recording-worker.mjs', JSON.parse(manifest));
    // Without permission to open WebSockets.
    const content_security_policy = { extension_pages: "script-src 'self'; connect-src 'none'" };
    const plain = await makeExtension(t, 'test/browser/recording-worker.mjs', { ...JSON.parse(manifest), content_security_policy });
    const extensions = [real, ours, plain];
    const browser = await startBrowser(t, { extensions, real });
    const workers = await Promise.all(extensions.map((extension) => browser.worker(extension)));
    const [realWorker, ourWorker, plainWorker] = workers;
    assert.deepEqual(await Promise.all(workers.map((worker) => worker.evaluate('isChromiums'))), [true, false, false]);
    const page = await browser.page(origin);
    await page.addScriptTag({ type: 'module', url: '/test/browser/recording-page.mjs' });
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
          const [theirs, ...all] = [chromiums, ...ours].map((results) => results[index]);
          if (all.some((result) => !isDeepStrictEqual(result, theirs))) different.push([recording.name, index + 1, { step, theirs, all }]);
        }
      });
    }
    const transports = await Promise.all(workers.map((worker) => worker.evaluate('transports')));
    assert.deepEqual(transports, [[], ['WebSocket'], ['no WebSocket']]);
    await browser.context.close();
  }
  await t.test('the differences are the expected ones', () => {
    const name = ([recording, step]) => `${recording}, step ${step}`;
    const shown = different.map((one) => `${name(one)}: ${JSON.stringify(one[2])}`).join('\n');
    assert.deepEqual(different.map(name), DIFFERENCES.map(name), shown);
  });
});
