// chrome-sockets/extension, on a native host that is real, in a browser that is not.

import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';

import { ANYTHING, Inbox, within } from './host.mjs';
import { browser } from './native-browser.mjs';
import { RECORDINGS, replay } from './replay.mjs';

let count = 0;

/** Imports the extension's module anew, where this is `chrome`; it leaves with the test, however that ends. */
async function install(t, chrome) {
  globalThis.chrome = chrome;
  count += 1;
  const { sockets } = await import(`../extension.mjs?${count}`);
  t.after(() => sockets.host?.close());
  return sockets;
}

for (const recording of RECORDINGS) {
  test(`${recording.name}, by native messaging`, async (t) => {
    const chrome = browser(t, recording.manifest);
    const installed = await install(t, chrome);
    assert.equal(chrome.sockets.tcp, installed.tcp);
    await within('the end of the recording', replay(recording, { sockets: chrome.sockets, runtime: chrome.runtime }));
    installed.host.close();
  });
}

test('an extension may name another host', async (t) => {
  for (const [manifest, host] of [[ANYTHING, 'chrome_sockets'], [{ ...ANYTHING, chrome_sockets: { host: 'com.example.sockets' } }, 'com.example.sockets']]) {
    const chrome = browser(t, manifest);
    const named = [];
    const { connectNative } = chrome.runtime;
    chrome.runtime.connectNative = (name) => {
      named.push(name);
      return connectNative(name);
    };
    const installed = await install(t, chrome);
    assert.ok(await within('an answer', chrome.sockets.tcp.create()));
    assert.deepEqual(named, [host]);
    installed.host.close();
  }
});

test("a browser's own chrome.sockets stays", async (t) => {
  const own = {};
  const chrome = { ...browser(t, ANYTHING), sockets: own };
  assert.equal(await install(t, chrome), own);
  assert.equal(chrome.sockets, own);
});

test('the worker is started again: with the browser, and by an alarm if it may have one', async (t) => {
  for (const mayHaveAlarms of [true, false]) {
    const said = [];
    const event = (name) => ({ addListener: () => said.push(name) });
    const chrome = browser(t, ANYTHING);
    chrome.runtime.onStartup = event('onStartup');
    const alarms = { onAlarm: event('onAlarm'), create: (name, info) => said.push([name, info]) };
    const installed = await install(t, mayHaveAlarms ? { ...chrome, alarms } : chrome);
    const alarm = ['onAlarm', ['chrome_sockets', { periodInMinutes: 0.5 }]];
    assert.deepEqual(said, ['onStartup', ...(mayHaveAlarms ? alarm : [])]);
    installed.host.close();
  }
});

test('a native host that is killed is told of, and another one is there', async (t) => {
  const chrome = browser(t, ANYTHING);
  const installed = await install(t, chrome);
  const { tcpServer } = chrome.sockets;
  const errors = new Inbox();
  tcpServer.onAcceptError.addListener(errors.push);
  const { socketId } = await tcpServer.create();
  await new Promise((resolve) => tcpServer.listen(socketId, '127.0.0.1', 0, resolve));
  chrome.children[0].kill('SIGKILL');
  assert.deepEqual(await errors.next('onAcceptError'), { socketId, resultCode: -100 });
  const again = await within('the answer of another host', tcpServer.create());
  assert.ok(again.socketId > socketId, 'no id has two meanings');
  assert.equal(chrome.children.length, 2);
  installed.host.close();
});

test('a native host that is killed while much that it has said is not handled yet', async (t) => {
  const chrome = browser(t, ANYTHING);
  const installed = await install(t, chrome);
  const { tcpServer, tcp } = chrome.sockets;
  const errors = new Inbox();
  tcpServer.onAccept.addListener(({ clientSocketId }) => tcp.setPaused(clientSocketId, false));
  tcpServer.onAcceptError.addListener(errors.push);
  let heard = 0;
  tcp.onReceive.addListener(async ({ socketId, data }) => {
    tcp.send(socketId, data, () => {});
    heard += 1;
    if (heard === 50) chrome.children[0].kill('SIGKILL');
    // Its port has ended when it goes on.
    if (heard === 50) await new Promise((resolve) => chrome.children[0].once('close', resolve));
  });
  const { socketId } = await tcpServer.create();
  await new Promise((resolve) => tcpServer.listen(socketId, '127.0.0.1', 0, resolve));
  const { localPort } = await tcpServer.getInfo(socketId);
  const peer = net.connect(localPort, '127.0.0.1', () => peer.write(Buffer.alloc(4 << 20)));
  peer.on('error', () => {});
  assert.deepEqual(await errors.next('onAcceptError'), { socketId, resultCode: -100 });
  assert.ok(await within('the answer of another host', tcpServer.create()));
  installed.host.close();
});
