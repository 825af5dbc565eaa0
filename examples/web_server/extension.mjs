// Serves the folder `www` of this extension from its service worker.

import './chrome-sockets/extension.mjs';
import { filesBelow } from './files.mjs';
import { serve } from './server.mjs';

const PORT = 8081;

/** The time between two attempts to listen, in milliseconds. */
const RETRY_DELAY = 1000;

start();

async function start() {
  try {
    const { closed } = await serve(chrome, { files: filesBelow(chrome.runtime.getURL('www/')), port: PORT });
    console.warn(await closed);
  } catch (error) {
    console.warn(error.message);
  }
  // The host has ended, or another program has the port.
  setTimeout(start, RETRY_DELAY);
}
