// A transport by WebSocket, of whatever class.

/** Room for one frame at a time, which is used again and again. */
function ownRoom() {
  let room = new Uint8Array(0);
  return (size) => {
    if (room.length < size) room = new Uint8Array(size);
    return room.subarray(0, size);
  };
}

/** Makes the transport of a client to the host at `url`. */
export const webSocket = (url, WebSocket) => ({ opened, came, closed }) => {
  const socket = new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  let isOver = false;
  const over = (event) => {
    if (isOver) return;
    isOver = true;
    // A browser does not say what the matter was; Node does.
    const problem = event?.error ?? event?.message;
    const error = problem instanceof Error ? problem : undefined;
    closed(error ?? new Error(`no connection to the host at ${url}${problem ? `: ${problem}` : ''}`));
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
