// What real Chromium was recorded doing, this client does; or what SPEC says instead.

import assert from 'node:assert/strict';
import test from 'node:test';

import { client, startHost, within } from './host.mjs';
import { LATER, RECORDINGS, replay } from './replay.mjs';

test('there are all 32 recordings of tcp, and 15 that wait for udp', () => {
  assert.deepEqual([RECORDINGS.length, LATER.length], [32, 15]);
});

test('each recording, by WebSocket', { concurrency: true }, async (t) => {
  const host = await startHost(t);
  await Promise.all(RECORDINGS.map((recording) => t.test(recording.name, async (t) => {
    const { name, manifest } = recording;
    const sockets = await client(t, host, { app: name, manifest });
    await within('the end of the recording', replay(recording, { sockets, runtime: sockets.runtime }));
  })));
});
