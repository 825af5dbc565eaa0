// The logic of the admin page: what it requests, computes and shows.

import assert from 'node:assert/strict';
import test from 'node:test';

import { address, age, appState, bytes, clientState, plain, rate, serverState, udpState } from '../../host/page/text.mjs';
import { APPS, CLIENTS, FOUND, OPEN, POINTS, SERVERS, UDP, Watch, appKey, path, serverKey } from '../../host/page/watch.mjs';

/** A fake host with these numbers of apps, servers per app and clients per server. */
function fakeHost({ apps = 1, servers = 1, clients = 1, udp = 0 }) {
  const requests = [];
  const made = { at: 1000, received: 0, requests };
  const slice = (count, from, most, row) => Array.from({ length: Math.max(0, Math.min(count - from, most)) }, (_, index) => row(from + index));
  const sums = () => ({ received: made.received, sent: 0, accepted: clients });
  made.admin = {
    async listApps(from, most, problemsFirst) {
      requests.push(`apps from ${from}${problemsFirst ? ', problems first' : ''}`);
      return { at: made.at, total: apps, all: sums(), apps: slice(apps, from, most, (app) => ({ app: `app-${app}`, connected: true, servers, clients, udp, ...sums() })) };
    },
    async listServers(app, from, most, problemsFirst) {
      requests.push(`servers of ${app}${problemsFirst ? ', problems first' : ''}`);
      if (made.removed === app) throw new Error('There is no such app');
      return { at: made.at, total: servers, sockets: slice(servers, from, most, (socketId) => ({ socketId, ...sums() })) };
    },
    async listClients(app, server, byBytes, from, most) {
      requests.push(`clients of ${app} ${server} ${byBytes} from ${from}`);
      const count = server === null ? 0 : clients;
      return { at: made.at, total: count, sockets: slice(count, from, most, (socketId) => ({ socketId, ...sums() })) };
    },
    async listUdp(app, byBytes, from, most) {
      requests.push(`udp of ${app} ${byBytes} from ${from}`);
      return { at: made.at, total: udp, sockets: slice(udp, from, most, (socketId) => ({ socketId, ...sums() })) };
    },
    async find(text, from, most) {
      requests.push(`find ${text} from ${from}`);
      return { at: made.at, total: clients, found: slice(clients, from, most, (socketId) => ({ kind: 'tcp', app: 'app-0', socketId, ...sums() })) };
    },
  };
  return made;
}

test('bytes, addresses and texts are formatted', () => {
  for (const [count, text] of [[0, '0 B'], [999, '999 B'], [1023, '1023 B'], [1024, '1.0 KiB'], [10 * 1024, '10.0 KiB'], [100 * 1024, '100 KiB'],
    [1024 * 1024 - 1, '1.0 MiB'], [5 * 2 ** 30, '5.0 GiB'], [2 ** 70, '1024 EiB']]) {
    assert.equal(bytes(count), text, `${count}`);
  }
  assert.equal(rate(0.4), '0 B/s');
  assert.equal(address('127.0.0.1', 80), '127.0.0.1:80');
  assert.equal(address('::1', 80), '[::1]:80');
  assert.equal(address(undefined, undefined), '');
  assert.equal(plain('a\u202eb\u0000\n<b>'), 'a\ufffdb\ufffd\ufffd<b>');
});

test('badges show why a socket does not accept or receive', () => {
  const texts = (states) => states.map(([text]) => text);
  const server = { localAddress: '::', blockedBy: [] };
  assert.deepEqual(texts(serverState(server)), ['accepting']);
  assert.deepEqual(texts(serverState({ ...server, localAddress: undefined })), ['not listening']);
  const blockedBy = [{ reason: 'app' }, { reason: 'acceptError', resultCode: -12, error: 'INSUFFICIENT_RESOURCES' }, { reason: 'later' }];
  assert.deepEqual(texts(serverState({ ...server, blockedBy, backlog: 1200 })),
    ['paused', 'accept error: INSUFFICIENT_RESOURCES', 'later', '1,200 waiting']);
  assert.deepEqual(texts(serverState({ blockedBy: [{ reason: 'draining' }] })), ['draining'], 'a draining server has no port');
  assert.deepEqual(texts(clientState({ connected: true, paused: true })), ['paused']);
  assert.deepEqual(texts(clientState({ connected: true, paused: false })), ['connected']);
  assert.deepEqual(texts(clientState({ connected: false, paused: true })), ['not connected']);
  assert.deepEqual(texts(udpState({ paused: true })), ['not bound']);
  assert.deepEqual(texts(udpState({ localAddress: '::', paused: false, dropped: 0 })), ['bound']);
  assert.deepEqual(texts(udpState({ localAddress: '::', paused: true, dropped: 1200 })), ['paused', '1,200 dropped']);
});

test('the badges of an app summarise those of its servers', () => {
  const texts = (app) => appState(app).map(([text]) => text);
  const app = { connected: true, servers: 3, problems: [] };
  assert.deepEqual(texts(app), ['connected']);
  const problems = [{ reason: 'acceptError', error: 'INSUFFICIENT_RESOURCES', servers: 1 }, { reason: 'app', servers: 2 }];
  assert.deepEqual(texts({ ...app, problems }), ['1 of 3: accept error: INSUFFICIENT_RESOURCES', '2 of 3: paused']);
  assert.deepEqual(texts({ connected: true, servers: 1, problems: [{ reason: 'app', servers: 1 }] }), ['paused'], 'it has one server');
  assert.deepEqual(texts({ ...app, connected: false, problems: [{ reason: 'suspended', servers: 3 }] }), ['disconnected'], 'shown once');
});

test('ages are formatted', () => {
  const [second, minute, hour] = [1000, 60_000, 3_600_000];
  for (const [time, text] of [[-1, '0 s'], [999, '0 s'], [59 * second, '59 s'], [minute, '1 min'], [hour - 1, '59 min'], [hour, '1 h'],
    [3 * hour + 20 * minute, '3 h 20 min'], [48 * hour - 1, '47 h 59 min'], [48 * hour, '2 d'], [48_000 * hour, '2,000 d']]) {
    assert.equal(age(time), text, `${time}`);
  }
});

test('a search replaces the tree and starts at its first page', async () => {
  const it = fakeHost({ clients: 100 });
  const watch = new Watch();
  await watch.poll(it.admin);
  it.requests.length = 0;
  watch.query = '10.0';
  const { found, all } = await watch.poll(it.admin);
  assert.deepEqual(it.requests, ['apps from 0, problems first', 'find 10.0 from 0']);
  assert.deepEqual([found.total, found.rows.length, all.accepted], [100, FOUND, 100]);
  it.at += 1000;
  it.received += 500;
  assert.equal((await watch.poll(it.admin)).found.rows[0].inRate, 500);
  watch.showPage(found.key, 64);
  await watch.poll(it.admin);
  watch.query = '10.1';
  it.requests.length = 0;
  await watch.poll(it.admin);
  assert.ok(it.requests.includes('find 10.1 from 0'), `${it.requests}`);
});

test('problems come first where they could be on another page', async () => {
  const watch = new Watch();
  const few = fakeHost({ servers: 2 });
  await watch.poll(few.admin);
  assert.deepEqual(few.requests.slice(0, 2), ['apps from 0, problems first', 'servers of app-0']);
  const many = fakeHost({ servers: SERVERS + 1 });
  await watch.poll(many.admin);
  assert.equal(many.requests[1], 'servers of app-0, problems first');
  watch.problemsFirst = false;
  many.requests.length = 0;
  await watch.poll(many.admin);
  assert.deepEqual(many.requests.slice(0, 2), ['apps from 0', 'servers of app-0']);
});

test('rows of long lists are not expanded at first', async () => {
  const apps = fakeHost({ apps: APPS });
  const watch = new Watch();
  await watch.poll(apps.admin);
  assert.deepEqual(apps.requests, ['apps from 0, problems first']);
  const servers = fakeHost({ servers: 10 });
  await new Watch().poll(servers.admin);
  assert.ok(!servers.requests.some((what) => what.startsWith('clients of app-0 0')), `${servers.requests}`);
});

test('rates use the clock of the host and cover the last minute', async () => {
  const it = fakeHost({});
  const watch = new Watch();
  assert.equal((await watch.poll(it.admin)).all.inRate, 0, 'nothing to compare with');
  for (let round = 1; round <= POINTS + 5; round += 1) {
    it.at += 500;
    it.received += 100 * round;
    await watch.poll(it.admin);
  }
  const same = await watch.poll(it.admin);
  assert.equal(same.all.inRate, 200 * (POINTS + 5), 'two polls in a millisecond');
  assert.equal(same.all.points.length, POINTS);
  assert.deepEqual(same.all.points[0], [200 * 6, 0]);
  it.received = 0;
  it.at += 1000;
  assert.equal((await watch.poll(it.admin)).all.inRate, 0, 'a rate is never negative');
});

test('each poll requests one page of ten thousand connections', async () => {
  const it = fakeHost({ clients: 10_000 });
  const watch = new Watch();
  const { apps: [app] } = await watch.poll(it.admin);
  const { clientList } = app.serverList.rows[0];
  assert.deepEqual([clientList.total, clientList.rows.length], [10_000, CLIENTS]);
  watch.showPage(clientList.key, 9_999);
  const next = await watch.poll(it.admin);
  assert.equal(next.apps[0].serverList.rows[0].clientList.rows.length, 1);
  it.requests.length = 0;
  watch.showPage(clientList.key, 20_000);
  await watch.poll(it.admin);
  const last = Math.floor(9_999 / CLIENTS) * CLIENTS;
  await watch.poll(it.admin);
  assert.equal(it.requests.filter((what) => what.endsWith(`from ${last}`)).length, 1, 'beyond the end: the last page');
});

test('sockets of udp are requested where there are any, one page of them', async () => {
  const none = fakeHost({});
  await new Watch().poll(none.admin);
  assert.ok(!none.requests.some((what) => what.startsWith('udp')), `${none.requests}`);
  const it = fakeHost({ udp: 100 });
  const watch = new Watch();
  watch.byBytes = true;
  const { apps: [app] } = await watch.poll(it.admin);
  assert.deepEqual([app.udpList.total, app.udpList.rows.length, app.udpList.rows[0].inRate], [100, UDP, 0]);
  assert.ok(it.requests.includes('udp of app-0 true from 0'), `${it.requests}`);
  it.at += 1000;
  it.received += 500;
  assert.equal((await watch.poll(it.admin)).apps[0].udpList.rows[0].inRate, 500);
});

test('expanded rows are requested, up to a limit', async () => {
  const it = fakeHost({ apps: 12, servers: 12 });
  const watch = new Watch();
  const first = await watch.poll(it.admin);
  const count = it.requests.length;
  assert.ok(count < 30, `${count} lists`);
  for (const { app } of first.apps) {
    if (!watch.isOpen(appKey({ app }))) watch.toggle(appKey({ app }));
    for (let socketId = 0; socketId < 12; socketId += 1) {
      const key = serverKey(app, { socketId });
      if (!watch.isOpen(key)) watch.toggle(key);
    }
  }
  it.requests.length = 0;
  await watch.poll(it.admin);
  assert.ok(it.requests.length <= 1 + 2 * OPEN, `${it.requests.length} lists`);
  const fresh = new Watch();
  await fresh.poll(it.admin);
  for (const isRequested of [true, false]) {
    fresh.toggle(appKey(first.apps[0]));
    it.requests.length = 0;
    await fresh.poll(it.admin);
    assert.equal(it.requests.includes('servers of app-0'), isRequested, 'expanded, and collapsed again');
  }
});

test('an app that is removed between two lists is not an error', async () => {
  const it = fakeHost({ apps: 2 });
  it.removed = 'app-0';
  const watch = new Watch();
  const { apps } = await watch.poll(it.admin);
  assert.equal(apps[0].serverList, undefined);
  assert.equal(apps[1].serverList.total, 1);
});

test('a plot ends at the right, and its greatest value has the full height', () => {
  assert.equal(path([1], 1, 10, 9), '');
  const [a, b, c] = [POINTS - 3, POINTS - 2, POINTS - 1];
  assert.equal(path([0, 5, 10], 10, 10, 10), `M${a} 10.0L${b} 5.0L${c} 0.0`);
  assert.equal(path([0, 5, 10], 10, 10, -10), `M${a} 10.0L${b} 15.0L${c} 20.0`, 'downwards');
  assert.equal(path([0, 0], 0, 10, 10), `M${b} 10.0L${c} 10.0`);
});
