// chrome-sockets/socket: the deprecated chrome.socket. What each call answers is from Chromium's sources (see socket.mjs).

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import test from 'node:test';

import { makeSocket } from '../socket.mjs';
import { certificate } from './certificates.mjs';
import { Inbox, client, startHost, within } from './host.mjs';

/** The functions with promises of `[value, lastError]`. */
async function made(t, options) {
  const sockets = await client(t, await startHost(t), options);
  const socket = makeSocket(sockets);
  const call = (name, ...given) => within(name, new Promise((resolve) => {
    assert.equal(socket[name](...given, (...values) => {
      assert.ok(values.length <= 1);
      resolve([values[0], sockets.runtime.lastError?.message]);
    }), undefined);
  }));
  const create = async (type = 'tcp') => (await call('create', type))[0].socketId;
  return { sockets, socket, call, create };
}

/** A server of Node that passes its connections to `on`. */
async function peer(t, on) {
  const server = net.createServer({ allowHalfOpen: true }, on);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return server.address().port;
}

const text = (data) => new TextDecoder().decode(data);
const bytes = (value) => new TextEncoder().encode(value).buffer;
const NOTHING = new ArrayBuffer(0);

test('a client connects, writes, reads by call and sees the end', async (t) => {
  const { call, create, socket } = await made(t);
  const connections = new Inbox();
  const port = await peer(t, connections.push);
  const id = await create();
  assert.deepEqual(await call('getInfo', id), [{ socketType: 'tcp', connected: false }, undefined]);
  assert.deepEqual(await call('read', id), [{ resultCode: -2, data: NOTHING }, undefined]);
  assert.deepEqual(await call('write', id, bytes('x')), [{ bytesWritten: -15 }, undefined]);
  assert.deepEqual(await call('connect', id, '127.0.0.1', port), [0, undefined]);
  const connection = await connections.next('the connection');
  assert.deepEqual(await call('connect', id, '127.0.0.1', port), [-23, undefined]);
  const [info] = await call('getInfo', id);
  assert.deepEqual({ ...info, localPort: 0 }, { socketType: 'tcp', connected: true, peerAddress: '127.0.0.1', peerPort: port, localAddress: '127.0.0.1', localPort: 0 });
  assert.deepEqual(await call('write', id, bytes('hello')), [{ bytesWritten: 5 }, undefined]);
  assert.deepEqual(await call('write', id, NOTHING), [{ bytesWritten: 0 }, undefined]);
  assert.equal(text((await within('data', new Promise((resolve) => connection.once('data', resolve))))), 'hello');
  // A read waits, and a second one beside it fails.
  const first = call('read', id);
  assert.deepEqual(await call('read', id), [{ resultCode: -1, data: NOTHING }, undefined]);
  connection.write('abc');
  const [read] = await first;
  assert.deepEqual([read.resultCode, text(read.data)], [3, 'abc']);
  // Small reads get parts, in order.
  connection.end('0123456789');
  let all = '';
  for (;;) {
    const [{ resultCode, data }] = await call('read', id, 4);
    assert.equal(resultCode, data.byteLength);
    assert.ok(resultCode <= 4);
    if (resultCode === 0) break;
    all += text(data);
  }
  assert.equal(all, '0123456789');
  // After the end the socket is not connected, and may connect again.
  assert.deepEqual(await call('read', id), [{ resultCode: -15, data: NOTHING }, undefined]);
  assert.deepEqual(await call('write', id, bytes('x')), [{ bytesWritten: -15 }, undefined]);
  assert.deepEqual(await call('getInfo', id), [{ socketType: 'tcp', connected: false }, undefined]);
  assert.deepEqual(await call('connect', id, '127.0.0.1', port), [0, undefined]);
  assert.equal(socket.disconnect(id), undefined);
  assert.equal(socket.destroy(id), undefined);
});

test('nothing is read without a call', async (t) => {
  const { call, create } = await made(t);
  const sent = randomBytes(24 << 20);
  const connections = new Inbox();
  const port = await peer(t, (connection) => {
    connections.push(connection);
    connection.end(sent);
  });
  const id = await create();
  await call('connect', id, '127.0.0.1', port);
  const connection = await connections.next('the connection');
  const [{ data: first }] = await call('read', id, 1000);
  // The peer's writes stop at the buffers of the OS.
  let written = -1;
  while (written !== connection.bytesWritten - connection.writableLength) {
    written = connection.bytesWritten - connection.writableLength;
    await call('getInfo', id);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.ok(written < sent.length, 'the peer could write everything');
  const all = [Buffer.from(first)];
  for (;;) {
    const [{ resultCode, data }] = await call('read', id, 1 << 20);
    if (resultCode === 0) break;
    all.push(Buffer.from(data));
  }
  assert.ok(Buffer.concat(all).equals(sent));
});

test('a server accepts by call', async (t) => {
  const { call, create, socket } = await made(t);
  const id = await create();
  assert.deepEqual(await call('accept', id), [{ resultCode: -2 }, undefined]);
  assert.deepEqual(await call('listen', id, '127.0.0.1', 0, 10), [0, undefined]);
  const [{ localPort, ...info }] = await call('getInfo', id);
  assert.deepEqual(info, { socketType: 'tcp', connected: false, localAddress: '127.0.0.1' });
  assert.deepEqual(await call('connect', id, '127.0.0.1', localPort), [-104, undefined]);
  assert.deepEqual(await call('read', id), [{ resultCode: -2, data: NOTHING }, undefined]);
  const accepted = call('accept', id);
  assert.deepEqual(await call('accept', id), [{ resultCode: -2 }, undefined]);
  const connect = (hello) => {
    const connection = net.connect(localPort, '127.0.0.1', () => connection.write(hello));
    t.after(() => connection.destroy());
    return connection;
  };
  const one = connect('one');
  const [{ resultCode, socketId }] = await accepted;
  assert.equal(resultCode, 0);
  assert.equal(text((await call('read', socketId))[0].data), 'one');
  const [inner] = await call('getInfo', socketId);
  assert.deepEqual({ ...inner, peerPort: 0 }, { socketType: 'tcp', connected: true, peerAddress: '127.0.0.1', peerPort: 0 });
  await call('write', socketId, bytes('yes'));
  assert.equal(text(await within('an answer', new Promise((resolve) => one.once('data', resolve)))), 'yes');
  // Others wait for their accept, however late.
  for (const hello of ['two', 'three', 'four']) connect(hello);
  const heard = [];
  for (let count = 0; count < 3; count += 1) {
    const [{ socketId: next }] = await call('accept', id);
    heard.push(text((await call('read', next))[0].data));
    socket.destroy(next);
  }
  assert.deepEqual(heard.sort(), ['four', 'three', 'two']);
  // A server that has disconnected may listen again, on the same port.
  socket.disconnect(id);
  assert.deepEqual(await call('accept', id), [{ resultCode: -2 }, undefined]);
  assert.deepEqual(await call('listen', id, '127.0.0.1', localPort), [0, undefined]);
  const other = await create();
  assert.deepEqual(await call('listen', other, '127.0.0.1', localPort), [-147, 'Could not listen on the specified port.']);
  assert.deepEqual(await call('listen', other, 'localhost', localPort), [-4, 'Unknown error.']);
  const used = await create();
  assert.deepEqual(await call('connect', used, '127.0.0.1', localPort), [0, undefined]);
  assert.deepEqual(await call('listen', used, '127.0.0.1', 0), [-11, 'Cannot call both connect and listen on the same socket.']);
});

test('disconnect and destroy end what waits', async (t) => {
  const { call, create, socket } = await made(t);
  const ends = new Inbox();
  const port = await peer(t, (connection) => connection.on('end', () => ends.push(1) ?? connection.end()).resume());
  for (const end of ['disconnect', 'destroy']) {
    const id = await create();
    await call('connect', id, '127.0.0.1', port);
    const read = call('read', id);
    const written = call('write', id, bytes('last words'));
    socket[end](id);
    assert.deepEqual(await read, [{ resultCode: -100, data: NOTHING }, undefined]);
    await ends.next('the end');
    assert.deepEqual(await written, [{ bytesWritten: 10 }, undefined]);
    const [{ resultCode }, lastError] = await call('read', id);
    assert.deepEqual([resultCode, lastError], end === 'destroy' ? [-1, 'Socket not found'] : [-15, undefined]);
  }
});

test('failures of connect', async (t) => {
  const { call, create } = await made(t);
  const unused = await peer(t, () => {});
  const id = await create();
  const refused = net.createServer();
  await new Promise((resolve) => refused.listen(0, '127.0.0.1', resolve));
  const { port } = refused.address();
  await new Promise((resolve) => refused.close(resolve));
  assert.deepEqual(await call('connect', id, '127.0.0.1', port), [-102, undefined]);
  assert.deepEqual(await call('connect', id, 'no.such.name.invalid', 80), [-105, 'DNS resolution failed']);
  assert.deepEqual(await call('connect', id, '127.0.0.1', 65536), [undefined, 'Port must be a value between 0 and 65535.']);
  assert.deepEqual(await call('bind', id, '127.0.0.1', 0), [-1, 'TCP socket does not support bind. For TCP server please use listen.']);
  // Two at once.
  const first = call('connect', id, '127.0.0.1', unused);
  assert.deepEqual(await call('connect', id, '127.0.0.1', unused), [-104, undefined]);
  assert.deepEqual(await first, [0, undefined]);
});

test('an app without permission', async (t) => {
  const { call, create } = await made(t, { manifest: { sockets: { tcp: { connect: '*:1' } } } });
  assert.deepEqual(await call('connect', await create(), '127.0.0.1', 2), [-1, 'App does not have permission']);
  assert.deepEqual(await call('listen', await create(), '127.0.0.1', 0), [-1, 'App does not have permission']);
});

test('unknown sockets', async (t) => {
  const { call, socket } = await made(t);
  const NOT_FOUND = 'Socket not found';
  for (const [name, given, value] of [
    ['connect', ['127.0.0.1', 1], -1],
    ['bind', ['127.0.0.1', 1], -1],
    ['read', [], { resultCode: -1, data: NOTHING }],
    ['write', [NOTHING], { bytesWritten: -1 }],
    ['recvFrom', [], { resultCode: -1, data: NOTHING, address: '', port: 0 }],
    ['sendTo', [NOTHING, '127.0.0.1', 1], -1],
    ['listen', ['127.0.0.1', 1], -1],
    ['accept', [], { resultCode: -2 }],
    ['setKeepAlive', [true], false],
    ['setNoDelay', [true], false],
    ['getInfo', [], undefined],
    ['joinGroup', ['224.0.0.1'], -1],
    ['leaveGroup', ['224.0.0.1'], -1],
    ['setMulticastTimeToLive', [1], -1],
    ['setMulticastLoopbackMode', [true], -1],
    ['getJoinedGroups', [], -1],
    ['secure', [], -4],
  ]) {
    assert.deepEqual(await call(name, 99, ...given), [value, NOT_FOUND], name);
  }
  socket.destroy(99);
  socket.disconnect(99);
});

test('options, and what TCP sockets do not have', async (t) => {
  const { call, create } = await made(t);
  const port = await peer(t, () => {});
  const id = await create();
  assert.deepEqual(await call('setNoDelay', id, true), [false, undefined]);
  assert.deepEqual(await call('setKeepAlive', id, true, 10), [false, undefined]);
  await call('connect', id, '127.0.0.1', port);
  assert.deepEqual(await call('setNoDelay', id, true), [true, undefined]);
  assert.deepEqual(await call('setKeepAlive', id, true, 10), [true, undefined]);
  assert.deepEqual(await call('setKeepAlive', id, false), [true, undefined]);
  const ONLY_UDP = 'Only UDP socket supports multicast.';
  assert.deepEqual(await call('joinGroup', id, '224.0.0.1'), [-1, ONLY_UDP]);
  assert.deepEqual(await call('getJoinedGroups', id), [-1, ONLY_UDP]);
  assert.deepEqual(await call('sendTo', id, NOTHING, '127.0.0.1', 1), [{ bytesWritten: -2 }, undefined]);
  assert.deepEqual((await call('recvFrom', id))[0].resultCode, -1);
});

test('the list of network interfaces', async (t) => {
  const { call, sockets } = await made(t, { manifest: { sockets: {}, permissions: ['system.network'] } });
  const [list, lastError] = await call('getNetworkList');
  assert.equal(lastError, undefined);
  assert.deepEqual(list, await sockets.system.network.getNetworkInterfaces());
  const denied = await made(t);
  assert.deepEqual(await denied.call('getNetworkList'), [undefined, 'Network lookup failed or unsupported']);
});

test('wrong arguments throw', async (t) => {
  const { socket } = await made(t);
  assert.throws(() => socket.create('sctp', () => {}), new TypeError(
    "Error in invocation of socket.create(socket.SocketType type, optional socket.CreateOptions options, function callback): Error at parameter 'type': Value must be one of tcp, udp."));
  assert.throws(() => socket.read(1), new TypeError('Error in invocation of socket.read(integer socketId, optional integer bufferSize, function callback): No matching signature.'));
});

test('secure', async (t) => {
  const { sockets, call, create } = await made(t);
  const { pem } = certificate(t);
  const server = await create();
  assert.deepEqual(await call('secure', server), [-4, 'Socket not connected']);
  await call('listen', server, '127.0.0.1', 0);
  const [{ localPort }] = await call('getInfo', server);
  // The server socket below gets a certificate that no client trusts.
  const [{ socketId }] = await sockets.tcpServer.getSockets();
  await sockets.tcpServer.setTls(socketId, pem);
  void call('accept', server).catch(() => {});
  const id = await create();
  await call('connect', id, '127.0.0.1', localPort);
  assert.deepEqual(await call('secure', id, { tlsVersion: { min: 'tls1.2' } }), [-202, 'net::ERR_CERT_AUTHORITY_INVALID']);
  assert.deepEqual((await call('read', id))[1], 'Socket not found', 'after a failed handshake the socket is gone');
});

test('the app may use chrome.sockets beside it', async (t) => {
  const { sockets, call, create } = await made(t);
  const port = await peer(t, (connection) => connection.end('for each'));
  const received = new Inbox();
  sockets.tcp.onReceive.addListener(received.push);
  const { socketId } = await sockets.tcp.create();
  await new Promise((resolve) => sockets.tcp.connect(socketId, '127.0.0.1', port, resolve));
  const info = await received.next('onReceive');
  assert.deepEqual([info.socketId, text(info.data)], [socketId, 'for each']);
  const id = await create();
  await call('connect', id, '127.0.0.1', port);
  assert.equal(text((await call('read', id))[0].data), 'for each');
  assert.equal((await sockets.tcp.getInfo(socketId)).connected, false);
});
