// The servers of the benchmark, on chrome.sockets inside a browser.

/** The concurrent sends of a server. */
const SENDS = 16;

/** Sent when a server has received all data. */
const DONE = new ArrayBuffer(1);

/** The servers by name. `size` is the number of all bytes, `chunk` that of one send. */
const SERVERS = {
  /** Sends back what it receives. */
  echo: ({ tcp }) => ({
    receive: ({ socketId, data }) => tcp.send(socketId, data, () => {}),
  }),
  /** Receives everything, and then sends one byte. */
  receive: ({ tcp }, { size }) => {
    let left = size;
    return {
      receive({ socketId, data }) {
        left -= data.byteLength;
        if (left === 0) tcp.send(socketId, DONE, () => {});
      },
    };
  },
  /** Sends everything after it has received a byte. */
  send: ({ tcp }, { size, chunk }) => {
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

/** Starts a server. Returns its port and a function that stops it. */
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

/** Sends datagrams back. Returns its port and a function that stops it. */
async function sendBack({ udp }) {
  const receive = ({ socketId, data, remoteAddress, remotePort }) => udp.send(socketId, data, remoteAddress, remotePort, () => {});
  udp.onReceive.addListener(receive);
  const { socketId } = await udp.create();
  const result = await new Promise((resolve) => udp.bind(socketId, '127.0.0.1', 0, resolve));
  if (result !== 0) throw new Error(`bind: ${result}`);
  const { localPort } = await udp.getInfo(socketId);
  const end = async () => {
    await udp.close(socketId);
    udp.onReceive.removeListener(receive);
  };
  return { localPort, end };
}

let served;

globalThis.start = async (sockets, kind, options) => {
  served = await (kind === 'datagrams' ? sendBack(sockets) : serve(sockets, kind, options));
  return served.localPort;
};

globalThis.stop = () => served.end();
