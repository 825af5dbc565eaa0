// A host of this process's own: a child that ends with it.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';

import { connect } from './index.mjs';

/** How long a host may take to listen, and to end, in milliseconds. */
const START_TIMEOUT = 30_000;
const STOP_TIMEOUT = 10_000;

/** How much of the output of a host that does not start is in the error. */
const MAX_OUTPUT = 4096;

/**
 * Starts a host for this process, and connects to it. See host.d.ts.
 */
export async function startHost(options) {
  const { args = [], listen = '127.0.0.1:0', env = {}, program, startTimeout = START_TIMEOUT, ...client } = options;
  const path = program ?? (await import('chrome-sockets-host')).program();
  // Other programs of this machine can reach the port, and cannot know the token.
  const token = client.token ?? randomBytes(32).toString('base64url');
  const isDev = client.manifest !== undefined;
  const child = spawn(path, ['serve', '--until-stdin-ends', '--listen', listen, ...(isDev ? ['--dev'] : []), ...args], {
    // The pipe of standard input closes when this process ends, however it ends, and then the host ends too.
    stdio: ['pipe', 'pipe', 'inherit'],
    // Not as an argument: other users can read those.
    env: { ...process.env, ...env, CHROME_SOCKETS_TOKEN: token },
  });
  const exited = new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, signal: null, error }));
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  // Writing to a host that has ended is no error.
  child.stdin.on('error', () => {});
  const stop = () => endOf(child, exited);
  try {
    const url = `ws://${await addressOf(child, exited, startTimeout)}`;
    const sockets = await connect(url, { ...client, token });
    // An idle host does not keep this process running; a connected client does.
    for (const handle of [child, child.stdin, child.stdout]) handle.unref();
    const { host } = sockets;
    return {
      ...sockets,
      host: Object.defineProperties({}, {
        ...Object.getOwnPropertyDescriptors(host),
        url: { value: url, enumerable: true },
        token: { value: token, enumerable: true },
        pid: { value: child.pid, enumerable: true },
        exited: { value: exited, enumerable: true },
        stop: {
          value() {
            host.close();
            return stop();
          },
          enumerable: true,
        },
      }),
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Resolves to the address that the host prints. */
function addressOf(child, exited, timeout) {
  return new Promise((resolve, reject) => {
    let output = '';
    const timer = setTimeout(() => reject(new Error(`the host does not listen after ${timeout} ms`)), timeout);
    exited.then(({ code, signal, error }) => {
      clearTimeout(timer);
      const how = error?.message ?? `it ended with ${signal ?? code}`;
      reject(Object.assign(new Error(`the host did not start: ${how}`, error && { cause: error }), { code: error?.code }));
    });
    child.stdout.setEncoding('utf8').on('data', (text) => {
      // What follows is read and dropped, so that the host never waits for its output.
      if (output.length > MAX_OUTPUT) return;
      output += text;
      const [, address] = /^listening on (.*)\n/m.exec(output) ?? [];
      if (address === undefined) return;
      clearTimeout(timer);
      output = ' '.repeat(MAX_OUTPUT + 1);
      resolve(address);
    });
  });
}

/** Ends the host, and resolves to how it ended. */
async function endOf(child, exited) {
  child.ref();
  child.stdin.end();
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT);
  const how = await exited;
  clearTimeout(timer);
  return how;
}
