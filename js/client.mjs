// The client side of docs/protocol.md: sends calls, raises events, and reconnects when the connection is lost.

import * as frames from './frames.mjs';
import { LOST, Mirror } from './mirror.mjs';

/** The defaults of the limits in the welcome. */
const LIMITS = { frame: 1 << 20, data: 1 << 19, frames: 4, window: 1 << 22, quota: 200 << 20, calls: 1 << 14 };

/** The least that a send counts for in the quota. */
const MIN_SEND = 1024;

/** No datagram is longer. The host rejects this much of a longer one as it would the whole. */
const MAX_DATAGRAM = 65536;

/** Longer texts are cut: the host rejects the rest as well as the whole, since no valid name or address is as long. */
const MAX_TEXT = 16384;

/** The promise reactions in a row that an app can run between two events. */
const MICROTASKS = 8;

const MIN_RETRY_DELAY = 50;
const MAX_RETRY_DELAY = 5000;

/** The close codes after which connecting again cannot succeed. */
const FINAL = ['bad-frame', 'bad-hello', 'version', 'forbidden', 'origin', 'unknown-app', 'bad-manifest', 'overrun'];

/** The close codes of a host that may accept the app later. */
const TEMPORARY = ['app-in-use', 'busy', 'memory'];

/** The events that the host retains until they are acknowledged, and would give to the next client. */
const RETAINED = ['tcpServer.onAccept', 'tcpServer.onAcceptError', 'tcpServer.onHandshakeError'];

/** The functions whose callbacks get a result code. */
const WITH_CODE = [
  'listen', 'connect', 'secure', 'setKeepAlive', 'setNoDelay', 'bind', 'joinGroup', 'leaveGroup', 'setMulticastTimeToLive',
  'setMulticastLoopbackMode', 'setBroadcast',
];

export class Client {
  #open;
  #hello;
  #reconnectTimeout;
  #onEvent;
  #onRetry;
  /** The code that `onRetry` was last called with. */
  #retryCode;
  #mirror = new Mirror();
  #limits = LIMITS;
  /** The run of the host that the ids of sockets belong to. */
  #instance;

  /** 'connecting', 'connected' or 'closed'. */
  #state = 'connecting';
  #transport;
  /** When the client began to connect. */
  #connectingSince = Date.now();
  #retryDelay = MIN_RETRY_DELAY;
  #timers = new Set();
  #started = withResolvers();

  #lastCall = 0;
  /** The calls that are not sent, and their size. */
  #queue = [];
  #queuedSize = 0;
  /** The calls that are sent and not answered. */
  #calls = new Map();
  /** How many of them are not sends. */
  #callCount = 0;
  /** The part of the quota that sends use. */
  #quotaUsed = 0;
  /** The events that the app listens for. */
  #events = [];
  #isFlushScheduled = false;

  /** The sizes of the sent frames that the host has not acknowledged, and their sum. */
  #inFlight = [];
  #unacknowledged = 0;
  /** How many sent frames the host has acknowledged. */
  #acknowledged = 0;
  /** How many frames of the host were handled, how many of them were acknowledged, and the bytes of the others. */
  #handled = 0;
  #handledAcknowledged = 0;
  #handledBytes = 0;

  /** The frames of the host that are not handled. */
  #received = [];
  /** The app runs: the next message waits. */
  #isAppRunning = false;

  /**
   * `open({ onOpen, onFrame, onClose })` opens a transport `{ encoding, buffer, send, close }`, which calls `onOpen()`,
   * `onFrame(frame, size)` and `onClose(error)`. `onEvent(event, values)` raises an event, and returns whether a listener
   * continues asynchronously. `onRetry(error)` is called when the host rejects the client for now.
   */
  constructor({ open, hello, reconnectTimeout, onEvent, onRetry = () => {} }) {
    this.#open = open;
    this.#hello = hello;
    this.#reconnectTimeout = reconnectTimeout;
    this.#onEvent = onEvent;
    this.#onRetry = onRetry;
  }

  /** Connects. Rejects if the host is unreachable or rejects the client. */
  start() {
    this.#connect();
    return this.#started.promise;
  }

  get isConnected() {
    return this.#state === 'connected';
  }

  /** Disconnects for good. */
  close(error = new Error('closed')) {
    if (this.#state === 'closed') return;
    const wasConnected = this.isConnected;
    this.#state = 'closed';
    for (const timer of this.#timers) clearTimeout(timer);
    this.#received = [];
    this.#transport?.close();
    this.#started.reject(error);
    if (wasConnected) this.#onEvent('host.disconnect', [error]);
    this.#failCalls();
    this.#raiseErrors(this.#mirror.lose(() => true));
  }

  /** Sets the events that the app listens for. */
  listen(events) {
    this.#events = events;
    if (!this.isConnected) return;
    this.#enqueue({ message: ['listen', events], size: 128 });
  }

  /**
   * Makes a call. Calls `callback(lastError, values)` once, asynchronously; it returns whether the app continues
   * asynchronously.
   */
  call(name, args, callback) {
    if (this.#mirror.closesLost(name, args[0])) return queueMicrotask(() => callback(undefined, []));
    if (this.#state === 'closed') return queueMicrotask(() => callback(...failure(name)));
    if (!isSend(name)) {
      args = args.map((value) => (typeof value === 'string' ? value.slice(0, MAX_TEXT) : value));
      if (typeof args[0]?.name === 'string') args[0] = { ...args[0], name: args[0].name.slice(0, MAX_TEXT) };
      if (typeof args[1]?.name === 'string') args[1] = { ...args[1], name: args[1].name.slice(0, MAX_TEXT) };
      return this.#enqueue({ name, args, callback, size: 64 + 6 * JSON.stringify(args).length, charge: 0 });
    }
    const [id, data, ...to] = args;
    const pieces = name === 'tcp.send' ? this.#pieces(data) : [data.subarray(0, MAX_DATAGRAM)];
    if (to.length > 0) to[0] = to[0].slice(0, MAX_TEXT);
    const size = 64 + 6 * (to[0]?.length ?? 0);
    const charge = pieces.reduce((sum, piece) => sum + Math.max(piece.length, MIN_SEND), 0);
    if (this.#quotaUsed + charge > this.#limits.quota) {
      return queueMicrotask(() => callback('Exceeded write quota.', []));
    }
    this.#quotaUsed += charge;
    const combined = pieces.length === 1 ? callback : combine(pieces.length, callback);
    for (const piece of pieces) {
      this.#enqueue({
        name,
        args: [id, piece, ...to],
        callback: combined,
        size: size + Math.ceil((piece.length * 4) / 3),
        charge: Math.max(piece.length, MIN_SEND),
      });
    }
  }

  /** Cuts the data of a `tcp.send` into pieces that fit in a frame. */
  #pieces(data) {
    const pieces = [];
    let at = 0;
    do {
      pieces.push(data.subarray(at, at + this.#limits.data));
      at += this.#limits.data;
    } while (at < data.length);
    return pieces;
  }

  #enqueue(call) {
    this.#queue.push(call);
    this.#queuedSize += call.size;
    if (this.#isFlushScheduled || this.#isAppRunning) return;
    // In a microtask, so that calls of one task share a frame.
    this.#isFlushScheduled = true;
    queueMicrotask(() => {
      this.#isFlushScheduled = false;
      this.#flush();
    });
  }

  /** Sends the queued calls as far as the limits allow, and an acknowledgement if one is due. */
  #flush(mustAcknowledge = false) {
    if (!this.isConnected) return;
    const { frame, frames: maxFrames, window, calls } = this.#limits;
    const full = frame / 4;
    while (this.#queue.length > 0) {
      // While many frames are unacknowledged, calls collect until a frame is full.
      if (this.#inFlight.length >= maxFrames && this.#queuedSize < full) break;
      if (this.#unacknowledged >= window) break;
      const messages = [];
      let size = 0;
      let count = 0;
      for (const call of this.#queue) {
        if (size >= full || (call.charge === 0 && this.#callCount >= calls)) break;
        count += 1;
        size += call.size;
        const message = this.#message(call);
        if (message) messages.push(message);
      }
      if (count === 0) break;
      this.#queue.splice(0, count);
      this.#queuedSize -= size;
      if (messages.length === 0) continue;
      this.#inFlight.push(size);
      this.#unacknowledged += size;
      this.#send({ messages });
    }
    const due = this.#handled - this.#handledAcknowledged;
    if (due > 0 && (mustAcknowledge || due >= maxFrames / 2 || this.#handledBytes >= window / 8)) this.#send({});
  }

  /** The message of a call; nothing for the rest of a send that has failed. */
  #message(call) {
    if (call.message) return call.message;
    if (call.callback.hasFailed) {
      this.#quotaUsed -= call.charge;
      return undefined;
    }
    const id = ++this.#lastCall;
    this.#calls.set(id, call);
    if (call.charge === 0) this.#callCount += 1;
    const args = [...call.args];
    if (typeof args[0] === 'number') args[0] = this.#mirror.toHost(call.name, args[0]);
    while (args.length > 0 && args.at(-1) === null) args.pop();
    return [id, call.name, ...args];
  }

  #send(frame) {
    if (this.#handled > this.#handledAcknowledged) {
      frame.ack = this.#handledAcknowledged = this.#handled;
      this.#handledBytes = 0;
    }
    const { encoding, buffer } = this.#transport;
    this.#transport.send(frames[encoding](frame, buffer));
  }

  // The connection.

  #connect() {
    let isOver = false;
    // The handlers of an old transport do nothing.
    const guard = (handler) => (...values) => {
      if (!isOver && this.#state !== 'closed') handler(...values);
    };
    const onClose = guard((error) => {
      isOver = true;
      if (!this.isConnected) return this.#connectFailed(error);
      // After the frames that were received before.
      this.#received.push({ disconnect: error });
      this.#handleFrames();
    });
    let transport;
    const fail = (error) => {
      transport?.close();
      onClose(error);
    };
    try {
      transport = this.#open({
        onOpen: guard(() => transport.send(frames[transport.encoding]({ hello: this.#hello() }))),
        onFrame: guard((received, size) => {
          let frame;
          try {
            frame = frames.read(received);
          } catch (error) {
            return fail(error);
          }
          if (frame.close) {
            fail(Object.assign(new Error(frame.close.message), { code: frame.close.code }));
          } else if (this.isConnected) {
            frame.size = size;
            this.#received.push(frame);
            this.#handleFrames();
          } else if (frame.welcome) {
            this.#transport = transport;
            this.#connected(frame.welcome);
          } else {
            fail(new Error('the host did not send a welcome'));
          }
        }),
        onClose,
      });
    } catch (error) {
      onClose(error);
    }
  }

  #connected({ instance, limits }) {
    this.#limits = { ...LIMITS, ...limits };
    this.#state = 'connected';
    this.#retryCode = undefined;
    this.#retryDelay = MIN_RETRY_DELAY;
    this.#inFlight = [];
    this.#unacknowledged = this.#acknowledged = 0;
    this.#handled = this.#handledAcknowledged = this.#handledBytes = 0;
    const isOther = this.#instance !== undefined && this.#instance !== instance;
    this.#instance = instance;
    const queue = this.#queue.filter((call) => !call.message);
    this.#queue = [];
    this.#queuedSize = 0;
    // Another run of the host has none of the sockets, and may use their ids for others.
    const lost = isOther ? this.#mirror.lose(() => true) : [];
    if (isOther) this.#mirror.startNewIds();
    if (this.#events.length > 0) this.listen(this.#events);
    this.#checkPersistent();
    queue.forEach((call) => this.#enqueue(call));
    this.#started.resolve();
    this.#onEvent('host.connect', []);
    this.#raiseErrors(lost);
  }

  /** Raises errors for the persistent sockets that the host no longer has. */
  #checkPersistent() {
    for (const space of this.#mirror.persistentSpaces()) {
      const callback = (lastError, [infos]) => {
        if (lastError) return;
        const present = new Set(infos.map((info) => info.socketId));
        this.#raiseErrors(this.#mirror.lose((of, id, socket) => of === space && socket.persistent && !present.has(id)));
      };
      this.#enqueue({ name: `${space}.getSockets`, args: [], callback, size: 64, charge: 0 });
    }
  }

  #connectFailed(error) {
    if (FINAL.includes(error?.code)) return this.close(error);
    const isTemporary = TEMPORARY.includes(error?.code);
    // The first attempt fails at once if no host answers, and waits for one that rejects the client for now.
    if (this.#instance === undefined && !isTemporary) this.#started.reject(error);
    if (isTemporary && this.#retryCode !== error.code) {
      this.#retryCode = error.code;
      this.#onRetry(error);
    }
    if (Date.now() - this.#connectingSince >= this.#reconnectTimeout) {
      this.#started.reject(error);
      this.#failCalls();
      this.#raiseErrors(this.#mirror.lose(() => true));
    }
    this.#setTimer(this.#retryDelay, () => this.#connect());
    this.#retryDelay = Math.min(this.#retryDelay * 2, MAX_RETRY_DELAY);
  }

  #disconnected(error) {
    this.#state = 'connecting';
    this.#connectingSince = Date.now();
    this.#transport = undefined;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    this.#callCount = 0;
    // Before the calls fail: an app that then closes its socket closes one that is lost already.
    const lost = this.#mirror.lose((space, id, socket) => !socket.persistent);
    this.#onEvent('host.disconnect', [error]);
    calls.forEach((call) => this.#answer(call, ...failure(call.name)));
    this.#raiseErrors(lost);
    if (FINAL.includes(error?.code)) this.close(error);
    else this.#setTimer(0, () => this.#connect());
  }

  /** Fails all calls, whether sent or queued. */
  #failCalls() {
    const calls = [...this.#calls.values(), ...this.#queue.filter((call) => !call.message)];
    this.#calls.clear();
    this.#callCount = 0;
    this.#queue = [];
    this.#queuedSize = 0;
    calls.forEach((call) => this.#answer(call, ...failure(call.name)));
  }

  /** Raises the error events of lost sockets. */
  #raiseErrors(lost) {
    for (const [event, id] of lost) this.#onEvent(event, [id, LOST]);
  }

  /**
   * Handles the received messages one by one. Between two of them the app runs, so that it sees them as if they had arrived
   * in separate frames.
   */
  #handleFrames() {
    if (this.#isAppRunning) return;
    while (this.#received.length > 0) {
      const frame = this.#received[0];
      if ('disconnect' in frame) {
        this.#received = [];
        return this.#disconnected(frame.disconnect);
      }
      if (frame.next === undefined) {
        frame.next = 0;
        frame.messages ??= [];
        if (frame.ack !== undefined) this.#acknowledge(frame.ack);
      }
      if (frame.next < frame.messages.length) {
        this.#isAppRunning = true;
        const isAsync = this.#handle(frame.messages[frame.next++]);
        return this.#runApp(isAsync);
      }
      this.#received.shift();
      this.#finish(frame);
    }
  }

  /** Lets the app run: for a few microtasks, or for a whole task if its listener is asynchronous. */
  #runApp(isAsync) {
    const then = () => {
      this.#isAppRunning = false;
      this.#handleFrames();
    };
    if (!isAsync) return microtasks(MICROTASKS, then);
    this.#flush();
    return macrotask(then);
  }

  /** Counts a handled frame. */
  #finish({ messages, size }) {
    if (messages.length > 0) {
      this.#handled += 1;
      this.#handledBytes += size;
    }
    this.#flush(messages.some(([name]) => RETAINED.includes(name)));
  }

  #acknowledge(frames) {
    while (this.#acknowledged < frames && this.#inFlight.length > 0) {
      this.#acknowledged += 1;
      this.#unacknowledged -= this.#inFlight.shift();
    }
  }

  /** Handles a message, and returns whether the app continues asynchronously. */
  #handle([name, first, ...values]) {
    switch (name) {
      case 'answer':
        return this.#answered(first, undefined, values);
      case 'error':
        return this.#answered(first, values[0], values.slice(1));
      case 'part': {
        const call = this.#calls.get(first);
        if (call) (call.parts ??= []).push(...values[0]);
        return false;
      }
      case 'tcp.onReceive':
      case 'udp.onReceive':
      case 'udp.onReceiveError':
        return this.#onEvent(name, [this.#mirror.fromHost(name, first), ...values]);
      case 'tcpServer.onAccept': {
        const client = this.#mirror.fromHost('tcp', values[0]);
        this.#mirror.accepted(client);
        return this.#onEvent(name, [this.#mirror.fromHost(name, first), client]);
      }
      case 'tcp.onReceiveError': {
        const id = this.#mirror.fromHost(name, first);
        this.#mirror.disconnected(id);
        return this.#onEvent(name, [id, values[0]]);
      }
      case 'tcpServer.onAcceptError':
      case 'tcpServer.onHandshakeError':
        return this.#onEvent(name, [this.#mirror.fromHost(name, first), ...values]);
    }
  }

  #answered(id, lastError, values) {
    const call = this.#calls.get(id);
    if (!call) return false;
    this.#calls.delete(id);
    if (call.charge === 0) this.#callCount -= 1;
    if (call.parts) values = [[...call.parts, ...values[0]]];
    const infos = Array.isArray(values[0]) ? values[0] : values;
    for (const info of infos) {
      if (info?.socketId !== undefined) info.socketId = this.#mirror.fromHost(call.name, info.socketId);
    }
    this.#mirror.answered(call.name, call.args, lastError !== undefined, values);
    return this.#answer(call, lastError, values);
  }

  #answer(call, lastError, values) {
    this.#quotaUsed -= call.charge;
    return call.callback(lastError, values);
  }

  #setTimer(time, callback) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.#state !== 'closed') callback();
    }, time);
    this.#timers.add(timer);
  }
}

const isSend = (name) => name === 'tcp.send' || name === 'udp.send';

/** The answer to a call when the connection is lost. */
function failure(name) {
  const values = isSend(name) ? [{ resultCode: LOST }] : WITH_CODE.includes(name.split('.')[1]) ? [LOST] : [];
  return ['net::ERR_CONNECTION_CLOSED', values];
}

/** The callback of each piece of a send: calls `callback` after the last one, or with the first failure. */
function combine(count, callback) {
  let left = count;
  let bytesSent = 0;
  const combined = (lastError, values) => {
    left -= 1;
    if (combined.hasFailed) return false;
    if (lastError !== undefined) {
      combined.hasFailed = true;
      return callback(lastError, values);
    }
    bytesSent += values[0].bytesSent;
    return left === 0 && callback(undefined, [{ resultCode: 0, bytesSent }]);
  };
  return combined;
}

/** Runs a task after this many microtasks. */
function microtasks(count, task) {
  if (count === 0) task();
  else queueMicrotask(() => microtasks(count - 1, task));
}

/** Runs a task after the tasks that are ready now. */
const macrotask = typeof setImmediate === 'function' ? setImmediate : viaChannel();

/** `setTimeout` would wait for milliseconds. */
function viaChannel() {
  const { port1, port2 } = new MessageChannel();
  const tasks = [];
  port1.onmessage = () => tasks.shift()();
  return (task) => {
    tasks.push(task);
    port2.postMessage(null);
  };
}

function withResolvers() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  // A program need not wait for the promise, so its rejection is handled here.
  made.promise.catch(() => {});
  return made;
}
