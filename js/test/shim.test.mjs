// chrome-sockets/shim: what Chrome Apps use besides sockets.

import assert from 'node:assert/strict';
import test from 'node:test';

import { filesAt, install } from '../shim.mjs';
import { within } from './host.mjs';

/** The value of a call with a callback, and its lastError. */
const called = (chrome, name, ...given) => within(name, new Promise((resolve) => {
  const path = name.split('.');
  const target = path.slice(0, -1).reduce((object, key) => object[key], chrome);
  target[path.at(-1)](...given, (...values) => resolve([values[0], chrome.runtime.lastError?.message]));
}));

const entry = (act) => within('a file', new Promise((resolve, reject) => act(resolve, reject)));

test('it adds what is missing and keeps the rest', () => {
  const own = () => 'own';
  const chrome = { runtime: { id: 'mine', getPlatformInfo: own }, power: { requestKeepAwake: own } };
  assert.equal(install(chrome).chrome, chrome);
  assert.equal(chrome.runtime.id, 'mine');
  assert.equal(chrome.runtime.getPlatformInfo, own);
  assert.equal(chrome.power.requestKeepAwake, own);
  assert.equal(typeof chrome.power.releaseKeepAwake, 'function');
  install(chrome);
  assert.equal(chrome.runtime.getPlatformInfo, own);
});

test('an app is launched', () => {
  const { chrome, launch } = install({});
  const launched = [];
  chrome.app.runtime.onLaunched.addListener((data) => launched.push(data));
  launch();
  launch({ items: [] });
  assert.deepEqual(launched, [{ source: 'test' }, { items: [] }]);
});

test('the platform', async () => {
  const platform = async (environment) => (await called(install({}, { environment }).chrome, 'runtime.getPlatformInfo'))[0];
  const node = (system, arch) => platform({ process: { versions: { node: '22' }, platform: system, arch } });
  assert.deepEqual(await node('linux', 'x64'), { os: 'linux', arch: 'x86-64', nacl_arch: 'x86-64' });
  assert.deepEqual(await node('darwin', 'arm64'), { os: 'mac', arch: 'arm64', nacl_arch: 'arm' });
  assert.deepEqual(await node('win32', 'ia32'), { os: 'win', arch: 'x86-32', nacl_arch: 'x86-32' });
  assert.deepEqual(await node('openbsd', 'x64'), { os: 'openbsd', arch: 'x86-64', nacl_arch: 'x86-64' });
  const page = (system, userAgent) => platform({ navigator: { platform: system, userAgent } });
  assert.deepEqual(await page('Win32', 'Mozilla/5.0 (Windows NT 10.0; Win64; x64)'), { os: 'win', arch: 'x86-64', nacl_arch: 'x86-64' });
  assert.deepEqual(await page('Linux aarch64', 'Mozilla/5.0 (X11; Linux aarch64)'), { os: 'linux', arch: 'arm64', nacl_arch: 'arm' });
  assert.deepEqual((await page('MacIntel', 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)')).os, 'mac');
  assert.equal((await install({}).chrome.runtime.getPlatformInfo()).os, process.platform === 'linux' ? 'linux' : (await node(process.platform, process.arch)).os);
});

test('what is not here fails with a text that says so', async () => {
  const { chrome } = install({});
  for (const name of [
    'app.window.create', 'fileSystem.chooseEntry', 'fileSystem.restoreEntry', 'fileSystem.getWritableEntry',
    'runtime.getPackageDirectoryEntry',
  ]) {
    assert.deepEqual(await called(chrome, name, {}), [undefined, `chrome.${name} is not available here: see docs/porting.md of chrome-sockets`]);
  }
  await assert.rejects(chrome.fileSystem.chooseEntry({ type: 'openDirectory' }), /not available here/);
  assert.deepEqual(await called(chrome, 'fileSystem.isRestorable', 'x'), [false, undefined]);
  assert.deepEqual(await called(chrome, 'fileSystem.isWritableEntry', {}), [false, undefined]);
  assert.equal(chrome.app.window.current(), null);
  assert.deepEqual(chrome.app.window.getAll(), []);
});

test('the runtime', () => {
  const manifest = { name: 'x', sockets: {} };
  const { chrome } = install({}, { id: 'abc', manifest, base: 'https://app.example/folder/page.html' });
  assert.equal(chrome.runtime.id, 'abc');
  assert.deepEqual(chrome.runtime.getManifest(), manifest);
  chrome.runtime.getManifest().name = 'y';
  assert.equal(manifest.name, 'x');
  assert.equal(chrome.runtime.getURL('/a/b.png'), 'https://app.example/folder/a/b.png');
  assert.ok(!chrome.runtime.onSuspend.hasListeners());
});

test('the power of a page is a wake lock of the screen', async () => {
  const locks = [];
  const environment = {
    navigator: {
      wakeLock: {
        async request(kind) {
          const lock = { kind, released: false, release: async () => { lock.released = true; } };
          locks.push(lock);
          return lock;
        },
      },
    },
  };
  const { chrome: { power } } = install({}, { environment });
  power.requestKeepAwake('system');
  assert.equal(locks.length, 0);
  power.requestKeepAwake('display');
  await null;
  power.releaseKeepAwake();
  await new Promise(setImmediate);
  assert.deepEqual(locks.map(({ kind, released }) => [kind, released]), [['screen', true]]);
  // Released before it was granted.
  power.requestKeepAwake('display');
  power.releaseKeepAwake();
  await new Promise(setImmediate);
  assert.equal(locks[1].released, true);
  install({}, { environment: {} }).chrome.power.requestKeepAwake('display');
});

test('the files of the package', async () => {
  const content = new Map([['/index.html', 'page'], ['/images/a.txt', 'picture']]);
  const files = {
    read: async (path) => (content.has(path) ? new Blob([content.get(path)]) : undefined),
    list: (path) => ({ '/': ['index.html', 'images/'], '/images': ['a.txt'] })[path],
  };
  const { chrome } = install({}, { files });
  const [root] = await called(chrome, 'runtime.getPackageDirectoryEntry');
  assert.ok(root.isDirectory && !root.isFile);
  const file = await entry((...on) => root.getFile('images/../images/a.txt', {}, ...on));
  assert.deepEqual([file.name, file.fullPath, file.isFile], ['a.txt', '/images/a.txt', true]);
  assert.equal(await (await entry((...on) => file.file(...on))).text(), 'picture');
  assert.equal((await entry((...on) => file.getMetadata(...on))).size, 7);
  assert.equal((await entry((...on) => file.getParent(...on))).fullPath, '/images');
  await assert.rejects(entry((...on) => root.getFile('none', {}, ...on)), { name: 'NotFoundError' });
  await assert.rejects(entry((...on) => root.getFile('../../etc/passwd', {}, ...on)), { name: 'NotFoundError' });
  await assert.rejects(entry((...on) => root.getFile('new', { create: true }, ...on)), { name: 'NoModificationAllowedError' });
  await assert.rejects(entry((...on) => file.createWriter(...on)), { name: 'NoModificationAllowedError' });
  const reader = root.createReader();
  const found = await entry((...on) => reader.readEntries(...on));
  assert.deepEqual(found.map(({ fullPath, isDirectory }) => [fullPath, isDirectory]), [['/index.html', false], ['/images', true]]);
  assert.deepEqual(await entry((...on) => reader.readEntries(...on)), []);
  const images = await entry((...on) => root.getDirectory('images', {}, ...on));
  assert.deepEqual((await entry((...on) => images.createReader().readEntries(...on))).map(({ name }) => name), ['a.txt']);
  assert.deepEqual(await called(chrome, 'fileSystem.getDisplayPath', file), ['/images/a.txt', undefined]);
});

test('files by fetch', async () => {
  const asked = [];
  const fetch = async (url) => {
    asked.push(url.href);
    return url.pathname.endsWith('/a%20b.txt') ? new Response('found') : new Response('', { status: 404 });
  };
  const { chrome } = install({}, { files: filesAt('https://app.example/app/', fetch) });
  const [root] = await called(chrome, 'runtime.getPackageDirectoryEntry');
  const file = await entry((...on) => root.getFile('a b.txt', {}, ...on));
  assert.equal(await (await entry((...on) => file.file(...on))).text(), 'found');
  await assert.rejects(entry((...on) => root.getFile('c', {}, ...on)), { name: 'NotFoundError' });
  await assert.rejects(entry((...on) => root.createReader().readEntries(...on)), { name: 'NotReadableError' });
  assert.deepEqual(asked, ['https://app.example/app/a%20b.txt', 'https://app.example/app/c']);
});
