// tcpServer.setTls, beyond Chrome: TLS server sockets from JavaScript, with openssl and curl as peers.

import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';

import { certificate, run } from './certificates.mjs';
import { ALL_PERMISSIONS, Inbox, client, startHost, within } from './host.mjs';

const listen = (tcpServer, id) => new Promise((resolve) => tcpServer.listen(id, '127.0.0.1', 0, resolve));

/** A server that answers the first bytes of each client with "pong" and closes. `events` has what it received. */
async function serving(t) {
  const host = await startHost(t);
  const sockets = await client(t, host);
  const { tcpServer, tcp } = sockets;
  const received = new Inbox();
  tcpServer.onAccept.addListener(({ clientSocketId }) => tcp.setPaused(clientSocketId, false));
  tcp.onReceive.addListener(({ socketId, data }) => {
    received.push(new TextDecoder().decode(data));
    tcp.send(socketId, new TextEncoder().encode('pong\n'), () => tcp.close(socketId));
  });
  const { socketId } = await tcpServer.create();
  return { host, sockets, socketId, received, tcpServer };
}

async function port({ tcpServer, socketId }) {
  assert.equal(await listen(tcpServer, socketId), 0);
  return (await tcpServer.getInfo(socketId)).localPort;
}

const sClient = (at, ...given) => run('openssl', ['s_client', '-connect', `127.0.0.1:${at}`, '-quiet', '-verify_quiet', '-ign_eof', ...given], 'ping\n');

/** What a plain client receives for "ping". */
function plain(at) {
  return within('the end of a plain client', new Promise((resolve) => {
    const socket = net.connect(at, '127.0.0.1', () => socket.write('ping\n'));
    let text = '';
    socket.on('data', (data) => { text += data; }).on('error', () => {}).on('close', () => resolve(text));
  }));
}

test('setTls encrypts what is accepted from then on, and null takes it away', async (t) => {
  const { pem, file } = certificate(t);
  const server = await serving(t);
  const { tcpServer, socketId, received } = server;
  assert.equal(await tcpServer.setTls(socketId, pem), undefined);
  const at = await port(server);
  const verified = ['-CAfile', file, '-verify_return_error', '-verify_hostname', 'localhost'];
  assert.equal((await sClient(at, ...verified, '-tls1_3')).out, 'pong\n');
  assert.equal((await sClient(at, ...verified, '-tls1_2')).out, 'pong\n');
  assert.equal(await received.next('ping'), 'ping\n');
  assert.equal(await received.next('ping'), 'ping\n');
  // A connection that was accepted before stays encrypted.
  const other = certificate(t, 'other.example');
  await tcpServer.setTls(socketId, other.pem);
  assert.match((await sClient(at, '-CAfile', file, '-verify_return_error')).err, /verif/);
  assert.equal((await sClient(at, '-CAfile', other.file, '-verify_return_error')).out, 'pong\n');
  // Null, with a callback. The setting holds without listening again, and survives `disconnect`.
  await new Promise((resolve) => tcpServer.setTls(socketId, null, resolve));
  assert.equal(await plain(at), 'pong\n');
  await tcpServer.disconnect(socketId);
  await tcpServer.setTls(socketId, pem);
  assert.equal((await sClient(await port(server), ...verified)).out, 'pong\n');
});

test('ALPN: the first protocol that both speak', async (t) => {
  const { pem } = certificate(t);
  const server = await serving(t);
  await server.tcpServer.setTls(server.socketId, { ...pem, alpn: ['acme/1', 'http/1.1'] });
  const at = await port(server);
  const chosen = async (...given) => (await run('openssl', ['s_client', '-connect', `127.0.0.1:${at}`, ...given], '')).out;
  assert.match(await chosen('-alpn', 'http/1.1,acme/1'), /ALPN protocol: acme\/1/);
  assert.match(await chosen('-alpn', 'http/1.1'), /ALPN protocol: http\/1\.1/);
  assert.match(await chosen(), /No ALPN negotiated/);
  // A client without a common protocol fails.
  assert.match((await run('openssl', ['s_client', '-connect', `127.0.0.1:${at}`, '-alpn', 'h2'], '')).err, /no application protocol/);
});

test('a certificate or key that cannot be used is an error with the reason, and changes nothing', async (t) => {
  const { pem } = certificate(t);
  const other = certificate(t).pem;
  const server = await serving(t);
  const { tcpServer, socketId, sockets } = server;
  await tcpServer.setTls(socketId, pem);
  const at = await port(server);
  const oneLine = pem.privateKey.replaceAll('\n', '');
  const secret = pem.privateKey.split('\n')[1];
  for (const [wrong, text] of [
    [{ ...pem, certificate: 'no PEM' }, /^Invalid certificate or key: there is no certificate/],
    [{ ...pem, certificate: pem.privateKey }, /there is no certificate/],
    [{ ...pem, certificate: pem.certificate.replace('MII', '!!!') }, /the certificates cannot be read/],
    [{ ...pem, privateKey: '' }, /there is no private key/],
    [{ ...pem, privateKey: pem.certificate }, /there is no private key/],
    [{ ...pem, privateKey: oneLine }, /the private key cannot be read/],
    [{ ...pem, privateKey: pem.privateKey.replace(/-----END.*/, '') }, /the private key cannot be read/],
    [{ ...pem, privateKey: other.privateKey }, /certificate and key cannot be used/],
    [{ ...pem, certificate: pem.certificate.padEnd(64 * 1024 + 1) }, /^Invalid call: tcpServer.setTls takes at most 65536 bytes/],
    [{ ...pem, privateKey: pem.privateKey.padEnd(16 * 1024 + 1) }, /^Invalid call: tcpServer.setTls takes at most 16384 bytes/],
    [{ ...pem, alpn: [''] }, /^Invalid call: .* names of 1 to 255 bytes/],
    [{ ...pem, alpn: ['x'.repeat(256)] }, /^Invalid call: .* names of 1 to 255 bytes/],
    [{ ...pem, alpn: Array(17).fill('x'.repeat(255)) }, /^Invalid call: .* at most 4096 bytes/],
  ]) {
    await assert.rejects(tcpServer.setTls(socketId, wrong), ({ message }) => {
      assert.match(message, text);
      assert.ok(!message.includes(secret) && !message.includes([...Buffer.from(secret.slice(0, 8))].join(', ')), 'the error quotes the key');
      return true;
    });
  }
  // The largest that is allowed.
  await tcpServer.setTls(socketId, { certificate: pem.certificate.padEnd(64 * 1024), privateKey: pem.privateKey.padEnd(16 * 1024), alpn: Array(16).fill('x'.repeat(255)) });
  await tcpServer.setTls(socketId, pem);
  await assert.rejects(tcpServer.setTls(99, pem), new Error('Socket not found'));
  const lastError = await new Promise((resolve) => {
    tcpServer.setTls(socketId, { ...pem, privateKey: '' }, () => resolve(sockets.runtime.lastError));
  });
  assert.match(lastError.message, /there is no private key/);
  assert.equal((await sClient(at)).out, 'pong\n');
});

test('a failed handshake is reported and logged, and the server goes on', async (t) => {
  const { pem, file } = certificate(t);
  const server = await serving(t);
  const { tcpServer, socketId, host } = server;
  await tcpServer.setTls(socketId, pem);
  const at = await port(server);
  // Without a listener the host logs the reason.
  const line = host.logged(/TLS handshake/);
  await plain(at);
  assert.match(await within('a line of the log', line), /app test: server socket 1: TLS handshake with 127\.0\.0\.1:\d+: net::ERR_SSL_PROTOCOL_ERROR/);
  const errors = new Inbox();
  tcpServer.onHandshakeError.addListener(errors.push);
  // After an answer the host knows of the listener.
  await tcpServer.getInfo(socketId);
  await plain(at);
  const { peerPort, ...error } = await errors.next('onHandshakeError');
  assert.deepEqual(error, { socketId, resultCode: -107, peerAddress: '127.0.0.1', missed: 0 });
  assert.ok(peerPort > 0);
  // The peer refuses the certificate.
  const strict = await run('openssl', ['s_client', '-connect', `127.0.0.1:${at}`, '-verify_return_error', '-tls1_2'], '');
  assert.notEqual(strict.code, 0);
  assert.equal((await errors.next('onHandshakeError')).resultCode, -117);
  assert.equal((await sClient(at, '-CAfile', file, '-verify_return_error')).out, 'pong\n');
});

test('more failed handshakes than are reported at once are counted', async (t) => {
  const { pem } = certificate(t);
  const server = await serving(t);
  const { tcpServer, socketId } = server;
  await tcpServer.setTls(socketId, pem);
  const at = await port(server);
  let count = 0;
  const all = new Promise((resolve) => {
    tcpServer.onHandshakeError.addListener(({ missed }) => {
      count += 1 + missed;
      if (count === 300) resolve();
    });
  });
  await tcpServer.getInfo(socketId);
  for (let round = 0; round < 6; round += 1) await Promise.all(Array.from({ length: 50 }, () => plain(at)));
  await within('300 failures', all);
  assert.equal((await sClient(at)).out, 'pong\n');
});

test('a persistent server socket keeps its TLS for the next client', async (t) => {
  const { pem, file } = certificate(t);
  const host = await startHost(t);
  const first = await client(t, host);
  const { socketId } = await first.tcpServer.create({ persistent: true });
  await first.tcpServer.setTls(socketId, pem);
  const at = await port({ tcpServer: first.tcpServer, socketId });
  first.host.close();
  const { tcpServer, tcp } = await client(t, host);
  assert.deepEqual((await tcpServer.getSockets()).map((info) => info.localPort), [at]);
  tcpServer.onAccept.addListener(({ clientSocketId }) => tcp.setPaused(clientSocketId, false));
  tcp.onReceive.addListener(({ socketId: id }) => tcp.send(id, new TextEncoder().encode('again\n'), () => tcp.close(id)));
  assert.equal((await sClient(at, '-CAfile', file, '-verify_return_error')).out, 'again\n');
});

test('curl gets a page by HTTPS', async (t) => {
  const { pem, file } = certificate(t);
  const host = await startHost(t);
  const { tcpServer, tcp } = await client(t, host, { manifest: ALL_PERMISSIONS });
  const { socketId } = await tcpServer.create();
  await tcpServer.setTls(socketId, { ...pem, alpn: ['http/1.1'] });
  const at = await port({ tcpServer, socketId });
  tcpServer.onAccept.addListener(({ clientSocketId }) => tcp.setPaused(clientSocketId, false));
  tcp.onReceive.addListener(({ socketId: id }) => {
    tcp.send(id, new TextEncoder().encode('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'), () => {});
  });
  const { out, err } = await run('curl', ['-sS', '--noproxy', '*', '--cacert', file, `https://localhost:${at}/`, '--resolve', `localhost:${at}:127.0.0.1`]);
  assert.equal(out, 'hello', err);
});
