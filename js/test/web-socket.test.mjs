// The global WebSocket of Node as the transport.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import test from 'node:test';

import { connect } from '../index.mjs';
import { webSocket } from '../web-socket.mjs';
import { ALL_PERMISSIONS, client, startHost, within } from './host.mjs';

/** Listens, and resolves to the URL and to the head of the first handshake, which it answers by `answer(socket)`. */
async function simulatedHost(t, answer) {
  const server = net.createServer().listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const head = once(server, 'connection').then(async ([socket]) => {
    socket.on('error', () => {});
    const [head] = await once(socket, 'data');
    answer(socket);
    return String(head);
  });
  return { url: `ws://127.0.0.1:${server.address().port}`, head };
}

const refuse = (socket) => socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n');

test('the handshake carries the token as a subprotocol, and no origin', async (t) => {
  const { url, head } = await simulatedHost(t, refuse);
  await assert.rejects(connect(url, { app: 'a', token: 'a+/é' }), { code: 'unreachable' });
  const lines = (await head).toLowerCase();
  assert.match(lines, /\r\nsec-websocket-protocol: chrome-sockets, chrome-sockets\.token\.[a-z0-9_-]+\r\n/);
  assert.match(await head, new RegExp(Buffer.from('a+/é').toString('base64url')));
  // A host treats a client with an origin as a page.
  assert.doesNotMatch(lines, /\r\norigin:/);
});

test('a host that selects no extension gets plain frames', async (t) => {
  const host = await startHost(t);
  const made = [];
  class Observed extends WebSocket {
    constructor(...args) {
      super(...args);
      made.push(this);
    }
  }
  const { tcp } = await client(t, host, { WebSocket: Observed });
  assert.equal(made.length, 1);
  assert.equal(made[0].extensions, '', 'Node offers permessage-deflate');
  assert.equal(made[0].binaryType, 'arraybuffer');
  assert.equal((await tcp.create()).socketId, 1);
});

test('an error without a code is unreachable, and keeps its cause', async (t) => {
  const { url } = await simulatedHost(t, refuse);
  const error = await connect(url, { app: 'a' }).then(() => assert.fail('no host'), (error) => error);
  assert.equal(error.code, 'unreachable');
  assert.match(error.message, new RegExp(`^no connection to the host at ${url}`));
  assert.ok(error.cause instanceof Error);
});

test('the error of another class keeps its code', async () => {
  class Failing {
    constructor() {
      queueMicrotask(() => this.onerror({ error: Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }) }));
    }

    close() {}
  }
  const options = { app: 'a', WebSocket: Failing };
  await assert.rejects(connect('ws://127.0.0.1:1', options), { code: 'ECONNREFUSED' });
});

test('without a WebSocket class the error says what to install', async (t) => {
  const { WebSocket } = globalThis;
  t.after(() => { globalThis.WebSocket = WebSocket; });
  delete globalThis.WebSocket;
  await assert.rejects(connect('ws://127.0.0.1:1', { app: 'a' }), { message: /Node has it since version 22/ });
});

test('frames are never changed after they were given to the WebSocket of Node', () => {
  const sent = [];
  class Recorded {
    send(bytes) {
      sent.push(bytes);
    }
  }
  const transport = webSocket('ws://127.0.0.1:1', Recorded)({ onOpen() {}, onFrame() {}, onClose() {} });
  assert.equal(transport.buffer, undefined, 'a buffer that is used again');
  const own = webSocket('ws://127.0.0.1:1', globalThis.WebSocket)({ onOpen() {}, onFrame() {}, onClose() {} });
  assert.equal(own.buffer, undefined);
  own.close();
});

test('a host that does not answer the closing handshake: the client is closed at once', async (t) => {
  const host = await startHost(t);
  const sockets = await within('the welcome', connect(host.url, { app: 'a', manifest: ALL_PERMISSIONS }));
  host.child.kill('SIGSTOP');
  sockets.host.close();
  assert.equal(sockets.host.connected, false);
  await assert.rejects(within('the answer', sockets.tcp.create()), { message: 'net::ERR_CONNECTION_CLOSED' });
});
