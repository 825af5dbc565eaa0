// A service worker that plays recordings on its `chrome.sockets`: the browser's own, where there is one.

import './ways.mjs';
import { sockets } from '../../extension.mjs';
import { stage } from './stage.mjs';

globalThis.isChromiums = sockets.host === undefined;
globalThis.stage = stage;

/** All recordings are played on the same: each leaves it as it was. */
globalThis.api = () => ({ sockets: chrome.sockets, runtime: chrome.runtime, end: closeAll });

async function closeAll() {
  for (const space of [chrome.sockets.tcpServer, chrome.sockets.tcp]) {
    const infos = await space.getSockets();
    await Promise.all(infos.map(({ socketId }) => space.close(socketId)));
  }
}
