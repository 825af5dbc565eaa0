// Encodes and decodes the frames of docs/protocol.md. Here a value of a message may be a Uint8Array: binary frames have
// its length there and its bytes behind the header, text frames have base64.

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** The bytes of the header's length. */
const LENGTH = 4;

/** Encodes a frame as bytes, in the memory that `buffer(size)` returns. */
export function binary(frame, buffer = (size) => new Uint8Array(size)) {
  const data = [];
  const header = encoder.encode(JSON.stringify(replaceBytes(frame, (bytes) => {
    data.push(bytes);
    return bytes.length;
  })));
  const size = data.reduce((sum, bytes) => sum + bytes.length, LENGTH + header.length);
  const bytes = buffer(size);
  new DataView(bytes.buffer).setUint32(0, header.length, true);
  bytes.set(header, LENGTH);
  let at = LENGTH + header.length;
  for (const piece of data) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** Encodes a frame as a JSON value, for a transport that stringifies it. */
export function json(frame) {
  return replaceBytes(frame, toBase64);
}

/** Whether a message of the host has data, which is its third value. */
const hasData = ([name]) => name === 'tcp.onReceive' || name === 'udp.onReceive';

/** Replaces the bytes in messages. */
function replaceBytes(frame, replace) {
  if (!frame.messages) return frame;
  const messages = frame.messages.map((message) => {
    const at = message.findLastIndex((value) => value instanceof Uint8Array);
    return at < 0 ? message : message.with(at, replace(message[at]));
  });
  return { ...frame, messages };
}

/** Decodes a frame: an ArrayBuffer, JSON text, or a JSON value. */
export function read(received) {
  if (typeof received === 'string') return fromJson(JSON.parse(received));
  if (!(received instanceof ArrayBuffer)) return fromJson(received);
  const length = new DataView(received).getUint32(0, true);
  const frame = JSON.parse(decoder.decode(new Uint8Array(received, LENGTH, length)));
  let at = LENGTH + length;
  for (const message of frame.messages ?? []) {
    if (!hasData(message)) continue;
    const end = at + message[2];
    if (!(end <= received.byteLength)) throw new RangeError('a frame is shorter than its header');
    message[2] = received.slice(at, end);
    at = end;
  }
  return frame;
}

function fromJson(frame) {
  for (const message of frame.messages ?? []) {
    if (hasData(message)) message[2] = fromBase64(message[2]);
  }
  return frame;
}

const toBase64 = Uint8Array.prototype.toBase64
  ? (bytes) => bytes.toBase64()
  : (bytes) => {
      let text = '';
      // Engines limit the number of arguments.
      for (let at = 0; at < bytes.length; at += 8192) {
        text += String.fromCharCode(...bytes.subarray(at, at + 8192));
      }
      return btoa(text);
    };

const fromBase64 = Uint8Array.fromBase64
  ? (text) => Uint8Array.fromBase64(text).buffer
  : (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
