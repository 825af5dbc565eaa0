// What Chrome Apps use besides sockets, where it is simple: see shim.d.ts and docs/porting.md.

import { answer } from './api.mjs';
import { Event, callGuarded } from './events.mjs';

/**
 * Adds what is missing to `chrome`, and keeps what it has. Returns `{ chrome, launch }`.
 */
export function install(chrome = (globalThis.chrome ??= {}), options = {}) {
  const { id = 'chrome-sockets-app', manifest = {}, files, base = defaultBase(), environment = globalThis } = options;
  const runtime = chrome.runtime ??= {};
  const onLaunched = new Event();

  /** Answers through the callback, or a promise without one. */
  const respond = (callback, value, error) => {
    if (typeof callback === 'function') {
      queueMicrotask(() => answer(runtime, callback, error, value === undefined ? [] : [value]));
      return undefined;
    }
    return error === undefined ? Promise.resolve(value) : Promise.reject(new Error(error));
  };
  /** A function that is not here: it fails with a text that says so. */
  const missing = (name) => (...given) => respond(given.findLast((value) => typeof value === 'function'), undefined, `${name} is not available here: see docs/porting.md of chrome-sockets`);

  add(runtime, {
    id,
    getManifest: () => structuredClone(manifest),
    getURL: (path) => new URL(String(path).replace(/^\/+/, ''), base).href,
    getPlatformInfo: (callback) => respond(callback, platformInfo(environment)),
    getPackageDirectoryEntry: files
      ? (callback) => respond(callback, new DirectoryEntry(files, '/'))
      : missing('chrome.runtime.getPackageDirectoryEntry'),
    // These happen to an installed app only.
    onInstalled: new Event(),
    onStartup: new Event(),
    onSuspend: new Event(),
    onSuspendCanceled: new Event(),
    onUpdateAvailable: new Event(),
  });
  const app = chrome.app ??= {};
  add(app.runtime ??= {}, { onLaunched, onRestarted: new Event(), onEmbedRequested: new Event() });
  add(app.window ??= {}, {
    create: missing('chrome.app.window.create'),
    current: () => null,
    get: () => null,
    getAll: () => [],
    canSetVisibleOnAllWorkspaces: () => false,
  });
  add(chrome.power ??= {}, power(environment));
  add(chrome.fileSystem ??= {}, {
    chooseEntry: missing('chrome.fileSystem.chooseEntry'),
    restoreEntry: missing('chrome.fileSystem.restoreEntry'),
    getWritableEntry: missing('chrome.fileSystem.getWritableEntry'),
    getDisplayPath: (entry, callback) => respond(callback, entry.fullPath),
    isRestorable: (entryId, callback) => respond(callback, false),
    isWritableEntry: (entry, callback) => respond(callback, false),
  });
  return {
    chrome,
    /** Raises `chrome.app.runtime.onLaunched`, as a click on the app's icon did. */
    launch: (launchData = { source: 'test' }) => void app.runtime.onLaunched.dispatch?.(launchData),
  };
}

/** Adds the members that are missing. */
function add(target, members) {
  for (const [name, value] of Object.entries(members)) {
    if (!(name in target)) target[name] = value;
  }
}

function defaultBase() {
  return globalThis.document?.baseURI ?? globalThis.location?.href ?? 'file:///';
}

/** `chrome.power`. Only a visible page can keep the display on; nothing keeps the system awake. */
function power({ navigator }) {
  let wanted = false;
  let lock;
  const release = () => {
    wanted = false;
    lock?.release().catch(() => {});
    lock = undefined;
  };
  return {
    requestKeepAwake(level) {
      release();
      if (level !== 'display' || !navigator?.wakeLock) return;
      wanted = true;
      // Denied if the page is not visible.
      navigator.wakeLock.request('screen').then((granted) => {
        if (wanted && !lock) lock = granted;
        else granted.release().catch(() => {});
      }, () => {});
    },
    releaseKeepAwake: release,
    reportActivity: (callback) => {
      if (typeof callback === 'function') queueMicrotask(() => callGuarded(callback));
      return callback ? undefined : Promise.resolve();
    },
  };
}

const SYSTEMS = [
  [/android/i, 'android'], [/cros|chrome ?os|chromium os/i, 'cros'], [/^darwin|mac|iphone|ipad/i, 'mac'], [/^win/i, 'win'],
  [/openbsd/i, 'openbsd'], [/fuchsia/i, 'fuchsia'], [/linux|x11/i, 'linux'],
];
const ARCHITECTURES = [
  [/aarch64|arm64|armv8/i, 'arm64'], [/arm/i, 'arm'], [/x86_64|x64|amd64|x86-64|win64|wow64/i, 'x86-64'], [/mips64/i, 'mips64'],
  [/mips/i, 'mips'], [/riscv64/i, 'riscv64'], [/i[3-6]86|ia32|x86|win32/i, 'x86-32'],
];

/** `chrome.runtime.PlatformInfo`. */
function platformInfo({ process, navigator }) {
  const known = (table, text) => table.find(([pattern]) => pattern.test(text))?.[1];
  const system = process?.versions?.node ? process.platform : navigator?.userAgentData?.platform || navigator?.platform || '';
  const machine = process?.versions?.node ? process.arch : `${navigator?.platform ?? ''} ${navigator?.userAgent ?? ''}`;
  const arch = known(ARCHITECTURES, machine) ?? 'x86-64';
  // A browser hides the processor of a Mac.
  return { os: known(SYSTEMS, system) ?? 'linux', arch, nacl_arch: ['arm', 'x86-32', 'x86-64'].includes(arch) ? arch : 'arm' };
}

/** Files below a URL, which cannot be listed. */
export function filesAt(base, fetch = globalThis.fetch) {
  return {
    async read(path) {
      const response = await fetch(new URL(path.replace(/^\/+/, '').split('/').map(encodeURIComponent).join('/'), base));
      if (!response.ok) return undefined;
      return response.blob();
    },
  };
}

// The read-only part of the FileSystem API of Chrome Apps.

class FileError extends Error {
  constructor(name, path) {
    super(`${path}: ${name}`);
    this.name = name;
  }
}

const succeed = (callback, ...values) => queueMicrotask(() => callGuarded(callback ?? (() => {}), ...values));

class Entry {
  #files;

  constructor(files, path) {
    this.#files = files;
    this.fullPath = path;
    this.name = path.slice(path.lastIndexOf('/') + 1);
    this.filesystem = { name: 'package' };
  }

  get isFile() {
    return !this.isDirectory;
  }

  getParent(success) {
    succeed(success, new DirectoryEntry(this.#files, this.fullPath.replace(/\/[^/]*$/, '') || '/'));
  }

  toURL() {
    return this.fullPath;
  }

  getMetadata(success, failed) {
    if (this.isDirectory) return succeed(success, { size: 0, modificationTime: new Date(0) });
    return this.file((file) => callGuarded(success, { size: file.size, modificationTime: new Date(file.lastModified ?? 0) }), failed);
  }
}

class FileEntry extends Entry {
  #content;
  isDirectory = false;

  constructor(files, path, content) {
    super(files, path);
    this.#content = content;
  }

  file(success) {
    succeed(success, new File([this.#content], this.name, { type: this.#content.type ?? '' }));
  }

  createWriter(success, failed) {
    succeed(failed, new FileError('NoModificationAllowedError', this.fullPath));
  }
}

class DirectoryEntry extends Entry {
  #files;
  isDirectory = true;

  constructor(files, path) {
    super(files, path);
    this.#files = files;
  }

  /** An absolute path, or `undefined` for one that leaves the folder. */
  #resolve(path) {
    const parts = path.startsWith('/') ? [] : this.fullPath.split('/').filter(Boolean);
    for (const part of path.split('/')) {
      if (part === '..' && parts.pop() === undefined) return undefined;
      if (part && part !== '.' && part !== '..') parts.push(part);
    }
    return `/${parts.join('/')}`;
  }

  getFile(path, options, success, failed) {
    const full = this.#resolve(path);
    if (options?.create) return succeed(failed, new FileError('NoModificationAllowedError', path));
    if (full === undefined) return succeed(failed, new FileError('NotFoundError', path));
    Promise.resolve().then(() => this.#files.read(full)).then(
      (content) => (content === undefined
        ? succeed(failed, new FileError('NotFoundError', full))
        : succeed(success, new FileEntry(this.#files, full, content))),
      () => succeed(failed, new FileError('NotReadableError', full)),
    );
    return undefined;
  }

  getDirectory(path, options, success, failed) {
    const full = this.#resolve(path);
    if (options?.create) return succeed(failed, new FileError('NoModificationAllowedError', path));
    if (full === undefined) return succeed(failed, new FileError('NotFoundError', path));
    return succeed(success, new DirectoryEntry(this.#files, full));
  }

  /** Lists the folder, if the files can be listed. */
  createReader() {
    let isRead = false;
    return {
      readEntries: (success, failed) => {
        if (isRead) return succeed(success, []);
        if (!this.#files.list) return succeed(failed, new FileError('NotReadableError', this.fullPath));
        Promise.resolve().then(() => this.#files.list(this.fullPath)).then(
          async (names) => {
            isRead = true;
            const inside = this.fullPath === '/' ? '/' : `${this.fullPath}/`;
            const entries = await Promise.all(names.map(async (name) => (name.endsWith('/')
              ? new DirectoryEntry(this.#files, `${inside}${name.slice(0, -1)}`)
              : new FileEntry(this.#files, `${inside}${name}`, await this.#files.read(`${inside}${name}`)))));
            succeed(success, entries);
          },
        ).catch(() => succeed(failed, new FileError('NotReadableError', this.fullPath)));
        return undefined;
      },
    };
  }
}
