// chrome.sockets in an MV3 extension: by native messaging to the chrome-sockets host. Importing this
// is all; the service worker's first turn adds its listeners, as for any other event.

import { makeSockets } from './api.mjs';
import { webSocket } from './web-socket.mjs';

const { runtime } = globalThis.chrome;

/** What `chrome-sockets install` calls the host, unless `--host-name` and the extension's manifest say another name. */
const HOST = runtime.getManifest().chrome_sockets?.host ?? 'chrome_sockets';

/** What the next hello says of the way on which it goes. */
let how = {};

/**
 * Native messaging starts the host, says for which extension, and lives as long as both. It is slow, so frames go by a
 * WebSocket that the host opens for this extension alone, where there can be one.
 */
function native({ opened, came, closed }) {
  const port = runtime.connectNative(HOST);
  const byPort = { form: 'json', send: (frame) => port.postMessage(frame), close() {} };
  let way = byPort;
  let isOver = false;
  how = globalThis.WebSocket ? { elsewhere: true } : {};
  const close = () => {
    isOver = true;
    way.close();
    port.disconnect();
  };
  const over = (error) => {
    if (isOver) return;
    close();
    closed(error);
  };
  port.onMessage.addListener((frame) => {
    if (frame.elsewhere) go(frame.elsewhere);
    else came(frame, sizeOf(frame));
  });
  port.onDisconnect.addListener(() => over(new Error(runtime.lastError?.message ?? 'the host has gone')));
  const go = ({ url, token }) => {
    let isThere = false;
    const stay = () => {
      if (isOver) return;
      how = {};
      opened();
    };
    try {
      const there = webSocket(url, globalThis.WebSocket, token)({
        opened() {
          if (isOver) return there.close();
          isThere = true;
          way = there;
          how = {};
          opened();
        },
        came,
        closed: (error) => (isThere ? over(error) : stay()),
      });
    } catch {
      stay();
    }
  };
  // The port takes messages at once; the client waits to be told of it.
  queueMicrotask(opened);
  return {
    get form() {
      return way.form;
    },
    get room() {
      return way.room;
    },
    // A port that has ended throws, while there are still frames of it to handle.
    send: (frame) => isOver || way.send(frame),
    close,
  };
}

/** About what a frame has: only the credit goes by it. */
function sizeOf(frame) {
  let size = 0;
  for (const message of frame.messages ?? []) size += 64 + (message[0] === 'tcp.onReceive' ? message[2].length : 0);
  return size;
}

/**
 * The port keeps the worker awake. If Chromium stops it all the same, an alarm starts it again, with the permission
 * `alarms`, and so does the start of the browser: else nobody would be there to listen.
 */
function comeBack({ alarms }) {
  runtime.onStartup?.addListener(() => {});
  if (!alarms) return;
  alarms.onAlarm.addListener(() => {});
  // As often as Chromium allows.
  alarms.create(HOST, { periodInMinutes: 0.5 });
}

function install() {
  const { client, sockets, onLost, onBack } = makeSockets({
    open: native,
    hello: () => ({ protocol: [1], app: runtime.id, manifest: runtime.getManifest(), client: 'chrome-sockets-js/0.1.0', ...how }),
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
  comeBack(globalThis.chrome);
  return { ...sockets, runtime, host };
}

/** What was installed; or, where the browser has its own `chrome.sockets`, that. */
export const sockets = globalThis.chrome.sockets ?? install();
