// The connection that looks after the host: docs/protocol.md. It is no app.

import { Client } from '../client.mjs';
import { webSocket } from '../web-socket.mjs';

/**
 * Comes in with the key, and gives the functions of `host`. Fails if that is not possible; `error.code` is the host's, if it has
 * said why. `lost` is called once, when the connection has ended.
 */
export async function lookAfter(url, key, { WebSocket = globalThis.WebSocket, lost = () => {} } = {}) {
  const client = new Client({
    open: webSocket(`${url}/caretaker`, WebSocket),
    hello: () => ({ protocol: [1], caretaker: [1], key }),
    patience: 0,
    told(event) {
      if (event === 'host.lost') {
        client.close();
        lost();
      }
      return false;
    },
  });
  try {
    await client.start();
  } catch (error) {
    client.close();
    throw error;
  }
  const call = (name, ...args) => new Promise((resolve, reject) => {
    client.call(`host.${name}`, args, (lastError, [value]) => {
      if (lastError === undefined) resolve(value);
      else reject(new Error(lastError));
      return true;
    });
  });
  return {
    listApps: (from, most) => call('listApps', from, most),
    listServers: (app, from, most) => call('listServers', app, from, most),
    listClients: (app, server, byBytes, from, most) => call('listClients', app, server, byBytes, from, most),
    setPaused: (app, namespace, socketId, paused) => call('setPaused', app, namespace, socketId, paused),
    close: (app, namespace, socketId) => call('close', app, namespace, socketId),
    leave: () => client.close(),
  };
}
