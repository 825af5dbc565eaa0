// examples/mdns_browser in a network of its own, with a responder in Python.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { browse } from '../../examples/mdns_browser/browser.mjs';
import { Inbox, client, startHost, within } from './host.mjs';
import { HERE, THERE, cannot, isInside, otherMachine, responder, runInside } from './network.mjs';

const FILE = fileURLToPath(import.meta.url);

/** Browses. `until(what, holds)` waits for a list. */
async function browsing(t) {
  const sockets = await client(t, await startHost(t));
  const lists = new Inbox();
  const errors = [];
  const browser = await browse({ sockets, runtime: sockets.runtime }, { onChange: lists.push, onError: (error) => errors.push(error), firstInterval: 200 });
  t.after(browser.close);
  const until = async (what, holds) => {
    for (;;) {
      const list = await lists.next(what);
      if (holds(list)) return list;
    }
  };
  return { browser, until, errors, sockets };
}

const isWhole = (list) => list.length === 1 && list[0].addresses.length === 1 && 'path' in list[0].txt;

const service = (address) => ({ name: 'The Server', type: '_http._tcp.local', host: 'server.local', port: 8080, addresses: [address], txt: { path: '/', flag: true } });

if (!isInside) {
  test('the mDNS browser in a network of its own', { skip: cannot, timeout: 200_000 }, async () => {
    const { code, output } = await runInside(FILE);
    assert.equal(code, 0, output);
    assert.match(output, /^# pass 4$/m, output);
  });
} else {
  test('it finds a service of another machine, loses it and finds it again', async (t) => {
    const { lines, order } = await responder(t, await otherMachine(t), THERE);
    const { browser, until, errors } = await browsing(t);
    assert.equal(browser.isShared, false);
    const [found] = await until('the service', isWhole);
    assert.deepEqual({ ...found, txt: { ...found.txt } }, service(THERE));
    assert.equal(await lines.next('a question'), 'asked multicast 5353');
    order('bye');
    await until('the end of the service', (list) => list.length === 0);
    order('back');
    await until('the service again', isWhole);
    assert.deepEqual(browser.services().length, 1);
    assert.deepEqual(errors, []);
  });

  test('hostile packets change nothing', async (t) => {
    const { lines, order } = await responder(t, await otherMachine(t), THERE);
    const { browser, until, errors } = await browsing(t);
    await until('the service', isWhole);
    for (let count = 0; count < 3; count += 1) {
      order('hostile');
      while (await lines.next('the hostile packets') !== 'hostile') ;
    }
    // A sign of life: the end of the service still arrives. So many packets can fill the buffer of the system, which then
    // drops this one too, so it is sent again.
    order('bye');
    const again = setInterval(order, 3000, 'bye');
    t.after(() => clearInterval(again));
    await until('the end of the service', (list) => list.length === 0);
    clearInterval(again);
    order('back');
    const [found] = await until('the service again', isWhole);
    assert.equal(found.name, 'The Server');
    assert.equal(browser.services().length, 1, 'nothing of the hostile packets is a service');
    assert.deepEqual(errors, []);
  });

  test('beside a responder of this machine, which has the port, it gets answers of its own', async (t) => {
    await otherMachine(t);
    const { lines } = await responder(t, (command, ...given) => spawn(command, given, { stdio: ['pipe', 'pipe', 'inherit'] }), HERE);
    const { browser, until } = await browsing(t);
    assert.equal(browser.isShared, true);
    const [found] = await until('the service', isWhole);
    assert.deepEqual({ ...found, txt: { ...found.txt } }, service(HERE));
    assert.match(await lines.next('a question'), /^asked unicast (?!5353)\d+$/);
  });

  test('from the command line', async (t) => {
    await responder(t, await otherMachine(t), THERE);
    const host = await startHost(t);
    const program = fileURLToPath(new URL('../../examples/mdns_browser/node.mjs', import.meta.url));
    const child = spawn(process.execPath, [program, '--host', host.url], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    let text = '';
    await within('a line', new Promise((resolve) => {
      child.stdout.setEncoding('utf8').on('data', (data) => {
        text += data;
        if (text.includes(`+ The Server  _http._tcp.local  server.local:8080  ${THERE}  path=/ flag\n`)) resolve();
      });
    }));
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await host.kill();
    assert.equal(await within('the end of the program', ended), 1);
  });
}
