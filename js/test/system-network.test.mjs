// chrome.system.network, in Node and in an extension.

import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import test from 'node:test';

import { ALL_PERMISSIONS, client, startHost, within } from './host.mjs';
import { browser } from './native-browser.mjs';
import { resolve } from '../signatures.mjs';

const NAME = 'system.network.getNetworkInterfaces';
const PERMITTED = { ...ALL_PERMISSIONS, permissions: ['system.network'] };
const DENIED = { message: 'Access to extension API denied.' };

/** The IPv4 addresses of this machine, as Node knows them. */
const known = () => Object.entries(networkInterfaces()).flatMap(([name, addresses]) => addresses
  .filter(({ family, internal }) => family === 'IPv4' && !internal)
  .map(({ address, cidr }) => ({ name, address, prefixLength: Number(cidr.split('/')[1]) })));

const byAddress = (one, other) => (one.address < other.address ? -1 : 1);

test('the addresses are those of the machine, by promise and by callback', async (t) => {
  const host = await startHost(t);
  const { system, runtime } = await client(t, host, { manifest: PERMITTED });
  const found = await system.network.getNetworkInterfaces();
  for (const { name, address, prefixLength, ...others } of found) {
    assert.equal(typeof name, 'string');
    assert.ok(address.length > 0 && Number.isInteger(prefixLength));
    assert.deepEqual(others, {});
  }
  assert.deepEqual(found.filter(({ address }) => !address.includes(':')).sort(byAddress), known().sort(byAddress));
  const called = await new Promise((resolve) => {
    system.network.getNetworkInterfaces((...values) => resolve([...values, runtime.lastError]));
  });
  assert.deepEqual(called, [found, undefined]);
});

test('without the permission the call fails with the text of Chrome', async (t) => {
  const host = await startHost(t);
  const { system, runtime } = await client(t, host);
  await assert.rejects(system.network.getNetworkInterfaces(), DENIED);
  const called = await new Promise((resolve) => {
    system.network.getNetworkInterfaces((...values) => resolve([values, runtime.lastError]));
  });
  assert.deepEqual(called, [[], DENIED]);
});

test('arguments are checked as in Chromium', () => {
  assert.throws(() => resolve(NAME, ['eth0']), {
    name: 'TypeError',
    message: 'Error in invocation of system.network.getNetworkInterfaces(optional function callback): No matching signature.',
  });
  assert.equal(resolve(NAME, []).callback, undefined);
});

test('in an extension it is chrome.system.network, beside the other parts of chrome.system', async (t) => {
  for (const system of [undefined, { cpu: {} }]) {
    const chrome = browser(t, PERMITTED);
    if (system) chrome.system = system;
    globalThis.chrome = chrome;
    const { sockets } = await import(`../extension.mjs?system=${system !== undefined}`);
    t.after(() => sockets.host.close());
    const found = await within('the interfaces', chrome.system.network.getNetworkInterfaces());
    assert.deepEqual(found.filter(({ address }) => !address.includes(':')).sort(byAddress), known().sort(byAddress));
    assert.equal(chrome.system.cpu, system?.cpu);
    assert.deepEqual(Object.keys(chrome.sockets), ['tcpServer', 'tcp', 'udp']);
  }
});
