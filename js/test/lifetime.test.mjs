// What an app sees when its connection is lost, and how it continues.

import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';

import { connect } from '../index.mjs';
import { ALL_PERMISSIONS, Inbox, client, cuttable, startHost, within } from './host.mjs';

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

test('when the host is killed, connections end, calls are answered, and the client finds the next host', async (t) => {
  const first = await startHost(t);
  const port = first.address.split(':')[1];
  const sockets = await client(t, first);
  const { tcpServer, tcp, runtime } = sockets;
  const accepts = new Inbox();
  const events = new Inbox();
  tcpServer.onAccept.addListener(accepts.push);
  tcpServer.onAcceptError.addListener((info) => events.push(['onAcceptError', info]));
  tcp.onReceiveError.addListener((info) => events.push(['onReceiveError', info]));
  const { socketId, localPort } = await listening(sockets, { persistent: true });
  const { socketId: idle } = await tcpServer.create();
  await peer(localPort);
  const { clientSocketId } = await accepts.next('onAccept');
  const send = new Promise((resolve) => {
    // More than all buffers, so that it is unanswered when the host is killed.
    tcp.send(clientSocketId, new ArrayBuffer(32 << 20), (info) => resolve([info, runtime.lastError]));
  });
  await tcp.getSockets();
  await first.kill();
  assert.deepEqual(await within('the answer to the send', send),
    [{ resultCode: -100 }, { message: 'net::ERR_CONNECTION_CLOSED' }]);
  assert.deepEqual(await events.next('the end'), ['onReceiveError', { socketId: clientSocketId, resultCode: -100 }]);
  // Calls wait for the next host, which does not have the persistent socket.
  const waiting = tcpServer.create();
  const second = await startHost(t, '--listen', `127.0.0.1:${port}`);
  assert.equal(second.address, first.address);
  const created = await within('the answer of another host', waiting);
  assert.deepEqual(await events.next('the end'), ['onAcceptError', { socketId, resultCode: -100 }]);
  assert.ok(created.socketId > Math.max(socketId, idle), 'no id is reused');
  await assert.rejects(tcpServer.getInfo(socketId), { message: 'Socket not found' });
  await tcpServer.close(socketId);
  await assert.rejects(tcpServer.close(socketId), { message: 'Socket not found' });
  // The client still works.
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
  assert.ok(events.isEmpty);
});

test('after a lost connection only persistent sockets are still open', async (t) => {
  const host = await startHost(t);
  const { WebSocket, cut } = cuttable();
  const sockets = await client(t, host, { WebSocket });
  const events = new Inbox();
  const accepts = new Inbox();
  const connects = new Inbox();
  sockets.tcpServer.onAccept.addListener(accepts.push);
  sockets.tcpServer.onAcceptError.addListener(events.push);
  sockets.host.onConnect.addListener(connects.push);
  const kept = await listening(sockets, { persistent: true });
  const lost = await listening(sockets);
  cut();
  assert.deepEqual(await events.next('onAcceptError'), { socketId: lost.socketId, resultCode: -100 });
  await connects.next('onConnect');
  await peer(kept.localPort);
  assert.equal((await accepts.next('onAccept')).socketId, kept.socketId);
  const infos = await sockets.tcpServer.getSockets();
  assert.deepEqual(infos.map((info) => info.socketId), [kept.socketId]);
  assert.ok(events.isEmpty);
});

test('a half-closed connection, whose end was reported, raises no second end when the host is lost', async (t) => {
  const host = await startHost(t);
  const { WebSocket, cut } = cuttable();
  const sockets = await client(t, host, { WebSocket });
  const { tcp, tcpServer } = sockets;
  const accepts = new Inbox();
  const ends = new Inbox();
  tcpServer.onAccept.addListener(accepts.push);
  tcp.onReceiveError.addListener(ends.push);
  tcp.onReceive.addListener(() => {});
  const { localPort } = await listening(sockets);
  const half = net.connect({ port: localPort, host: '127.0.0.1', allowHalfOpen: true });
  half.on('error', () => {});
  half.end();
  const { clientSocketId: first } = await accepts.next('onAccept');
  await tcp.update(first, { allowHalfOpen: true });
  await tcp.setPaused(first, false);
  assert.deepEqual(await ends.next('onReceiveError'), { socketId: first, resultCode: -100 });
  assert.equal((await tcp.getInfo(first)).connected, true);
  await peer(localPort);
  const { clientSocketId: second } = await accepts.next('onAccept');
  cut();
  assert.deepEqual(await ends.next('onReceiveError'), { socketId: second, resultCode: -100 });
  await sockets.tcpServer.create();
  assert.ok(ends.isEmpty);
});

test('calls fail when the client cannot reconnect', async (t) => {
  const host = await startHost(t);
  const sockets = await client(t, host, { reconnectTimeout: 300 });
  const events = new Inbox();
  sockets.tcpServer.onAcceptError.addListener(events.push);
  const kept = await listening(sockets, { persistent: true });
  await host.kill();
  await assert.rejects(within('the answer', sockets.tcpServer.create()), { message: 'net::ERR_CONNECTION_CLOSED' });
  assert.deepEqual(await events.next('onAcceptError'), { socketId: kept.socketId, resultCode: -100 });
  assert.equal(sockets.host.connected, false);
});

test('a socket can be closed in the callback of a call that failed with the connection', async (t) => {
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
  // Without a connection.
  assert.deepEqual(await within('the answer', closed), [undefined, false]);
});

test('calls are answered after a disconnect', async (t) => {
  const host = await startHost(t);
  const sockets = await client(t, host);
  const answer = sockets.tcp.create();
  sockets.host.close();
  await assert.rejects(within('the answer', answer), { message: 'net::ERR_CONNECTION_CLOSED' });
  await assert.rejects(within('the answer', sockets.tcp.create()), { message: 'net::ERR_CONNECTION_CLOSED' });
});

test('a rejected client gets the code', async (t) => {
  const host = await startHost(t, '--token', 'secret');
  await assert.rejects(connect(host.url, { app: 'a' }), { code: 'forbidden' });
  await assert.rejects(connect(host.url, { app: 'a', token: 'Secret' }), { code: 'forbidden' });
  const sockets = await connect(host.url, { app: 'a', token: 'secret', manifest: ALL_PERMISSIONS });
  sockets.host.close();
  const { address } = await new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve({ address: `127.0.0.1:${port}` }));
    });
  });
  await assert.rejects(connect(`ws://${address}`, { app: 'a' }), { code: 'unreachable' });
});

test('a second client of an app gets onRetry and connects after the first disconnects', async (t) => {
  const host = await startHost(t);
  const first = await client(t, host, { app: 'a' });
  const events = new Inbox();
  const second = connect(host.url, { app: 'a', manifest: ALL_PERMISSIONS, onRetry: events.push });
  const { code } = await events.next('onRetry');
  assert.equal(code, 'app-in-use');
  assert.ok(first.host.connected);
  first.host.close();
  const { host: its } = await within('the connection', second);
  its.close();
  assert.ok(events.isEmpty, 'onRetry is called once for each code');
});

test('a second client of an app fails with the code after the timeout', async (t) => {
  const host = await startHost(t);
  await client(t, host, { app: 'a' });
  const second = connect(host.url, { app: 'a', reconnectTimeout: 300, onRetry() {} });
  await assert.rejects(within('the rejection', second), { code: 'app-in-use' });
});

test('a page of another origin gets the code, and a browser-like WebSocket sends the token', async (t) => {
  const host = await startHost(t, '--origin', 'https://good.example=app-a', '--token', 'sécret+/');
  const of = (origin) => class extends WebSocket {
    constructor(url, protocols) {
      // Only Node's class accepts headers.
      super(url, { protocols, headers: { Origin: origin } });
    }
  };
  const options = { app: 'app-a', token: 'sécret+/', manifest: ALL_PERMISSIONS };
  await assert.rejects(connect(host.url, { ...options, WebSocket: of('https://bad.example') }), { code: 'origin' });
  const good = { ...options, WebSocket: of('https://good.example') };
  await assert.rejects(connect(host.url, { ...good, app: 'app-b' }), { code: 'origin' });
  await assert.rejects(connect(host.url, { ...good, token: undefined }), { code: 'forbidden' });
  const sockets = await within('the welcome', connect(host.url, good));
  sockets.host.close();
});
