// Starts a host for a test, and stops it with the test.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { connect } from '../index.mjs';

/** The longest wait of a test, in milliseconds: far longer than needed. */
export const LIMIT = 20_000;

/** A manifest that permits everything. */
export const ALL_PERMISSIONS = {
  sockets: { tcpServer: { listen: '' }, tcp: { connect: '' }, udp: { bind: '', send: '', multicastMembership: '' } },
};

/** The target folder of cargo. */
const TARGET = resolve(process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../../target', import.meta.url)));

const built = join(TARGET, 'debug/chrome-sockets');

/** The program, which `cargo test` passes. */
export const PROGRAM = process.env.CHROME_SOCKETS_HOST ?? built;

if (!existsSync(PROGRAM)) {
  throw new Error(`${PROGRAM} is missing: run cargo build -p chrome-sockets-host, or set CHROME_SOCKETS_HOST`);
}

/** Starts a host. `test.after` kills it. */
export async function startHost(test, ...args) {
  const listen = args.includes('--listen') ? [] : ['--listen', '127.0.0.1:0'];
  const child = spawn(PROGRAM, ['serve', '--dev', ...listen, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, RUST_LOG: 'warn' },
  });
  child.stderr.pipe(process.stderr, { end: false });
  test.after(() => child.kill('SIGKILL'));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  let output = '';
  const [page, address] = await within('the address of the host', new Promise((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
      const found = /^Admin page: (http:\/\/(.*)\/#key=.*)\n/m.exec(output);
      if (found) resolve(found.slice(1));
    });
    ended.then(() => reject(new Error(`the host ended with the output ${output}`)));
  }));
  return {
    child,
    address,
    /** The URL of its admin page, with the key. */
    page,
    url: `ws://${address}`,
    /** Resolves to the next text of its log that matches. */
    logged(pattern) {
      return new Promise((resolve) => {
        child.stderr.setEncoding('utf8').on('data', (text) => {
          if (pattern.test(text)) resolve(text);
        });
      });
    },
    kill() {
      child.kill('SIGKILL');
      return ended;
    },
  };
}

/** Connects. `test.after` disconnects. */
export async function client(test, host, options = {}) {
  const sockets = await within('the welcome', connect(host.url, { app: 'test', manifest: ALL_PERMISSIONS, ...options }));
  test.after(() => sockets.host.close());
  return sockets;
}

/** A WebSocket class whose connections the test can close. */
export const cuttable = () => {
  const made = [];
  class Cuttable extends WebSocket {
    constructor(url) {
      super(url);
      made.push(this);
    }
  }
  return { WebSocket: Cuttable, cut: () => made.at(-1).close() };
};

/** Waits for a promise, and fails with the name of what is late after the limit. */
export async function within(what, promise, limit = LIMIT) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come within ${limit} ms`)), limit);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A queue of values. `next(what)` waits for the next one. */
export class Inbox {
  #values = [];
  #waiting = [];

  push = (value) => {
    const first = this.#waiting.shift();
    if (first) first(value);
    else this.#values.push(value);
  };

  next(what) {
    if (this.#values.length > 0) return Promise.resolve(this.#values.shift());
    return within(what, new Promise((resolve) => this.#waiting.push(resolve)));
  }

  get isEmpty() {
    return this.#values.length === 0;
  }
}
