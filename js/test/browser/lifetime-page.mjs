// A page that echoes, and goes on whatever happens to its host or to itself.

import { connect } from '../../index.mjs';

/** What it was told of ends. */
globalThis.told = [];

globalThis.serve = async (url, port, manifest) => {
  const { tcpServer, tcp } = await connect(url, { app: 'page', manifest });
  const ignore = () => {};
  tcpServer.onAccept.addListener(({ clientSocketId }) => tcp.setPaused(clientSocketId, false));
  tcp.onReceive.addListener(({ socketId, data }) => tcp.send(socketId, data, ignore));
  tcp.onReceiveError.addListener(({ socketId, resultCode }) => {
    told.push(['onReceiveError', resultCode]);
    tcp.close(socketId);
  });
  tcpServer.onAcceptError.addListener(({ socketId, resultCode }) => {
    told.push(['onAcceptError', resultCode]);
    tcpServer.close(socketId);
    listen();
  });
  await listen();

  async function listen() {
    // It may have been here before.
    const [kept] = await tcpServer.getSockets();
    if (kept) return told.push(['kept']);
    const { socketId } = await tcpServer.create({ persistent: true });
    tcpServer.listen(socketId, '127.0.0.1', port, (result) => told.push(['listen', result]));
  }
};
