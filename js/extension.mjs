// chrome.sockets in an MV3 extension: by native messaging to the chrome-sockets host. Importing this
// is all; the service worker's first turn adds its listeners, as for any other event.

import { makeSockets } from './api.mjs';

/** What `chrome-sockets install` calls the host. */
const HOST = 'chrome_sockets';

const { runtime } = globalThis.chrome;

function native({ opened, came, closed }) {
  const port = runtime.connectNative(HOST);
  port.onMessage.addListener((frame) => came(frame, sizeOf(frame)));
  port.onDisconnect.addListener(() => {
    closed(new Error(runtime.lastError?.message ?? 'the host has gone'));
  });
  // The port takes messages at once; the client waits to be told of it.
  queueMicrotask(opened);
  return {
    form: 'json',
    send: (frame) => port.postMessage(frame),
    close: () => port.disconnect(),
  };
}

/** About what a frame has: only the credit goes by it. */
function sizeOf(frame) {
  let size = 0;
  for (const message of frame.messages ?? []) size += 64 + (message[0] === 'tcp.onReceive' ? message[2].length : 0);
  return size;
}

function install() {
  const { client, sockets, onLost, onBack } = makeSockets({
    open: native,
    hello: () => ({ protocol: [1], app: runtime.id, manifest: runtime.getManifest(), client: 'chrome-sockets-js/0.1.0' }),
    runtime,
  });
  client.start().catch((error) => console.error(`chrome.sockets: ${error.message}`));
  const host = {
    get connected() {
      return client.isIn;
    },
    onLost,
    onBack,
    close: () => client.close(),
  };
  globalThis.chrome.sockets = sockets;
  return { ...sockets, runtime, host };
}

/** What was installed; or, where the browser has its own `chrome.sockets`, that. */
export const sockets = globalThis.chrome.sockets ?? install();
