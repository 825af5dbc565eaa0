// The admin connection to the host: docs/protocol.md. It is no app.

import { Client } from '../js/client.mjs';
import { webSocket } from '../js/web-socket.mjs';

/**
 * Connects with the admin key, and gives the functions of `host`. If that fails, `error.code` is the host's reason, where it
 * gave one. `lost` is called once, when the connection has ended.
 */
export async function lookAfter(url, key, { WebSocket = globalThis.WebSocket, lost = () => {} } = {}) {
  const client = new Client({
    open: webSocket(`${url}/admin`, WebSocket),
    hello: () => ({ protocol: [1], admin: [1], key }),
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
    listApps: (from, most, problemsFirst) => call('listApps', from, most, problemsFirst),
    listServers: (app, from, most, problemsFirst) => call('listServers', app, from, most, problemsFirst),
    listClients: (app, server, byBytes, from, most) => call('listClients', app, server, byBytes, from, most),
    find: (text, from, most) => call('find', text, from, most),
    drain: (app, server, seconds) => call('drain', app, server, seconds),
    setPaused: (app, namespace, socketId, paused) => call('setPaused', app, namespace, socketId, paused),
    close: (app, namespace, socketId) => call('close', app, namespace, socketId),
    leave: () => client.close(),
  };
}
