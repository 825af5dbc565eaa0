// Replays the recordings of a real Chromium with Node's sockets as peers.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import dgram from 'node:dgram';
import net from 'node:net';

import { ALL_PERMISSIONS } from './host.mjs';
import { agrees, expected, play } from './play.mjs';

const folder = new URL('../../tests/it/chrome_traces/', import.meta.url);

/** All recordings, each with its name and manifest. */
export const RECORDINGS = readdirSync(folder).filter((file) => file.endsWith('.json')).map((file) => {
  const recording = JSON.parse(readFileSync(new URL(file, folder)));
  return { ...recording, manifest: recording.sockets ? { sockets: recording.sockets } : ALL_PERMISSIONS };
});

/** Replays a recording on this chrome.sockets, and compares the results. */
export async function replay(recording, api) {
  const peers = nodePeers();
  try {
    compare(recording, await play(recording, api, peers));
  } finally {
    peers.end();
  }
}

/** Compares the results of the steps with the expected ones. */
export function compare({ steps }, results, isChromium = false) {
  for (const [index, step] of steps.entries()) {
    const wanted = expected(step, isChromium);
    if (wanted !== undefined && !agrees(wanted, results[index])) assert.deepEqual(results[index], wanted, `step ${index + 1}: ${JSON.stringify(step)}`);
  }
}

/** Peers on Node's sockets. */
export function nodePeers() {
  const peers = new Map();
  const servers = [];
  const waiting = new Map();
  const datagrams = new Map();
  const add = (as, socket) => {
    const peer = { socket, got: '', state: 'open' };
    socket.on('data', (chunk) => { peer.got += chunk.toString('latin1'); });
    socket.on('end', () => { peer.state = 'ended'; });
    socket.on('error', (error) => { peer.state = error.code; });
    peers.set(as, peer);
    waiting.get(as)?.(peer);
    return peer;
  };
  /** The peer with this name, as soon as it has connected. */
  const find = (as) => peers.get(as) ?? new Promise((resolve) => waiting.set(as, resolve));
  return {
    connect(as, port) {
      const socket = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true });
      const peer = add(as, socket);
      return new Promise((resolve) => {
        socket.once('connect', () => resolve('open'));
        socket.once('error', () => resolve(peer.state));
      });
    },
    listen(as, echo) {
      const server = net.createServer({ allowHalfOpen: !echo }, (socket) => {
        socket.on('error', () => {});
        if (echo) socket.pipe(socket);
        else add(as, socket);
        servers.push({ close: () => socket.destroy() });
      });
      servers.push(server);
      return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
    },
    send: async (as, data) => void (await find(as)).socket.write(Buffer.from(data)),
    endOne: async (as) => void (await find(as)).socket.end(),
    async reset(as) {
      const peer = await find(as);
      peer.state = 'closed';
      peer.socket.resetAndDestroy();
    },
    async state(as) {
      const { state, got } = await find(as);
      return { state, got };
    },
    bindUdp(as) {
      const socket = dgram.createSocket('udp4');
      const received = [];
      datagrams.set(as, { socket, received });
      socket.on('message', (data, { port }) => received.push({ data: data.toString('latin1'), from: port }));
      return new Promise((resolve) => socket.bind(0, '127.0.0.1', () => resolve(socket.address().port)));
    },
    sendDatagram: (as, port, data) => new Promise((resolve) =>
      datagrams.get(as).socket.send(Buffer.from(data), port, '127.0.0.1', () => resolve())),
    datagrams: async (as) => datagrams.get(as).received.splice(0),
    end() {
      for (const { socket } of peers.values()) socket.destroy();
      for (const server of servers) server.close();
      for (const { socket } of datagrams.values()) socket.close();
    },
  };
}
