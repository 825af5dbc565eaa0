// chrome-sockets/socket: the UDP part of the deprecated chrome.socket.

import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import test from 'node:test';

import { makeSocket } from '../socket.mjs';
import { Inbox, client, startHost, within } from './host.mjs';

const LOOPBACK = '127.0.0.1';
const NOTHING = new ArrayBuffer(0);
const bytes = (value) => new TextEncoder().encode(value).buffer;
const text = (data) => new TextDecoder().decode(data);

async function made(t, options) {
  const sockets = await client(t, await startHost(t), options);
  const socket = makeSocket(sockets);
  const call = (name, ...given) => within(name, new Promise((resolve) => {
    socket[name](...given, (value) => resolve([value, sockets.runtime.lastError?.message]));
  }));
  const create = async () => (await call('create', 'udp'))[0].socketId;
  const bound = async () => {
    const id = await create();
    assert.deepEqual(await call('bind', id, LOOPBACK, 0), [0, undefined]);
    return { id, port: (await call('getInfo', id))[0].localPort };
  };
  return { sockets, socket, call, create, bound };
}

async function peer(t) {
  const socket = dgram.createSocket('udp4');
  t.after(() => socket.close());
  const received = new Inbox();
  socket.on('message', (data, { port }) => received.push([data.toString(), port]));
  socket.bind(0, LOOPBACK);
  await once(socket, 'listening');
  return { received, port: socket.address().port, send: (data, port) => new Promise((resolve) => socket.send(data, port, LOOPBACK, resolve)) };
}

test('a bound socket sends, and receives by call', async (t) => {
  const { call, create, bound, socket } = await made(t);
  const other = await peer(t);
  const fresh = await create();
  assert.deepEqual(await call('recvFrom', fresh), [{ resultCode: -15, data: NOTHING, address: '', port: 0 }, undefined]);
  assert.deepEqual(await call('sendTo', fresh, bytes('x'), LOOPBACK, 1), [{ bytesWritten: -15 }, undefined]);
  assert.deepEqual(await call('getInfo', fresh), [{ socketType: 'udp', connected: false }, undefined]);
  const { id, port } = await bound();
  assert.deepEqual(await call('bind', id, LOOPBACK, 0), [-104, undefined]);
  assert.deepEqual(await call('connect', id, LOOPBACK, 1), [-104, undefined]);
  assert.deepEqual(await call('getInfo', id), [{ socketType: 'udp', connected: false, localAddress: LOOPBACK, localPort: port }, undefined]);
  assert.deepEqual(await call('sendTo', id, bytes('out'), LOOPBACK, other.port), [{ bytesWritten: 3 }, undefined]);
  assert.deepEqual(await other.received.next('a datagram'), ['out', port]);
  const waiting = call('recvFrom', id);
  assert.deepEqual((await call('recvFrom', id))[0].resultCode, -1);
  await other.send('in', port);
  const [{ data, ...info }] = await waiting;
  assert.deepEqual([text(data), info], ['in', { resultCode: 2, address: LOOPBACK, port: other.port }]);
  // The OS keeps those that no call waits for.
  for (const data of ['1', '', '22', '333']) await other.send(data, port);
  const kept = [];
  for (let count = 0; count < 4; count += 1) kept.push((await call('recvFrom', id))[0]);
  assert.deepEqual(kept.map(({ resultCode, data }) => [resultCode, text(data)]), [[1, '1'], [0, ''], [2, '22'], [3, '333']]);
  // A datagram that is larger than the buffer is lost.
  await other.send('0123456789', port);
  assert.deepEqual(await call('recvFrom', id, 4), [{ resultCode: -142, data: NOTHING, address: '', port: 0 }, undefined]);
  await other.send('0123', port);
  assert.equal(text((await call('recvFrom', id, 4))[0].data), '0123');
  const last = call('recvFrom', id);
  socket.destroy(id);
  assert.deepEqual(await last, [{ resultCode: -100, data: NOTHING, address: '', port: 0 }, undefined]);
  assert.equal((await call('recvFrom', id))[1], 'Socket not found');
});

test('a connected socket has one peer', async (t) => {
  const { call, create, socket } = await made(t);
  const [one, other] = [await peer(t), await peer(t)];
  const id = await create();
  assert.deepEqual(await call('read', id), [{ resultCode: -15, data: NOTHING }, undefined]);
  assert.deepEqual(await call('write', id, bytes('x')), [{ bytesWritten: -15 }, undefined]);
  assert.deepEqual(await call('connect', id, LOOPBACK, one.port), [0, undefined]);
  const [{ localAddress, localPort, ...info }] = await call('getInfo', id);
  assert.deepEqual(info, { socketType: 'udp', connected: true, peerAddress: LOOPBACK, peerPort: one.port });
  assert.deepEqual(await call('write', id, bytes('hello')), [{ bytesWritten: 5 }, undefined]);
  assert.deepEqual(await one.received.next('a datagram'), ['hello', localPort]);
  const read = call('read', id);
  await other.send('stranger', localPort);
  await one.send('friend', localPort);
  assert.equal(text((await read)[0].data), 'friend');
  // It can be another's after `disconnect`.
  socket.disconnect(id);
  assert.deepEqual(await call('write', id, bytes('x')), [{ bytesWritten: -15 }, undefined]);
  assert.deepEqual(await call('connect', id, 'localhost', other.port), [0, undefined]);
  await call('write', id, bytes('by name'));
  assert.equal((await other.received.next('a datagram'))[0], 'by name');
});

test('groups and options', async (t) => {
  const { call, create, bound } = await made(t);
  const fresh = await create();
  assert.deepEqual(await call('setMulticastTimeToLive', fresh, 3), [0, undefined]);
  assert.deepEqual(await call('setMulticastTimeToLive', fresh, 256), [-4, 'net::ERR_INVALID_ARGUMENT']);
  assert.deepEqual(await call('setMulticastLoopbackMode', fresh, true), [0, undefined]);
  assert.deepEqual(await call('bind', fresh, '0.0.0.0', 0), [0, undefined]);
  assert.deepEqual(await call('setMulticastTimeToLive', fresh, 3), [-23, 'net::ERR_SOCKET_IS_CONNECTED']);
  assert.deepEqual(await call('joinGroup', fresh, 'nowhere'), [-108, 'net::ERR_ADDRESS_INVALID']);
  assert.deepEqual(await call('leaveGroup', fresh, '224.0.0.200'), [-108, 'net::ERR_ADDRESS_INVALID']);
  assert.deepEqual(await call('getJoinedGroups', fresh), [[], undefined]);
  const { id } = await bound();
  assert.deepEqual(await call('setKeepAlive', id, true), [false, undefined]);
  assert.deepEqual(await call('setNoDelay', id, true), [false, undefined]);
  assert.deepEqual(await call('accept', id), [{ resultCode: -2 }, undefined]);
  assert.deepEqual(await call('listen', id, LOOPBACK, 0), [-2, 'Socket type does not support this API']);
  assert.deepEqual(await call('secure', id), [-4, 'Only TCP sockets are supported for TLS.']);
  assert.deepEqual(await call('sendTo', id, bytes('x'), 'no.such.name.invalid', 1), [-105, 'DNS resolution failed']);
});

test('an app without permission', async (t) => {
  const { call, create } = await made(t, { manifest: { sockets: { udp: { bind: '127.0.0.1:*' } } } });
  const NO = 'App does not have permission';
  assert.deepEqual(await call('bind', await create(), '0.0.0.0', 0), [-1, NO]);
  const id = await create();
  await call('bind', id, LOOPBACK, 0);
  assert.deepEqual(await call('sendTo', id, bytes('x'), LOOPBACK, 1), [-1, NO]);
  assert.deepEqual(await call('joinGroup', id, '224.0.0.200'), [-1, NO]);
});
