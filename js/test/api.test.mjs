// The API of chrome.sockets: callbacks, promises, lastError, events and data.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import net from 'node:net';
import test from 'node:test';

import { Inbox, client, startHost, within } from './host.mjs';

const listen = (tcpServer, id, port = 0) => new Promise((resolve) => tcpServer.listen(id, '127.0.0.1', port, resolve));

async function serving(sockets) {
  const { socketId } = await sockets.tcpServer.create();
  assert.equal(await listen(sockets.tcpServer, socketId), 0);
  const { localPort } = await sockets.tcpServer.getInfo(socketId);
  return { socketId, localPort };
}

const peer = (port) => new Promise((resolve, reject) => {
  const socket = net.connect(port, '127.0.0.1', () => resolve(socket));
  socket.once('error', reject);
});

test('lastError is set only during the callback', async (t) => {
  const host = await startHost(t);
  const chrome = { runtime: {} };
  const { tcp, runtime } = await client(t, host, { runtime: chrome.runtime });
  assert.equal(runtime, chrome.runtime);
  const seen = await new Promise((resolve) => {
    assert.equal(tcp.getInfo(99, (...args) => resolve([args, chrome.runtime.lastError])), undefined);
  });
  assert.deepEqual(seen, [[], { message: 'Socket not found' }]);
  assert.equal('lastError' in chrome.runtime, false);
  await new Promise((resolve) => tcp.create((info) => {
    assert.deepEqual(info, { socketId: 1 });
    assert.equal(chrome.runtime.lastError, undefined);
    resolve();
  }));
  await assert.rejects(tcp.getInfo(99), new Error('Socket not found'));
});

test('an unchecked error is logged', async (t) => {
  const host = await startHost(t);
  const { tcp, runtime } = await client(t, host);
  const logged = [];
  t.mock.method(console, 'error', (text) => logged.push(text));
  await new Promise((resolve) => tcp.close(99, () => resolve()));
  await new Promise((resolve) => tcp.close(99, () => resolve(runtime.lastError)));
  assert.deepEqual(logged, ['Unchecked runtime.lastError: Socket not found']);
});

test('a failed promise that is ignored is logged and does not end the program', async (t) => {
  const host = await startHost(t);
  const { tcp } = await client(t, host);
  const logged = [];
  t.mock.method(console, 'error', (text) => logged.push(text));
  tcp.close(99);
  await assert.rejects(tcp.close(99), new Error('Socket not found'));
  await assert.rejects(async () => { await tcp.close(99); }, new Error('Socket not found'));
  await assert.rejects(Promise.all([tcp.create(), tcp.close(99)]), new Error('Socket not found'));
  // An unhandled rejection would have failed the test by now.
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(logged, ['Unchecked runtime.lastError: Socket not found']);
});

test('listeners are added once and called in order, even if one throws', async (t) => {
  const host = await startHost(t);
  const sockets = await client(t, host);
  const { onAccept } = sockets.tcpServer;
  const events = new Inbox();
  const failures = new Inbox();
  globalThis.reportError = failures.push;
  t.after(() => delete globalThis.reportError);
  const first = () => { throw new Error('mine'); };
  const second = (info) => events.push(info);
  for (const listener of [first, second, first, second, undefined, 7]) onAccept.addListener(listener);
  assert.ok(onAccept.hasListener(second) && onAccept.hasListeners());
  const { localPort } = await serving(sockets);
  (await peer(localPort)).destroy();
  await events.next('onAccept');
  assert.equal((await failures.next('the error')).message, 'mine');
  onAccept.removeListener(second);
  onAccept.removeListener(first);
  assert.ok(!onAccept.hasListeners() && !onAccept.hasListener(second));
  assert.ok(events.isEmpty && failures.isEmpty);
});

test('code that awaits an answer continues before the next event', async (t) => {
  const host = await startHost(t);
  const { tcp } = await client(t, host);
  const echo = net.createServer((socket) => socket.write('at once')).listen(0, '127.0.0.1');
  t.after(() => echo.close());
  await new Promise((resolve) => echo.once('listening', resolve));
  for (let round = 0; round < 20; round += 1) {
    const { socketId } = await tcp.create();
    const order = [];
    const done = new Promise((resolve) => {
      const listener = (info) => {
        if (info.socketId !== socketId) return;
        order.push('onReceive');
        tcp.onReceive.removeListener(listener);
        resolve();
      };
      tcp.onReceive.addListener(listener);
    });
    const connected = new Promise((resolve) => tcp.connect(socketId, '127.0.0.1', echo.address().port, resolve));
    connected.then((code) => code).then((code) => order.push(code));
    await within('onReceive', done);
    assert.deepEqual(order, [0, 'onReceive']);
    await tcp.close(socketId);
  }
});

test('the next event waits for an asynchronous listener', async (t) => {
  const host = await startHost(t);
  const sockets = await client(t, host);
  const { tcpServer, tcp } = sockets;
  let whole = 0;
  const size = 256 * 1024;
  const done = new Promise((resolve) => {
    tcp.onReceive.addListener(async ({ data }) => {
      const before = whole;
      await Promise.resolve().then(() => {}).then(() => {});
      // A concurrent event would be lost here.
      whole = before + data.byteLength;
      if (whole === size) resolve();
    });
  });
  tcpServer.onAccept.addListener(({ clientSocketId }) => tcp.setPaused(clientSocketId, false, () => {}));
  const { localPort } = await serving(sockets);
  (await peer(localPort)).end(Buffer.alloc(size));
  await within('all bytes', done);
});

test('large data arrives unchanged and in order in both directions', async (t) => {
  const host = await startHost(t);
  const sockets = await client(t, host);
  const { tcpServer, tcp, runtime } = sockets;
  const data = randomBytes(9 << 20);
  const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');
  const hash = createHash('sha256');
  let received = 0;
  const allReceived = new Promise((resolve) => {
    tcp.onReceive.addListener(({ data: piece }) => {
      assert.ok(piece instanceof ArrayBuffer && piece.byteLength <= 4096, 'an event has at most bufferSize bytes');
      hash.update(new Uint8Array(piece));
      received += piece.byteLength;
      if (received === data.length) resolve();
    });
  });
  const sent = [];
  const answered = new Promise((resolve) => {
    tcpServer.onAccept.addListener(({ clientSocketId }) => {
      tcp.setPaused(clientSocketId, false, () => {});
      const whole = data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
      for (const [from, to] of [[0, 1], [1, 1], [1, 3 << 20], [3 << 20, data.length]]) {
        tcp.send(clientSocketId, whole.slice(from, to), (info) => {
          sent.push([info, runtime.lastError]);
          if (sent.length === 4) resolve();
        });
      }
    });
  });
  const { localPort } = await serving(sockets);
  const stream = await peer(localPort);
  const back = [];
  let length = 0;
  const allEchoed = new Promise((resolve) => stream.on('data', (chunk) => {
    back.push(chunk);
    length += chunk.length;
    if (length === data.length) resolve();
  }));
  stream.write(data);
  await within('all bytes', Promise.all([allReceived, allEchoed]));
  await within('the answers to all sends', answered);
  assert.equal(hash.digest('hex'), digest(data));
  assert.equal(digest(Buffer.concat(back)), digest(data));
  assert.deepEqual(sent, [1, 0, (3 << 20) - 1, 6 << 20].map((bytesSent) => [{ resultCode: 0, bytesSent }, undefined]));
  stream.destroy();
});

test('a WebSocket class that sends later sends the original bytes', async (t) => {
  const host = await startHost(t);
  class Slow extends WebSocket {
    send(bytes) {
      setTimeout(() => super.send(bytes), 20);
    }
  }
  const { tcp } = await client(t, host, { WebSocket: Slow });
  const server = net.createServer();
  t.after(() => server.close());
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { socketId } = await tcp.create();
  const [socket] = await Promise.all([
    new Promise((resolve) => server.once('connection', resolve)),
    new Promise((resolve) => tcp.connect(socketId, '127.0.0.1', server.address().port, resolve)),
  ]);
  const ended = new Promise((resolve) => socket.once('end', resolve));
  let received = '';
  socket.setEncoding('latin1').on('data', (text) => { received += text; });
  const sent = [];
  for (const letter of 'abcd') {
    sent.push(new Promise((resolve) => tcp.send(socketId, Buffer.alloc(100, letter), resolve)));
    // Each send gets its own frame before any frame is sent.
    await new Promise((resolve) => setImmediate(resolve));
  }
  await within('the answers', Promise.all(sent));
  await tcp.close(socketId);
  await within('the end', ended);
  assert.equal(received, [...'abcd'].map((letter) => letter.repeat(100)).join(''));
});

test('a detached buffer sends nothing, and later sends work', async (t) => {
  const host = await startHost(t);
  const { tcp } = await client(t, host);
  const server = net.createServer();
  t.after(() => server.close());
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { socketId } = await tcp.create();
  const [socket] = await Promise.all([
    new Promise((resolve) => server.once('connection', resolve)),
    new Promise((resolve) => tcp.connect(socketId, '127.0.0.1', server.address().port, resolve)),
  ]);
  t.after(() => socket.destroy());
  const received = new Promise((resolve) => socket.once('data', resolve));
  const send = (data) => new Promise((resolve) => tcp.send(socketId, data, resolve));
  const buffer = new ArrayBuffer(8);
  const view = new Uint8Array(buffer, 2, 3);
  structuredClone(buffer, { transfer: [buffer] });
  for (const detached of [buffer, view]) {
    assert.deepEqual(await within('the answer', send(detached)), { resultCode: 0, bytesSent: 0 });
  }
  await within('the answer', send(Buffer.from('alive')));
  assert.equal(`${await within('the data', received)}`, 'alive');
});

test('secure fails on an unconnected socket and keeps it', async (t) => {
  const host = await startHost(t);
  const { tcp, runtime } = await client(t, host);
  const { socketId } = await tcp.create({ persistent: true });
  const secure = (options) => new Promise((resolve) => {
    tcp.secure(socketId, options, (...args) => resolve([args, runtime.lastError]));
  });
  const old = { tlsVersion: { min: 'tls1', max: 'tls1.1' } };
  for (const options of [{}, old]) {
    assert.deepEqual(await secure(options), [[-4], { message: 'Socket not connected' }]);
  }
  const server = net.createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  await tcp.setPaused(socketId, true);
  await new Promise((resolve) => tcp.connect(socketId, '127.0.0.1', server.address().port, resolve));
  // These versions are no longer supported, and no newer one is used instead.
  assert.deepEqual(await secure(old), [[-112], { message: 'net::ERR_NO_SSL_VERSIONS_ENABLED' }]);
  assert.ok((await tcp.getInfo(socketId)).connected);
  await tcp.close(socketId);
});

test('sends beyond the quota fail', async (t) => {
  const host = await startHost(t);
  const sockets = await client(t, host);
  const { tcp, runtime } = sockets;
  const deaf = net.createServer((socket) => socket.pause()).listen(0, '127.0.0.1');
  await new Promise((resolve) => deaf.once('listening', resolve));
  t.after(() => deaf.close());
  const { socketId } = await tcp.create();
  await new Promise((resolve) => tcp.connect(socketId, '127.0.0.1', deaf.address().port, resolve));
  const big = new ArrayBuffer(50 << 20);
  const answers = new Inbox();
  for (let send = 0; send < 5; send += 1) {
    tcp.send(socketId, big, (...args) => answers.push([send, args, runtime.lastError?.message]));
  }
  assert.deepEqual(await answers.next('an answer'), [4, [], 'Exceeded write quota.']);
  await tcp.close(socketId);
});

test('calls with long names and addresses are answered', async (t) => {
  const host = await startHost(t);
  const { tcp, tcpServer, runtime } = await client(t, host);
  const long = 'x'.repeat(3 << 20);
  await assert.rejects(tcp.create({ name: long }), { message: 'net::ERR_INVALID_ARGUMENT' });
  const { socketId } = await tcpServer.create({ name: '\u{1f40c}\u0000"'.repeat(300) });
  await assert.rejects(tcpServer.update(socketId, { name: long }), { message: 'net::ERR_INVALID_ARGUMENT' });
  const code = await new Promise((resolve) => tcpServer.listen(socketId, long, 0, (code) => resolve([code, runtime.lastError.message])));
  assert.deepEqual(code, [-4, 'net::ERR_INVALID_ARGUMENT']);
  const [info] = await tcpServer.getSockets();
  assert.equal(info.name, '\u{1f40c}\u0000"'.repeat(300));
});

test('a list of thousands of sockets is complete', async (t) => {
  const host = await startHost(t);
  const { tcp } = await client(t, host);
  const name = 'n'.repeat(1000);
  const made = await Promise.all(Array.from({ length: 3000 }, () => tcp.create({ name })));
  const infos = await tcp.getSockets();
  const ids = (list) => list.map(({ socketId }) => socketId).sort((a, b) => a - b);
  assert.deepEqual(ids(infos), ids(made));
});

test('with allowHalfOpen a socket answers after its peer has shut its side', async (t) => {
  const host = await startHost(t);
  const { tcp, tcpServer } = await client(t, host);
  const { socketId, localPort } = await serving({ tcpServer });
  const accepted = new Inbox();
  const ends = new Inbox();
  tcpServer.onAccept.addListener((info) => accepted.push(info));
  tcp.onReceiveError.addListener((info) => ends.push(info));
  tcp.onReceive.addListener(() => {});
  for (const allowHalfOpen of [true, false]) {
    const half = net.connect({ port: localPort, host: '127.0.0.1', allowHalfOpen: true });
    half.end('a request');
    const { clientSocketId } = await accepted.next('onAccept');
    await tcp.update(clientSocketId, { allowHalfOpen });
    await tcp.setPaused(clientSocketId, false);
    assert.deepEqual(await ends.next('onReceiveError'), { socketId: clientSocketId, resultCode: -100 });
    assert.equal((await tcp.getInfo(clientSocketId)).connected, allowHalfOpen);
    const sent = await new Promise((resolve) => tcp.send(clientSocketId, new ArrayBuffer(8), resolve));
    assert.equal(sent.resultCode, allowHalfOpen ? 0 : -15);
    await tcp.close(clientSocketId);
    let received = 0;
    for await (const chunk of half) received += chunk.length;
    assert.equal(received, allowHalfOpen ? 8 : 0);
  }
  await assert.rejects(async () => tcpServer.update(socketId, { allowHalfOpen: true }), TypeError);
});
