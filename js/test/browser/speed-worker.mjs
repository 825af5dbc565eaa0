// A service worker to be measured: the browser's own chrome.sockets, where there is one, and ours elsewhere.

import '../../extension.mjs';
import './speed-stage.mjs';

globalThis.sockets = chrome.sockets;
