// chrome.sockets in Node, in pages and in workers: by WebSocket to a chrome-sockets host.

import { makeSockets } from './api.mjs';
import { webSocket } from './web-socket.mjs';

/**
 * Connects to a host, and gives `{ tcpServer, tcp, runtime, host }`. Fails if there is none, or if it
 * does not let this app in. See index.d.ts.
 */
export async function connect(url, options = {}) {
  const { app, manifest, token, patience, onRetry, runtime = {} } = options;
  const WebSocket = options.WebSocket ?? globalThis.WebSocket ?? await nodesOwn();
  const { client, sockets, onLost, onBack } = makeSockets({
    open: webSocket(String(url), WebSocket, token),
    hello: () => ({ protocol: [1], app, manifest, client: 'chrome-sockets-js/0.1.0' }),
    patience,
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
      return client.isIn;
    },
    onLost,
    onBack,
    close: () => client.close(),
  };
  return { ...sockets, runtime, host };
}

async function nodesOwn() {
  if (!globalThis.process?.versions?.node) throw new Error('there is no WebSocket here');
  // A variable, so that no bundler takes it along for a page.
  const file = './node-websocket.mjs';
  return (await import(file)).NodeWebSocket;
}
