// A web server for a folder, on chrome.sockets: ranges, conditional requests, keep-alive, pipelining, and HTTPS by setTls.
// It runs wherever chrome.sockets does; node.mjs, page.mjs and extension.mjs are three homes for it.

import { answerTo } from './respond.mjs';
import { RequestError, parseHead } from './request.mjs';

/** The most bytes of a request's head. */
const MAX_HEAD = 16 * 1024;

/** The most bytes of a client that wait for their turn. Beyond it the socket is paused. */
const MAX_WAITING = 64 * 1024;

/** The most connections at once; further ones get 503. */
const MAX_CONNECTIONS = 256;

/** How long a client may take for a request, from the end of the last one, in milliseconds. */
const IDLE_TIMEOUT = 30_000;

/** The bytes of one send, and how many sends of a client wait at once. */
const PIECE = 256 * 1024;
const SENDS = 2;

const END_OF_HEAD = [13, 10, 13, 10];

/**
 * Serves `files` (see files.mjs). `chrome` has `sockets` and `runtime`. Resolves to `{ address, port, close, closed }`;
 * `closed` resolves to the reason when the server has ended by itself.
 */
export async function serve(chrome, { files, address = '127.0.0.1', port = 0, tls = null, log = () => {}, idleTimeout = IDLE_TIMEOUT, maxConnections = MAX_CONNECTIONS }) {
  const { tcpServer, tcp } = chrome.sockets;
  const call = (space, name, ...given) => new Promise((resolve, reject) => {
    space[name](...given, (value) => {
      const error = chrome.runtime.lastError;
      if (error) reject(new Error(error.message));
      else resolve(value);
    });
  });
  const connections = new Map();
  const { socketId } = await call(tcpServer, 'create', { name: 'web server' });
  let finish;
  const closed = new Promise((resolve) => { finish = resolve; });

  const onAccept = (info) => {
    if (info.socketId !== socketId) return;
    const context = { id: info.clientSocketId, call: (name, ...given) => call(tcp, name, info.clientSocketId, ...given), files, log, idleTimeout };
    const connection = new Connection(context, () => connections.delete(info.clientSocketId));
    connections.set(info.clientSocketId, connection);
    connection.start(connections.size > maxConnections);
  };
  const onReceive = (info) => connections.get(info.socketId)?.receive(new Uint8Array(info.data));
  const onReceiveError = (info) => connections.get(info.socketId)?.close();
  const onAcceptError = (info) => {
    if (info.socketId === socketId) stop(`accepting failed: ${info.resultCode}`);
  };
  const stop = (reason) => {
    tcpServer.onAccept.removeListener(onAccept);
    tcpServer.onAcceptError.removeListener(onAcceptError);
    tcp.onReceive.removeListener(onReceive);
    tcp.onReceiveError.removeListener(onReceiveError);
    for (const connection of [...connections.values()]) connection.close();
    call(tcpServer, 'close', socketId).catch(() => {});
    finish(reason);
  };
  tcpServer.onAccept.addListener(onAccept);
  tcpServer.onAcceptError.addListener(onAcceptError);
  tcp.onReceive.addListener(onReceive);
  tcp.onReceiveError.addListener(onReceiveError);
  try {
    // Before `listen`, so that no client is served in clear.
    if (tls) await call(tcpServer, 'setTls', socketId, { alpn: ['http/1.1'], ...tls });
    await call(tcpServer, 'listen', socketId, address, port);
    const info = await call(tcpServer, 'getInfo', socketId);
    return { address: info.localAddress, port: info.localPort, closed, close: () => stop('closed') };
  } catch (error) {
    stop(error.message);
    throw error;
  }
}

/** One client: its requests are answered in order, one at a time. */
class Connection {
  #context;
  #onClose;
  #input = new Uint8Array(0);
  #isAnswering = false;
  #isPaused = true;
  #isClosed = false;
  #timer;

  constructor(context, onClose) {
    this.#context = context;
    this.#onClose = onClose;
  }

  start(isTooMany) {
    if (isTooMany) return void this.#refuse(new RequestError(503));
    this.#setPaused(false);
    this.#wait();
    return undefined;
  }

  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#onClose();
    // What was sent is delivered.
    this.#context.call('close').catch(() => {});
  }

  receive(data) {
    const joined = new Uint8Array(this.#input.length + data.length);
    joined.set(this.#input);
    joined.set(data, this.#input.length);
    this.#input = joined;
    if (this.#input.length > MAX_WAITING) this.#setPaused(true);
    this.#next().catch(() => this.close());
  }

  #setPaused(isPaused) {
    if (this.#isPaused === isPaused || this.#isClosed) return;
    this.#isPaused = isPaused;
    this.#context.call('setPaused', isPaused).catch(() => this.close());
  }

  /** Waits for a whole request, or until a client has taken what was sent. One that sends byte by byte gains no time. */
  #wait() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.close(), this.#context.idleTimeout);
  }

  /** Answers the requests that have come. */
  async #next() {
    if (this.#isAnswering) return;
    this.#isAnswering = true;
    for (let end; !this.#isClosed && (end = endOfHead(this.#input)) >= 0;) {
      const head = this.#input.subarray(0, end);
      this.#input = this.#input.slice(end + END_OF_HEAD.length);
      if (!await this.#answer(head)) {
        this.close();
        return;
      }
      if (this.#input.length <= MAX_WAITING) this.#setPaused(false);
      this.#wait();
    }
    if (this.#isClosed) return;
    if (this.#input.length > MAX_HEAD) await this.#refuse(new RequestError(431));
    else this.#isAnswering = false;
  }

  /** Answers a request. Returns whether the connection stays. */
  async #answer(head) {
    if (head.length > MAX_HEAD) return this.#refuse(new RequestError(431));
    let request;
    try {
      request = parseHead(head);
    } catch (error) {
      return this.#refuse(error);
    }
    let response;
    try {
      response = await answerTo(request, this.#context.files);
    } catch (error) {
      // The reason stays here: it may have names of files.
      if (!(error instanceof RequestError)) this.#context.log(`${request.method} ${request.path}: ${error.message}`);
      response = error instanceof RequestError ? error.response() : new RequestError(500).response();
    }
    this.#context.log(`${request.method} ${request.path} ${response.status}`);
    const isSent = await this.#respond(response, request);
    return isSent && request.isKeptAlive;
  }

  /** Answers a request that is none. Where the next one begins is unknown, so the connection closes. */
  async #refuse(error) {
    const response = error instanceof RequestError ? error.response() : new RequestError(400).response();
    await this.#respond(response, { method: 'GET', isKeptAlive: false });
    this.close();
    return false;
  }

  /** Sends a response. Returns whether all of it was sent. */
  async #respond({ status, reason, headers, length, read }, { method, isKeptAlive }) {
    const lines = [`HTTP/1.1 ${status} ${reason}`, `Date: ${new Date().toUTCString()}`, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)];
    if (status !== 304 && status !== 204) lines.push(`Content-Length: ${length}`);
    lines.push(`Connection: ${isKeptAlive ? 'keep-alive' : 'close'}`, '', '');
    const sends = [];
    const send = async (data) => {
      this.#wait();
      const { resultCode } = await this.#context.call('send', exactBuffer(data));
      this.#wait();
      if (resultCode < 0) throw new Error(`sending failed: ${resultCode}`);
    };
    try {
      const head = new TextEncoder().encode(lines.join('\r\n'));
      const size = method === 'HEAD' || !read ? 0 : length;
      for (let at = 0; at < size || at === 0; at += PIECE) {
        const count = Math.min(PIECE, size - at);
        const data = count > 0 ? await read(at, count) : new Uint8Array(0);
        // The file has become shorter. The client sees it by the missing bytes.
        if (data.length !== count) return false;
        // The head goes with the first bytes, in one segment if they are few.
        sends.push(send(at === 0 ? concat(head, data) : data));
        if (sends.length >= SENDS) await sends.shift();
        if (this.#isClosed) return false;
      }
      await Promise.all(sends);
      return true;
    } catch {
      await Promise.allSettled(sends);
      return false;
    }
  }
}

function endOfHead(input) {
  for (let at = input.indexOf(END_OF_HEAD[0]); at >= 0; at = input.indexOf(END_OF_HEAD[0], at + 1)) {
    if (END_OF_HEAD.every((byte, index) => input[at + index] === byte)) return at;
  }
  return -1;
}

function concat(first, second) {
  if (second.length === 0) return first;
  const joined = new Uint8Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}

/** `chrome.sockets` of a browser takes only whole buffers. */
function exactBuffer(data) {
  return data.byteLength === data.buffer.byteLength ? data.buffer : data.slice().buffer;
}
