// A real Chromium of a test's own: headless, with a fresh profile, with extensions, and with a page
// where the client is.

import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

import { PROGRAM, within } from '../host.mjs';

/** Chromium, or a Chrome; Debian's, unless it is said otherwise. */
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** How long a browser may take to start or to end on a machine that is busy. */
const SLOW = 60_000;

const ENV = { ...process.env, RUST_LOG: 'warn' };

const JS = fileURLToPath(new URL('../../', import.meta.url));

/**
 * Starts Chromium with these unpacked extensions (folders), and `test.after` ends it. `real` is the one of them that has
 * the browser's own `chrome.sockets`; all may start the native host, which is installed with these arguments (`null`:
 * it is not).
 */
export async function startBrowser(test, options = {}) {
  const { profile, end, args } = await prepared(test, options);
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    timeout: SLOW,
    headless: true,
    ignoreDefaultArgs: ['--disable-extensions'],
    env: ENV,
    args,
  });
  end.push(() => within('the end of Chromium', context.close(), SLOW));
  // What went wrong inside is seen where the test is read.
  context.on('console', (message) => {
    if (message.type() === 'error') console.error(`in Chromium: ${message.text()} (${message.location().url})`);
  });
  context.on('weberror', (error) => console.error('in Chromium:', error.error()));
  return {
    context,
    profile,

    /** The service worker of an extension, as soon as it runs. */
    async worker(extension) {
      const start = `chrome-extension://${await idOf(extension)}/`;
      const isIt = (worker) => worker.url().startsWith(start);
      const running = context.serviceWorkers().find(isIt);
      return running ?? context.waitForEvent('serviceworker', { predicate: isIt, timeout: SLOW });
    },

    /** A page at this address. */
    async page(url) {
      const page = await context.newPage();
      await page.goto(url, { timeout: SLOW });
      return page;
    },
  };
}

/**
 * Makes an unpacked extension which has all of `js/` in it, and whose service worker is this file of that. What else is
 * given goes into its manifest.
 */
export async function makeExtension(test, worker, manifest = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'chrome-sockets-extension-'));
  test.after(() => rm(folder, { recursive: true, force: true }));
  await cp(JS, join(folder, 'js'), { recursive: true, filter: (from) => basename(from) !== 'node_modules' });
  const whole = {
    manifest_version: 3,
    name: 'a test',
    version: '1',
    permissions: ['nativeMessaging'],
    background: { service_worker: `js/${worker}`, type: 'module' },
    ...manifest,
  };
  await writeFile(join(folder, 'manifest.json'), JSON.stringify(whole));
  return folder;
}

/**
 * Starts it likewise, but watched by nobody: a service worker that is debugged never falls asleep.
 */
export async function startUnwatched(test, options = {}) {
  const { profile, end, args } = await prepared(test, options);
  const child = spawn(CHROMIUM, [...args, `--user-data-dir=${profile}`], { stdio: 'ignore', env: ENV });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  end.push(() => {
    child.kill();
    return within('the end of Chromium', ended, SLOW);
  });
}

/** What every Chromium here is started with: a profile in which the host is installed, and how it is all ended. */
async function prepared(test, { extensions = [], real, install = ['--dev'], args = [] }) {
  const profile = await mkdtemp(join(tmpdir(), 'chrome-sockets-profile-'));
  const end = [() => rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })];
  test.after(async () => {
    for (const act of end.reverse()) await act();
  });
  const ids = await Promise.all(extensions.map(idOf));
  if (install && ids.length > 0) {
    const named = ids.flatMap((id) => ['--extension', id]);
    execFileSync(PROGRAM, ['install', '--user-data-dir', profile, '--copy-to', dirname(PROGRAM), ...named, ...install], { stdio: ['ignore', 'ignore', 'inherit'] });
  }
  const list = extensions.join(',');
  return {
    profile,
    end,
    args: [
      '--headless=new', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
      // Chromium's own walls do not stand for root.
      ...(process.getuid() === 0 ? ['--no-sandbox'] : []),
      ...(list ? [`--load-extension=${list}`, `--disable-extensions-except=${list}`] : []),
      ...(real ? [`--allowlisted-extension-id=${await idOf(real)}`] : []),
      ...args,
    ],
  };
}

/** The id that Chromium gives to an unpacked extension: of its key, or of where it lies. */
export async function idOf(extension) {
  const { key } = JSON.parse(await readFile(join(extension, 'manifest.json')));
  const hash = createHash('sha256').update(key ? Buffer.from(key, 'base64') : extension).digest('hex');
  return [...hash.slice(0, 32)].map((digit) => 'abcdefghijklmnop'[parseInt(digit, 16)]).join('');
}

const TYPES = { '.mjs': 'text/javascript', '.html': 'text/html', '.json': 'application/json' };

/**
 * Serves all of `js/` to pages, and gives the origin, which a host has to be told (`--origin`). At `/` is an empty page.
 */
export async function servePages(test) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    if (pathname === '/') return response.setHeader('Content-Type', 'text/html').end('<!doctype html><link rel="icon" href="data:,"><title>a test</title>');
    try {
      const text = await readFile(join(JS, normalize(pathname)));
      response.setHeader('Content-Type', TYPES[extname(pathname)] ?? 'text/plain').end(text);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  test.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${server.address().port}`;
}
