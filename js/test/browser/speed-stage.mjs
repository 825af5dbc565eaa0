// What is measured of a chrome.sockets, inside a browser: servers such as programs for Chrome have.

/** How many sends are on their way while a server sends all it can. */
const SENDS = 16;

/** What the client awaits when a server has all of its bytes. */
const DONE = new ArrayBuffer(1);

/** Each takes what the client does to be measured; `size` is the bytes in all, and `chunk` those of one send. */
const SERVERS = {
  /** Sends back what comes. */
  echo: ({ tcp }) => ({
    receive: ({ socketId, data }) => tcp.send(socketId, data, () => {}),
  }),
  /** Takes everything, and says so at the end. */
  take: ({ tcp }, { size }) => {
    let left = size;
    return {
      receive({ socketId, data }) {
        left -= data.byteLength;
        if (left === 0) tcp.send(socketId, DONE, () => {});
      },
    };
  },
  /** Sends everything, when the client has said a byte. */
  give: ({ tcp }, { size, chunk }) => {
    const data = new ArrayBuffer(chunk);
    return {
      receive({ socketId }) {
        let left = size;
        const next = () => {
          if (left === 0) return;
          left -= chunk;
          tcp.send(socketId, data, next);
        };
        for (let send = 0; send < SENDS; send += 1) next();
      },
    };
  },
};

/** Starts one, and gives its port and what ends it. */
async function serve({ tcpServer, tcp }, kind, options) {
  const { receive } = SERVERS[kind]({ tcp }, options);
  const { bufferSize } = options;
  const accept = ({ clientSocketId }) => {
    if (bufferSize) tcp.update(clientSocketId, { bufferSize }, () => {});
    tcp.setPaused(clientSocketId, false, () => {});
  };
  const close = ({ socketId }) => tcp.close(socketId, () => {});
  tcpServer.onAccept.addListener(accept);
  tcp.onReceive.addListener(receive);
  tcp.onReceiveError.addListener(close);
  const { socketId } = await tcpServer.create();
  const result = await new Promise((resolve) => tcpServer.listen(socketId, '127.0.0.1', 0, 1024, resolve));
  if (result !== 0) throw new Error(`listen: ${result}`);
  const { localPort } = await tcpServer.getInfo(socketId);
  const end = async () => {
    await tcpServer.close(socketId);
    tcpServer.onAccept.removeListener(accept);
    tcp.onReceive.removeListener(receive);
    tcp.onReceiveError.removeListener(close);
  };
  return { localPort, end };
}

let served;

globalThis.start = async (sockets, kind, options) => {
  served = await serve(sockets, kind, options);
  return served.localPort;
};

globalThis.stop = () => served.end();
