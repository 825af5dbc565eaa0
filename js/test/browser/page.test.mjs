// The host's own page in a real Chromium: what it shows, what its buttons do, and that the keyboard is enough.

import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';

import { Inbox, client, startHost, within } from '../host.mjs';
import { startBrowser } from './browser.mjs';

/** The page of a host, which is watched: nothing is asked of anybody else, and nothing goes wrong in it. */
async function open(t, host) {
  const { context } = await startBrowser(t);
  const page = await context.newPage();
  const wrong = [];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && wrong.push(message.text()));
  page.on('pageerror', (error) => wrong.push(`${error}`));
  const origin = new URL(host.page).host;
  page.on('request', (request) => {
    if (!request.url().startsWith('data:') && new URL(request.url()).host !== origin) wrong.push(`asks for ${request.url()}`);
  });
  page.on('websocket', (socket) => new URL(socket.url()).host !== origin && wrong.push(`connects to ${socket.url()}`));
  await page.goto(host.page);
  await page.locator('#state[data-state=in]').waitFor();
  const isWell = () => {
    assert.deepEqual(wrong, []);
    // Before its host goes, which it would have a word to say about.
    return page.close();
  };
  return { page, isWell };
}

/** An app with a server socket that echoes. */
async function app(t, host, name) {
  const sockets = await client(t, host, { app: name });
  const { tcpServer, tcp } = sockets;
  const errors = new Inbox();
  tcpServer.onAccept.addListener(({ clientSocketId }) => tcp.setPaused(clientSocketId, false, () => {}));
  tcp.onReceive.addListener(({ socketId, data }) => tcp.send(socketId, data, () => {}));
  tcp.onReceiveError.addListener((info) => errors.push(['onReceiveError', info]));
  tcpServer.onAcceptError.addListener((info) => errors.push(['onAcceptError', info]));
  const { socketId } = await tcpServer.create({ name: '<b>web</b>' });
  assert.equal(await new Promise((resolve) => tcpServer.listen(socketId, '127.0.0.1', 0, resolve)), 0);
  const { localPort } = await tcpServer.getInfo(socketId);
  return { ...sockets, socketId, localPort, errors };
}

async function peer(t, port) {
  const stream = net.connect(port, '127.0.0.1');
  t.after(() => stream.destroy());
  const told = new Inbox();
  stream.on('data', (data) => told.push(`${data}`));
  stream.on('close', () => told.push('closed'));
  stream.on('error', () => {});
  await within('the connection', new Promise((resolve) => stream.once('connect', resolve)));
  return { stream, told, port: stream.localPort };
}

const button = (page, name) => page.getByRole('button', { name, exact: true });

test('the page shows what lives on the host, and its buttons act on it', async (t) => {
  const host = await startHost(t);
  const it = await app(t, host, 'shop');
  const { page, isWell } = await open(t, host);
  const title = `server 127.0.0.1:${it.localPort} of shop`;
  const row = page.locator('.server > .row', { hasText: `127.0.0.1:${it.localPort}` });
  await row.getByText('accepting').waitFor();
  assert.match(await row.locator('.sub').textContent(), /^<b>web<\/b> · /, 'a text is a text');
  assert.equal(await page.evaluate(() => [location.hash, location.search].join('')), '', 'the key is not in the address');

  const { stream, told, port } = await peer(t, it.localPort);
  stream.write('x'.repeat(5000));
  const client = page.locator('.client > .row', { hasText: `127.0.0.1:${port}` });
  await client.getByText('4.9 KiB').first().waitFor();
  await client.locator('.plot .in[d^=M]').waitFor({ state: 'attached' });
  for (let back = 0; back < 5000;) back += (await told.next('the echo')).length;

  await button(page, `Pause ${title}`).click();
  await row.getByText('paused').waitFor();
  assert.equal((await it.tcpServer.getInfo(it.socketId)).paused, true);
  await page.getByText(`Paused ${title}.`).waitFor();
  await button(page, `Resume ${title}`).click();
  await row.getByText('accepting').waitFor();
  assert.equal((await it.tcpServer.getInfo(it.socketId)).paused, false);

  await button(page, `Close connection 127.0.0.1:${port} of shop`).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Leave it' }).click();
  await button(page, `Close connection 127.0.0.1:${port} of shop`).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Close it' }).click();
  assert.equal(await told.next('the end'), 'closed');
  assert.equal((await it.errors.next('onReceiveError'))[1].resultCode, -100);
  await client.waitFor({ state: 'detached' });

  await button(page, `Close ${title}`).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Close it' }).click();
  assert.deepEqual(await it.errors.next('onAcceptError'), ['onAcceptError', { socketId: it.socketId, resultCode: -100 }]);
  await row.waitFor({ state: 'detached' });
  const refused = new Promise((resolve) => net.connect(it.localPort, '127.0.0.1').once('error', resolve));
  assert.equal((await within('the refusal', refused)).code, 'ECONNREFUSED');
  await isWell();
});

test('the echo server of the page answers a client from outside, and its code is the code that runs', async (t) => {
  const host = await startHost(t);
  const { page, isWell } = await open(t, host);
  await button(page, 'Start').click();
  const said = page.locator('#echo-said', { hasText: 'It listens' });
  const [, port] = /nc 127\.0\.0\.1 (\d+)/.exec(await said.textContent());
  const { stream, told } = await peer(t, Number(port));
  stream.write('hello from outside\n');
  assert.equal(await told.next('the echo'), 'hello from outside\n');
  await page.locator('#echo-log', { hasText: 'hello from outside' }).waitFor();
  await page.locator('.app > .row', { hasText: 'page' }).waitFor();
  assert.match(await page.locator('#echo-code').textContent(), /onAccept\.addListener/);
  await button(page, 'Stop').click();
  assert.equal(await told.next('the end'), 'closed');
  await isWell();
});

test('the echo server says what keeps it from starting, and shows the token where the host wants one', async (t) => {
  const host = await startHost(t, '--token', 'secret');
  const { page, isWell } = await open(t, host);
  await button(page, 'Start').click();
  await page.getByText('The host asks for its token.').waitFor();
  await page.getByLabel('Token of the host').fill('secret');
  await page.getByLabel('Port').fill(`${new URL(host.page).port}`);
  await button(page, 'Start').click();
  await page.getByText('net::ERR_ADDRESS_IN_USE').waitFor();
  await page.getByLabel('Port').fill('0');
  await button(page, 'Start').click();
  await page.locator('#echo-said', { hasText: 'It listens' }).waitFor();
  await isWell();
});

test('the keyboard is enough', async (t) => {
  const host = await startHost(t);
  const it = await app(t, host, 'shop');
  const { page, isWell } = await open(t, host);
  const title = `server 127.0.0.1:${it.localPort} of shop`;
  const focused = () => page.evaluate(() => {
    const { activeElement } = document;
    return activeElement.getAttribute('aria-label') ?? activeElement.textContent;
  });
  const isSeen = () => page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle !== 'none');
  const tabTo = async (name, key = 'Tab') => {
    for (let steps = 0; steps < 40; steps += 1) {
      await page.keyboard.press(key);
      if (await focused() === name) return assert.ok(await isSeen(), `the focus on ${name} is seen`);
    }
    assert.fail(`${name} was not reached`);
  };
  await button(page, `Pause ${title}`).waitFor();
  await tabTo(`Pause ${title}`);
  await page.keyboard.press('Enter');
  await page.getByText(`Paused ${title}.`).waitFor();
  await button(page, `Resume ${title}`).waitFor();
  assert.equal(await focused(), `Resume ${title}`, 'the focus stays');
  await page.keyboard.press('Space');
  await button(page, `Pause ${title}`).waitFor();
  await tabTo(`Close ${title}`);
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  assert.equal(await focused(), 'Leave it', 'nothing is closed by one key too many');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  assert.equal(await focused(), `Close ${title}`, 'the focus comes back');
  await page.keyboard.press('Enter');
  await tabTo('Close it');
  await page.keyboard.press('Enter');
  assert.equal((await it.errors.next('onAcceptError'))[0], 'onAcceptError');
  await button(page, `Close ${title}`).waitFor({ state: 'detached' });
  assert.equal(await focused(), 'shop', 'the focus goes to what is near');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'shop', exact: true, expanded: false }).waitFor();
  await tabTo('Start');
  await page.keyboard.press('Enter');
  await page.locator('#echo-said', { hasText: 'It listens' }).waitFor();
  await isWell();
});

test('a page of thousands of connections is a slice that can be turned', async (t) => {
  const host = await startHost(t);
  const { tcp } = await client(t, host, { app: 'many' });
  await Promise.all(Array.from({ length: 4000 }, (_, index) => tcp.create({ name: `n${index}` })));
  const { page, isWell } = await open(t, host);
  const pager = page.locator('.pager', { hasText: 'Connections of many: 1 to 16 of 4,000' });
  await pager.waitFor();
  assert.equal(await page.locator('.client').count(), 16);
  await button(page, 'Next Connections of many').click();
  await page.locator('.pager', { hasText: '17 to 32 of 4,000' }).waitFor();
  await page.getByText('n16 · ').waitFor();
  assert.equal(await page.locator('.client').count(), 16);
  await isWell();
});

test('a page without the key, or with the key of a host that was, asks for it', async (t) => {
  const host = await startHost(t);
  const { context } = await startBrowser(t);
  const page = await context.newPage();
  await page.goto(new URL('/', host.page).href);
  await page.locator('#state[data-state=out]').waitFor();
  assert.equal(await page.locator('#live').isVisible(), false);
  await page.getByLabel('Address or key').fill('0'.repeat(32));
  await page.keyboard.press('Enter');
  await page.getByText('another key after each start').waitFor();
  await page.getByLabel('Address or key').fill(host.page);
  await page.keyboard.press('Enter');
  await page.locator('#state[data-state=in]').waitFor();
  await page.reload();
  await page.locator('#state[data-state=in]').waitFor();

  await host.kill();
  await page.locator('#state[data-state=lost]').waitFor();
  const next = await startHost(t, '--listen', host.address);
  await page.locator('#state[data-state=out]').waitFor();
  await page.getByLabel('Address or key').fill(next.page);
  await page.keyboard.press('Enter');
  await page.locator('#state[data-state=in]').waitFor();
});
