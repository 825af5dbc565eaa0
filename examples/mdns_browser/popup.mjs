// Asks the service worker for its list, as long as the popup is open.

import { show } from './list.mjs';

const look = async () => show(await chrome.runtime.sendMessage('services') ?? []);

setInterval(look, 500);
look();
