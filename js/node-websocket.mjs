// A WebSocket client (RFC 6455) for Node versions without one, with what the host needs.

import { createHash, randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { request as secureRequest } from 'node:https';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10];

/** The largest frame that it accepts. The host's are smaller. */
const MAX_FRAME = 16 << 20;

/** How long a closing handshake may take, in milliseconds. */
const CLOSE_TIMEOUT = 2000;

/** The part of the browser's `WebSocket` that the client uses. */
export class NodeWebSocket {
  binaryType = 'arraybuffer';
  onopen;
  onmessage;
  onerror;
  onclose;

  #socket;
  #request;
  #received = [];
  #length = 0;
  #message = [];
  #kind;
  #isClosing = false;
  #isOver = false;

  /** `headers` are additional headers of the handshake. */
  constructor(url, protocols = [], headers = {}) {
    const { protocol, hostname, port, pathname, search } = new URL(url);
    const key = randomBytes(16).toString('base64');
    const open = { 'ws:': request, 'wss:': secureRequest }[protocol];
    if (!open) throw new SyntaxError(`The URL's scheme must be ws or wss: ${url}`);
    this.#request = open({
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port: port || (protocol === 'ws:' ? 80 : 443),
      path: pathname + search,
      headers: {
        Host: new URL(url).host,
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': key,
        ...(protocols.length > 0 && { 'Sec-WebSocket-Protocol': protocols.join(', ') }),
        ...headers,
      },
    });
    this.#request.on('error', (error) => this.#end(error));
    this.#request.on('response', (response) => {
      response.resume();
      const error = new Error(`the host responded ${response.statusCode} ${response.statusMessage}`);
      this.#end(Object.assign(error, { code: response.statusCode === 403 ? 'forbidden' : 'unreachable' }));
    });
    this.#request.on('upgrade', (response, socket, head) => {
      const accept = createHash('sha1').update(key + GUID).digest('base64');
      if (response.headers['sec-websocket-accept'] !== accept) {
        socket.destroy();
        return this.#end(new Error('the host is not a WebSocket server'));
      }
      const selected = response.headers['sec-websocket-protocol'];
      if (selected !== undefined && !protocols.includes(selected)) {
        socket.destroy();
        return this.#end(new Error('the host selected a subprotocol that was not offered'));
      }
      this.#opened(socket, head);
    });
    this.#request.end();
  }

  send(data) {
    if (!this.#socket || this.#isClosing) return;
    if (typeof data === 'string') this.#frame(TEXT, Buffer.from(data));
    else this.#frame(BINARY, ArrayBuffer.isView(data) ? data : new Uint8Array(data));
  }

  close() {
    if (this.#isClosing || this.#isOver) return;
    this.#isClosing = true;
    if (!this.#socket) return this.#end();
    this.#frame(CLOSE, Buffer.from([0x03, 0xe8]));
    setTimeout(() => this.#end(), CLOSE_TIMEOUT).unref();
  }

  #opened(socket, head) {
    if (this.#isOver) return socket.destroy();
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#data(chunk));
    socket.on('error', (error) => this.#end(error));
    socket.on('end', () => this.#end());
    socket.on('close', () => this.#end());
    this.onopen?.({});
    if (head.length > 0) this.#data(head);
  }

  #end(error) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#socket?.destroy();
    this.#request.destroy();
    if (error) this.onerror?.({ error });
    this.onclose?.({});
  }

  #frame(kind, payload) {
    const { length } = payload;
    const extra = length < 126 ? 0 : length < 65536 ? 2 : 8;
    const frame = Buffer.allocUnsafe(2 + extra + 4 + length);
    frame[0] = 0x80 | kind;
    frame[1] = 0x80 | (extra === 0 ? length : extra === 2 ? 126 : 127);
    if (extra === 2) frame.writeUInt16BE(length, 2);
    if (extra === 8) frame.writeBigUInt64BE(BigInt(length), 2);
    const mask = randomBytes(4);
    const start = 2 + extra + 4;
    mask.copy(frame, start - 4);
    frame.set(payload, start);
    maskPayload(frame, start, mask);
    this.#socket.write(frame);
  }

  #data(chunk) {
    this.#received.push(chunk);
    this.#length += chunk.length;
    while (!this.#isOver && this.#handleFrame());
  }

  /** Handles one frame, if a whole one was received. */
  #handleFrame() {
    const head = this.#peek(10);
    if (head.length < 2) return false;
    const kind = head[0] & 0x0f;
    let length = head[1] & 0x7f;
    let start = 2;
    if (length === 126) {
      if (head.length < 4) return false;
      length = head.readUInt16BE(2);
      start = 4;
    } else if (length === 127) {
      if (head.length < 10) return false;
      length = Number(head.readBigUInt64BE(2));
      start = 10;
    }
    if ((head[0] & 0x70) !== 0 || (head[1] & 0x80) !== 0 || length > MAX_FRAME) {
      this.#end(new Error('the host sent an invalid WebSocket frame'));
      return false;
    }
    if (this.#length < start + length) return false;
    this.#consume(start);
    this.#handleMessage((head[0] & 0x80) !== 0, kind, this.#consume(length));
    return true;
  }

  #peek(count) {
    while (this.#received.length > 1 && this.#received[0].length < count) {
      this.#received.splice(0, 2, Buffer.concat(this.#received.slice(0, 2)));
    }
    return (this.#received[0] ?? Buffer.alloc(0)).subarray(0, count);
  }

  #consume(count) {
    const pieces = [];
    let left = count;
    while (left > 0) {
      const first = this.#received[0];
      if (first.length <= left) {
        pieces.push(this.#received.shift());
        left -= first.length;
      } else {
        pieces.push(first.subarray(0, left));
        this.#received[0] = first.subarray(left);
        left = 0;
      }
    }
    this.#length -= count;
    return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces, count);
  }

  #handleMessage(isLast, kind, payload) {
    switch (kind) {
      case CONTINUATION:
      case TEXT:
      case BINARY: {
        if (kind !== CONTINUATION) this.#kind = kind;
        this.#message.push(payload);
        if (!isLast) return;
        const whole = this.#message.length === 1 ? payload : Buffer.concat(this.#message);
        this.#message = [];
        const data = this.#kind === TEXT
          ? whole.toString()
          : whole.buffer.slice(whole.byteOffset, whole.byteOffset + whole.length);
        return this.onmessage?.({ data });
      }
      case PING:
        return this.#frame(PONG, payload);
      case CLOSE:
        if (!this.#isClosing) this.#frame(CLOSE, payload.subarray(0, 2));
        this.#isClosing = true;
        this.#socket.end();
        return;
    }
  }
}

/** Masks the payload of a frame, four bytes at a time where they are aligned. */
function maskPayload(frame, start, mask) {
  let at = start;
  for (; at < frame.length && (frame.byteOffset + at) % 4 !== 0; at += 1) frame[at] ^= mask[(at - start) % 4];
  // A short frame may end before the first aligned word.
  if (at === frame.length) return;
  const shift = at - start;
  const word = Buffer.from([0, 1, 2, 3].map((index) => mask[(index + shift) % 4]));
  const count = Math.floor((frame.length - at) / 4);
  const words = new Int32Array(frame.buffer, frame.byteOffset + at, count);
  const key = new Int32Array(word.buffer.slice(word.byteOffset, word.byteOffset + 4))[0];
  for (let index = 0; index < count; index += 1) words[index] ^= key;
  for (at += 4 * count; at < frame.length; at += 1) frame[at] ^= mask[(at - start) % 4];
}
