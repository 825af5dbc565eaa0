// `chrome.sockets.udp` in Node.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { Inbox, client, cuttable, startHost, within } from './host.mjs';

const LOOPBACK = '127.0.0.1';

/** Calls a function that requires a callback. Resolves to its results and `lastError`. */
const called = ({ udp, runtime }, name, ...args) => new Promise((resolve) => {
  udp[name](...args, (...values) => resolve([...values, runtime.lastError?.message]));
});

async function bound(sockets, properties) {
  const { socketId } = await sockets.udp.create(properties);
  assert.deepEqual(await called(sockets, 'bind', socketId, LOOPBACK, 0), [0, undefined]);
  const { localPort } = await sockets.udp.getInfo(socketId);
  return { socketId, localPort };
}

async function peer(t) {
  const socket = dgram.createSocket('udp4');
  t.after(() => socket.close());
  const received = new Inbox();
  socket.on('message', (data, { port }) => received.push({ data: data.toString('latin1'), port }));
  socket.bind(0, LOOPBACK);
  await once(socket, 'listening');
  const send = (data, port) => new Promise((resolve) => socket.send(data, port, LOOPBACK, resolve));
  return { received, send, port: socket.address().port };
}

/** A datagram travels in both directions. */
async function expectAlive(t, sockets, { socketId, localPort }, events) {
  const it = await peer(t);
  await it.send('in', localPort);
  const { data, ...rest } = await events.next('onReceive');
  assert.equal(Buffer.from(data).toString(), 'in');
  assert.deepEqual(rest, { socketId, remoteAddress: LOOPBACK, remotePort: it.port });
  assert.deepEqual(await called(sockets, 'send', socketId, Buffer.from('out'), LOOPBACK, it.port), [{ resultCode: 0, bytesSent: 3 }, undefined]);
  assert.deepEqual(await it.received.next('the datagram'), { data: 'out', port: localPort });
}

test('datagrams arrive whole, one for each event and one for each send', async (t) => {
  const host = await startHost(t);
  const sockets = await client(t, host);
  const events = new Inbox();
  sockets.udp.onReceive.addListener(events.push);
  const it = await bound(sockets, { bufferSize: 65_535 });
  const other = await peer(t);
  const lengths = [1, 0, 5000, 65_507, 0];
  // They wait together.
  await sockets.udp.setPaused(it.socketId, true);
  for (const length of lengths) await other.send(Buffer.alloc(length, 'a'), it.localPort);
  await sockets.udp.setPaused(it.socketId, false);
  for (const length of lengths) {
    const { data } = await events.next('onReceive');
    assert.ok(data instanceof ArrayBuffer && Buffer.from(data).equals(Buffer.alloc(length, 'a')), `${length}`);
  }
  const sent = lengths.map((length) => called(sockets, 'send', it.socketId, new Uint8Array(length).fill(98), LOOPBACK, other.port));
  for (const [index, length] of lengths.entries()) {
    assert.deepEqual(await sent[index], [{ resultCode: 0, bytesSent: length }, undefined]);
    assert.ok((await other.received.next('the datagram')).data === 'b'.repeat(length), `${length}`);
  }
  // None of these is sent in part.
  for (const length of [65_508, 65_537, 1 << 20]) {
    const answer = await called(sockets, 'send', it.socketId, new ArrayBuffer(length), LOOPBACK, other.port);
    assert.deepEqual(answer, [{ resultCode: -142 }, 'net::ERR_MSG_TOO_BIG']);
  }
  await expectAlive(t, sockets, it, events);
  assert.ok(other.received.isEmpty);
});

test('names are resolved, and functions with optional callbacks return promises', async (t) => {
  const host = await startHost(t);
  const sockets = await client(t, host);
  const { udp } = sockets;
  const events = new Inbox();
  udp.onReceive.addListener(events.push);
  assert.deepEqual(udp.DnsQueryType, { ANY: 'any', IPV4: 'ipv4', IPV6: 'ipv6' });
  const it = await bound(sockets, { name: 'one' });
  const other = await peer(t);
  for (const type of [undefined, null, 'any', 'ipv4']) {
    assert.deepEqual(await called(sockets, 'send', it.socketId, Buffer.from('x'), 'localhost', other.port, type), [{ resultCode: 0, bytesSent: 1 }, undefined]);
    assert.equal((await other.received.next('the datagram')).data, 'x');
  }
  assert.deepEqual(await called(sockets, 'send', it.socketId, Buffer.from('x'), 'localhost', other.port, 'ipv6'), [{ resultCode: -105 }, 'net::ERR_NAME_NOT_RESOLVED']);
  assert.deepEqual(await udp.getJoinedGroups(it.socketId), []);
  await udp.update(it.socketId, { name: 'two', persistent: true });
  const info = { socketId: it.socketId, name: 'two', persistent: true, paused: false, localAddress: LOOPBACK, localPort: it.localPort };
  assert.deepEqual(await udp.getSockets(), [info]);
  await assert.rejects(udp.getInfo(99), { message: 'Socket not found' });
  await expectAlive(t, sockets, it, events);
  await udp.close(it.socketId);
  assert.deepEqual(await udp.getSockets(), []);
});

test('bound sockets are lost with the connection, except persistent ones', async (t) => {
  const host = await startHost(t);
  const { WebSocket, cut } = cuttable();
  const sockets = await client(t, host, { WebSocket });
  const { udp } = sockets;
  const events = new Inbox();
  const errors = new Inbox();
  const connects = new Inbox();
  udp.onReceive.addListener(events.push);
  udp.onReceiveError.addListener(errors.push);
  sockets.host.onConnect.addListener(connects.push);
  const kept = await bound(sockets, { persistent: true });
  const lost = await bound(sockets);
  const { socketId: unbound } = await udp.create();
  cut();
  assert.deepEqual(await errors.next('onReceiveError'), { socketId: lost.socketId, resultCode: -100 });
  await connects.next('onConnect');
  await expectAlive(t, sockets, kept, events);
  assert.deepEqual((await udp.getSockets()).map(({ socketId }) => socketId), [kept.socketId]);
  // A lost socket can be closed once.
  await udp.close(lost.socketId);
  await udp.close(unbound);
  await assert.rejects(udp.close(lost.socketId), { message: 'Socket not found' });
  await host.kill();
  sockets.host.close();
  assert.deepEqual(await errors.next('onReceiveError'), { socketId: kept.socketId, resultCode: -100 });
  const closed = 'net::ERR_CONNECTION_CLOSED';
  assert.deepEqual(await called(sockets, 'joinGroup', kept.socketId, '224.0.0.251'), [-100, closed]);
  assert.deepEqual(await called(sockets, 'send', kept.socketId, Buffer.from('x'), LOOPBACK, 9), [{ resultCode: -100 }, closed]);
  assert.ok(errors.isEmpty);
});

const DATAGRAMS = 200_000;

/** Sends numbered datagrams of 100 bytes to a port as fast as possible. */
const FLOOD = `
  const socket = require('node:dgram').createSocket('udp4');
  const [port, count] = process.argv.slice(1).map(Number);
  let next = 0;
  let answered = 0;
  const send = () => {
    for (const end = Math.min(next + 64, count); next < end; next += 1) {
      socket.send(String(next).padEnd(100), port, '127.0.0.1', (error) => {
        if (error) throw error;
        answered += 1;
        if (answered === count) socket.close();
        else if (answered === next) send();
      });
    }
  };
  send();
`;

/** How many datagrams Linux has dropped at a port, because the buffer of its socket was full. */
function dropped(port) {
  const at = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const line = readFileSync('/proc/net/udp', 'latin1').split('\n').find((line) => line.trim().split(/\s+/)[1]?.endsWith(at));
  return Number(line.trim().split(/\s+/).at(-1));
}

/** The memory of a process in bytes. */
const memory = (pid) => Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * 4096;

test('a slow listener costs no memory: the system drops datagrams, counts them, and the others keep their order', async (t) => {
  const host = await startHost(t);
  const sockets = await client(t, host);
  const { udp } = sockets;
  const it = await bound(sockets);
  let received = 0;
  let last = -1;
  let most = 0;
  udp.onReceive.addListener(async ({ data }) => {
    const number = Number(Buffer.from(data).toString());
    assert.ok(data.byteLength === 100 && number > last, `${number} behind ${last}`);
    last = number;
    received += 1;
    // Much slower than the datagrams come.
    if (received % 16 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    if (received % 256 === 0) most = Math.max(most, memory(process.pid));
  });
  const before = { host: memory(host.child.pid), node: memory(process.pid) };
  const flood = spawn(process.execPath, ['-e', FLOOD, it.localPort, DATAGRAMS], { stdio: ['ignore', 'ignore', 'inherit'] });
  t.after(() => flood.kill());
  const ended = once(flood, 'exit');
  let mostOfHost = 0;
  const watch = setInterval(() => { mostOfHost = Math.max(mostOfHost, memory(host.child.pid)); }, 20);
  t.after(() => clearInterval(watch));
  assert.deepEqual(await within('the end of the flood', ended), [0, null]);
  const lost = dropped(it.localPort);
  assert.ok(lost > DATAGRAMS / 10, `${lost}`);
  const all = (async () => {
    while (received < DATAGRAMS - lost) await new Promise((resolve) => setTimeout(resolve, 5));
  })();
  await within('the datagrams that were not dropped', all);
  assert.equal(dropped(it.localPort), lost);
  const mib = (bytes) => Math.round(bytes / (1 << 20));
  assert.ok(mostOfHost - before.host < 16 << 20, `the host: from ${mib(before.host)} to ${mib(mostOfHost)} MiB`);
  assert.ok(most - before.node < 64 << 20, `Node: from ${mib(before.node)} to ${mib(most)} MiB`);
  t.diagnostic(`${received} received, ${lost} dropped; host from ${mib(before.host)} to ${mib(mostOfHost)} MiB, Node from ${mib(before.node)} to ${mib(most)} MiB`);
});
