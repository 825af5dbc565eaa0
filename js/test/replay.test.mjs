// What real Chromium was recorded doing, this client does; or what SPEC says instead.

import assert from 'node:assert/strict';
import test from 'node:test';

import { client, startHost, within } from './host.mjs';
import { RECORDINGS, replay } from './replay.mjs';

test('there are all 29 recordings', () => assert.equal(RECORDINGS.length, 29));

test('each recording, by WebSocket', { concurrency: true }, async (t) => {
  const host = await startHost(t);
  await Promise.all(RECORDINGS.map((recording) => t.test(recording.name, async (t) => {
    const { name, manifest } = recording;
    const sockets = await client(t, host, { app: name, manifest });
    await within('the end of the recording', replay(recording, { sockets, runtime: sockets.runtime }));
  })));
});
