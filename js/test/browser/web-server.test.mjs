// examples/web_server in a page and in an extension.

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { startHost } from '../host.mjs';
import { idOf, servePages, startBrowser, startUnwatched } from './browser.mjs';
import { curl, fetched } from './curl.mjs';
import { example } from './example.mjs';

const SOURCE = fileURLToPath(new URL('../../../examples/web_server/', import.meta.url));

test('the README has the right id', async () => {
  const readme = await readFile(join(SOURCE, 'README.md'), 'utf8');
  assert.ok(readme.includes(`install --extension ${await idOf(SOURCE)} --manifest examples/web_server/sockets.json`));
});

test('in a page it serves the folder that the user chooses', { timeout: 120_000 }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'chrome-sockets-chosen-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await mkdir(join(folder, 'inner'));
  await writeFile(join(folder, 'a b.txt'), '0123456789');
  await writeFile(join(folder, 'inner', 'index.html'), '<p>inner');
  await writeFile(join(folder, 'big.bin'), Buffer.alloc(3_000_000, 'page '));
  const origin = await servePages(t, SOURCE);
  const host = await startHost(t, '--origin', origin);
  const browser = await startBrowser(t);
  const page = await browser.page(`${origin}/page.html`);
  await page.fill('#host', host.url);
  await page.fill('#port', '0');
  await page.setInputFiles('#folder', folder);
  await page.waitForFunction(() => document.getElementById('state').textContent.startsWith('Serving'));
  const url = /http:\S+/.exec(await page.textContent('#state'))[0];
  assert.equal(`${await fetched(`${url}a%20b.txt`)}`, '0123456789');
  assert.match(`${await fetched(url)}`, /<a href="\.\/a%20b\.txt">a b\.txt<\/a>[^]*<a href="\.\/inner\/">/);
  assert.equal(`${await fetched('--location', `${url}inner`)}`, '<p>inner');
  assert.equal(`${await fetched('--range', '2-4', `${url}a%20b.txt`)}`, '234');
  assert.equal((await fetched(`${url}big.bin`)).length, 3_000_000);
  assert.match(`${(await curl('--include', '--path-as-is', `${url}../page.html`)).out}`, /^HTTP\/1\.1 403/);
  assert.match(`${(await curl('--head', `${url}none`)).out}`, /^HTTP\/1\.1 404/);
  // Choosing again replaces the server.
  await page.setInputFiles('#folder', join(folder, 'inner'));
  await page.waitForFunction((old) => {
    const { textContent } = document.getElementById('state');
    return textContent.startsWith('Serving') && !textContent.includes(old);
  }, url);
  const second = /http:\S+/.exec(await page.textContent('#state'))[0];
  assert.equal(`${await fetched(second)}`, '<p>inner');
  // It ends with the page.
  await page.close();
  while ((await curl(second)).code !== 7) ;
});

test('in an extension it serves files of the extension', { timeout: 120_000 }, async (t) => {
  const { url, options } = await example(t, { source: SOURCE, usual: '8081', files: ['extension.mjs', 'sockets.json'] });
  await startUnwatched(t, options);
  // The browser and the worker need time to start.
  let index;
  do index = await curl('--fail', '--max-time', '10', url); while (index.code === 7);
  assert.equal(index.code, 0, index.error);
  assert.match(`${index.out}`, /Hello from an extension/);
  const notes = await readFile(join(SOURCE, 'www', 'notes.txt'), 'utf8');
  assert.equal(`${await fetched('--range', '4-', `${url}notes.txt`)}`, notes.slice(4));
  for (const path of ['none', '../manifest.json', '%2e%2e/manifest.json']) {
    assert.match(`${(await curl('--include', '--path-as-is', `${url}${path}`)).out}`, /^HTTP\/1\.1 40[34]/, path);
  }
});
