// An echo server in a page, which continues after its host is killed or the page is reloaded.

import { connect } from '../../index.mjs';

/** The errors and results for the test. */
globalThis.log = [];

globalThis.serve = async (url, port, manifest) => {
  const { tcpServer, tcp } = await connect(url, { app: 'page', manifest });
  const ignore = () => {};
  tcpServer.onAccept.addListener(({ clientSocketId }) => tcp.setPaused(clientSocketId, false));
  tcp.onReceive.addListener(({ socketId, data }) => tcp.send(socketId, data, ignore));
  tcp.onReceiveError.addListener(({ socketId, resultCode }) => {
    log.push(['onReceiveError', resultCode]);
    tcp.close(socketId);
  });
  tcpServer.onAcceptError.addListener(({ socketId, resultCode }) => {
    log.push(['onAcceptError', resultCode]);
    tcpServer.close(socketId);
    listen();
  });
  await listen();

  async function listen() {
    // After a reload the persistent server socket still exists.
    const [kept] = await tcpServer.getSockets();
    if (kept) return log.push(['kept']);
    const { socketId } = await tcpServer.create({ persistent: true });
    tcpServer.listen(socketId, '127.0.0.1', port, (result) => log.push(['listen', result]));
  }
};
