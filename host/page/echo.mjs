// The echo server of the page, which uses chrome.sockets as any program would.

import { connect } from '../js/index.mjs';

/**
 * Starts the server. Resolves to `{ port, stop }`; rejects if the host rejects the page or does not permit it to listen.
 * `log(line)` is called for each event.
 */
export async function echo({ url, token, port, log, onDisconnect = () => {} }) {
  const manifest = { sockets: { tcpServer: { listen: '127.0.0.1:*' } } };
  const sockets = await connect(url, { app: 'page', manifest, token, reconnectTimeout: 3000 });
  try {
    const localPort = await serve(sockets, port, log);
    sockets.host.onDisconnect.addListener(() => onDisconnect());
    return { port: localPort, stop: () => sockets.host.close() };
  } catch (error) {
    sockets.host.close();
    throw error;
  }
}

export async function serve({ tcpServer, tcp, runtime }, port, log) {
  tcpServer.onAccept.addListener(async ({ clientSocketId }) => {
    const { peerAddress, peerPort } = await tcp.getInfo(clientSocketId);
    log(`${clientSocketId}: ${peerAddress}:${peerPort} connected`);
    await tcp.setPaused(clientSocketId, false);
  });
  tcp.onReceive.addListener(({ socketId, data }) => {
    log(`${socketId}: ${new TextDecoder().decode(data.slice(0, 60)).trimEnd()}`);
    // onReceiveError reports a failed connection. Reading lastError keeps Chrome from logging it.
    tcp.send(socketId, data, () => runtime.lastError);
  });
  tcp.onReceiveError.addListener(({ socketId, resultCode }) => {
    log(`${socketId}: disconnected (${resultCode})`);
    tcp.close(socketId).catch(() => {});
  });
  tcpServer.onAcceptError.addListener(({ resultCode }) => log(`the server has stopped (${resultCode})`));
  const { socketId } = await tcpServer.create({ name: 'echo' });
  await new Promise((resolve, reject) => {
    tcpServer.listen(socketId, '127.0.0.1', port, () => {
      if (runtime.lastError) reject(new Error(runtime.lastError.message));
      else resolve();
    });
  });
  const { localPort } = await tcpServer.getInfo(socketId);
  return localPort;
}
