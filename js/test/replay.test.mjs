// What real Chromium was recorded doing, this client does; or what SPEC says instead.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';

import { ANYTHING, client, startHost, within } from './host.mjs';
import { replay } from './replay.mjs';

const folder = new URL('../../tests/it/chrome_traces/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));

test('there are all 29 recordings', () => assert.equal(files.length, 29));

test('each recording, by WebSocket', { concurrency: true }, async (t) => {
  const host = await startHost(t);
  await Promise.all(files.map((file) => t.test(file, async (t) => {
    const recording = JSON.parse(readFileSync(new URL(file, folder)));
    const manifest = recording.sockets ? { sockets: recording.sockets } : ANYTHING;
    const sockets = await client(t, host, { app: file, manifest });
    await within('the end of the recording', replay(recording, { sockets, runtime: sockets.runtime }));
  })));
});
