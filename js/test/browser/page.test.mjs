// The admin page in a real Chromium: what it shows, its buttons, and keyboard control.

import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import test from 'node:test';

import { Inbox, client, startHost, within } from '../host.mjs';
import { startBrowser } from './browser.mjs';

/** Opens the page of a host. `isWell` checks that it logged no errors and sent no requests to other hosts. */
async function open(t, host) {
  const { context } = await startBrowser(t);
  const page = await context.newPage();
  const problems = [];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && problems.push(message.text()));
  page.on('pageerror', (error) => problems.push(`${error}`));
  const origin = new URL(host.page).host;
  page.on('request', (request) => {
    if (!request.url().startsWith('data:') && new URL(request.url()).host !== origin) problems.push(`request to ${request.url()}`);
  });
  page.on('websocket', (socket) => new URL(socket.url()).host !== origin && problems.push(`WebSocket to ${socket.url()}`));
  await page.goto(host.page);
  await page.locator('#state[data-state=connected]').waitFor();
  const isWell = () => {
    assert.deepEqual(problems, []);
    // Closes the page before its host ends, which the page would log.
    return page.close();
  };
  return { page, isWell };
}

/** Connects an app with an echo server. */
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
  const received = new Inbox();
  stream.on('data', (data) => received.push(`${data}`));
  stream.on('close', () => received.push('closed'));
  stream.on('error', () => {});
  await within('the connection', new Promise((resolve) => stream.once('connect', resolve)));
  return { stream, received, port: stream.localPort };
}

const button = (page, name) => page.getByRole('button', { name, exact: true });

test('the page shows the sockets, and its buttons control them', async (t) => {
  const host = await startHost(t);
  const it = await app(t, host, 'shop');
  const { page, isWell } = await open(t, host);
  const title = `server 127.0.0.1:${it.localPort} of shop`;
  const row = page.locator('.server > .row', { hasText: `127.0.0.1:${it.localPort}` });
  await row.getByText('accepting').waitFor();
  assert.match(await row.locator('.sub').textContent(), /^<b>web<\/b> · /, 'a name is not HTML');
  assert.equal(await page.evaluate(() => [location.hash, location.search].join('')), '', 'the key is not in the URL');

  const { stream, received, port } = await peer(t, it.localPort);
  stream.write('x'.repeat(5000));
  const client = page.locator('.client > .row', { hasText: `127.0.0.1:${port}` });
  await client.getByText('4.9 KiB').first().waitFor();
  await client.locator('.plot .in[d^=M]').waitFor({ state: 'attached' });
  for (let back = 0; back < 5000;) back += (await received.next('the echo')).length;

  await button(page, `Pause ${title}`).click();
  await row.getByText('paused').waitFor();
  assert.equal((await it.tcpServer.getInfo(it.socketId)).paused, true);
  await page.getByText(`Paused ${title}.`).waitFor();
  await button(page, `Resume ${title}`).click();
  await row.getByText('accepting').waitFor();
  assert.equal((await it.tcpServer.getInfo(it.socketId)).paused, false);

  await button(page, `Close connection 127.0.0.1:${port} of shop`).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await button(page, `Close connection 127.0.0.1:${port} of shop`).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  assert.equal(await received.next('the end'), 'closed');
  assert.equal((await it.errors.next('onReceiveError'))[1].resultCode, -100);
  await client.waitFor({ state: 'detached' });

  await button(page, `Close ${title}`).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  assert.deepEqual(await it.errors.next('onAcceptError'), ['onAcceptError', { socketId: it.socketId, resultCode: -100 }]);
  await row.waitFor({ state: 'detached' });
  const refused = new Promise((resolve) => net.connect(it.localPort, '127.0.0.1').once('error', resolve));
  assert.equal((await within('the refusal', refused)).code, 'ECONNREFUSED');
  await isWell();
});

test('the echo server of the page answers a client, and the page shows its source', async (t) => {
  const host = await startHost(t);
  const { page, isWell } = await open(t, host);
  await button(page, 'Start').click();
  const state = page.locator('#echo-state', { hasText: 'It listens' });
  const [, port] = /nc 127\.0\.0\.1 (\d+)/.exec(await state.textContent());
  const { stream, received } = await peer(t, Number(port));
  stream.write('hello from outside\n');
  assert.equal(await received.next('the echo'), 'hello from outside\n');
  await page.locator('#echo-log', { hasText: 'hello from outside' }).waitFor();
  await page.locator('.app > .row', { hasText: 'page' }).waitFor();
  assert.match(await page.locator('#echo-code').textContent(), /onAccept\.addListener/);
  await button(page, 'Stop').click();
  assert.equal(await received.next('the end'), 'closed');
  await isWell();
});

test('the echo server reports why it does not start, and asks for the token', async (t) => {
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
  await page.locator('#echo-state', { hasText: 'It listens' }).waitFor();
  await isWell();
});

test('the keyboard controls everything', async (t) => {
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
      if (await focused() === name) return assert.ok(await isSeen(), `the focus on ${name} is visible`);
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
  assert.equal(await focused(), 'Cancel', 'the safe button has the focus');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  assert.equal(await focused(), `Close ${title}`, 'the focus comes back');
  await page.keyboard.press('Enter');
  await tabTo('Close');
  await page.keyboard.press('Enter');
  assert.equal((await it.errors.next('onAcceptError'))[0], 'onAcceptError');
  await button(page, `Close ${title}`).waitFor({ state: 'detached' });
  assert.equal(await focused(), 'shop', 'the focus moves to a neighbour');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'shop', exact: true, expanded: false }).waitFor();
  await tabTo('Start');
  await page.keyboard.press('Enter');
  await page.locator('#echo-state', { hasText: 'It listens' }).waitFor();
  await isWell();
});

test('a dialog that is reopened before its close event works', async (t) => {
  const host = await startHost(t);
  const it = await app(t, host, 'shop');
  const { page, isWell } = await open(t, host);
  const title = `server 127.0.0.1:${it.localPort} of shop`;
  await button(page, `Close ${title}`).waitFor();
  await page.evaluate((name) => {
    const close = document.querySelector(`[aria-label=${JSON.stringify(name)}]`);
    close.click();
    document.getElementById('confirm-no').click();
    close.click();
  }, `Close ${title}`);
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  assert.equal((await it.errors.next('onAcceptError'))[0], 'onAcceptError');
  await isWell();
});

test('an app with problems comes first and shows them while collapsed', async (t) => {
  const host = await startHost(t);
  for (const name of ['a', 'b', 'c', 'd']) await app(t, host, name);
  const it = await app(t, host, 'z');
  const { page, isWell } = await open(t, host);
  const first = page.locator('#tree > .app').first();
  const names = () => page.locator('#tree > .app > .row .title').allTextContents();
  await page.locator('#tree > .app').nth(4).waitFor();
  assert.deepEqual(await names(), ['a', 'b', 'c', 'd', 'z']);
  assert.equal(await page.locator('.server').count(), 0, 'rows of long lists are collapsed');
  await it.tcpServer.setPaused(it.socketId, true);
  await first.locator('.badge.warn', { hasText: 'paused' }).waitFor();
  assert.deepEqual(await names(), ['z', 'a', 'b', 'c', 'd']);
  await page.getByText('1 with problems').waitFor();
  await page.locator('#app-order').selectOption('by name');
  await first.locator('.title', { hasText: 'a' }).waitFor();
  await it.tcpServer.setPaused(it.socketId, false);
  await page.getByText('no problems').waitFor();
  await isWell();
});

test('apps and sockets are found by name and address', async (t) => {
  const host = await startHost(t);
  const it = await app(t, host, 'shop');
  await app(t, host, 'chat');
  const { port } = await peer(t, it.localPort);
  const { page, isWell } = await open(t, host);
  const search = page.getByLabel('Search');
  const found = async (text, count) => {
    await search.fill(text);
    await page.waitForFunction((wanted) => document.querySelectorAll('#found > li').length === wanted, count);
  };
  await found('SHO', 1);
  await page.locator('#found > .app', { hasText: 'shop' }).waitFor();
  await found('<b>web', 2);
  await found(`127.0.0.1:${port}`, 1);
  const row = page.locator('#found > .client', { hasText: `127.0.0.1:${port}` });
  assert.match(await row.locator('.sub').textContent(), /^shop · /);
  assert.match(await row.locator('.many').textContent(), /^\d+ s/, 'the age');
  await search.fill('nothing like it');
  await page.getByText('Nothing matches.').waitFor();
  assert.equal(await page.locator('#tree').isVisible(), false);
  await search.fill('');
  await page.locator('#tree > .app').nth(1).waitFor();
  await isWell();
});

test('a drain stops listening at once and closes connections at its deadline', async (t) => {
  const host = await startHost(t);
  const it = await app(t, host, 'shop');
  const { received } = await peer(t, it.localPort);
  const { page, isWell } = await open(t, host);
  const title = `server 127.0.0.1:${it.localPort} of shop`;
  const row = page.locator('.server > .row');
  await row.getByText('1 open').waitFor();
  await button(page, `Drain ${title}`).click();
  await page.getByRole('dialog').getByText('1 open connection can finish').waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await button(page, `Drain ${title}`).click();
  await page.getByLabel('Time to finish').selectOption('1 hour');
  await page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click();
  await page.getByText(`Draining ${title}.`).waitFor();
  await row.getByText('draining').waitFor();
  const refused = new Promise((resolve) => net.connect(it.localPort, '127.0.0.1').once('error', resolve));
  assert.equal((await within('the refusal', refused)).code, 'ECONNREFUSED');
  assert.ok(received.isEmpty, 'connections stay open');
  // Drains the whole app with a deadline now.
  await button(page, 'Drain app shop').click();
  await page.getByLabel('Time to finish').selectOption('none: close now');
  await page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click();
  assert.equal(await received.next('the end'), 'closed');
  await row.getByText('not listening').waitFor();
  await isWell();
});

test('nothing overlaps or is cut off at any width', async (t) => {
  const host = await startHost(t);
  const it = await app(t, host, 'an-app-with-quite-a-long-name-that-says-what-it-is-for-in-detail');
  for (let index = 0; index < 3; index += 1) await peer(t, it.localPort);
  const { page, isWell } = await open(t, host);
  await page.locator('.client').nth(2).waitFor();
  for (const width of [1600, 1280, 1000, 960, 700, 390, 320]) {
    await page.setViewportSize({ width, height: 900 });
    const wrong = await page.evaluate(() => {
      const seen = (element) => element.getClientRects().length > 0;
      const texts = (row) => [...row.children].filter((cell) => seen(cell) && cell.textContent.trim() !== '');
      const found = [];
      // A text with an ellipsis has the size of its element.
      const box = (cell) => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        const boxes = cell.children.length > 0 ? [...cell.children].filter(seen).map((child) => child.getBoundingClientRect()) : [range.getBoundingClientRect()];
        const edge = (side, which) => which(...boxes.map((one) => one[side]));
        return { left: edge('left', Math.min), right: edge('right', Math.max), top: edge('top', Math.min), bottom: edge('bottom', Math.max) };
      };
      for (const row of [...document.querySelectorAll('.row, .tiles')].filter(seen)) {
        const cells = texts(row);
        for (const [index, one] of cells.entries()) {
          for (const other of cells.slice(index + 1)) {
            const [a, b] = [box(one), box(other)];
            const isApart = a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
            if (!isApart) found.push(`${one.textContent} | ${other.textContent}`);
          }
        }
      }
      for (const dd of document.querySelectorAll('.tile dd')) if (dd.scrollWidth > dd.clientWidth + 1) found.push(`cut off: ${dd.textContent}`);
      if (document.documentElement.scrollWidth > innerWidth) found.push(`as wide as ${document.documentElement.scrollWidth}`);
      return found;
    });
    assert.deepEqual(wrong, [], `${width} px`);
  }
  await isWell();
});

/** The connections of the test below. `CHROME_SOCKETS_TIMED` also checks elapsed time, on a quiet machine. */
const MANY = 10_000;
const isTimed = process.env.CHROME_SOCKETS_TIMED !== undefined;

test('ten thousand connections leave the page usable', async (t) => {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const [, files] = /^Max open files +(\d+)/m.exec(limits) ?? [];
  if (Number(files) < MANY + 1000) return t.skip(`no more than ${files} files may be open`);
  const host = await startHost(t);
  const it = await app(t, host, 'many');
  const peers = [];
  t.after(() => peers.forEach((stream) => stream.destroy()));
  const connected = () => new Promise((resolve, reject) => {
    const stream = net.connect(it.localPort, '127.0.0.1', () => resolve(stream)).on('error', reject);
    stream.on('data', () => {});
    peers.push(stream);
  });
  // No more at once than the backlog holds.
  while (peers.length < MANY) await within('connections', Promise.all(Array.from({ length: 100 }, connected)));

  const { context } = await startBrowser(t);
  const page = await context.newPage();
  const cdp = await context.newCDPSession(page);
  await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });
  const busy = async () => {
    const { metrics } = await cdp.send('Performance.getMetrics');
    return metrics.find(({ name }) => name === 'TaskDuration').value * 1000;
  };
  let updates = 0;
  page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => {
    if (`${payload}`.includes('host.listApps')) updates += 1;
  }));
  await page.addInitScript(() => {
    const seen = new MutationObserver(() => {
      if (!document.querySelector('.client')) return;
      seen.disconnect();
      requestAnimationFrame(() => { window.firstRows = performance.now(); });
    });
    seen.observe(document, { subtree: true, childList: true });
  });
  await page.goto(host.page);
  await page.waitForFunction(() => window.firstRows !== undefined);
  const first = { clock: await page.evaluate(() => window.firstRows), busy: await busy() };
  await page.locator('.pager', { hasText: '1 to 16 of 10,000' }).waitFor();
  // The worst case for the page: each update changes the rows.
  await page.locator('#order').selectOption('most bytes first');
  let turn = 0;
  const traffic = setInterval(() => {
    turn += 1;
    for (let index = 0; index < 50; index += 1) peers[(turn * 50 + index) % MANY].write('x'.repeat(turn * 100));
  }, 50);
  t.after(() => clearInterval(traffic));
  const measured = async (what) => {
    const [before, from] = [await busy(), updates];
    await page.waitForFunction(() => true);
    while (updates < from + 6) await page.waitForTimeout(50);
    const each = (await busy() - before) / (updates - from);
    t.diagnostic(`${what}: ${each.toFixed(1)} ms of the main thread an update`);
    assert.ok(each < 100, `${what}: ${each} ms`);
  };
  t.diagnostic(`the first rows: after ${first.clock.toFixed(0)} ms, with ${first.busy.toFixed(0)} ms of the main thread`);
  assert.ok(first.busy < 2000 && (!isTimed || first.clock < 2000), JSON.stringify(first));
  await measured('the busiest connections');
  await page.getByLabel('Search').fill('127.0.0.1');
  await page.locator('.pager', { hasText: 'of 10,001' }).waitFor();
  await measured('a search that finds them all');
  clearInterval(traffic);
  await page.close();
  it.host.close();
});

test('long lists are paged', async (t) => {
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

test('the page asks for a missing or outdated key', async (t) => {
  const host = await startHost(t);
  const { context } = await startBrowser(t);
  const page = await context.newPage();
  await page.goto(new URL('/', host.page).href);
  await page.locator('#state[data-state=unauthorised]').waitFor();
  assert.equal(await page.locator('#live').isVisible(), false);
  await page.getByLabel('Address or key').fill('0'.repeat(32));
  await page.keyboard.press('Enter');
  await page.getByText('a new key at each start').waitFor();
  await page.getByLabel('Address or key').fill(host.page);
  await page.keyboard.press('Enter');
  await page.locator('#state[data-state=connected]').waitFor();
  await page.reload();
  await page.locator('#state[data-state=connected]').waitFor();

  await host.kill();
  await page.locator('#state[data-state=lost]').waitFor();
  const next = await startHost(t, '--listen', host.address);
  await page.locator('#state[data-state=unauthorised]').waitFor();
  await page.getByLabel('Address or key').fill(next.page);
  await page.keyboard.press('Enter');
  await page.locator('#state[data-state=connected]').waitFor();
});

test('the page shows sockets of udp, and its buttons control them', async (t) => {
  const host = await startHost(t);
  const sockets = await client(t, host, { app: 'dns' });
  const { udp } = sockets;
  const errors = new Inbox();
  udp.onReceive.addListener(({ socketId, data, remoteAddress, remotePort }) => udp.send(socketId, data, remoteAddress, remotePort, () => {}));
  udp.onReceiveError.addListener(errors.push);
  const { socketId } = await udp.create({ name: 'resolver' });
  assert.equal(await new Promise((resolve) => udp.bind(socketId, '127.0.0.1', 0, resolve)), 0);
  const { localPort } = await udp.getInfo(socketId);
  const { page, isWell } = await open(t, host);
  const row = page.locator('.app .row', { hasText: `udp 127.0.0.1:${localPort}` });
  await row.getByText('bound').waitFor();
  await page.locator('.app > .row .sub', { hasText: '0 servers · 1 UDP socket' }).waitFor();
  const peer = dgram.createSocket('udp4');
  t.after(() => peer.close());
  const received = new Inbox();
  peer.on('message', received.push);
  peer.send(Buffer.alloc(2000), localPort, '127.0.0.1');
  assert.equal((await received.next('the echo')).length, 2000);
  await row.getByText('2.0 KiB').first().waitFor();
  assert.match(await row.locator('.many').textContent(), /^2 datagrams$/);

  const title = `UDP socket 127.0.0.1:${localPort} of dns`;
  await button(page, `Pause ${title}`).click();
  await row.getByText('paused').waitFor();
  assert.equal((await udp.getInfo(socketId)).paused, true);
  // More than the buffer of the socket holds.
  for (let sent = 0; sent < 3000; sent += 1) {
    await new Promise((resolve) => peer.send(Buffer.alloc(1000), localPort, '127.0.0.1', resolve));
  }
  await row.getByText(/^[\d,]+ dropped$/).waitFor();
  await page.locator('#search').fill('resolver');
  const found = page.locator('#found .row', { hasText: 'resolver' });
  await found.getByText('paused').waitFor();
  await found.getByRole('button', { name: `Close ${title}`, exact: true }).click();
  await page.getByRole('dialog').getByText('This frees its port.', { exact: false }).waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  assert.deepEqual(await errors.next('onReceiveError'), { socketId, resultCode: -100 });
  await found.waitFor({ state: 'detached' });
  await assert.rejects(udp.getInfo(socketId), { message: 'Socket not found' });
  await isWell();
});
