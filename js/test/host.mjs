// A host of a test's own: a child process that never outlives it.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { connect } from '../index.mjs';

/** How long anything may take before a test fails: far longer than it takes. */
export const LIMIT = 20_000;

/** Permission for everything. */
export const ANYTHING = { sockets: { tcpServer: { listen: '' }, tcp: { connect: '' } } };

/** Where cargo builds. */
const TARGET = resolve(process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../../target', import.meta.url)));

const built = join(TARGET, 'debug/chrome-sockets');

/** The program: `cargo test` says where it is. */
export const PROGRAM = process.env.CHROME_SOCKETS_HOST ?? built;

if (!existsSync(PROGRAM)) {
  throw new Error(`${PROGRAM} is missing: run cargo build -p chrome-sockets-host, or set CHROME_SOCKETS_HOST`);
}

/** Starts a host; `test.after` ends it. */
export async function startHost(test, ...args) {
  const listen = args.includes('--listen') ? [] : ['--listen', '127.0.0.1:0'];
  const child = spawn(PROGRAM, ['serve', '--dev', ...listen, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, RUST_LOG: 'warn' },
  });
  test.after(() => child.kill('SIGKILL'));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  let said = '';
  const [page, address] = await within('the line that says where the host listens', new Promise((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text) => {
      said += text;
      const found = /^Admin page: (http:\/\/(.*)\/#key=.*)\n/m.exec(said);
      if (found) resolve(found.slice(1));
    });
    ended.then(() => reject(new Error(`the host ended, and said ${said}`)));
  }));
  return {
    child,
    address,
    /** Where its page is, with the key. */
    page,
    url: `ws://${address}`,
    kill() {
      child.kill('SIGKILL');
      return ended;
    },
  };
}

/** Connects, and disconnects when the test is over. */
export async function client(test, host, options = {}) {
  const sockets = await within('the welcome', connect(host.url, { app: 'test', manifest: ANYTHING, ...options }));
  test.after(() => sockets.host.close());
  return sockets;
}

/** Waits no longer than the limit, and says what did not come. */
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

/** What has come and was not waited for. */
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
