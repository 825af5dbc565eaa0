// The npm package chrome-net, which implements Node's `net` on chrome.sockets, in Node.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { createRequire } from 'node:module';
import nodesNet from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

import { client, startHost, within } from '../host.mjs';
import { curl, fetched } from './curl.mjs';

/** Loads chrome-net with a chrome.sockets for this test. */
async function load(t) {
  const host = await startHost(t);
  const sockets = await client(t, host, { app: 'net' });
  globalThis.chrome = { sockets, runtime: Object.assign(sockets.runtime, { id: 'net' }) };
  const require = createRequire(import.meta.url);
  delete require.cache[require.resolve('chrome-net')];
  return { net: require('chrome-net'), host, sockets };
}

/** Starts an HTTP server on its sockets. */
async function serving(net, handler) {
  const web = http.createServer(handler);
  const server = net.createServer((socket) => web.emit('connection', socket));
  // The client disconnects at the end of the test.
  server.on('error', () => {});
  server.listen(0, '127.0.0.1');
  await within('listening', once(server, 'listening'));
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}

const BIG = 6 << 20;

test('it serves concurrent requests of curl on persistent connections', async (t) => {
  const { net, sockets } = await load(t);
  const { server, url } = await serving(net, (request, response) => {
    if (request.url === '/nothing') response.statusCode = 404;
    response.end(`${request.method} ${request.url} from ${request.socket.remoteAddress}`);
  });
  assert.equal(`${await fetched(`${url}/page`)}`, 'GET /page from 127.0.0.1');
  assert.match(`${(await curl('--head', `${url}/page`)).out}`, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match((await curl('--fail', `${url}/nothing`)).error, /404/);
  const twice = await fetched('--write-out', ' on %{num_connects}\n', `${url}/1`, `${url}/2`);
  assert.equal(`${twice}`, 'GET /1 from 127.0.0.1 on 1\nGET /2 from 127.0.0.1 on 0\n');
  const paths = Array.from({ length: 40 }, (_, index) => `/${index}`);
  const pages = await Promise.all(paths.map((path) => fetched(url + path)));
  assert.deepEqual(pages.map(String), paths.map((path) => `GET ${path} from 127.0.0.1`));
  // The callback of `close` is called after the last connection, and no socket remains.
  server.close();
  await within('close', once(server, 'close'));
  assert.deepEqual(await sockets.tcpServer.getSockets(), []);
  assert.deepEqual(await sockets.tcp.getSockets(), []);
  assert.equal((await curl(url)).code, 7, 'the port is closed');
});

test('large bodies arrive complete in both directions', async (t) => {
  const { net } = await load(t);
  const body = randomBytes(BIG);
  const { url } = await serving(net, async (request, response) => {
    if (request.method === 'GET') return response.end(body);
    // Reads slowly, so that data waits at the sender.
    for await (const chunk of request) response.write(chunk);
    response.end();
  });
  assert.ok(body.equals(await fetched(url)), 'out');
  const folder = await mkdtemp(join(tmpdir(), 'chrome-sockets-net-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'body'), body);
  assert.ok(body.equals(await fetched('--upload-file', join(folder, 'body'), url)), 'in and out');
});

test('a port in use is an error and does not affect the other server', async (t) => {
  const { net } = await load(t);
  const { url } = await serving(net, (_, response) => response.end('here'));
  const second = net.createServer();
  second.listen(Number(new URL(url).port), '127.0.0.1');
  const [error] = await within('the error', once(second, 'error'));
  assert.equal(error.code, 'EADDRINUSE');
  assert.equal(second.listening, false);
  assert.equal(`${await fetched(url)}`, 'here');
});

test('it connects to a web server of Node', async (t) => {
  const { net, sockets } = await load(t);
  const body = randomBytes(BIG);
  const web = http.createServer((request, response) => {
    if (request.method === 'GET') response.end(body);
    else request.pipe(response);
  });
  web.listen(0, '127.0.0.1');
  t.after(() => web.close());
  await once(web, 'listening');
  const { port } = web.address();
  const ask = async (options, sent) => {
    // chrome-net drops unread data when the peer closes, so the peer must not close.
    const headers = { Connection: 'keep-alive' };
    const socket = net.connect(port, 'localhost');
    const request = http.request({ headers, ...options, createConnection: () => socket });
    request.end(sent);
    const [response] = await within('the answer', once(request, 'response'));
    const body = Buffer.concat(await within('its end', response.toArray()));
    socket.destroy();
    return body;
  };
  assert.ok(body.equals(await ask({})), 'in');
  assert.ok(body.equals(await ask({ method: 'POST' }, body)), 'out and in');
  assert.deepEqual(await within('the end of all sockets', untilEmpty(sockets.tcp)), []);
});

test('a failed connection is an error', async (t) => {
  const { net } = await load(t);
  const closed = nodesNet.createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port } = closed.address();
  closed.close();
  for (const [host, code] of [['127.0.0.1', 'ECONNREFUSED'], ['nowhere.invalid', 'ENOTFOUND']]) {
    const [error] = await within('the error', once(net.connect(port, host), 'error'));
    assert.equal(error.code, code);
  }
});

test('after its host is killed connections end, and a new server works', async (t) => {
  const { net, host } = await load(t);
  const { server, url } = await serving(net, (_, response) => response.write('and then nothing'));
  const client = nodesNet.connect(new URL(url).port, '127.0.0.1');
  client.on('error', () => {});
  const [accepted] = await within('the connection', once(server, 'connection'));
  accepted.on('error', () => {});
  const ended = [[accepted, 'close'], [server, 'error']].map(([of, event]) => new Promise((resolve) => of.once(event, resolve)));
  await host.kill();
  const [, error] = await within('the end', Promise.all(ended));
  assert.equal(error.syscall, 'accept');
  await startHost(t, '--listen', host.address);
  const again = await serving(net, (_, response) => response.end('again'));
  assert.equal(`${await fetched(again.url)}`, 'again');
});

async function untilEmpty(space) {
  for (;;) {
    const all = await space.getSockets();
    if (all.length === 0) return all;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
