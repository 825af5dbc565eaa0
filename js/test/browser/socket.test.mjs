// chrome-sockets/socket beside the chrome.socket of Chromium, which still has it for Chrome Apps that are loaded by a flag.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

import { makeSocket } from '../../socket.mjs';
import { client, startHost, within } from '../host.mjs';
import { startUnwatched } from './browser.mjs';
import { scenario } from './socket-scenario.mjs';

/** The calls that differ on purpose, and why. */
const DIFFERENCES = {
  'getInfo("socket 18")': 'a connected UDP socket is one that is bound to all addresses',
};

/** A server that gets the results of the app. */
async function collector(t) {
  let collected;
  const results = new Promise((resolve) => { collected = resolve; });
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (data) => { text += data; }).on('end', () => {
      response.end();
      collected(JSON.parse(text));
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${server.address().port}/`, results };
}

/** A port on which nothing listens. */
async function refused() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What the apps may do, in the old form and in the new one. */
const PERMISSIONS = {
  'everything': [['tcp-connect', 'tcp-listen', 'udp-bind', 'udp-send-to', 'udp-multicast-membership'], undefined],
  'little': [['tcp-connect:127.0.0.1:1', 'udp-bind:127.0.0.1:*'], { sockets: { tcp: { connect: '127.0.0.1:1' }, udp: { bind: '127.0.0.1:*' } } }],
};

for (const [what, [old, manifest]] of Object.entries(PERMISSIONS)) {
  test(`the results are those of Chromium's own chrome.socket, for an app that may do ${what}`, { timeout: 180_000 }, async (t) => {
    const { url, results } = await collector(t);
    const folder = await mkdtemp(join(tmpdir(), 'chrome-sockets-app-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    await writeFile(join(folder, 'manifest.json'), JSON.stringify({
      manifest_version: 2,
      name: 'a Chrome App',
      version: '1',
      app: { background: { scripts: ['background.js'] } },
      permissions: ['http://127.0.0.1/*', { socket: old }],
    }));
    const isDenied = manifest !== undefined;
    const run = `(${scenario})(chrome, ${await refused()}, ${isDenied}).catch((error) => [[String(error.stack)]])`;
    await writeFile(join(folder, 'background.js'), `${run}.then((results) => fetch('${url}', { method: 'POST', body: JSON.stringify(results) }));`);
    await startUnwatched(t, { extensions: [folder], install: null });
    const sockets = await client(t, await startHost(t), manifest && { manifest });
    const adapted = { socket: makeSocket(sockets), runtime: sockets.runtime };
    const ours = JSON.parse(JSON.stringify(await scenario(adapted, await refused(), isDenied)));
    const theirs = await within('the results of Chromium', results, 120_000);
    assert.equal(ours.length, theirs.length, JSON.stringify(theirs.at(-1)));
    const different = ours.flatMap((our, index) => (JSON.stringify(our) === JSON.stringify(theirs[index]) ? [] : [[our[0], our.slice(1), theirs[index].slice(1)]]));
    const shown = different.map(([call, our, their]) => `${call}: ${JSON.stringify(our)}, Chromium: ${JSON.stringify(their)}`).join('\n');
    assert.deepEqual(different.map(([call]) => call), isDenied ? [] : Object.keys(DIFFERENCES), shown);
  });
}
