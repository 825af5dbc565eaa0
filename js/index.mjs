// chrome.sockets in Node, in pages and in workers, over a WebSocket to a chrome-sockets host.

import { makeSockets } from './api.mjs';
import { webSocket } from './web-socket.mjs';

/**
 * Connects to a host. Resolves to `{ tcpServer, tcp, udp, system, runtime, host }`; rejects if no host answers or if the host rejects the
 * app. See index.d.ts.
 */
export async function connect(url, options = {}) {
  const { app, manifest, token, reconnectTimeout, onRetry, runtime = {} } = options;
  const WebSocket = options.WebSocket ?? globalThis.WebSocket;
  if (!WebSocket) throw new Error('WebSocket is missing: Node has it since version 22');
  const { client, sockets, onDisconnect, onConnect } = makeSockets({
    open: webSocket(String(url), WebSocket, token),
    hello: () => ({ protocol: [1], app, manifest, client: 'chrome-sockets-js/0.1.0' }),
    reconnectTimeout,
    onRetry,
    runtime,
  });
  try {
    await client.start();
  } catch (error) {
    client.close();
    throw error;
  }
  const host = {
    get connected() {
      return client.isConnected;
    },
    onDisconnect,
    onConnect,
    close: () => client.close(),
  };
  return { ...sockets, runtime, host };
}
