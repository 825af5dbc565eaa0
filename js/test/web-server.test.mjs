// examples/web_server in Node: curl, and requests that no good client makes.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { folder } from '../../examples/web_server/node.mjs';
import { serve } from '../../examples/web_server/server.mjs';
import { certificate, run } from './certificates.mjs';
import { client, startHost, within } from './host.mjs';

const DIGITS = '0123456789';
const MODIFIED = new Date('2020-02-03T04:05:06Z');

/** A folder to serve, in a folder with a secret. */
async function site(t) {
  const outside = await mkdtemp(join(tmpdir(), 'chrome-sockets-web-'));
  t.after(() => rm(outside, { recursive: true, force: true }));
  const root = join(outside, 'site');
  await mkdir(join(root, 'sub dir'), { recursive: true });
  await mkdir(join(root, 'list', 'inner'), { recursive: true });
  await Promise.all([
    writeFile(join(outside, 'secret.txt'), 'secret'),
    writeFile(join(root, 'index.html'), '<p>index'),
    writeFile(join(root, 'digits.txt'), DIGITS),
    writeFile(join(root, 'empty.bin'), ''),
    writeFile(join(root, '.hidden'), 'secret'),
    writeFile(join(root, 'sub dir', 'index.html'), '<p>sub'),
    writeFile(join(root, 'list', '<b>&"\'.txt'), 'odd'),
    writeFile(join(root, 'big.bin'), Buffer.alloc(5_000_000, 'chrome.sockets ')),
    symlink(join(outside, 'secret.txt'), join(root, 'link.txt')),
    symlink(outside, join(root, 'up')),
    symlink(join(root, 'digits.txt'), join(root, 'inside.txt')),
  ]);
  await utimes(join(root, 'digits.txt'), MODIFIED, MODIFIED);
  return root;
}

/** Serves it. `get(...)` runs curl and returns the head and the body. */
async function serving(t, options = {}) {
  const root = await site(t);
  const sockets = await client(t, await startHost(t));
  const log = [];
  const server = await serve({ sockets, runtime: sockets.runtime }, { files: await folder(root), log: (line) => log.push(line), ...options });
  const origin = `${options.tls ? 'https' : 'http'}://127.0.0.1:${server.port}`;
  const get = async (path, ...given) => {
    const { out, err, code } = await run('curl', ['-sS', '--include', '--noproxy', '*', '--path-as-is', ...given, `${origin}${path}`]);
    assert.equal(code, 0, err);
    const end = out.indexOf('\r\n\r\n');
    return { head: out.slice(0, end), body: out.slice(end + 4), status: Number(out.slice(9, 12)) };
  };
  return { root, server, sockets, get, log, port: server.port };
}

/** Sends bytes, and returns all that comes until the end. */
function raw(port, text, { end = false } = {}) {
  return within('the end of the connection', new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => (end ? socket.end(text) : socket.write(text)));
    let all = '';
    socket.setEncoding('latin1').on('data', (data) => { all += data; }).on('error', () => {}).on('close', () => resolve(all));
  }));
}

const field = (head, name) => new RegExp(`^${name}: (.*)$`, 'im').exec(head)?.[1].trim();

test('files, folders and lists', async (t) => {
  const { get } = await serving(t);
  const index = await get('/');
  assert.deepEqual([index.status, index.body, field(index.head, 'Content-Type')], [200, '<p>index', 'text/html; charset=utf-8']);
  const digits = await get('/digits.txt?query');
  assert.deepEqual([digits.status, digits.body, field(digits.head, 'Content-Length')], [200, DIGITS, '10']);
  assert.equal(field(digits.head, 'Last-Modified'), 'Mon, 03 Feb 2020 04:05:06 GMT');
  assert.equal(field(digits.head, 'X-Content-Type-Options'), 'nosniff');
  assert.equal((await get('/inside.txt')).body, DIGITS);
  assert.deepEqual((await get('/empty.bin')).body, '');
  assert.equal((await get('/big.bin')).body, 'chrome.sockets '.repeat(400_000).slice(0, 5_000_000));
  const moved = await get('/sub%20dir');
  assert.deepEqual([moved.status, field(moved.head, 'Location')], [301, '/sub%20dir/']);
  assert.equal((await get('/sub%20dir', '--location')).body.split('\r\n\r\n').at(-1), '<p>sub');
  const list = await get('/list/');
  assert.match(list.body, /<a href="\.\/inner\/">inner\/<\/a>/);
  assert.match(list.body, /<a href="\.\/%3Cb%3E%26%22'\.txt">&#60;b&#62;&#38;&#34;&#39;\.txt<\/a>/);
  assert.equal((await get("/list/%3Cb%3E%26%22'.txt")).body, 'odd');
  for (const path of ['/none', '/digits.txt/', '/none/', '/.hidden', '/list/none']) assert.equal((await get(path)).status, 404, path);
});

test('HEAD, OPTIONS and other methods', async (t) => {
  const { get } = await serving(t);
  const head = await get('/digits.txt', '--head');
  assert.deepEqual([head.status, field(head.head, 'Content-Length'), head.body], [200, '10', '']);
  assert.equal((await get('/none', '--head')).status, 404);
  const options = await get('/digits.txt', '--request', 'OPTIONS');
  assert.deepEqual([options.status, field(options.head, 'Allow')], [204, 'GET, HEAD, OPTIONS']);
  const post = await get('/digits.txt', '--data', 'a=b');
  assert.deepEqual([post.status, field(post.head, 'Allow'), field(post.head, 'Connection')], [405, 'GET, HEAD, OPTIONS', 'close']);
  assert.equal((await get('/digits.txt', '--request', 'DELETE')).status, 405);
});

test('ranges: 206 and 416', async (t) => {
  const { get } = await serving(t);
  for (const [range, part, first, last] of [
    ['0-0', '0', 0, 0], ['2-4', '234', 2, 4], ['5-', '56789', 5, 9], ['-3', '789', 7, 9], ['8-99', '89', 8, 9], ['-99', DIGITS, 0, 9],
  ]) {
    const { status, head, body } = await get('/digits.txt', '--range', range);
    assert.deepEqual([status, body, field(head, 'Content-Range'), field(head, 'Content-Length')], [206, part, `bytes ${first}-${last}/10`, `${part.length}`], range);
  }
  for (const range of ['10-', '10-20', '-0']) {
    const { status, head } = await get('/digits.txt', '--range', range);
    assert.deepEqual([status, field(head, 'Content-Range')], [416, 'bytes */10'], range);
  }
  assert.equal((await get('/empty.bin', '--range', '0-')).status, 416);
  // Several ranges, and what is none, get the whole file.
  for (const range of ['bytes=0-1,4-5', 'bytes=4-2', 'bytes=-', 'bytes=a-b', 'lines=1-2', 'bytes=1-2-3']) {
    const { status, body } = await get('/digits.txt', '--header', `Range: ${range}`);
    assert.deepEqual([status, body], [200, DIGITS], range);
  }
  assert.equal((await get('/digits.txt', '--range', '2-4', '--head')).status, 200);
  const big = await get('/big.bin', '--range', '1000001-4000000');
  assert.equal(big.body, 'chrome.sockets '.repeat(400_000).slice(1_000_001, 4_000_001));
});

test('conditional requests: 304, 412 and If-Range', async (t) => {
  const { get } = await serving(t);
  const tag = field((await get('/digits.txt')).head, 'ETag');
  const date = MODIFIED.toUTCString();
  const later = new Date(MODIFIED.getTime() + 1000).toUTCString();
  const earlier = new Date(MODIFIED.getTime() - 1000).toUTCString();
  for (const [status, ...headers] of [
    [304, `If-None-Match: ${tag}`],
    [304, `If-None-Match: "other", W/${tag}`],
    [304, 'If-None-Match: *'],
    [200, 'If-None-Match: "other"'],
    [304, `If-Modified-Since: ${date}`],
    [304, `If-Modified-Since: ${later}`],
    [200, `If-Modified-Since: ${earlier}`],
    [200, 'If-Modified-Since: nonsense'],
    [200, 'If-None-Match: "other"', `If-Modified-Since: ${later}`],
    [200, `If-Match: ${tag}`],
    [200, 'If-Match: *'],
    [412, 'If-Match: "other"'],
    [412, `If-Match: W/${tag}`],
    [200, `If-Unmodified-Since: ${date}`],
    [412, `If-Unmodified-Since: ${earlier}`],
    [206, 'Range: bytes=1-2', `If-Range: ${tag}`],
    [206, 'Range: bytes=1-2', `If-Range: ${date}`],
    [200, 'Range: bytes=1-2', 'If-Range: "other"'],
    [200, 'Range: bytes=1-2', `If-Range: ${later}`],
    [304, 'Range: bytes=1-2', `If-None-Match: ${tag}`],
  ]) {
    const { status: got, body, head } = await get('/digits.txt', ...headers.flatMap((header) => ['--header', header]));
    assert.equal(got, status, headers.join(', '));
    if (status === 304) assert.deepEqual([body, field(head, 'Content-Length'), field(head, 'ETag')], ['', undefined, tag]);
  }
});

test('no path leaves the folder', async (t) => {
  const { get, port } = await serving(t);
  for (const path of [
    '/../secret.txt', '/sub%20dir/../../secret.txt', '/%2e%2e/secret.txt', '/..%2fsecret.txt', '/%2e%2e%2fsecret.txt', '/..%5csecret.txt',
    '/sub%20dir/%2e%2e/%2e%2e/secret.txt', '/link.txt', '/up/secret.txt', '/up/', '/.hidden', '/%2ehidden', '/%00', '/digits.txt%00.html', '//../secret.txt',
    '/C:/secret.txt', '/./digits.txt', '/%', '/%zz', '/%ff',
  ]) {
    const { status, body } = await get(path);
    assert.ok([400, 403, 404].includes(status), `${path}: ${status}`);
    assert.ok(!body.includes('secret'), path);
  }
  assert.match(await raw(port, 'GET ../secret.txt HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 400/);
  assert.match(await raw(port, 'GET http://x/../secret.txt HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 403/);
});

test('keep-alive and pipelining', async (t) => {
  const { port, get } = await serving(t);
  const { out } = await run('curl', ['-sS', '--noproxy', '*', '--write-out', '%{num_connects} ', ...['digits.txt', 'none', 'digits.txt'].map((name) => `http://127.0.0.1:${port}/${name}`)]);
  assert.match(out, /^01234567891 404 Not Found\n0 01234567890 $/);
  // Three requests at once, cut at an odd place: the answers come in order.
  const request = (path, more = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
  const all = request('/big.bin', 'Range: bytes=0-999999\r\n') + request('/digits.txt') + request('/none', 'Connection: close\r\n') + request('/digits.txt');
  const answers = await within('the answers', new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.write(all.slice(0, 71));
      setImmediate(() => socket.write(all.slice(71)));
    });
    let text = '';
    socket.setEncoding('latin1').on('data', (data) => { text += data; }).on('close', () => resolve(text));
  }));
  assert.deepEqual(answers.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 206', 'HTTP/1.1 200', 'HTTP/1.1 404']);
  assert.ok(answers.indexOf(DIGITS) > 1_000_000);
  // HTTP/1.0 closes, unless it asks not to.
  assert.match(await raw(port, 'GET /digits.txt HTTP/1.0\r\n\r\n'), /Connection: close\r\n\r\n0123456789$/);
  assert.match(await raw(port, `GET /digits.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /digits.txt HTTP/1.0\r\n\r\n`), /keep-alive\r\n\r\n0123456789HTTP[^]*close\r\n\r\n0123456789$/);
  // Many requests, faster than they are answered.
  const many = await raw(port, request('/digits.txt').repeat(1500) + request('/', 'Connection: close\r\n'));
  assert.equal(many.split(DIGITS).length, 1501);
  assert.equal((await get('/digits.txt')).body, DIGITS);
});

test('requests that no good client makes', async (t) => {
  const { port, get } = await serving(t);
  const host = 'Host: x\r\n';
  for (const [status, text] of [
    [400, 'GET /\r\n\r\n'],
    [400, `GET  / HTTP/1.1\r\n${host}\r\n`],
    [400, `GET / HTTP/1.1 x\r\n${host}\r\n`],
    [400, `G(T / HTTP/1.1\r\n${host}\r\n`],
    [400, `GET / HTTP/1.1\r\n\r\n`],
    [400, `GET / HTTP/1.1\r\n${host}${host}\r\n`],
    [400, `GET / HTTP/1.1\r\n${host}Folded: a\r\n b\r\n\r\n`],
    [400, `GET / HTTP/1.1\r\n${host}Name : a\r\n\r\n`],
    [400, `GET / HTTP/1.1\r\n${host}: a\r\n\r\n`],
    [400, `GET / HTTP/1.1\r\n${host}A: \0\r\n\r\n`],
    [400, `GET /\xff HTTP/1.1\r\n${host}\r\n`],
    [400, `GET / HTTP/1.1\r\n${host}Content-Length: 5\r\n\r\nhello`],
    [400, `GET / HTTP/1.1\r\n${host}Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello`],
    [501, `GET / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    [405, `POST / HTTP/1.1\r\n${host}Content-Length: 5\r\n\r\nhello`],
    [505, `GET / HTTP/2.0\r\n${host}\r\n`],
    [400, 'PRI * HTTP/x\r\n\r\n'],
    [431, `GET / HTTP/1.1\r\n${host}Long: ${'x'.repeat(17_000)}\r\n\r\n`],
    [431, 'x'.repeat(100_000)],
  ]) {
    const answer = await raw(port, text);
    assert.ok(answer.startsWith(`HTTP/1.1 ${status} `) && answer.includes('\r\nConnection: close\r\n'), `${JSON.stringify(text.slice(0, 60))}: ${answer.slice(0, 60)}`);
    assert.equal(answer.match(/HTTP\/1\.1 /g).length, 1, 'nothing behind it is answered');
  }
  assert.equal((await get('/digits.txt')).body, DIGITS);
});

test('slow clients are closed, and too many get 503', async (t) => {
  const idleTimeout = 2000;
  const { port } = await serving(t, { idleTimeout, maxConnections: 8 });
  // One byte after another gains no time.
  await within('the end of a slow client', new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    const timer = setInterval(() => socket.write('x'), 20);
    socket.on('error', () => {}).on('close', () => resolve(clearInterval(timer)));
  }));
  let left = 8;
  const idle = Array.from({ length: left }, () => raw(port, 'GET / HTTP/1.1\r\n').then(() => { left -= 1; }));
  let refused = '';
  while (!refused.startsWith('HTTP/1.1 503')) {
    // The server counts a connection when it hears of it.
    assert.ok(left > 0, 'none was refused');
    refused = await raw(port, 'GET / HTTP/1.0\r\n\r\n');
  }
  await Promise.all(idle);
  assert.match(await raw(port, 'GET /digits.txt HTTP/1.0\r\n\r\n'), /0123456789$/);
  // A client that reads nothing is closed, and does not get all that it has asked for.
  const socket = net.connect(port, '127.0.0.1', () => socket.pause().write('GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(20)));
  let count = 0;
  await within('the end of a client that reads nothing', new Promise((resolve) => {
    socket.on('data', (data) => { count += data.length; }).on('error', () => {}).on('close', resolve);
    setTimeout(() => socket.resume(), 3 * idleTimeout);
  }));
  assert.ok(count < 50_000_000, `${count}`);
});

test('a file that becomes shorter ends the connection', async (t) => {
  const root = await site(t);
  const sockets = await client(t, await startHost(t));
  const source = await folder(root);
  const files = {
    async open(names) {
      const found = await source.open(names);
      return {
        ...found,
        async read(from, count) {
          if (from > 0) await truncate(join(root, 'big.bin'), 1000);
          return found.read(from, count);
        },
      };
    },
  };
  const server = await serve({ sockets, runtime: sockets.runtime }, { files });
  const { code } = await run('curl', ['-sS', '--noproxy', '*', '--output', '/dev/null', `http://127.0.0.1:${server.port}/big.bin`]);
  assert.ok([18, 56].includes(code), `curl noticed: ${code}`);
});

test('HTTPS by setTls', async (t) => {
  const made = certificate(t);
  const { get, port, server } = await serving(t, { tls: made.pem });
  const { body, head, status } = await get('/digits.txt', '--cacert', made.file, '--http1.1', '--range', '1-3');
  assert.deepEqual([status, body, field(head, 'Content-Range')], [206, '123', 'bytes 1-3/10']);
  assert.equal((await get('/big.bin', '--cacert', made.file)).body.length, 5_000_000);
  const refused = await run('curl', ['-sS', '--noproxy', '*', `https://127.0.0.1:${port}/`]);
  assert.equal(refused.code, 60, refused.err);
  assert.ok(!(await raw(port, 'GET / HTTP/1.0\r\n\r\n')).includes('HTTP/'), 'nothing is served in clear');
  server.close();
  assert.equal(await server.closed, 'closed');
});

test('a bad certificate, and a port in use, are errors', async (t) => {
  const { port, sockets, root } = await serving(t);
  const chrome = { sockets, runtime: sockets.runtime };
  const files = await folder(root);
  await assert.rejects(serve(chrome, { files, port }), /ERR_ADDRESS_IN_USE/);
  await assert.rejects(serve(chrome, { files, tls: { certificate: '', privateKey: '' } }), /there is no certificate/);
  assert.equal((await sockets.tcpServer.getSockets()).length, 1);
});

test('from the command line', async (t) => {
  const root = await site(t);
  const host = await startHost(t);
  const { file, key } = certificate(t);
  const program = fileURLToPath(new URL('../../examples/web_server/node.mjs', import.meta.url));
  const child = spawn(process.execPath, [program, '--host', host.url, '--port', '0', '--certificate', file, '--key', key, root], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const url = await within('its address', new Promise((resolve) => {
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (data) => {
      text += data;
      const found = /Serving at (https:\S+)\n/.exec(text);
      if (found) resolve(found[1]);
    });
  }));
  const { out } = await run('curl', ['-sS', '--noproxy', '*', '--cacert', file, `${url}digits.txt`]);
  assert.equal(out, DIGITS);
  // It ends with its host.
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await host.kill();
  assert.equal(await within('the end of the program', ended), 1);
});
