// The client behaves as recorded in a real Chromium, or as SPEC says instead.

import assert from 'node:assert/strict';
import test from 'node:test';

import { client, startHost, within } from './host.mjs';
import { UDP, RECORDINGS, replay } from './replay.mjs';

test('32 recordings are for tcp, and 15 need udp', () => {
  assert.deepEqual([RECORDINGS.length, UDP.length], [32, 15]);
});

test('each recording over WebSocket', { concurrency: true }, async (t) => {
  const host = await startHost(t);
  await Promise.all(RECORDINGS.map((recording) => t.test(recording.name, async (t) => {
    const { name, manifest } = recording;
    const sockets = await client(t, host, { app: name, manifest });
    await within('the end of the recording', replay(recording, { sockets, runtime: sockets.runtime }));
  })));
});
