// The logic of the host's page: what it asks for, what it computes, and what it says.

import assert from 'node:assert/strict';
import test from 'node:test';

import { address, age, appState, bytes, clientState, plain, rate, serverState } from '../../host/page/text.mjs';
import { APPS, CLIENTS, FOUND, OPEN, POINTS, SERVERS, Watch, appKey, path, serverKey } from '../../host/page/watch.mjs';

/** A host of so many apps, each with so many servers, each with so many clients. */
function host({ apps = 1, servers = 1, clients = 1 }) {
  const asked = [];
  const made = { at: 1000, received: 0, asked };
  const slice = (count, from, most, row) => Array.from({ length: Math.max(0, Math.min(count - from, most)) }, (_, index) => row(from + index));
  const sums = () => ({ received: made.received, sent: 0, accepted: clients });
  made.admin = {
    async listApps(from, most, problemsFirst) {
      asked.push(`apps from ${from}${problemsFirst ? ', problems first' : ''}`);
      return { at: made.at, total: apps, all: sums(), apps: slice(apps, from, most, (app) => ({ app: `app-${app}`, connected: true, servers, clients, ...sums() })) };
    },
    async listServers(app, from, most, problemsFirst) {
      asked.push(`servers of ${app}${problemsFirst ? ', problems first' : ''}`);
      if (made.gone === app) throw new Error('There is no such app');
      return { at: made.at, total: servers, sockets: slice(servers, from, most, (socketId) => ({ socketId, ...sums() })) };
    },
    async listClients(app, server, byBytes, from, most) {
      asked.push(`clients of ${app} ${server} ${byBytes} from ${from}`);
      const count = server === null ? 0 : clients;
      return { at: made.at, total: count, sockets: slice(count, from, most, (socketId) => ({ socketId, ...sums() })) };
    },
    async find(text, from, most) {
      asked.push(`find ${text} from ${from}`);
      return { at: made.at, total: clients, found: slice(clients, from, most, (socketId) => ({ kind: 'tcp', app: 'app-0', socketId, ...sums() })) };
    },
  };
  return made;
}

test('bytes, addresses and texts of others are said as they can be read', () => {
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

test('a socket that stands still says why', () => {
  const texts = (states) => states.map(([text]) => text);
  const server = { localAddress: '::', blockedBy: [] };
  assert.deepEqual(texts(serverState(server)), ['accepting']);
  assert.deepEqual(texts(serverState({ ...server, localAddress: undefined })), ['not listening']);
  const blockedBy = [{ reason: 'app' }, { reason: 'acceptError', resultCode: -12, error: 'INSUFFICIENT_RESOURCES' }, { reason: 'later' }];
  assert.deepEqual(texts(serverState({ ...server, blockedBy, backlog: 1200 })),
    ['paused', 'accept error: INSUFFICIENT_RESOURCES', 'later', '1,200 waiting']);
  assert.deepEqual(texts(serverState({ blockedBy: [{ reason: 'draining' }] })), ['draining'], 'it has no port any more');
  assert.deepEqual(texts(clientState({ connected: true, paused: true })), ['paused']);
  assert.deepEqual(texts(clientState({ connected: true, paused: false })), ['connected']);
  assert.deepEqual(texts(clientState({ connected: false, paused: true })), ['not connected']);
});

test('an app says in its own row what keeps its servers from accepting', () => {
  const texts = (app) => appState(app).map(([text]) => text);
  const app = { connected: true, servers: 3, problems: [] };
  assert.deepEqual(texts(app), ['connected']);
  const problems = [{ reason: 'acceptError', error: 'INSUFFICIENT_RESOURCES', servers: 1 }, { reason: 'app', servers: 2 }];
  assert.deepEqual(texts({ ...app, problems }), ['1 of 3: accept error: INSUFFICIENT_RESOURCES', '2 of 3: paused']);
  assert.deepEqual(texts({ connected: true, servers: 1, problems: [{ reason: 'app', servers: 1 }] }), ['paused'], 'it has no other');
  assert.deepEqual(texts({ ...app, connected: false, problems: [{ reason: 'suspended', servers: 3 }] }), ['disconnected'], 'once');
});

test('an age is said as people say it', () => {
  const [second, minute, hour] = [1000, 60_000, 3_600_000];
  for (const [time, text] of [[-1, '0 s'], [999, '0 s'], [59 * second, '59 s'], [minute, '1 min'], [hour - 1, '59 min'], [hour, '1 h'],
    [3 * hour + 20 * minute, '3 h 20 min'], [48 * hour - 1, '47 h 59 min'], [48 * hour, '2 d'], [48_000 * hour, '2,000 d']]) {
    assert.equal(age(time), text, `${time}`);
  }
});

test('a search asks for what matches instead of for the tree, and begins at its beginning', async () => {
  const it = host({ clients: 100 });
  const watch = new Watch();
  await watch.poll(it.admin);
  it.asked.length = 0;
  watch.query = '10.0';
  const { found, all } = await watch.poll(it.admin);
  assert.deepEqual(it.asked, ['apps from 0, problems first', 'find 10.0 from 0']);
  assert.deepEqual([found.total, found.rows.length, all.accepted], [100, FOUND, 100]);
  it.at += 1000;
  it.received += 500;
  assert.equal((await watch.poll(it.admin)).found.rows[0].inRate, 500);
  watch.showPage(found.key, 64);
  await watch.poll(it.admin);
  watch.query = '10.1';
  it.asked.length = 0;
  await watch.poll(it.admin);
  assert.ok(it.asked.includes('find 10.1 from 0'), `${it.asked}`);
});

test('problems come first where they could be out of sight', async () => {
  const watch = new Watch();
  const few = host({ servers: 2 });
  await watch.poll(few.admin);
  assert.deepEqual(few.asked.slice(0, 2), ['apps from 0, problems first', 'servers of app-0']);
  const many = host({ servers: SERVERS + 1 });
  await watch.poll(many.admin);
  assert.equal(many.asked[1], 'servers of app-0, problems first');
  watch.problemsFirst = false;
  many.asked.length = 0;
  await watch.poll(many.admin);
  assert.deepEqual(many.asked.slice(0, 2), ['apps from 0', 'servers of app-0']);
});

test('of many apps or servers none opens by itself', async () => {
  const apps = host({ apps: APPS });
  const watch = new Watch();
  await watch.poll(apps.admin);
  assert.deepEqual(apps.asked, ['apps from 0, problems first']);
  const servers = host({ servers: 10 });
  await new Watch().poll(servers.admin);
  assert.ok(!servers.asked.some((what) => what.startsWith('clients of app-0 0')), `${servers.asked}`);
});

test('rates are by the clock of the host, and of the last minute', async () => {
  const it = host({});
  const watch = new Watch();
  assert.equal((await watch.poll(it.admin)).all.inRate, 0, 'nothing to compare with');
  for (let round = 1; round <= POINTS + 5; round += 1) {
    it.at += 500;
    it.received += 100 * round;
    await watch.poll(it.admin);
  }
  const same = await watch.poll(it.admin);
  assert.equal(same.all.inRate, 200 * (POINTS + 5), 'asked twice in a millisecond');
  assert.equal(same.all.points.length, POINTS);
  assert.deepEqual(same.all.points[0], [200 * 6, 0]);
  it.received = 0;
  it.at += 1000;
  assert.equal((await watch.poll(it.admin)).all.inRate, 0, 'a sum that shrinks is no rate');
});

test('of ten thousand connections a slice is asked for, however many rounds', async () => {
  const it = host({ clients: 10_000 });
  const watch = new Watch();
  const { apps: [app] } = await watch.poll(it.admin);
  const { clientList } = app.serverList.rows[0];
  assert.deepEqual([clientList.total, clientList.rows.length], [10_000, CLIENTS]);
  watch.showPage(clientList.key, 9_999);
  const next = await watch.poll(it.admin);
  assert.equal(next.apps[0].serverList.rows[0].clientList.rows.length, 1);
  it.asked.length = 0;
  watch.showPage(clientList.key, 20_000);
  await watch.poll(it.admin);
  const last = Math.floor(9_999 / CLIENTS) * CLIENTS;
  await watch.poll(it.admin);
  assert.equal(it.asked.filter((what) => what.endsWith(`from ${last}`)).length, 1, 'behind the end: the last slice there is');
});

test('what is open is asked for, and no more than so many branches', async () => {
  const it = host({ apps: 12, servers: 12 });
  const watch = new Watch();
  const first = await watch.poll(it.admin);
  const count = it.asked.length;
  assert.ok(count < 30, `${count} lists`);
  for (const { app } of first.apps) {
    if (!watch.isOpen(appKey({ app }))) watch.toggle(appKey({ app }));
    for (let socketId = 0; socketId < 12; socketId += 1) {
      const key = serverKey(app, { socketId });
      if (!watch.isOpen(key)) watch.toggle(key);
    }
  }
  it.asked.length = 0;
  await watch.poll(it.admin);
  assert.ok(it.asked.length <= 1 + 2 * OPEN, `${it.asked.length} lists`);
  const fresh = new Watch();
  await fresh.poll(it.admin);
  for (const isAsked of [true, false]) {
    fresh.toggle(appKey(first.apps[0]));
    it.asked.length = 0;
    await fresh.poll(it.admin);
    assert.equal(it.asked.includes('servers of app-0'), isAsked, 'open, and closed again');
  }
});

test('an app that has gone between two lists is no failure', async () => {
  const it = host({ apps: 2 });
  it.gone = 'app-0';
  const watch = new Watch();
  const { apps } = await watch.poll(it.admin);
  assert.equal(apps[0].serverList, undefined);
  assert.equal(apps[1].serverList.total, 1);
});

test('a plot ends at its right end, and its greatest value is as far from its middle as may be', () => {
  assert.equal(path([1], 1, 10, 9), '');
  const [a, b, c] = [POINTS - 3, POINTS - 2, POINTS - 1];
  assert.equal(path([0, 5, 10], 10, 10, 10), `M${a} 10.0L${b} 5.0L${c} 0.0`);
  assert.equal(path([0, 5, 10], 10, 10, -10), `M${a} 10.0L${b} 15.0L${c} 20.0`, 'downwards');
  assert.equal(path([0, 0], 0, 10, 10), `M${b} 10.0L${c} 10.0`);
});
