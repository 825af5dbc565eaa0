// A transport by WebSocket, of whatever class.

/** Makes the transport of a client to the host at `url`. */
export const webSocket = (url, WebSocket) => ({ opened, came, closed }) => {
  const socket = new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  let problem;
  socket.onopen = () => opened();
  socket.onmessage = ({ data }) => came(data, data.byteLength ?? data.length);
  // A browser does not say what the matter was; Node does.
  socket.onerror = (event) => { problem = event?.error ?? event?.message; };
  socket.onclose = () => {
    const error = problem instanceof Error ? problem : undefined;
    closed(error ?? new Error(`no connection to the host at ${url}${problem ? `: ${problem}` : ''}`));
  };
  return {
    form: 'binary',
    send: (bytes) => socket.send(bytes),
    close: () => socket.close(),
  };
};
