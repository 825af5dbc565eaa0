// Certificates for tests, and programs that talk to servers with them.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { within } from './host.mjs';

/**
 * Makes a self-signed certificate for this name and 127.0.0.1: `pem` for `setTls`, and `file`, which has the certificate.
 * `test.after` removes the file.
 */
export function certificate(test, name = 'localhost') {
  const folder = mkdtempSync(join(tmpdir(), 'chrome-sockets-certificate-'));
  test.after(() => rmSync(folder, { recursive: true, force: true }));
  const [file, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')];
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', `/CN=${name}`,
    '-addext', `subjectAltName=DNS:${name},IP:127.0.0.1`, '-keyout', key, '-out', file,
  ], { stdio: ['ignore', 'ignore', 'pipe'] });
  return { pem: { certificate: readFileSync(file, 'utf8'), privateKey: readFileSync(key, 'utf8') }, file, key };
}

/** Runs a program with this input. Returns its exit code and its output. */
export async function run(program, given, input = '') {
  const child = spawn(program, given, { stdio: ['pipe', 'pipe', 'pipe'] });
  const output = { out: '', err: '' };
  child.stdout.setEncoding('latin1').on('data', (text) => { output.out += text; });
  child.stderr.setEncoding('latin1').on('data', (text) => { output.err += text; });
  // The program may end before it has read everything.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  try {
    const code = await within(`the end of ${program}`, new Promise((resolve) => child.once('close', resolve)));
    return { code, ...output };
  } finally {
    child.kill('SIGKILL');
  }
}
