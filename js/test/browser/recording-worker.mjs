// A service worker that replays recordings on `chrome.sockets`: the browser's own where it has one.

import './transport-log.mjs';
import { sockets } from '../../extension.mjs';
import { player } from './recording-player.mjs';

globalThis.isChromiums = sockets.host === undefined;
globalThis.player = player;

/** All recordings share one `chrome.sockets`, so each must close its sockets. */
globalThis.api = () => ({ sockets: chrome.sockets, runtime: chrome.runtime, end: closeAll });

async function closeAll() {
  for (const space of [chrome.sockets.tcpServer, chrome.sockets.tcp, chrome.sockets.udp]) {
    const infos = await space.getSockets();
    await Promise.all(infos.map(({ socketId }) => space.close(socketId)));
  }
}
