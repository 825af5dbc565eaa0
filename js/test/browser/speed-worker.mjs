// A service worker for the benchmark: with the browser's own chrome.sockets where it has one, else with ours.

import '../../extension.mjs';
import './speed-servers.mjs';

globalThis.sockets = chrome.sockets;
