// The WebSocket class for Node against a simulated server.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import net from 'node:net';
import test from 'node:test';

import { NodeWebSocket } from '../node-websocket.mjs';
import { Inbox, within } from './host.mjs';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

test('pings of all lengths are answered with their payload', async (t) => {
  const answers = new Inbox();
  const server = net.createServer((socket) => {
    let handshake = '';
    const onData = (data) => {
      handshake += data;
      if (!handshake.endsWith('\r\n\r\n')) return;
      socket.off('data', onData);
      const [, key] = /sec-websocket-key: (.*)\r\n/i.exec(handshake);
      const accept = createHash('sha1').update(key + GUID).digest('base64');
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
      let whole = Buffer.alloc(0);
      socket.on('data', (chunk) => {
        whole = Buffer.concat([whole, chunk]);
        while (whole.length >= 6 && whole.length >= 6 + (whole[1] & 127)) {
          const [kind, length] = [whole[0], whole[1] & 127];
          const mask = whole.subarray(2, 6);
          answers.push([kind, whole.subarray(6, 6 + length).map((byte, index) => byte ^ mask[index % 4]).toString('latin1')]);
          whole = whole.subarray(6 + length);
        }
      });
      for (let length = 0; length < 126; length += 1) {
        socket.write(Buffer.concat([Buffer.from([0x89, length]), Buffer.alloc(length, 'ping')]));
      }
    };
    socket.on('data', onData);
  }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await within('the server', new Promise((resolve) => server.once('listening', resolve)));
  const socket = new NodeWebSocket(`ws://127.0.0.1:${server.address().port}/`);
  t.after(() => socket.close());
  for (let length = 0; length < 126; length += 1) {
    assert.deepEqual(await answers.next(`the answer to a ping of ${length} bytes`), [0x8a, Buffer.alloc(length, 'ping').toString('latin1')]);
  }
});
