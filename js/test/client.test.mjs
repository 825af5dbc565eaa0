// The client against a host that the test plays itself, frame by frame.

import assert from 'node:assert/strict';
import test from 'node:test';

import { makeSockets } from '../api.mjs';
import { Inbox, within } from './host.mjs';

/** A client that has come in, and the host's side of it: what it says, and what the client says of that. */
async function met(t, limits = {}) {
  const transports = new Inbox();
  const open = (handlers) => {
    const said = new Inbox();
    const transport = { encoding: 'json', send: (frame) => said.push(structuredClone(frame)), close() {} };
    transports.push({ said, handlers });
    queueMicrotask(handlers.onOpen);
    return transport;
  };
  /** The next time that the client comes in, to this instance of a host. */
  const next = async (instance) => {
    const { said, handlers } = await transports.next('the connection');
    await said.next('the hello');
    let frames = 0;
    const say = (frame) => handlers.onFrame(frame, JSON.stringify(frame).length);
    say({ welcome: { instance, limits } });
    const host = {
      said,
      say: (...messages) => say({ messages }),
      /** The next frame. */
      async frame() {
        const frame = await said.next('a frame');
        frames += frame.messages ? 1 : 0;
        return frame;
      },
      acknowledge: () => say({ ack: frames }),
      /** The next call, whatever stands between; what has come is acknowledged. */
      async call() {
        while (host.waiting.length === 0) {
          const { messages = [] } = await host.frame();
          host.acknowledge();
          host.waiting.push(...messages.filter(([id]) => typeof id === 'number'));
        }
        return host.waiting.shift();
      },
      waiting: [],
      lose: () => handlers.onClose(new Error('cut')),
    };
    return host;
  };
  const made = makeSockets({ open, hello: () => ({}) });
  t.after(() => made.client.close());
  made.client.start();
  return { ...made, host: await next('one'), next };
}

/** What has to happen happens within this many turns of the event loop, whatever the clock says. */
const turns = async (count = 20) => {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

test('calls that a lost host has not answered take none of the room of those to the next', async (t) => {
  const { sockets, host, next } = await met(t, { calls: 2 });
  const failed = [sockets.tcp.create(), sockets.tcp.create()];
  for (const _ of failed) assert.equal((await host.call())[1], 'tcp.create');
  host.lose();
  for (const answer of failed) await assert.rejects(within('the answer', answer), { message: 'net::ERR_CONNECTION_CLOSED' });
  const again = await next('one');
  const made = [sockets.tcp.create(), sockets.tcp.create()];
  for (const [index, answer] of made.entries()) {
    const [id] = await again.call();
    again.say(['answer', id, { socketId: 10 + index }]);
    assert.deepEqual(await within('the answer', answer), { socketId: 10 + index });
  }
});

test('what is left of a send that has failed gives its quota back', async (t) => {
  // Each piece takes 1,024 bytes of it, and one piece is on its way at a time.
  const { sockets, host } = await met(t, { data: 10, quota: 3 * 1024, frame: 4 * 78, frames: 1, window: 78 });
  // That of the events takes a frame of its own.
  await host.frame();
  host.acknowledge();
  const send = () => new Promise((resolve) => sockets.tcp.send(1, new ArrayBuffer(30), resolve));
  const failed = send();
  const { messages: [[id, name]] } = await host.frame();
  assert.equal(name, 'tcp.send');
  host.say(['error', id, 'net::ERR_CONNECTION_RESET', { resultCode: -101 }]);
  assert.deepEqual(await within('the answer', failed), { resultCode: -101 });
  // The next pieces would leave now.
  host.acknowledge();
  await turns();
  const answer = send();
  for (let piece = 0; piece < 3; piece += 1) {
    const [id, name] = await within('the next piece', host.call());
    assert.equal(name, 'tcp.send');
    host.say(['answer', id, { resultCode: 0, bytesSent: 10 }]);
  }
  assert.deepEqual(await within('the answer', answer), { resultCode: 0, bytesSent: 30 });
});

test('an accepted connection is acknowledged at once, and data when there is more', async (t) => {
  const { sockets, host } = await met(t, { frames: 8 });
  sockets.tcpServer.onAccept.addListener(() => {});
  sockets.tcp.onReceive.addListener(() => {});
  const acknowledged = async () => {
    await turns();
    let last;
    while (!host.said.isEmpty) last = (await host.said.next('a frame')).ack ?? last;
    return last;
  };
  await acknowledged();
  host.say(['tcp.onReceive', 1, btoa('data')]);
  assert.equal(await acknowledged(), undefined);
  host.say(['tcpServer.onAccept', 1, 2]);
  assert.equal(await acknowledged(), 2);
  host.say(['tcpServer.onAcceptError', 1, -100]);
  assert.equal(await acknowledged(), 3);
});

test('another host has none of the sockets, though it has others with their ids', async (t) => {
  const { sockets, host, next } = await met(t);
  const ends = new Inbox();
  sockets.tcpServer.onAcceptError.addListener(ends.push);
  const calls = async (from, answer, ...values) => {
    const [id] = await from.call();
    from.say(['answer', id, ...values]);
    return within('the answer', answer);
  };
  const created = await calls(host, sockets.tcpServer.create({ persistent: true }), { socketId: 1 });
  const listening = new Promise((resolve) => sockets.tcpServer.listen(created.socketId, '::1', 0, resolve));
  assert.equal(await calls(host, listening, 0), 0);

  // The same one still has it.
  host.lose();
  const same = await next('one');
  for (const space of ['tcpServer', 'tcp']) {
    const [id, name] = await same.call();
    assert.equal(name, `${space}.getSockets`);
    const info = { socketId: 1, persistent: true, paused: false, localAddress: '::1', localPort: 7 };
    same.say(['answer', id, space === 'tcpServer' ? [info] : []]);
  }
  await turns();
  assert.ok(ends.isEmpty);

  // Each other one has not, whatever it has.
  same.lose();
  const other = await next('two');
  assert.deepEqual(await ends.next('the end'), { socketId: 1, resultCode: -100 });
  assert.deepEqual(await calls(other, sockets.tcpServer.create(), { socketId: 1 }), { socketId: 2 });
  const kept = await calls(other, sockets.tcp.create({ persistent: true }), { socketId: 1 });
  other.lose();
  const itAgain = await next('two');
  for (const space of ['tcpServer', 'tcp']) {
    const [id, name] = await itAgain.call();
    assert.equal(name, `${space}.getSockets`);
    itAgain.say(['answer', id, space === 'tcp' ? [{ socketId: 1, persistent: true, paused: false, connected: false }] : []]);
  }
  const { socketId } = kept;
  assert.deepEqual(await calls(itAgain, sockets.tcp.getInfo(socketId), { socketId: 1 }), { socketId });
  itAgain.lose();
  const third = await next('three');
  assert.deepEqual(await calls(third, sockets.tcpServer.create(), { socketId: 1 }), { socketId: 3 });
});
