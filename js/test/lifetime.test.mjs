// What an app hears when its host is lost, and how it goes on.

import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';

import { connect } from '../index.mjs';
import { NodeWebSocket } from '../node-websocket.mjs';
import { ANYTHING, Inbox, client, startHost, within } from './host.mjs';

const listening = async ({ tcpServer }, properties = {}) => {
  const { socketId } = await tcpServer.create(properties);
  const result = await new Promise((resolve) => tcpServer.listen(socketId, '127.0.0.1', 0, resolve));
  assert.equal(result, 0);
  const { localPort } = await tcpServer.getInfo(socketId);
  return { socketId, localPort };
};

const peer = (port) => new Promise((resolve, reject) => {
  const socket = net.connect(port, '127.0.0.1', () => resolve(socket));
  socket.once('error', reject);
  socket.on('error', () => {});
});

/** A WebSocket that the test can cut, as a network does. */
const cuttable = async () => {
  const { NodeWebSocket } = await import('../node-websocket.mjs');
  const made = [];
  class Cuttable extends NodeWebSocket {
    constructor(url) {
      super(url);
      made.push(this);
    }
  }
  return { WebSocket: Cuttable, cut: () => made.at(-1).close() };
};

test('a host that is killed: what was connected ends, what was called is answered, and the next host is found', async (t) => {
  const first = await startHost(t);
  const port = first.address.split(':')[1];
  const sockets = await client(t, first);
  const { tcpServer, tcp, runtime } = sockets;
  const accepts = new Inbox();
  const told = new Inbox();
  tcpServer.onAccept.addListener(accepts.push);
  tcpServer.onAcceptError.addListener((info) => told.push(['onAcceptError', info]));
  tcp.onReceiveError.addListener((info) => told.push(['onReceiveError', info]));
  const { socketId, localPort } = await listening(sockets, { persistent: true });
  const { socketId: idle } = await tcpServer.create();
  await peer(localPort);
  const { clientSocketId } = await accepts.next('onAccept');
  const send = new Promise((resolve) => {
    // Far more than anybody takes: the host dies with it.
    tcp.send(clientSocketId, new ArrayBuffer(32 << 20), (info) => resolve([info, runtime.lastError]));
  });
  await tcp.getSockets();
  await first.kill();
  assert.deepEqual(await within('the answer to the send', send),
    [{ resultCode: -100 }, { message: 'net::ERR_CONNECTION_CLOSED' }]);
  assert.deepEqual(await told.next('the end'), ['onReceiveError', { socketId: clientSocketId, resultCode: -100 }]);
  // Calls wait for the host that comes; a persistent socket is lost when that is another one.
  const waiting = tcpServer.create();
  const second = await startHost(t, '--listen', `127.0.0.1:${port}`);
  assert.equal(second.address, first.address);
  const created = await within('the answer of another host', waiting);
  assert.deepEqual(await told.next('the end'), ['onAcceptError', { socketId, resultCode: -100 }]);
  assert.ok(created.socketId > Math.max(socketId, idle), 'no id has two meanings');
  await assert.rejects(tcpServer.getInfo(socketId), { message: 'Socket not found' });
  await tcpServer.close(socketId);
  await assert.rejects(tcpServer.close(socketId), { message: 'Socket not found' });
  // Proof of life.
  const anew = await listening(sockets);
  const stream = await peer(anew.localPort);
  const accepted = await accepts.next('onAccept');
  assert.equal(accepted.socketId, anew.socketId);
  const received = new Inbox();
  tcp.onReceive.addListener(received.push);
  await tcp.setPaused(accepted.clientSocketId, false);
  stream.write('hello');
  const { data } = await received.next('onReceive');
  assert.equal(Buffer.from(data).toString(), 'hello');
  assert.ok(told.isEmpty);
});

test('a connection that is cut: persistent sockets are still there, and others are not', async (t) => {
  const host = await startHost(t);
  const { WebSocket, cut } = await cuttable();
  const sockets = await client(t, host, { WebSocket });
  const told = new Inbox();
  const accepts = new Inbox();
  const back = new Inbox();
  sockets.tcpServer.onAccept.addListener(accepts.push);
  sockets.tcpServer.onAcceptError.addListener(told.push);
  sockets.host.onConnect.addListener(back.push);
  const kept = await listening(sockets, { persistent: true });
  const lost = await listening(sockets);
  cut();
  assert.deepEqual(await told.next('onAcceptError'), { socketId: lost.socketId, resultCode: -100 });
  await back.next('the way back');
  await peer(kept.localPort);
  assert.equal((await accepts.next('onAccept')).socketId, kept.socketId);
  const infos = await sockets.tcpServer.getSockets();
  assert.deepEqual(infos.map((info) => info.socketId), [kept.socketId]);
  assert.ok(told.isEmpty);
});

test('a host that does not come back: nothing waits for ever', async (t) => {
  const host = await startHost(t);
  const sockets = await client(t, host, { reconnectTimeout: 300 });
  const told = new Inbox();
  sockets.tcpServer.onAcceptError.addListener(told.push);
  const kept = await listening(sockets, { persistent: true });
  await host.kill();
  await assert.rejects(within('the answer', sockets.tcpServer.create()), { message: 'net::ERR_CONNECTION_CLOSED' });
  assert.deepEqual(await told.next('onAcceptError'), { socketId: kept.socketId, resultCode: -100 });
  assert.equal(sockets.host.connected, false);
});

test('a socket that is closed when a call for it fails with the host is closed', async (t) => {
  const host = await startHost(t);
  const sockets = await client(t, host);
  const { tcp, runtime } = sockets;
  const { socketId } = await listening(sockets);
  const accepts = new Inbox();
  sockets.tcpServer.onAccept.addListener(accepts.push);
  await peer((await sockets.tcpServer.getInfo(socketId)).localPort);
  const { clientSocketId } = await accepts.next('onAccept');
  const closed = new Promise((resolve) => {
    tcp.send(clientSocketId, new ArrayBuffer(32 << 20), () => {
      assert.deepEqual(runtime.lastError, { message: 'net::ERR_CONNECTION_CLOSED' });
      tcp.close(clientSocketId, () => resolve([runtime.lastError, sockets.host.connected]));
    });
  });
  await tcp.getSockets();
  await host.kill();
  // There is no host that would answer.
  assert.deepEqual(await within('the answer', closed), [undefined, false]);
});

test('who disconnects has all answered', async (t) => {
  const host = await startHost(t);
  const sockets = await client(t, host);
  const answer = sockets.tcp.create();
  sockets.host.close();
  await assert.rejects(within('the answer', answer), { message: 'net::ERR_CONNECTION_CLOSED' });
  await assert.rejects(within('the answer', sockets.tcp.create()), { message: 'net::ERR_CONNECTION_CLOSED' });
});

test('who may not come in is told so', async (t) => {
  const host = await startHost(t, '--token', 'secret');
  await assert.rejects(connect(host.url, { app: 'a' }), { code: 'forbidden' });
  await assert.rejects(connect(host.url, { app: 'a', token: 'Secret' }), { code: 'forbidden' });
  const sockets = await connect(host.url, { app: 'a', token: 'secret', manifest: ANYTHING });
  sockets.host.close();
  const { address } = await new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve({ address: `127.0.0.1:${port}` }));
    });
  });
  await assert.rejects(connect(`ws://${address}`, { app: 'a' }), { code: 'ECONNREFUSED' });
});

test('a second client of an app is told so at once, and comes in when the first has gone', async (t) => {
  const host = await startHost(t);
  const first = await client(t, host, { app: 'a' });
  const told = new Inbox();
  const second = connect(host.url, { app: 'a', manifest: ANYTHING, onRetry: told.push });
  const { code } = await told.next('why it waits');
  assert.equal(code, 'app-in-use');
  assert.ok(first.host.connected);
  first.host.close();
  const { host: its } = await within('the place of the first', second);
  its.close();
  assert.ok(told.isEmpty, 'each reason is told once');
});

test('a second client of an app that does not go fails with the code', async (t) => {
  const host = await startHost(t);
  await client(t, host, { app: 'a' });
  const second = connect(host.url, { app: 'a', reconnectTimeout: 300, onRetry() {} });
  await assert.rejects(within('the failure', second), { code: 'app-in-use' });
});

test('a page of another origin learns its code, and a browser-like class shows the token', async (t) => {
  const host = await startHost(t, '--origin', 'https://good.example=app-a', '--token', 'sécret+/');
  const of = (origin) => class extends NodeWebSocket {
    constructor(url, protocols) {
      super(url, protocols, { Origin: origin });
    }
  };
  const options = { app: 'app-a', token: 'sécret+/', manifest: ANYTHING };
  await assert.rejects(connect(host.url, { ...options, WebSocket: of('https://bad.example') }), { code: 'origin' });
  const good = { ...options, WebSocket: of('https://good.example') };
  await assert.rejects(connect(host.url, { ...good, app: 'app-b' }), { code: 'origin' });
  await assert.rejects(connect(host.url, { ...good, token: undefined }), { code: 'forbidden' });
  const sockets = await within('the welcome', connect(host.url, good));
  sockets.host.close();
});
