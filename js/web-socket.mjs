// A transport by WebSocket, of whatever class.

/** Room for one frame at a time, which is used again and again. */
function ownRoom() {
  let room = new Uint8Array(0);
  return (size) => {
    if (room.length < size) room = new Uint8Array(size);
    return room.subarray(0, size);
  };
}

/** The subprotocols of a handshake that shows this token: browsers let a page set nothing else. */
function protocols(token) {
  let text = '';
  for (const byte of new TextEncoder().encode(token)) text += String.fromCharCode(byte);
  const shown = btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  return ['chrome-sockets', `chrome-sockets.token.${shown}`];
}

/** Makes the transport of a client to the host at `url`, which asks for `token` if it was given one. */
export const webSocket = (url, WebSocket, token) => ({ opened, came, closed }) => {
  const socket = token ? new WebSocket(url, protocols(token)) : new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  let isOver = false;
  const over = (event) => {
    if (isOver) return;
    isOver = true;
    // A browser does not say what the matter was; Node does.
    const problem = event?.error ?? event?.message;
    const error = problem instanceof Error ? problem : undefined;
    const message = `no connection to the host at ${url}${problem ? `: ${problem}` : ''}`;
    closed(error ?? Object.assign(new Error(message), { code: 'unreachable' }));
  };
  socket.onopen = () => opened();
  socket.onmessage = ({ data }) => came(data, data.byteLength ?? data.length);
  // Chromium tells a worker of what a policy forbids by `error` alone.
  socket.onerror = over;
  socket.onclose = over;
  // A browser's copies what it is to send; others may send it later.
  const copies = WebSocket === globalThis.WebSocket && !globalThis.process?.versions?.node;
  return {
    form: 'binary',
    room: copies ? ownRoom() : undefined,
    send: (bytes) => socket.send(bytes),
    close: () => socket.close(),
  };
};
