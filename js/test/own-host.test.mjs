// A host that is a child of the program.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { startHost } from '../host.mjs';
import { connect } from '../index.mjs';
import { ALL_PERMISSIONS, LIMIT, PROGRAM, within } from './host.mjs';

const OPTIONS = { app: 'a', manifest: ALL_PERMISSIONS, program: PROGRAM };

/** Whether the process runs; a process that has ended and was not waited for does not. */
async function runs(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return stat !== undefined && !/\) [ZX] /.test(stat);
}

async function waitForEnd(pid) {
  const end = Date.now() + LIMIT;
  while (await runs(pid)) {
    assert.ok(Date.now() < end, `${pid} still runs`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function start(t, options = {}) {
  const sockets = await within('the host', startHost({ ...OPTIONS, ...options }));
  t.after(() => sockets.host.stop());
  return sockets;
}

test('the host listens, is connected, works, and ends by stop', async (t) => {
  const { tcpServer, host } = await start(t);
  assert.ok(host.connected);
  const { socketId } = await tcpServer.create();
  assert.equal(await new Promise((resolve) => tcpServer.listen(socketId, '127.0.0.1', 0, resolve)), 0);
  const { localPort } = await tcpServer.getInfo(socketId);
  await new Promise((resolve, reject) => net.connect(localPort, '127.0.0.1', resolve).once('error', reject));
  assert.ok(await runs(host.pid));
  assert.deepEqual(await within('the end', host.stop()), { code: 0, signal: null });
  assert.deepEqual(await host.exited, { code: 0, signal: null });
  assert.ok(!host.connected && !(await runs(host.pid)));
  // A second time it has no effect.
  assert.deepEqual(await host.stop(), { code: 0, signal: null });
});

test('other programs need the token of the host', async (t) => {
  const { host } = await start(t);
  await assert.rejects(connect(host.url, { app: 'b', manifest: ALL_PERMISSIONS }), { code: 'forbidden' });
  const other = await connect(host.url, { app: 'b', manifest: ALL_PERMISSIONS, token: host.token });
  other.host.close();
  const command = await readFile(`/proc/${host.pid}/cmdline`, 'utf8');
  assert.ok(!command.includes(host.token), 'other users can read the command line');
});

test('a host that does not start is reported, and leaves nothing', async () => {
  const failed = (options) => within('the failure', startHost({ ...OPTIONS, ...options }));
  await assert.rejects(failed({ program: '/no/such/program' }), { code: 'ENOENT', message: /^the host did not start: / });
  await assert.rejects(failed({ args: ['--no-such-flag'] }), { message: 'the host did not start: it ended with 2' });
  await assert.rejects(failed({ program: '/usr/bin/cat', startTimeout: 50 }), { message: /did not start|not listen/ });
  // It listens, and refuses the app.
  await assert.rejects(failed({ manifest: { sockets: 7 } }), { code: 'bad-manifest' });
});

const PARENT = `
  const { startHost } = await import(${JSON.stringify(new URL('../host.mjs', import.meta.url).href)});
  const { host, tcpServer } = await startHost(${JSON.stringify(OPTIONS)});
  await tcpServer.create();
  console.log(host.pid);
`;

/** Starts a program that starts a host. Resolves to the program and to the id of the host's process. */
async function startParent(t, then) {
  const parent = spawn(process.execPath, ['--input-type=module', '-e', `${PARENT}${then}`], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => parent.kill('SIGKILL'));
  const [line] = await within('the id of the host', new Promise((resolve) => parent.stdout.once('data', (data) => resolve([String(data)]))));
  return { parent, pid: Number(line) };
}

test('the host ends when its parent is killed', async (t) => {
  const { parent, pid } = await startParent(t, '');
  assert.ok(await runs(pid));
  parent.kill('SIGKILL');
  await waitForEnd(pid);
});

test('the host ends with a parent that exits, throws, or has nothing more to do', async (t) => {
  for (const then of ['process.exit(0)', 'throw new Error("on purpose")', 'host.close()']) {
    const { parent, pid } = await startParent(t, then.replace('throw', 'process.on("uncaughtException", () => process.exit(1)); throw'));
    await within(`the end after ${then}`, new Promise((resolve) => (parent.exitCode === null ? parent.once('exit', resolve) : resolve())));
    await waitForEnd(pid);
  }
});

test('the command passes arguments, signals and the exit code on', async (t) => {
  const bin = fileURLToPath(new URL('../../host/npm/bin.mjs', import.meta.url));
  const run = (...args) => {
    const child = spawn(process.execPath, [bin, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, CHROME_SOCKETS_HOST: PROGRAM },
    });
    t.after(() => child.kill('SIGKILL'));
    const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve([code, signal])));
    return { child, ended };
  };
  assert.deepEqual(await within('the end', run('--version').ended), [0, null]);
  assert.deepEqual(await within('the end', run('serve', '--no-such-flag').ended), [2, null]);
  for (const signal of ['SIGTERM', 'SIGINT']) {
    const { child, ended } = run('serve', '--dev', '--listen', '127.0.0.1:0');
    await within('the address', new Promise((resolve) => child.stdout.on('data', (data) => `${data}`.includes('listening on') && resolve())));
    child.kill(signal);
    assert.deepEqual(await within('the end', ended), [0, null], signal);
  }
});

test('a platform without a package is named', async () => {
  const script = `
    const { program } = await import(${JSON.stringify(new URL('../../host/npm/index.mjs', import.meta.url).href)});
    try { console.log(program()); } catch (error) { console.log(error.message); }
  `;
  const { CHROME_SOCKETS_HOST: _, ...env } = process.env;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (data) => { output += data; });
  await within('the end', new Promise((resolve) => child.once('close', resolve)));
  assert.match(output, new RegExp(`^chrome-sockets-host-${process.platform}-${process.arch} is not installed: .*cargo install`));
});
