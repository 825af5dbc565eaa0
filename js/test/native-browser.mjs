// Simulates the part of chrome.runtime that starts a native host.

import { spawn } from 'node:child_process';
import { endianness } from 'node:os';

import { PROGRAM } from './host.mjs';

const isLittle = endianness() === 'LE';

/** Makes a `chrome` for an extension with this manifest. */
export function browser(test, manifest, id = 'knldjmfmopnpolahpmmgbagdohdnhkik') {
  const children = [];
  let isOver = false;
  test.after(() => {
    isOver = true;
    children.forEach((child) => child.kill('SIGKILL'));
  });
  const runtime = {
    id,
    getManifest: () => manifest,
    connectNative() {
      // A client that reconnects after the test must not start a process.
      if (isOver) throw new Error('the browser has ended');
      const child = spawn(PROGRAM, ['native-host', '--dev', '--', `chrome-extension://${id}/`], {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: { ...process.env, RUST_LOG: 'warn' },
      });
      children.push(child);
      return port(child, runtime);
    },
  };
  return { runtime, children };
}

function port(child, runtime) {
  const messages = [];
  const ends = [];
  let received = Buffer.alloc(0);
  child.stdin.on('error', () => {});
  child.stdout.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
    while (received.length >= 4) {
      const length = isLittle ? received.readUInt32LE() : received.readUInt32BE();
      if (length > 1 << 20) return child.kill();
      if (received.length < 4 + length) return;
      const message = JSON.parse(received.subarray(4, 4 + length));
      received = received.subarray(4 + length);
      messages.forEach((listener) => listener(message));
    }
  });
  let isOver = false;
  const over = () => {
    if (isOver) return;
    isOver = true;
    runtime.lastError = { message: 'Native host has exited.' };
    ends.forEach((listener) => listener());
    delete runtime.lastError;
  };
  child.once('close', over);
  child.once('error', over);
  return {
    onMessage: { addListener: (listener) => messages.push(listener) },
    onDisconnect: { addListener: (listener) => ends.push(listener) },
    postMessage(message) {
      if (isOver) throw new Error('Attempting to use a disconnected port object');
      const text = Buffer.from(JSON.stringify(message));
      const length = Buffer.alloc(4);
      if (isLittle) length.writeUInt32LE(text.length);
      else length.writeUInt32BE(text.length);
      child.stdin.write(Buffer.concat([length, text]));
    },
    disconnect() {
      isOver = true;
      child.stdin.end();
    },
  };
}
