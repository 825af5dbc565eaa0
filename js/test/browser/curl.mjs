// Runs curl against a web server.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';

import { within } from '../host.mjs';

/** Runs curl with these arguments. Returns its exit code and output. */
export async function curl(...args) {
  const child = spawn('curl', ['--silent', '--show-error', '--noproxy', '*', ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const output = { out: [], error: '' };
  child.stdin.end();
  child.stdout.on('data', (data) => output.out.push(data));
  child.stderr.setEncoding('utf8').on('data', (text) => { output.error += text; });
  const code = await within('the end of curl', new Promise((resolve) => child.once('close', resolve)));
  return { code, error: output.error, out: Buffer.concat(output.out) };
}

/** Requests a URL, which must succeed. */
export async function fetched(...args) {
  const { code, error, out } = await curl('--fail', ...args);
  assert.equal(code, 0, error);
  return out;
}
