// The WebSocket transport, for any WebSocket class.

/** Makes a `buffer(size)` that reuses its memory for every frame. */
function reusedBuffer() {
  let buffer = new Uint8Array(0);
  return (size) => {
    if (buffer.length < size) buffer = new Uint8Array(size);
    return buffer.subarray(0, size);
  };
}

/** The subprotocols that carry a token: a page can set no other header of the handshake. */
function protocols(token) {
  let text = '';
  for (const byte of new TextEncoder().encode(token)) text += String.fromCharCode(byte);
  const encoded = btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  return ['chrome-sockets', `chrome-sockets.token.${encoded}`];
}

/** Makes the function that opens a transport to `url`, and shows `token` if there is one. */
export const webSocket = (url, WebSocket, token) => ({ onOpen, onFrame, onClose }) => {
  const socket = token ? new WebSocket(url, protocols(token)) : new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  let isOver = false;
  const end = (event) => {
    if (isOver) return;
    isOver = true;
    // Browsers report no reason. Node reports an error without a code, and other classes the system's error.
    const cause = event?.error;
    if (cause?.code !== undefined) return onClose(cause);
    const reason = cause?.message || event?.message;
    const message = `no connection to the host at ${url}${reason ? `: ${reason}` : ''}`;
    onClose(Object.assign(new Error(message, cause && { cause }), { code: 'unreachable' }));
  };
  socket.onopen = () => onOpen();
  socket.onmessage = ({ data }) => onFrame(data, data.byteLength ?? data.length);
  // In a worker Chromium raises only `error` if a policy forbids the connection, and so does Node 22 if nothing answers.
  socket.onerror = end;
  socket.onclose = end;
  // A browser's `send` copies the bytes. Node's and other classes may read them later, so their buffer cannot be reused.
  const copies = WebSocket === globalThis.WebSocket && !globalThis.process?.versions?.node;
  return {
    encoding: 'binary',
    buffer: copies ? reusedBuffer() : undefined,
    send: (bytes) => socket.send(bytes),
    close: () => socket.close(),
  };
};
