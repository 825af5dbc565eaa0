// A network of its own for a test, in Linux namespaces: this machine has 10.77.0.1 there, and another one 10.77.0.2.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { Inbox, within } from './host.mjs';

export const HERE = '10.77.0.1';
export const THERE = '10.77.0.2';

const INSIDE = 'CHROME_SOCKETS_TEST_NETWORK';

/** Whether this process is in such a network. */
export const isInside = process.env[INSIDE] !== undefined;

/** Why there can be no network; false if there can be one. Namespaces need root. */
export const cannot = process.getuid?.() !== 0 || !existsSync('/usr/bin/unshare') ? 'namespaces need root and unshare' : false;

/** Runs a file of tests in a network of its own. Resolves to its exit code and output. */
export async function runInside(file) {
  // Without the variable by which this process is a child of the test runner.
  const { NODE_TEST_CONTEXT, ...env } = process.env;
  const child = spawn('unshare', ['--net', process.execPath, '--test', '--test-reporter=tap', file], { env: { ...env, [INSIDE]: '1' }, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { output += text; });
  const code = await within('the end of the tests inside', new Promise((resolve) => child.once('close', resolve)), 180_000);
  return { code, output };
}

/** Makes the network, once. Returns a function that runs commands on the other machine. `t.after` ends it. */
export async function otherMachine(t) {
  const ip = (...given) => execFileSync('ip', given, { stdio: ['ignore', 'ignore', 'inherit'] });
  // It exists as long as this process.
  const there = spawn('unshare', ['--net', 'sh', '-c', 'echo ready; exec sleep 600'], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => {
    try {
      // The end of the other machine deletes the link too, but later than the next test may begin.
      execFileSync('ip', ['link', 'delete', 'here'], { stdio: 'ignore' });
    } finally {
      there.kill('SIGKILL');
    }
  });
  await within('the other machine', new Promise((resolve) => there.stdout.once('data', resolve)));
  const inside = (...given) => ['--target', `${there.pid}`, '--net', ...given];
  const thereIp = (...given) => execFileSync('nsenter', inside('ip', ...given), { stdio: ['ignore', 'ignore', 'inherit'] });
  ip('link', 'set', 'lo', 'up');
  ip('link', 'add', 'here', 'type', 'veth', 'peer', 'name', 'there');
  ip('link', 'set', 'there', 'netns', `${there.pid}`);
  ip('address', 'add', `${HERE}/24`, 'dev', 'here');
  ip('link', 'set', 'here', 'up');
  ip('route', 'add', '224.0.0.0/4', 'dev', 'here');
  thereIp('link', 'set', 'lo', 'up');
  thereIp('address', 'add', `${THERE}/24`, 'dev', 'there');
  thereIp('link', 'set', 'there', 'up');
  thereIp('route', 'add', '224.0.0.0/4', 'dev', 'there');
  return (command, ...given) => spawn('nsenter', inside(command, ...given), { stdio: ['pipe', 'pipe', 'inherit'] });
}

/** Starts the responder, there or here. `lines` has its output, `order` tells it something. */
export async function responder(t, start, address) {
  const child = start('python3', fileURLToPath(new URL('mdns_responder.py', import.meta.url)), address);
  t.after(() => child.kill('SIGKILL'));
  const lines = new Inbox();
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (data) => {
    const all = (text + data).split('\n');
    text = all.pop();
    all.forEach(lines.push);
  });
  while (await lines.next('the responder') !== 'ready') ;
  return {
    lines,
    order: (what) => child.stdin.write(`${what}\n`),
    end() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.stdin.write('end\n');
      return within('the end of the responder', ended);
    },
  };
}
