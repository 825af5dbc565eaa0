// chrome.sockets in an MV3 extension, over native messaging to the chrome-sockets host. Importing this module installs it.
// Add listeners in the first turn of the service worker, as for any other event.

import { makeSockets } from './api.mjs';
import { webSocket } from './web-socket.mjs';

const { runtime } = globalThis.chrome;

/** The name of the native host: the extension's manifest can name the one of `chrome-sockets install --host-name`. */
const HOST = runtime.getManifest().chrome_sockets?.host ?? 'chrome_sockets';

/** The fields of the next hello that depend on the transport. */
let transportFields = {};

/**
 * Opens the transport. Native messaging starts the host, identifies the extension, and ends with both. It is slow, so the
 * frames use a WebSocket that the host opens for this extension, if that is possible.
 */
function openTransport({ onOpen, onFrame, onClose }) {
  const port = runtime.connectNative(HOST);
  let transport = { encoding: 'json', send: (frame) => port.postMessage(frame), close() {} };
  let isOver = false;
  transportFields = globalThis.WebSocket ? { webSocket: true } : {};
  const close = () => {
    isOver = true;
    transport.close();
    port.disconnect();
  };
  const fail = (error) => {
    if (isOver) return;
    close();
    onClose(error);
  };
  port.onMessage.addListener((frame) => {
    if (frame.webSocket) useWebSocket(frame.webSocket);
    else onFrame(frame, sizeOf(frame));
  });
  port.onDisconnect.addListener(() => fail(new Error(runtime.lastError?.message ?? 'the host has ended')));
  const useWebSocket = ({ url, token }) => {
    let isOpen = false;
    // A policy of the extension may forbid the WebSocket. The port still works.
    const stay = () => {
      if (isOver) return;
      transportFields = {};
      onOpen();
    };
    try {
      const socket = webSocket(url, globalThis.WebSocket, token)({
        onOpen() {
          if (isOver) return socket.close();
          isOpen = true;
          transport = socket;
          transportFields = {};
          onOpen();
        },
        onFrame,
        onClose: (error) => (isOpen ? fail(error) : stay()),
      });
    } catch {
      stay();
    }
  };
  // The port accepts messages at once, but the client expects `onOpen` after this function returns.
  queueMicrotask(onOpen);
  return {
    get encoding() {
      return transport.encoding;
    },
    get buffer() {
      return transport.buffer;
    },
    // A disconnected port throws, and the client may still be handling earlier frames.
    send: (frame) => isOver || transport.send(frame),
    close,
  };
}

/** The approximate size of a frame, for acknowledgements. */
function sizeOf(frame) {
  let size = 0;
  for (const message of frame.messages ?? []) size += 64 + (typeof message[2] === 'string' ? message[2].length : 0);
  return size;
}

/**
 * Restarts the worker when the browser starts, and by an alarm if Chromium has stopped the worker in spite of its open port.
 * Without a running worker there are no server sockets. The alarm needs the permission `alarms`.
 */
function restartWorker({ alarms }) {
  runtime.onStartup?.addListener(() => {});
  if (!alarms) return;
  alarms.onAlarm.addListener(() => {});
  // The shortest period that Chromium allows.
  alarms.create(HOST, { periodInMinutes: 0.5 });
}

function install() {
  const { client, sockets, onDisconnect, onConnect } = makeSockets({
    open: openTransport,
    hello: () => ({ protocol: [1], app: runtime.id, manifest: runtime.getManifest(), client: 'chrome-sockets-js/0.1.0', ...transportFields }),
    runtime,
  });
  client.start().catch((error) => console.error(`chrome.sockets: ${error.message}`));
  const host = {
    get connected() {
      return client.isConnected;
    },
    onDisconnect,
    onConnect,
    close: () => client.close(),
  };
  const { system, ...spaces } = sockets;
  globalThis.chrome.sockets = spaces;
  // Chrome has the other parts of `chrome.system`, if the extension has their permissions.
  globalThis.chrome.system ??= {};
  globalThis.chrome.system.network ??= system.network;
  restartWorker(globalThis.chrome);
  return { ...sockets, runtime, host };
}

/** The installed `chrome.sockets`, or the browser's own where it has one. */
export const sockets = globalThis.chrome.sockets ?? install();
