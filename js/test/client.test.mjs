// The client against a host that the test simulates frame by frame.

import assert from 'node:assert/strict';
import test from 'node:test';

import { makeSockets } from '../api.mjs';
import { Inbox, within } from './host.mjs';

/** Connects a client to a simulated host. Returns both. */
async function connectToFake(t, limits = {}) {
  const transports = new Inbox();
  const open = (handlers) => {
    const sent = new Inbox();
    const transport = { encoding: 'json', send: (frame) => sent.push(structuredClone(frame)), close() {} };
    transports.push({ sent, handlers });
    queueMicrotask(handlers.onOpen);
    return transport;
  };
  /** Accepts the next connection of the client as this instance of a host. */
  const accept = async (instance) => {
    const { sent, handlers } = await transports.next('the connection');
    await sent.next('the hello');
    let frames = 0;
    const sendFrame = (frame) => handlers.onFrame(frame, JSON.stringify(frame).length);
    sendFrame({ welcome: { instance, limits } });
    const host = {
      sent,
      send: (...messages) => sendFrame({ messages }),
      /** The client's next frame. */
      async frame() {
        const frame = await sent.next('a frame');
        frames += frame.messages ? 1 : 0;
        return frame;
      },
      acknowledge: () => sendFrame({ ack: frames }),
      /** The client's next call. Acknowledges the frames. */
      async call() {
        while (host.calls.length === 0) {
          const { messages = [] } = await host.frame();
          host.acknowledge();
          host.calls.push(...messages.filter(([id]) => typeof id === 'number'));
        }
        return host.calls.shift();
      },
      calls: [],
      disconnect: () => handlers.onClose(new Error('cut')),
    };
    return host;
  };
  const runtime = {};
  const made = makeSockets({ open, hello: () => ({}), runtime });
  t.after(() => made.client.close());
  made.client.start();
  return { ...made, runtime, host: await accept('one'), accept };
}

/** Waits for this many turns of the event loop, within which everything due happens. */
const turns = async (count = 20) => {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

test('unanswered calls of a lost connection do not count for the next one', async (t) => {
  const { sockets, host, accept } = await connectToFake(t, { calls: 2 });
  const failed = [sockets.tcp.create(), sockets.tcp.create()];
  for (const _ of failed) assert.equal((await host.call())[1], 'tcp.create');
  host.disconnect();
  for (const answer of failed) await assert.rejects(within('the answer', answer), { message: 'net::ERR_CONNECTION_CLOSED' });
  const again = await accept('one');
  const made = [sockets.tcp.create(), sockets.tcp.create()];
  for (const [index, answer] of made.entries()) {
    const [id] = await again.call();
    again.send(['answer', id, { socketId: 10 + index }]);
    assert.deepEqual(await within('the answer', answer), { socketId: 10 + index });
  }
});

test('the unsent rest of a failed send returns its quota', async (t) => {
  // Each piece counts for 1,024 bytes, and one piece is in flight at a time.
  const { sockets, host } = await connectToFake(t, { data: 10, quota: 3 * 1024, frame: 4 * 78, frames: 1, window: 78 });
  // The message `listen` has its own frame.
  await host.frame();
  host.acknowledge();
  const send = () => new Promise((resolve) => sockets.tcp.send(1, new ArrayBuffer(30), resolve));
  const failed = send();
  const { messages: [[id, name]] } = await host.frame();
  assert.equal(name, 'tcp.send');
  host.send(['error', id, 'net::ERR_CONNECTION_RESET', { resultCode: -101 }]);
  assert.deepEqual(await within('the answer', failed), { resultCode: -101 });
  // Now the client could send the next pieces.
  host.acknowledge();
  await turns();
  const answer = send();
  for (let piece = 0; piece < 3; piece += 1) {
    const [id, name] = await within('the next piece', host.call());
    assert.equal(name, 'tcp.send');
    host.send(['answer', id, { resultCode: 0, bytesSent: 10 }]);
  }
  assert.deepEqual(await within('the answer', answer), { resultCode: 0, bytesSent: 30 });
});

test('a datagram is one call whatever the limits, and counts in the quota', async (t) => {
  const { sockets, runtime, host } = await connectToFake(t, { data: 1 << 17, quota: 70_000 });
  const send = (length) => new Promise((resolve) => {
    sockets.udp.send(1, new Uint8Array(length).fill(120), 'a.example', 53, (...values) => resolve([...values, runtime.lastError?.message]));
  });
  const first = send(1 << 20);
  // A longer one than any datagram is cut, and fails like the whole.
  const second = send(1);
  const third = send(5000);
  assert.deepEqual(await within('the answer', third), ['Exceeded write quota.']);
  const [id, name, socket, data, ...to] = await host.call();
  assert.deepEqual([name, socket, atob(data).length, to], ['udp.send', 1, 65_536, ['a.example', 53]]);
  host.send(['error', id, 'net::ERR_MSG_TOO_BIG', { resultCode: -142 }]);
  assert.deepEqual(await within('the answer', first), [{ resultCode: -142 }, 'net::ERR_MSG_TOO_BIG']);
  const [next, , , one] = await host.call();
  assert.equal(one, btoa('x'));
  const again = send(60_000);
  host.send(['answer', next, { resultCode: 0, bytesSent: 1 }]);
  assert.deepEqual(await within('the answer', second), [{ resultCode: 0, bytesSent: 1 }, undefined]);
  const [last] = await host.call();
  host.send(['answer', last, { resultCode: 0, bytesSent: 60_000 }]);
  assert.deepEqual(await within('the answer', again), [{ resultCode: 0, bytesSent: 60_000 }, undefined]);
});

test('accepts are acknowledged at once, and data is acknowledged later', async (t) => {
  const { sockets, host } = await connectToFake(t, { frames: 8 });
  sockets.tcpServer.onAccept.addListener(() => {});
  sockets.tcp.onReceive.addListener(() => {});
  const acknowledged = async () => {
    await turns();
    let last;
    while (!host.sent.isEmpty) last = (await host.sent.next('a frame')).ack ?? last;
    return last;
  };
  await acknowledged();
  host.send(['tcp.onReceive', 1, btoa('data')]);
  assert.equal(await acknowledged(), undefined);
  host.send(['tcpServer.onAccept', 1, 2]);
  assert.equal(await acknowledged(), 2);
  host.send(['tcpServer.onAcceptError', 1, -100]);
  assert.equal(await acknowledged(), 3);
});

test('another host has none of the sockets, even if it reuses their ids', async (t) => {
  const { sockets, host, accept } = await connectToFake(t);
  const ends = new Inbox();
  sockets.tcpServer.onAcceptError.addListener(ends.push);
  const calls = async (from, answer, ...values) => {
    const [id] = await from.call();
    from.send(['answer', id, ...values]);
    return within('the answer', answer);
  };
  const created = await calls(host, sockets.tcpServer.create({ persistent: true }), { socketId: 1 });
  const listening = new Promise((resolve) => sockets.tcpServer.listen(created.socketId, '::1', 0, resolve));
  assert.equal(await calls(host, listening, 0), 0);

  // The same instance still has the socket.
  host.disconnect();
  const same = await accept('one');
  // The client asks only for the namespaces in which it has persistent sockets.
  const [asked, name] = await same.call();
  assert.equal(name, 'tcpServer.getSockets');
  same.send(['answer', asked, [{ socketId: 1, persistent: true, paused: false, localAddress: '::1', localPort: 7 }]]);
  await turns();
  assert.ok(ends.isEmpty);

  // Another instance does not, even if it has one with the same id.
  same.disconnect();
  const other = await accept('two');
  assert.deepEqual(await ends.next('the end'), { socketId: 1, resultCode: -100 });
  assert.deepEqual(await calls(other, sockets.tcpServer.create(), { socketId: 1 }), { socketId: 2 });
  for (const space of ['tcp', 'udp']) {
    const kept = await calls(other, sockets[space].create({ persistent: true }), { socketId: 1 });
    assert.deepEqual(kept, { socketId: 1 });
  }
  other.disconnect();
  const reconnected = await accept('two');
  const alive = { socketId: 1, persistent: true, paused: false };
  for (const space of ['tcp', 'udp']) {
    const [id, name] = await reconnected.call();
    assert.equal(name, `${space}.getSockets`);
    reconnected.send(['answer', id, [space === 'tcp' ? { ...alive, connected: false } : alive]]);
  }
  for (const space of ['tcp', 'udp']) {
    assert.deepEqual(await calls(reconnected, sockets[space].getInfo(1), { socketId: 1 }), { socketId: 1 });
  }
  reconnected.disconnect();
  const third = await accept('three');
  assert.deepEqual(await calls(third, sockets.tcpServer.create(), { socketId: 1 }), { socketId: 3 });
});
