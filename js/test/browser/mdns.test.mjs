// examples/mdns_browser in a page and in an extension, in a network of its own.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { startHost } from '../host.mjs';
import { THERE, cannot, isInside, otherMachine, responder, runInside } from '../network.mjs';
import { idOf, servePages, startBrowser } from './browser.mjs';
import { example } from './example.mjs';

const SOURCE = fileURLToPath(new URL('../../../examples/mdns_browser/', import.meta.url));
const LINE = `The Server  _http._tcp.local  server.local:8080  ${THERE}  path=/ flag`;

/** Waits until the list of a page shows the service. */
const shown = (page) => page.waitForFunction((line) => [...document.querySelectorAll('#services li')].some(({ textContent }) => textContent === line), LINE);

if (!isInside) {
  test('the README has the right id', async () => {
    const readme = await readFile(`${SOURCE}README.md`, 'utf8');
    assert.ok(readme.includes(`install --extension ${await idOf(SOURCE)} --manifest examples/mdns_browser/sockets.json`));
  });

  test('the mDNS browser in a browser', { skip: cannot, timeout: 200_000 }, async () => {
    const { code, output } = await runInside(fileURLToPath(import.meta.url));
    assert.equal(code, 0, output);
    assert.match(output, /^# pass 2$/m, output);
  });
} else {
  test('in a page', { timeout: 90_000 }, async (t) => {
    await responder(t, await otherMachine(t), THERE);
    const origin = await servePages(t, SOURCE);
    const host = await startHost(t, '--origin', origin);
    const page = await (await startBrowser(t)).page(`${origin}/page.html`);
    await page.fill('#host', host.url);
    await page.click('#browse');
    await shown(page);
    assert.equal(await page.textContent('#state'), 'Browsing');
  });

  test('in an extension', { timeout: 90_000 }, async (t) => {
    const { order } = await responder(t, await otherMachine(t), THERE);
    const { folder, options } = await example(t, { source: SOURCE, files: [] });
    const page = await (await startBrowser(t, options)).page(`chrome-extension://${await idOf(folder)}/popup.html`);
    await shown(page);
    order('bye');
    await page.waitForFunction(() => document.querySelectorAll('#services li').length === 0);
  });
}
