// The client behaves as recorded in a real Chromium, or as SPEC says instead.

import assert from 'node:assert/strict';
import test from 'node:test';

import { client, startHost, within } from './host.mjs';
import { RECORDINGS, replay } from './replay.mjs';

test('of 47 recordings 15 are for udp', () => {
  const udp = RECORDINGS.filter(({ name }) => name.startsWith('udp_'));
  assert.deepEqual([RECORDINGS.length, udp.length], [47, 15]);
});

test('each recording over WebSocket', { concurrency: true }, async (t) => {
  const host = await startHost(t);
  await Promise.all(RECORDINGS.map((recording) => t.test(recording.name, async (t) => {
    const { name, manifest } = recording;
    const sockets = await client(t, host, { app: name, manifest });
    await within('the end of the recording', replay(recording, { sockets, runtime: sockets.runtime }));
  })));
});
