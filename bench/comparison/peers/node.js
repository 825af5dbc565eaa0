// The servers of node.rs, in idiomatic Node.
'use strict';

const net = require('node:net');

const [mode, listeners = '1'] = process.argv[1].split(':');
const MIB = 1024 * 1024;
const RECEIVED = Buffer.from('.');
const PAYLOAD = Buffer.from(Array.from({ length: MIB }, (_, i) => i & 255));
const all = new Set();

/** Writes; who sends faster than its peer reads is not read meanwhile. */
function write(socket, data) {
  if (!socket.write(data)) {
    socket.pause();
    socket.once('drain', () => socket.resume());
  }
}

const MODES = {
  echo(socket) {
    socket.on('data', (data) => write(socket, data));
  },
  receive(socket) {
    let received = 0;
    socket.on('data', (data) => {
      for (received += data.length; received >= MIB; received -= MIB) {
        write(socket, RECEIVED);
      }
    });
  },
  send(socket) {
    socket.on('data', (data) => {
      for (const _ of data) {
        write(socket, PAYLOAD);
      }
    });
  },
  accept(socket) {
    socket.destroy();
  },
  pause(socket) {
    socket.on('data', (data) => {
      socket.pause();
      socket.resume();
      write(socket, data);
    });
  },
  subscribers(socket) {
    let heard = 0;
    for (let i = 1; i < 8; i++) {
      socket.on('data', () => {
        heard++;
      });
    }
    socket.on('data', (data) => write(socket, data));
  },
  'fan-out'(socket) {
    all.add(socket);
    socket.on('close', () => all.delete(socket));
    socket.on('data', (data) => {
      for (const other of all) {
        other.write(data);
      }
    });
  },
};

function connection(socket) {
  socket.on('error', (error) => console.error(`node: ${error.message}`));
  MODES[mode](socket);
}

let open = 0;
let port;
const options = { noDelay: true, pauseOnConnect: mode === 'accept' };
for (let i = 0; i < Number(listeners); i++) {
  const server = net.createServer(options, connection);
  server.listen({ host: '0.0.0.0', port: 0, backlog: 4096 }, () => {
    port ??= server.address().port;
    open++;
    if (open === Number(listeners)) {
      console.log(port);
    }
  });
}

process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
