// The echo server of the page: chrome.sockets, as a program would use it.

import { connect } from '../js/index.mjs';

/**
 * Starts it, and gives `{ port, stop }`. `said` is told what happens, line by line. Fails if the host does not let the page
 * in, or does not permit it to listen.
 */
export async function echo({ url, token, port, said, lost = () => {} }) {
  const manifest = { sockets: { tcpServer: { listen: '127.0.0.1:*' } } };
  const sockets = await connect(url, { app: 'page', manifest, token, patience: 3000 });
  try {
    const localPort = await serve(sockets, port, said);
    sockets.host.onLost.addListener(() => lost());
    return { port: localPort, stop: () => sockets.host.close() };
  } catch (error) {
    sockets.host.close();
    throw error;
  }
}

export async function serve({ tcpServer, tcp, runtime }, port, said) {
  tcpServer.onAccept.addListener(async ({ clientSocketId }) => {
    const { peerAddress, peerPort } = await tcp.getInfo(clientSocketId);
    said(`${clientSocketId}: ${peerAddress}:${peerPort} has come`);
    await tcp.setPaused(clientSocketId, false);
  });
  tcp.onReceive.addListener(({ socketId, data }) => {
    said(`${socketId}: ${new TextDecoder().decode(data.slice(0, 60)).trimEnd()}`);
    // If it fails, its end is told; Chrome wants lastError to be looked at.
    tcp.send(socketId, data, () => runtime.lastError);
  });
  tcp.onReceiveError.addListener(({ socketId, resultCode }) => {
    said(`${socketId}: gone (${resultCode})`);
    tcp.close(socketId).catch(() => {});
  });
  tcpServer.onAcceptError.addListener(({ resultCode }) => said(`the server has stopped (${resultCode})`));
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
