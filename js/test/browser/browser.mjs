// Starts a real, headless Chromium for a test, with a new profile, extensions, and pages that can import the client.

import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

import { PROGRAM, within } from '../host.mjs';

/** The path of Chromium or Chrome. */
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** The longest time for starting or closing a browser on a busy machine. */
const TIMEOUT = 60_000;

const ENV = { ...process.env, RUST_LOG: 'warn' };

const JS = fileURLToPath(new URL('../../', import.meta.url));

/**
 * Starts Chromium with these unpacked extensions (folders). `test.after` closes it. `real` is the extension that gets
 * the browser's own `chrome.sockets`. All can start the native host, which is installed with the arguments `install`, unless
 * they are `null`.
 */
export async function startBrowser(test, options = {}) {
  const { profile, end, args } = await prepare(test, options);
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    timeout: TIMEOUT,
    headless: true,
    ignoreDefaultArgs: ['--disable-extensions'],
    env: ENV,
    args,
  });
  end.push(() => within('the end of Chromium', context.close(), TIMEOUT));
  // Shows errors of the browser in the output of the test.
  context.on('console', (message) => {
    if (message.type() === 'error') console.error(`in Chromium: ${message.text()} (${message.location().url})`);
  });
  context.on('weberror', (error) => console.error('in Chromium:', error.error()));
  return {
    context,
    profile,

    /** Resolves to the service worker of an extension when it runs. */
    async worker(extension) {
      const start = `chrome-extension://${await idOf(extension)}/`;
      const isIt = (worker) => worker.url().startsWith(start);
      const running = context.serviceWorkers().find(isIt);
      return running ?? context.waitForEvent('serviceworker', { predicate: isIt, timeout: TIMEOUT });
    },

    /** Opens a page. */
    async page(url) {
      const page = await context.newPage();
      await page.goto(url, { timeout: TIMEOUT });
      return page;
    },
  };
}

/**
 * Makes an unpacked extension with a copy of `js/`, and one of its files as the service worker. `manifest` has further fields
 * of its manifest.
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
 * Starts Chromium without a debugger: a debugged service worker never stops.
 */
export async function startUnwatched(test, options = {}) {
  const { profile, end, args } = await prepare(test, options);
  const child = spawn(CHROMIUM, [...args, `--user-data-dir=${profile}`], { stdio: 'ignore', env: ENV });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  end.push(() => {
    child.kill();
    return within('the end of Chromium', ended, TIMEOUT);
  });
}

/** Makes a profile with the installed host, the arguments of Chromium, and a list of clean-up functions. */
async function prepare(test, { extensions = [], real, install = ['--dev'], args = [] }) {
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
      // Chromium's sandbox does not work as root.
      ...(process.getuid() === 0 ? ['--no-sandbox'] : []),
      ...(list ? [`--load-extension=${list}`, `--disable-extensions-except=${list}`] : []),
      ...(real ? [`--allowlisted-extension-id=${await idOf(real)}`] : []),
      ...args,
    ],
  };
}

/** The id of an unpacked extension: Chromium derives it from its key or its path. */
export async function idOf(extension) {
  const { key } = JSON.parse(await readFile(join(extension, 'manifest.json')));
  const hash = createHash('sha256').update(key ? Buffer.from(key, 'base64') : extension).digest('hex');
  return [...hash.slice(0, 32)].map((digit) => 'abcdefghijklmnop'[parseInt(digit, 16)]).join('');
}

const TYPES = { '.mjs': 'text/javascript', '.html': 'text/html', '.json': 'application/json' };

/**
 * Serves `js/`, or another folder, to pages, and an empty page at `/`. Returns the origin, which the host must allow
 * (`--origin`).
 */
export async function servePages(test, root = JS) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    if (pathname === '/') return response.setHeader('Content-Type', 'text/html').end('<!doctype html><link rel="icon" href="data:,"><title>a test</title>');
    try {
      const text = await readFile(join(root, normalize(pathname)));
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
