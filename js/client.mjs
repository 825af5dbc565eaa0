// The client's end of the protocol: docs/protocol.md. It has calls answered,
// and tells events; it comes back when the host was lost.

import * as frames from './frames.mjs';
import { LOST, Mirror } from './mirror.mjs';

/** Until the welcome says others. */
const LIMITS = { frame: 1 << 20, data: 1 << 19, frames: 4, window: 1 << 22, quota: 200 << 20, calls: 1 << 14 };

/** A send takes at least this much of the quota. */
const MIN_SEND = 1024;

/** A longer text is as wrong as its beginning: no name and no address has so many letters. */
const MAX_TEXT = 16384;

/** How many promises, one waiting for the other, an app may have between two events. */
const STEPS = 8;

const FIRST_REST = 50;
const LAST_REST = 5000;

/** The ends after which coming again is of no use. */
const FINAL = ['bad-frame', 'bad-hello', 'version', 'forbidden', 'origin', 'unknown-app', 'bad-manifest', 'overrun'];

/** The ends of a host that has no place for the app yet. */
const LATER = ['app-in-use', 'busy', 'memory'];

const WITH_CODE = ['listen', 'connect', 'secure', 'setKeepAlive', 'setNoDelay'];

export class Client {
  #open;
  #hello;
  #patience;
  #told;
  #retries;
  /** The code of which the program was told that the client tries again. */
  #retried;
  #mirror = new Mirror();
  #limits = LIMITS;
  #instance;

  /** 'coming', 'in' or 'closed'. */
  #state = 'coming';
  #transport;
  #since = Date.now();
  #rest = FIRST_REST;
  #timers = new Set();
  #first = withResolvers();

  #lastCall = 0;
  /** Calls that the host has not been told, and what they take. */
  #queue = [];
  #queued = 0;
  /** Calls that the host has been told and has not answered. */
  #calls = new Map();
  #others = 0;
  #sending = 0;
  #events = [];
  #isFlushing = false;

  /** The sizes of the frames that the host has not acknowledged. */
  #inFlight = [];
  #unacknowledged = 0;
  #acknowledged = 0;
  /** Frames of the host: handled, and acknowledged; and the bytes of the others. */
  #handled = 0;
  #acked = 0;
  #unackedBytes = 0;

  #incoming = [];
  #isWaiting = false;

  /**
   * `open(handlers)` makes a transport: `{ form, room, send, close }`, which calls `opened()`, `came(frame, size)`
   * and `closed(error)`. `told(event, values)` tells an event, and says whether a listener goes on later.
   * `retries(error)` hears at once why the host does not let the client in yet, which tries again.
   */
  constructor({ open, hello, patience, told, retries = () => {} }) {
    this.#open = open;
    this.#hello = hello;
    this.#patience = patience;
    this.#told = told;
    this.#retries = retries;
  }

  /** Comes in; fails if that is not possible now. */
  start() {
    this.#come();
    return this.#first.promise;
  }

  get isIn() {
    return this.#state === 'in';
  }

  /** Leaves for good. */
  close(error = new Error('closed')) {
    if (this.#state === 'closed') return;
    const wasIn = this.#state === 'in';
    this.#state = 'closed';
    for (const timer of this.#timers) clearTimeout(timer);
    this.#incoming = [];
    this.#transport?.close();
    this.#first.reject(error);
    if (wasIn) this.#told('host.lost', [error]);
    this.#failAll();
    this.#tell(this.#mirror.lose(() => true));
  }

  /** Which events somebody listens for. */
  listen(events) {
    this.#events = events;
    if (this.#state !== 'in') return;
    this.#push({ message: ['listen', events], cost: 128 });
  }

  /**
   * Makes a call; `settle(lastError, values)` is called once, later, and says whether the app goes on
   * later still.
   */
  call(name, args, settle) {
    if (this.#mirror.closesLost(name, args[0])) return this.#later(() => settle(undefined, []));
    if (this.#state === 'closed') return this.#later(() => settle(...failure(name)));
    if (name !== 'tcp.send') {
      args = args.map((value) => (typeof value === 'string' ? value.slice(0, MAX_TEXT) : value));
      if (typeof args[0]?.name === 'string') args[0] = { ...args[0], name: args[0].name.slice(0, MAX_TEXT) };
      if (typeof args[1]?.name === 'string') args[1] = { ...args[1], name: args[1].name.slice(0, MAX_TEXT) };
      return this.#push({ name, args, settle, cost: 64 + 6 * JSON.stringify(args).length, charge: 0 });
    }
    const [id, data] = args;
    const pieces = [];
    let at = 0;
    do {
      pieces.push(data.subarray(at, at + this.#limits.data));
      at += this.#limits.data;
    } while (at < data.length);
    const charge = pieces.reduce((sum, piece) => sum + Math.max(piece.length, MIN_SEND), 0);
    if (this.#sending + charge > this.#limits.quota) {
      return this.#later(() => settle('Exceeded write quota.', []));
    }
    this.#sending += charge;
    const whole = pieces.length === 1 ? settle : joined(pieces.length, settle);
    for (const piece of pieces) {
      this.#push({
        name,
        args: [id, piece],
        settle: whole,
        cost: 64 + Math.ceil((piece.length * 4) / 3),
        charge: Math.max(piece.length, MIN_SEND),
      });
    }
  }

  #push(call) {
    this.#queue.push(call);
    this.#queued += call.cost;
    if (this.#isFlushing || this.#isWaiting) return;
    this.#isFlushing = true;
    queueMicrotask(() => {
      this.#isFlushing = false;
      this.#flush();
    });
  }

  /** Sends what may be sent: what has come together goes together. */
  #flush(mustAcknowledge = false) {
    if (this.#state !== 'in') return;
    const { frame, frames: most, window, calls } = this.#limits;
    const full = frame / 4;
    while (this.#queue.length > 0) {
      if (this.#inFlight.length >= most && this.#queued < full) break;
      if (this.#unacknowledged >= window) break;
      const messages = [];
      let size = 0;
      let taken = 0;
      for (const call of this.#queue) {
        if (size >= full || (call.charge === 0 && this.#others >= calls)) break;
        taken += 1;
        size += call.cost;
        const message = this.#message(call);
        if (message) messages.push(message);
      }
      if (taken === 0) break;
      this.#queue.splice(0, taken);
      this.#queued -= size;
      if (messages.length === 0) continue;
      this.#inFlight.push(size);
      this.#unacknowledged += size;
      this.#send({ messages });
    }
    const behind = this.#handled - this.#acked;
    if (behind > 0 && (mustAcknowledge || behind >= most / 2 || this.#unackedBytes >= window / 8)) this.#send({});
  }

  /** The message of a call, if it is to be sent. */
  #message(call) {
    if (call.message) return call.message;
    if (call.settle.failed) {
      this.#sending -= call.charge;
      return undefined;
    }
    const id = ++this.#lastCall;
    this.#calls.set(id, call);
    if (call.charge === 0) this.#others += 1;
    const args = [...call.args];
    if (typeof args[0] === 'number') args[0] = this.#mirror.toHost(call.name, args[0]);
    while (args.length > 0 && args.at(-1) === null) args.pop();
    return [id, call.name, ...args];
  }

  #send(frame) {
    if (this.#handled > this.#acked) {
      frame.ack = this.#acked = this.#handled;
      this.#unackedBytes = 0;
    }
    const { form, room } = this.#transport;
    this.#transport.send(frames[form](frame, room));
  }

  // What comes.

  #come() {
    let isOver = false;
    const guard = (act) => (...values) => {
      if (!isOver && this.#state !== 'closed') act(...values);
    };
    const closed = guard((error) => {
      isOver = true;
      if (this.#state === 'in') this.#incoming.push({ lost: error });
      else return this.#failed(error);
      this.#pump();
    });
    let transport;
    const breach = (error) => {
      transport?.close();
      closed(error);
    };
    try {
      transport = this.#open({
        opened: guard(() => transport.send(frames[transport.form]({ hello: this.#hello() }))),
        came: guard((received, size) => {
          let frame;
          try {
            frame = frames.read(received);
          } catch (error) {
            return breach(error);
          }
          if (frame.end) {
            const error = Object.assign(new Error(frame.end.message), { code: frame.end.code });
            breach(error);
          } else if (this.#state === 'in') {
            frame.size = size;
            this.#incoming.push(frame);
            this.#pump();
          } else if (frame.welcome) {
            this.#transport = transport;
            this.#welcome(frame.welcome);
          } else {
            breach(new Error('the host has said something else than welcome'));
          }
        }),
        closed,
      });
    } catch (error) {
      closed(error);
    }
  }

  #welcome({ instance, limits }) {
    this.#limits = { ...LIMITS, ...limits };
    this.#state = 'in';
    this.#retried = undefined;
    this.#rest = FIRST_REST;
    this.#inFlight = [];
    this.#unacknowledged = this.#acknowledged = this.#handled = this.#acked = this.#unackedBytes = 0;
    const isAnother = this.#instance !== undefined && this.#instance !== instance;
    this.#instance = instance;
    const queue = this.#queue.filter((call) => !call.message);
    this.#queue = [];
    this.#queued = 0;
    const lost = isAnother ? this.#mirror.lose(() => true) : [];
    if (isAnother) this.#mirror.startAnew();
    if (this.#events.length > 0) this.listen(this.#events);
    if (this.#mirror.hasPersistent()) this.#look();
    queue.forEach((call) => this.#push(call));
    this.#first.resolve();
    this.#told('host.back', []);
    this.#tell(lost);
  }

  /** Which persistent sockets have stayed. */
  #look() {
    for (const space of ['tcpServer', 'tcp']) {
      const settle = (lastError, [infos]) => {
        if (lastError) return;
        const here = new Set(infos.map((info) => info.socketId));
        this.#tell(this.#mirror.lose((of, id, socket) => of === space && socket.persistent && !here.has(id)));
      };
      this.#push({ name: `${space}.getSockets`, args: [], settle, cost: 64, charge: 0 });
    }
  }

  /** It was not possible to come in. */
  #failed(error) {
    if (FINAL.includes(error?.code)) return this.close(error);
    const waited = Date.now() - this.#since;
    // A host that is there and has no place yet is waited for.
    const isLater = LATER.includes(error?.code);
    if (this.#instance === undefined && !isLater) this.#first.reject(error);
    // Once for each reason, not for each try.
    if (isLater && this.#retried !== error.code) {
      this.#retried = error.code;
      this.#retries(error);
    }
    if (waited >= this.#patience) {
      this.#first.reject(error);
      this.#failAll();
      this.#tell(this.#mirror.lose(() => true));
    }
    this.#after(this.#rest, () => this.#come());
    this.#rest = Math.min(this.#rest * 2, LAST_REST);
  }

  #lost(error) {
    this.#state = 'coming';
    this.#since = Date.now();
    this.#transport = undefined;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    this.#others = 0;
    // Who closes a socket when a call for it fails, closes what is gone already.
    const lost = this.#mirror.lose((space, id, socket) => !socket.persistent);
    this.#told('host.lost', [error]);
    calls.forEach((call) => this.#settle(call, ...failure(call.name)));
    this.#tell(lost);
    if (FINAL.includes(error?.code)) this.close(error);
    else this.#after(0, () => this.#come());
  }

  /** Nothing will be answered. */
  #failAll() {
    const calls = [...this.#calls.values(), ...this.#queue.filter((call) => !call.message)];
    this.#calls.clear();
    this.#others = 0;
    this.#queue = [];
    this.#queued = 0;
    calls.forEach((call) => this.#settle(call, ...failure(call.name)));
  }

  #tell(lost) {
    for (const [event, id] of lost) this.#told(event, [id, LOST]);
  }

  /**
   * Handles what has come, message by message. Before the app hears the next thing, what it goes on
   * with after the one before has its turn, as if each had come alone.
   */
  #pump() {
    if (this.#isWaiting) return;
    while (this.#incoming.length > 0) {
      const frame = this.#incoming[0];
      if ('lost' in frame) {
        this.#incoming = [];
        return this.#lost(frame.lost);
      }
      if (frame.at === undefined) {
        frame.at = 0;
        frame.messages ??= [];
        if (frame.ack !== undefined) this.#acknowledge(frame.ack);
      }
      if (frame.at < frame.messages.length) {
        this.#isWaiting = true;
        const goesOn = this.#handle(frame.messages[frame.at++]);
        return this.#wait(goesOn);
      }
      this.#incoming.shift();
      this.#finish(frame);
    }
  }

  /** Lets the app go on: to the end of what it does, if it says so; else for a few steps. */
  #wait(goesOn) {
    const then = () => {
      this.#isWaiting = false;
      this.#pump();
    };
    if (!goesOn) return microtasks(STEPS, then);
    this.#flush();
    return macrotask(then);
  }

  #finish({ messages, size }) {
    if (messages.length > 0) {
      this.#handled += 1;
      this.#unackedBytes += size;
    }
    // The host keeps what it has accepted until it knows that somebody has heard of it.
    this.#flush(messages.some((message) => message[0] === 'tcpServer.onAccept' || message[0] === 'tcpServer.onAcceptError'));
  }

  #acknowledge(frames) {
    while (this.#acknowledged < frames && this.#inFlight.length > 0) {
      this.#acknowledged += 1;
      this.#unacknowledged -= this.#inFlight.shift();
    }
  }

  /** Whether the app goes on later with what it was told. */
  #handle([what, first, ...values]) {
    switch (what) {
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
        return this.#told(what, [this.#mirror.fromHost(what, first), values[0]]);
      case 'tcpServer.onAccept': {
        const client = this.#mirror.fromHost('tcp', values[0]);
        this.#mirror.accepted(client);
        return this.#told(what, [this.#mirror.fromHost(what, first), client]);
      }
      case 'tcp.onReceiveError': {
        const id = this.#mirror.fromHost(what, first);
        this.#mirror.ended(id);
        return this.#told(what, [id, values[0]]);
      }
      case 'tcpServer.onAcceptError':
        return this.#told(what, [this.#mirror.fromHost(what, first), values[0]]);
    }
  }

  #answered(id, lastError, values) {
    const call = this.#calls.get(id);
    if (!call) return false;
    this.#calls.delete(id);
    if (call.charge === 0) this.#others -= 1;
    if (call.parts) values = [[...call.parts, ...values[0]]];
    const infos = Array.isArray(values[0]) ? values[0] : values;
    for (const info of infos) {
      if (info?.socketId !== undefined) info.socketId = this.#mirror.fromHost(call.name, info.socketId);
    }
    this.#mirror.answered(call.name, call.args, lastError !== undefined, values);
    return this.#settle(call, lastError, values);
  }

  #settle(call, lastError, values) {
    this.#sending -= call.charge;
    return call.settle(lastError, values);
  }

  #later(act) {
    queueMicrotask(act);
  }

  #after(time, act) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.#state !== 'closed') act();
    }, time);
    this.#timers.add(timer);
  }
}

/** What a call answers whose host is gone. */
function failure(name) {
  const values = name === 'tcp.send' ? [{ resultCode: LOST }] : WITH_CODE.includes(name.split('.')[1]) ? [LOST] : [];
  return ['net::ERR_CONNECTION_CLOSED', values];
}

/** A send in several pieces: its first failure is the whole one's. */
function joined(count, settle) {
  let left = count;
  let bytesSent = 0;
  const whole = (lastError, values) => {
    left -= 1;
    if (whole.failed) return false;
    if (lastError !== undefined) {
      whole.failed = true;
      return settle(lastError, values);
    }
    bytesSent += values[0].bytesSent;
    return left === 0 && settle(undefined, [{ resultCode: 0, bytesSent }]);
  };
  return whole;
}

/** Has this done after so many steps of promises. */
function microtasks(steps, task) {
  if (steps === 0) task();
  else queueMicrotask(() => microtasks(steps - 1, task));
}

/** Has this done when everything that is ready now has had its turn. */
const macrotask = typeof setImmediate === 'function' ? setImmediate : viaChannel();

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
  // Who does not wait for it is not told of its failure.
  made.promise.catch(() => {});
  return made;
}
