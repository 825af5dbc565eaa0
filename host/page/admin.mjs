// The admin connection to the host: docs/protocol.md.

import { Client } from '../js/client.mjs';
import { webSocket } from '../js/web-socket.mjs';

/**
 * Connects with the admin key. Resolves to the admin functions; rejects with the host's close code as `error.code`, if it
 * sent one. `onDisconnect` is called once, when the connection ends.
 */
export async function connectAdmin(url, key, { WebSocket = globalThis.WebSocket, onDisconnect = () => {} } = {}) {
  const client = new Client({
    open: webSocket(`${url}/admin`, WebSocket),
    hello: () => ({ protocol: [1], admin: [1], key }),
    // The page reconnects itself, to show that.
    reconnectTimeout: 0,
    onEvent(event) {
      if (event === 'host.disconnect') {
        client.close();
        onDisconnect();
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
    listApps: (from, most, problemsFirst) => call('listApps', from, most, problemsFirst),
    listServers: (app, from, most, problemsFirst) => call('listServers', app, from, most, problemsFirst),
    listClients: (app, server, byBytes, from, most) => call('listClients', app, server, byBytes, from, most),
    listUdp: (app, byBytes, from, most) => call('listUdp', app, byBytes, from, most),
    find: (text, from, most) => call('find', text, from, most),
    drain: (app, server, seconds) => call('drain', app, server, seconds),
    setPaused: (app, namespace, socketId, paused) => call('setPaused', app, namespace, socketId, paused),
    close: (app, namespace, socketId) => call('close', app, namespace, socketId),
    disconnect: () => client.close(),
  };
}
