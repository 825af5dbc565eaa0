// Frames: docs/protocol.md. A message that holds bytes has them as a
// Uint8Array here, behind a number in a binary frame and in base64 in a text one.

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const LENGTH = 4;

/** A frame for a transport of bytes, in what `room(size)` gives. */
export function binary(frame, room = (size) => new Uint8Array(size)) {
  const data = [];
  const header = encoder.encode(JSON.stringify(replaced(frame, (bytes) => {
    data.push(bytes);
    return bytes.length;
  })));
  const size = data.reduce((sum, bytes) => sum + bytes.length, LENGTH + header.length);
  const bytes = room(size);
  new DataView(bytes.buffer).setUint32(0, header.length, true);
  bytes.set(header, LENGTH);
  let at = LENGTH + header.length;
  for (const piece of data) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** A frame for a transport of JSON, which turns it into text itself. */
export function json(frame) {
  return replaced(frame, toBase64);
}

/** A frame whose bytes, which stand last in their messages, are something else. */
function replaced(frame, other) {
  if (!frame.messages) return frame;
  const messages = frame.messages.map((message) => {
    const last = message.at(-1);
    return last instanceof Uint8Array ? [...message.slice(0, -1), other(last)] : message;
  });
  return { ...frame, messages };
}

/** A frame that came: an ArrayBuffer, a text, or what was read from one. */
export function read(received) {
  if (typeof received === 'string') return fromJson(JSON.parse(received));
  if (!(received instanceof ArrayBuffer)) return fromJson(received);
  const length = new DataView(received).getUint32(0, true);
  const frame = JSON.parse(decoder.decode(new Uint8Array(received, LENGTH, length)));
  let at = LENGTH + length;
  for (const message of frame.messages ?? []) {
    if (message[0] !== 'tcp.onReceive') continue;
    const end = at + message[2];
    if (!(end <= received.byteLength)) throw new RangeError('a frame is shorter than it says');
    message[2] = received.slice(at, end);
    at = end;
  }
  return frame;
}

function fromJson(frame) {
  for (const message of frame.messages ?? []) {
    if (message[0] === 'tcp.onReceive') message[2] = fromBase64(message[2]);
  }
  return frame;
}

const toBase64 = Uint8Array.prototype.toBase64
  ? (bytes) => bytes.toBase64()
  : (bytes) => {
      let text = '';
      // As many at once as a call may have arguments.
      for (let at = 0; at < bytes.length; at += 8192) {
        text += String.fromCharCode(...bytes.subarray(at, at + 8192));
      }
      return btoa(text);
    };

const fromBase64 = Uint8Array.fromBase64
  ? (text) => Uint8Array.fromBase64(text).buffer
  : (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
