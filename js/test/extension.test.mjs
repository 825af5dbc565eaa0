// chrome-sockets/extension with a real native host in a simulated browser.

import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';

import { ALL_PERMISSIONS, Inbox, within } from './host.mjs';
import { browser } from './native-browser.mjs';
import { RECORDINGS, replay } from './replay.mjs';

let count = 0;

/** Imports a new instance of the module, with this object as `chrome`. `t.after` disconnects it. */
async function install(t, chrome) {
  globalThis.chrome = chrome;
  count += 1;
  const { sockets } = await import(`../extension.mjs?${count}`);
  t.after(() => sockets.host?.close());
  return sockets;
}

for (const recording of RECORDINGS) {
  test(`${recording.name}, over native messaging`, async (t) => {
    const chrome = browser(t, recording.manifest);
    const installed = await install(t, chrome);
    assert.equal(chrome.sockets.tcp, installed.tcp);
    await within('the end of the recording', replay(recording, { sockets: chrome.sockets, runtime: chrome.runtime }));
    installed.host.close();
  });
}

test('an extension can name another host', async (t) => {
  for (const [manifest, host] of [[ALL_PERMISSIONS, 'chrome_sockets'], [{ ...ALL_PERMISSIONS, chrome_sockets: { host: 'com.example.sockets' } }, 'com.example.sockets']]) {
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

test("the browser's own chrome.sockets is kept", async (t) => {
  const own = {};
  const chrome = { ...browser(t, ALL_PERMISSIONS), sockets: own };
  assert.equal(await install(t, chrome), own);
  assert.equal(chrome.sockets, own);
});

test('the worker restarts with the browser, and by an alarm with the permission', async (t) => {
  for (const hasAlarms of [true, false]) {
    const registered = [];
    const event = (name) => ({ addListener: () => registered.push(name) });
    const chrome = browser(t, ALL_PERMISSIONS);
    chrome.runtime.onStartup = event('onStartup');
    const alarms = { onAlarm: event('onAlarm'), create: (name, info) => registered.push([name, info]) };
    const installed = await install(t, hasAlarms ? { ...chrome, alarms } : chrome);
    const alarm = ['onAlarm', ['chrome_sockets', { periodInMinutes: 0.5 }]];
    assert.deepEqual(registered, ['onStartup', ...(hasAlarms ? alarm : [])]);
    installed.host.close();
  }
});

test('a killed native host raises errors, and the client starts another', async (t) => {
  const chrome = browser(t, ALL_PERMISSIONS);
  const installed = await install(t, chrome);
  const { tcpServer } = chrome.sockets;
  const errors = new Inbox();
  tcpServer.onAcceptError.addListener(errors.push);
  const { socketId } = await tcpServer.create();
  await new Promise((resolve) => tcpServer.listen(socketId, '127.0.0.1', 0, resolve));
  chrome.children[0].kill('SIGKILL');
  assert.deepEqual(await errors.next('onAcceptError'), { socketId, resultCode: -100 });
  const again = await within('the answer of another host', tcpServer.create());
  assert.ok(again.socketId > socketId, 'no id is reused');
  assert.equal(chrome.children.length, 2);
  installed.host.close();
});

test('a native host is killed while received frames are unhandled', async (t) => {
  const chrome = browser(t, ALL_PERMISSIONS);
  const installed = await install(t, chrome);
  const { tcpServer, tcp } = chrome.sockets;
  const errors = new Inbox();
  tcpServer.onAccept.addListener(({ clientSocketId }) => tcp.setPaused(clientSocketId, false));
  tcpServer.onAcceptError.addListener(errors.push);
  let received = 0;
  tcp.onReceive.addListener(async ({ socketId, data }) => {
    tcp.send(socketId, data, () => {});
    received += 1;
    if (received === 50) chrome.children[0].kill('SIGKILL');
    // Continues when the port has disconnected.
    if (received === 50) await new Promise((resolve) => chrome.children[0].once('close', resolve));
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
