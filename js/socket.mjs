// Chrome's deprecated `chrome.socket` on top of `chrome.sockets`: reads, accepts and receives by call instead of by event.
// Results and texts are those of Chromium's sources, extensions/browser/api/socket/ (socket_api.cc, tcp_socket.cc, udp_socket.cc).

import { answer } from './api.mjs';
import { BINARY, BOOLEAN, ID, INTEGER, REQUIRED, STRING, optional, resolveIn } from './signatures.mjs';

// Net error codes.
const IO_PENDING = -1;
const FAILED = -2;
const INVALID_ARGUMENT = -4;
const NOT_IMPLEMENTED = -11;
const INSUFFICIENT_RESOURCES = -12;
const NOT_CONNECTED = -15;
const IS_CONNECTED = -23;
const CLOSED = -100;
const CONNECTION_FAILED = -104;
const NAME_NOT_RESOLVED = -105;
const MESSAGE_TOO_BIG = -142;

const NOT_FOUND = 'Socket not found';
const NO_PERMISSION = 'App does not have permission';
const BAD_PORT = 'Port must be a value between 0 and 65535.';
const ONLY_UDP = 'Only UDP socket supports multicast.';
const NO_BIND = 'TCP socket does not support bind. For TCP server please use listen.';
const TWO_KINDS = 'Cannot call both connect and listen on the same socket.';

const BUFFER_SIZE = 4096;
const BACKLOG = 5;

const TEXT = ['address', STRING];
const PORT = ['port', INTEGER];
const SIZE = optional(['bufferSize', INTEGER]);
const DATA = ['data', BINARY];
const OBJECT = (type) => ({ type, properties: {} });
const TLS = {
  type: 'socket.SecureOptions',
  properties: { tlsVersion: { type: 'socket.TLSVersionConstraints', properties: { min: STRING, max: STRING } } },
};
/** These functions have no callback. */
const NONE = 'optional function callback';

const FUNCTIONS = {
  create: [[['type', { type: 'socket.SocketType', values: ['tcp', 'udp'] }], optional(['options', OBJECT('socket.CreateOptions')])], REQUIRED],
  destroy: [[ID], NONE],
  connect: [[ID, ['hostname', STRING], PORT], REQUIRED],
  bind: [[ID, TEXT, PORT], REQUIRED],
  disconnect: [[ID], NONE],
  read: [[ID, SIZE], REQUIRED],
  write: [[ID, DATA], REQUIRED],
  recvFrom: [[ID, SIZE], REQUIRED],
  sendTo: [[ID, DATA, TEXT, PORT], REQUIRED],
  listen: [[ID, TEXT, PORT, optional(['backlog', INTEGER])], REQUIRED],
  accept: [[ID], REQUIRED],
  setKeepAlive: [[ID, ['enable', BOOLEAN], optional(['delay', INTEGER])], REQUIRED],
  setNoDelay: [[ID, ['noDelay', BOOLEAN]], REQUIRED],
  getInfo: [[ID], REQUIRED],
  getNetworkList: [[], REQUIRED],
  joinGroup: [[ID, TEXT], REQUIRED],
  leaveGroup: [[ID, TEXT], REQUIRED],
  setMulticastTimeToLive: [[ID, ['ttl', INTEGER]], REQUIRED],
  setMulticastLoopbackMode: [[ID, ['enabled', BOOLEAN]], REQUIRED],
  getJoinedGroups: [[ID], REQUIRED],
  secure: [[ID, optional(['options', TLS])], REQUIRED],
};

const EMPTY = () => new ArrayBuffer(0);
const isPort = (port) => port >= 0 && port <= 65535;

/** Makes `chrome.socket` on `sockets`, which has `tcp`, `tcpServer`, `runtime` and, for UDP, `udp`. See socket.d.ts. */
export function makeSocket(sockets) {
  const api = new Sockets(sockets);
  const made = {};
  for (const name of Object.keys(FUNCTIONS)) {
    made[name] = {
      [name](...given) {
        const { values, callback } = resolveIn(FUNCTIONS, `socket.${name}`, name, given);
        api[name](...values, (value, error) => answer(sockets.runtime, callback ?? (() => sockets.runtime.lastError), error, value === undefined ? [] : [value]));
      },
    }[name];
  }
  return made;
}

/** The sockets by id. Each function calls its last argument with a result and an error. */
class Sockets {
  #sockets;
  #last = 0;
  #all = new Map();

  constructor(sockets) {
    this.#sockets = sockets;
    const under = new Map();
    this.shared = {
      sockets,
      under,
      /** Adds an accepted connection. Returns its id. */
      adopt: (tcpId) => this.#add(Tcp.accepted(this.shared, tcpId)),
      /** Calls a function of `chrome.sockets`: `done(value, error)`. */
      call: (space, name, values, done) => {
        sockets[space][name](...values, (value) => {
          // Always read, or it would be logged.
          const error = sockets.runtime.lastError?.message;
          done?.(value, error);
        });
      },
    };
    const on = (space, event, handler) => sockets[space]?.[event].addListener((info) => {
      const socket = under.get(`${space} ${info.socketId}`);
      if (socket) handler(socket, info);
    });
    on('tcp', 'onReceive', (socket, { data }) => socket.received(data));
    on('tcp', 'onReceiveError', (socket) => socket.ended());
    on('tcpServer', 'onAccept', (socket, { clientSocketId }) => socket.accepted(clientSocketId));
    on('tcpServer', 'onAcceptError', (socket, { resultCode }) => socket.acceptFailed(resultCode));
    on('udp', 'onReceive', (socket, info) => socket.received(info));
    on('udp', 'onReceiveError', (socket, { resultCode }) => socket.failed(resultCode));
  }

  #add(socket) {
    this.#all.set(++this.#last, socket);
    return this.#last;
  }

  /** Runs `act` with the socket, or answers `missing` if there is none. Answers are asynchronous. */
  #with(id, done, missing, act) {
    const later = (...result) => queueMicrotask(() => done(...result));
    const socket = this.#all.get(id);
    if (!socket) later(missing, NOT_FOUND);
    else act(socket, later);
  }

  create(type, options, done) {
    if (type === 'udp' && !this.#sockets.udp) return queueMicrotask(() => done(undefined, 'This host has no UDP sockets'));
    const socketId = this.#add(type === 'tcp' ? new Tcp(this.shared) : new Udp(this.shared));
    queueMicrotask(() => done({ socketId }));
  }

  destroy(id) {
    this.#all.get(id)?.disconnect();
    this.#all.delete(id);
  }

  disconnect(id) {
    this.#all.get(id)?.disconnect();
  }

  connect(id, host, port, done) {
    if (!isPort(port)) return queueMicrotask(() => done(undefined, BAD_PORT));
    this.#with(id, done, -1, (socket, later) => socket.connect(host, port, later));
  }

  bind(id, address, port, done) {
    if (!isPort(port)) return queueMicrotask(() => done(undefined, BAD_PORT));
    this.#with(id, done, -1, (socket, later) => socket.bind(address, port, later));
  }

  read(id, size, done) {
    this.#with(id, done, { resultCode: -1, data: EMPTY() }, (socket, later) => {
      socket.read(size ?? BUFFER_SIZE, (resultCode, data = EMPTY()) => later({ resultCode, data }));
    });
  }

  write(id, data, done) {
    this.#with(id, done, { bytesWritten: -1 }, (socket, later) => {
      socket.write(data, (bytesWritten) => later({ bytesWritten }));
    });
  }

  recvFrom(id, size, done) {
    const info = (resultCode, data = EMPTY(), address = '', port = 0) => ({ resultCode, data, address, port });
    const isUdp = this.#all.get(id) instanceof Udp;
    this.#with(isUdp ? id : undefined, done, info(-1), (socket, later) => {
      socket.receiveFrom(size ?? BUFFER_SIZE, (...values) => later(info(...values)));
    });
  }

  sendTo(id, data, address, port, done) {
    if (!isPort(port)) return queueMicrotask(() => done(undefined, BAD_PORT));
    // As in Chrome, what fails before it is sent answers a number.
    this.#with(id, done, -1, (socket, later) => {
      socket.sendTo(data, address, port, (bytesWritten, error) => later(error === undefined ? { bytesWritten } : bytesWritten, error));
    });
  }

  listen(id, address, port, backlog, done) {
    this.#with(id, done, -1, (socket, later) => socket.listen(address, port, backlog ?? BACKLOG, later));
  }

  accept(id, done) {
    this.#with(id, done, { resultCode: FAILED }, (socket, later) => {
      socket.accept((resultCode, socketId) => later(socketId === undefined ? { resultCode } : { resultCode, socketId }));
    });
  }

  setKeepAlive(id, enable, delay, done) {
    this.#with(id, done, false, (socket, later) => socket.setOption('setKeepAlive', [enable, delay ?? 0], later));
  }

  setNoDelay(id, noDelay, done) {
    this.#with(id, done, false, (socket, later) => socket.setOption('setNoDelay', [noDelay], later));
  }

  getInfo(id, done) {
    this.#with(id, done, undefined, (socket, later) => socket.getInfo(later));
  }

  getNetworkList(done) {
    const failed = () => done(undefined, 'Network lookup failed or unsupported');
    const network = this.#sockets.system?.network;
    if (!network) return queueMicrotask(failed);
    network.getNetworkInterfaces((list) => (this.#sockets.runtime.lastError ? failed() : done(list)));
  }

  joinGroup(id, address, done) {
    this.#group(id, 'joinGroup', [address], done);
  }

  leaveGroup(id, address, done) {
    this.#group(id, 'leaveGroup', [address], done);
  }

  setMulticastTimeToLive(id, ttl, done) {
    this.#group(id, 'setMulticastTimeToLive', [ttl], done);
  }

  setMulticastLoopbackMode(id, enabled, done) {
    this.#group(id, 'setMulticastLoopbackMode', [enabled], done);
  }

  getJoinedGroups(id, done) {
    this.#group(id, 'getJoinedGroups', [], done);
  }

  #group(id, name, values, done) {
    this.#with(id, done, -1, (socket, later) => {
      if (socket instanceof Udp) socket.option(name, values, later);
      else later(-1, ONLY_UDP);
    });
  }

  secure(id, options, done) {
    this.#with(id, done, INVALID_ARGUMENT, (socket, later) => {
      socket.secure(options ?? {}, (result, error, isGone) => {
        if (isGone) this.destroy(id);
        later(result, error);
      });
    });
  }
}

/** A TCP socket: a client or, after `listen`, a server. */
class Tcp {
  #shared;
  /** 'unknown', 'client' or 'server'. It does not change again. */
  #mode = 'unknown';
  #isAccepted = false;
  /** The id in `tcp` or `tcpServer` while connected or listening. */
  #id;
  #isConnecting = false;
  #isConnected = false;
  #isPaused = true;
  #bufferSize = BUFFER_SIZE;
  /** Data that came between the last read and the pause. */
  #chunks = [];
  #hasEnded = false;
  #reader;
  /** Connections that came before the pause. */
  #waiting = [];
  #acceptor;
  /** Answers to calls from before a `disconnect` are ignored. */
  #epoch = 0;

  constructor(shared) {
    this.#shared = shared;
  }

  static accepted(shared, id) {
    const socket = new Tcp(shared);
    socket.#mode = 'client';
    socket.#isAccepted = socket.#isConnected = true;
    socket.#enter('tcp', id);
    return socket;
  }

  get #space() {
    return this.#mode === 'server' ? 'tcpServer' : 'tcp';
  }

  #enter(space, id) {
    this.#id = id;
    this.#shared.under.set(`${space} ${id}`, this);
  }

  #call(name, values, done) {
    const epoch = this.#epoch;
    this.#shared.call(this.#space, name, [this.#id, ...values], (value, error) => {
      if (epoch === this.#epoch) done?.(value, error);
    });
  }

  /** Creates the socket below, paused: it reads or accepts only for a call. */
  #open(done, failed) {
    const { call } = this.#shared;
    const space = this.#space;
    const epoch = this.#epoch;
    call(space, 'create', [{}], (info, error) => {
      if (epoch !== this.#epoch) {
        if (info) call(space, 'close', [info.socketId]);
        return;
      }
      if (error) return failed(INSUFFICIENT_RESOURCES);
      this.#enter(space, info.socketId);
      this.#isPaused = true;
      this.#bufferSize = BUFFER_SIZE;
      call(space, 'setPaused', [info.socketId, true]);
      done();
    });
  }

  connect(host, port, done) {
    if (this.#mode === 'server' || this.#isConnecting) return done(CONNECTION_FAILED);
    if (this.#isConnected) return done(IS_CONNECTED);
    this.#mode = 'client';
    this.#isConnecting = true;
    const finish = (code, error) => {
      this.#isConnecting = false;
      if (code === 0) this.#isConnected = true;
      else this.#close();
      done(code, error);
    };
    this.#open(() => {
      this.#call('connect', [host, port], (code, error) => {
        if (code === undefined) finish(-1, error === 'Does not have permission' ? NO_PERMISSION : error);
        else finish(code, code === NAME_NOT_RESOLVED ? 'DNS resolution failed' : undefined);
      });
    }, finish);
  }

  bind(address, port, done) {
    done(-1, NO_BIND);
  }

  disconnect() {
    this.#epoch += 1;
    this.#isConnecting = this.#isConnected = this.#hasEnded = false;
    this.#chunks = [];
    this.#acceptor = undefined;
    for (const id of this.#waiting.splice(0)) this.#shared.call('tcp', 'close', [id]);
    this.#close();
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.done(CLOSED);
  }

  #close() {
    if (this.#id === undefined) return;
    this.#shared.under.delete(`${this.#space} ${this.#id}`);
    this.#shared.call(this.#space, 'close', [this.#id]);
    this.#id = undefined;
  }

  read(size, done) {
    if (this.#mode !== 'client') return done(FAILED);
    if (!this.#isConnected) return done(NOT_CONNECTED);
    if (this.#reader) return done(IO_PENDING);
    if (size < 1) return done(INVALID_ARGUMENT);
    this.#reader = { size, done };
    if (this.#chunks.length === 0 && !this.#hasEnded) {
      // It only grows: a small read must not cut the data of the next one.
      if (size > this.#bufferSize) this.#call('update', [{ bufferSize: this.#bufferSize = size }]);
      this.#setPaused(false);
    }
    this.#deliver();
  }

  received(data) {
    this.#chunks.push(new Uint8Array(data));
    this.#deliver();
    this.#pauseUnlessWanted();
  }

  ended() {
    if (!this.#isConnected) return;
    this.#hasEnded = true;
    this.#isPaused = true;
    this.#deliver();
  }

  #deliver() {
    if (!this.#reader || (this.#chunks.length === 0 && !this.#hasEnded)) return;
    const { size, done } = this.#reader;
    this.#reader = undefined;
    if (this.#chunks.length === 0) {
      // The end, clean or not: as in Chrome the socket is then not connected.
      this.disconnect();
      return done(0);
    }
    const data = new Uint8Array(Math.min(size, this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0)));
    for (let at = 0; at < data.length;) {
      const chunk = this.#chunks.shift();
      const part = chunk.subarray(0, data.length - at);
      data.set(part, at);
      at += part.length;
      if (part.length < chunk.length) this.#chunks.unshift(chunk.subarray(part.length));
    }
    done(data.length, data.buffer);
  }

  #setPaused(isPaused) {
    if (this.#isPaused === isPaused || this.#id === undefined) return;
    this.#isPaused = isPaused;
    this.#call('setPaused', [isPaused]);
  }

  /** Pauses behind the callbacks: most programs ask for more in theirs. */
  #pauseUnlessWanted() {
    queueMicrotask(() => queueMicrotask(() => this.#setPaused(!this.#reader && !this.#acceptor)));
  }

  write(data, done) {
    if (!this.#isConnected || this.#hasEnded) return done(NOT_CONNECTED);
    const epoch = this.#epoch;
    // Answered also after a `disconnect`, which sends what was written.
    this.#shared.call('tcp', 'send', [this.#id, data], (info, error) => {
      if (info?.resultCode === 0) return done(info.bytesSent);
      if (info === undefined && error !== NOT_FOUND) return done(INSUFFICIENT_RESOURCES);
      if (epoch === this.#epoch) this.disconnect();
      done(info?.resultCode ?? CLOSED);
    });
  }

  sendTo(data, address, port, done) {
    done(FAILED);
  }

  listen(address, port, backlog, done) {
    if (this.#mode === 'client') return done(NOT_IMPLEMENTED, TWO_KINDS);
    if (this.#id !== undefined || this.#isConnecting) return done(FAILED);
    this.#mode = 'server';
    this.#isConnecting = true;
    const finish = (code, error) => {
      this.#isConnecting = false;
      if (code !== 0) this.#close();
      done(code, error);
    };
    this.#open(() => {
      this.#call('listen', [address, port, backlog], (code, error) => {
        if (code === undefined) finish(-1, error === 'Does not have permission' ? NO_PERMISSION : error);
        else if (code === 0) finish(code);
        else if (code === INVALID_ARGUMENT) finish(code, 'Unknown error.');
        else finish(code, 'Could not listen on the specified port.');
      });
    }, finish);
  }

  accept(done) {
    if (this.#mode !== 'server' || this.#id === undefined || this.#isConnecting || this.#acceptor) return done(FAILED);
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) return done(0, this.#shared.adopt(waiting));
    this.#acceptor = done;
    this.#setPaused(false);
  }

  accepted(id) {
    if (!this.#acceptor) {
      this.#waiting.push(id);
    } else {
      const done = this.#acceptor;
      this.#acceptor = undefined;
      done(0, this.#shared.adopt(id));
    }
    this.#pauseUnlessWanted();
  }

  acceptFailed(code) {
    this.#isPaused = true;
    const done = this.#acceptor;
    this.#acceptor = undefined;
    done?.(code);
  }

  setOption(name, values, done) {
    if (!this.#isConnected || this.#hasEnded) return done(false);
    this.#call(name, values, (code) => done(code === 0));
  }

  getInfo(done) {
    const info = { socketType: 'tcp', connected: this.#isConnected };
    if (this.#id === undefined) return done(info);
    this.#call('getInfo', [], ({ localAddress, localPort, peerAddress, peerPort } = {}) => {
      for (const [key, value] of Object.entries({ peerAddress, peerPort, localAddress, localPort })) {
        if (value !== undefined) info[key] = value;
      }
      done(info);
    });
  }

  secure(options, done) {
    if (!this.#isConnected) return done(INVALID_ARGUMENT, 'Socket not connected');
    if (this.#reader || this.#chunks.length > 0 || this.#isAccepted) return done(FAILED, 'net::ERR_FAILED', true);
    this.#call('secure', [options], (code, error) => done(code, error, code !== 0));
  }
}

/** A UDP socket. */
class Udp {
  #shared;
  #id;
  #isOpening = false;
  /** What waits for the socket below. */
  #queue = [];
  #isBound = false;
  /** The default peer: `{ host, port }`. */
  #peer;
  #isPaused = true;
  #bufferSize = BUFFER_SIZE;
  /** Datagrams that came between the last receive and the pause. */
  #datagrams = [];
  #receiver;
  #epoch = 0;

  constructor(shared) {
    this.#shared = shared;
  }

  #call(name, values, done) {
    const epoch = this.#epoch;
    this.#shared.call('udp', name, [this.#id, ...values], (value, error) => {
      if (epoch === this.#epoch) done?.(value, error);
    });
  }

  /** Runs `act` when the socket below exists. It is paused: it receives only for a call. */
  #open(act, failed) {
    if (this.#id !== undefined) return act();
    this.#queue.push({ act, failed });
    if (this.#isOpening) return;
    this.#isOpening = true;
    const { call, under } = this.#shared;
    const epoch = this.#epoch;
    call('udp', 'create', [{}], (info, error) => {
      if (epoch !== this.#epoch) {
        if (info) call('udp', 'close', [info.socketId]);
        return;
      }
      this.#isOpening = false;
      const queue = this.#queue.splice(0);
      if (error) return queue.forEach(({ failed }) => failed(INSUFFICIENT_RESOURCES));
      this.#id = info.socketId;
      under.set(`udp ${this.#id}`, this);
      call('udp', 'setPaused', [this.#id, true]);
      queue.forEach(({ act }) => act());
    });
  }

  bind(address, port, done) {
    if (this.#isBound || this.#peer) return done(CONNECTION_FAILED);
    this.#open(() => {
      this.#call('bind', [address, port], (code, error) => {
        if (code === undefined) return done(-1, error);
        this.#isBound = code === 0;
        done(code);
      });
    }, done);
  }

  /** `chrome.sockets.udp` has no connected sockets: this one is bound, and drops what comes from others. */
  connect(host, port, done) {
    if (this.#isBound || this.#peer) return done(CONNECTION_FAILED);
    this.#open(() => {
      this.#call('bind', [host.includes(':') ? '::' : '0.0.0.0', 0], (code, error) => {
        if (code === undefined) return done(-1, error);
        if (code === 0) this.#peer = { host, port };
        done(code);
      });
    }, done);
  }

  disconnect() {
    this.#epoch += 1;
    this.#isBound = this.#isOpening = false;
    this.#peer = undefined;
    this.#datagrams = [];
    this.#queue = [];
    this.#isPaused = true;
    this.#bufferSize = BUFFER_SIZE;
    if (this.#id !== undefined) {
      this.#shared.under.delete(`udp ${this.#id}`);
      this.#shared.call('udp', 'close', [this.#id]);
      this.#id = undefined;
    }
    const receiver = this.#receiver;
    this.#receiver = undefined;
    // Chrome answers recvFrom, and drops the callback of read.
    if (receiver?.isFrom) receiver.done(CLOSED);
  }

  read(size, done) {
    if (this.#receiver) return done(IO_PENDING);
    if (size < 0) return done(INVALID_ARGUMENT);
    if (!this.#peer) return done(NOT_CONNECTED);
    this.#receive({ size, done, isFrom: false });
  }

  receiveFrom(size, done) {
    if (this.#receiver) return done(IO_PENDING);
    if (size < 0) return done(INVALID_ARGUMENT);
    if (!this.#isBound) return done(NOT_CONNECTED);
    this.#receive({ size, done, isFrom: true });
  }

  #receive(receiver) {
    this.#receiver = receiver;
    if (this.#datagrams.length > 0) return this.#deliver();
    if (receiver.size > 0 && receiver.size !== this.#bufferSize) {
      this.#call('update', [{ bufferSize: this.#bufferSize = receiver.size }]);
    }
    this.#setPaused(false);
  }

  received({ data, remoteAddress, remotePort }) {
    if (this.#peer && !this.#isPeer(remoteAddress, remotePort)) return;
    this.#datagrams.push({ data, remoteAddress, remotePort });
    this.#deliver();
    queueMicrotask(() => queueMicrotask(() => this.#setPaused(!this.#receiver)));
  }

  /** A peer that is given by name is known by its port only. */
  #isPeer(address, port) {
    const { host, port: peerPort } = this.#peer;
    const isLiteral = /^[\d.]+$/.test(host) || host.includes(':');
    return port === peerPort && (!isLiteral || address === host);
  }

  failed(code) {
    this.#isPaused = true;
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.done(code);
  }

  #deliver() {
    if (!this.#receiver || this.#datagrams.length === 0) return;
    const { size, done } = this.#receiver;
    this.#receiver = undefined;
    const { data, remoteAddress, remotePort } = this.#datagrams.shift();
    // It came before the pause, into the larger buffer of an earlier call.
    if (size > 0 && data.byteLength > size) return done(MESSAGE_TOO_BIG);
    done(data.byteLength, data, remoteAddress, remotePort);
  }

  #setPaused(isPaused) {
    if (this.#isPaused === isPaused || this.#id === undefined) return;
    this.#isPaused = isPaused;
    this.#call('setPaused', [isPaused]);
  }

  write(data, done) {
    if (!this.#peer) return done(NOT_CONNECTED);
    this.sendTo(data, this.#peer.host, this.#peer.port, done);
  }

  sendTo(data, address, port, done) {
    // The socket below answers -15 if it is not bound, after it has checked the permission.
    this.#open(() => this.#call('send', [data, address, port], (info, error) => {
      if (info === undefined) return done(-1, error);
      if (info.resultCode === NAME_NOT_RESOLVED) return done(NAME_NOT_RESOLVED, 'DNS resolution failed');
      done(info.resultCode === 0 ? info.bytesSent : info.resultCode);
    }), done);
  }

  listen(address, port, backlog, done) {
    done(FAILED, 'Socket type does not support this API');
  }

  accept(done) {
    done(FAILED);
  }

  setOption(name, values, done) {
    done(false);
  }

  option(name, values, done) {
    this.#open(() => this.#call(name, values, (value, error) => done(value ?? -1, error)), done);
  }

  getInfo(done) {
    const info = { socketType: 'udp', connected: this.#peer !== undefined };
    if (!this.#isBound && !this.#peer) return done(info);
    this.#call('getInfo', [], ({ localAddress, localPort } = {}) => {
      const peer = this.#peer && { peerAddress: this.#peer.host, peerPort: this.#peer.port };
      done({ ...info, ...peer, localAddress, localPort });
    });
  }

  secure(options, done) {
    done(INVALID_ARGUMENT, 'Only TCP sockets are supported for TLS.');
  }
}
