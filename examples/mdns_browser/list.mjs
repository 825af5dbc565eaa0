// Shows a list of services in a page. Texts of the network stay texts.

import { lineOf } from './browser.mjs';

export function show(services) {
  document.getElementById('services').replaceChildren(...services.map((service) => {
    const item = document.createElement('li');
    item.textContent = lineOf(service);
    return item;
  }));
}
