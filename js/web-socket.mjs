// A transport by WebSocket, of whatever class.

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
  return {
    form: 'binary',
    send: (bytes) => socket.send(bytes),
    close: () => socket.close(),
  };
};
