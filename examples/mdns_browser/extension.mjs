// Browses in the service worker of an extension, and tells popup.mjs what it finds.

import './chrome-sockets/extension.mjs';
import { browse } from './browser.mjs';

/** The time between two attempts, in milliseconds. */
const RETRY_DELAY = 5000;

let services = [];
let browser;
let isWaiting = false;

chrome.runtime.onMessage.addListener((message, sender, answer) => {
  if (message === 'services') answer(services);
});

start();

async function start() {
  isWaiting = false;
  services = [];
  try {
    browser = await browse(chrome, { onChange: (list) => { services = list; }, onError: again });
  } catch (error) {
    again(error);
  }
}

/** The host has ended, or there is no network. */
function again(error) {
  if (isWaiting) return;
  isWaiting = true;
  console.warn(error.message);
  browser?.close();
  setTimeout(start, RETRY_DELAY);
}
