// A web server on chrome.sockets for the trial in README.md: it answers each request with its name, the address of the
// client, the method, the path and the body. When its host has restarted, it listens again.
//
//     node app.mjs NAME GATEWAY ADDRESS:PORT      node app.mjs one ws://127.0.0.1:8787 127.0.0.1:7007

// In an app of your own: from 'chrome-sockets'.
import { connect } from '../../js/index.mjs';

const [name, gateway, listen] = process.argv.slice(2);
const [, address, port] = /^(.*):(\d+)$/.exec(listen ?? '') ?? [];
if (!port) throw new Error('usage: app.mjs NAME GATEWAY ADDRESS:PORT');

/** The most bytes of a request. */
const MAX_REQUEST = 64 * 1024;

/** The time between two attempts to listen, in milliseconds. */
const RETRY_DELAY = 100;

const { tcpServer, tcp, host } = await connect(gateway, {
  app: name,
  token: process.env.CHROME_SOCKETS_TOKEN,
  // Only a host with --dev accepts it. In production the host has the manifest.
  manifest: process.env.MANIFEST && JSON.parse(process.env.MANIFEST),
});

/** The address and the unanswered input of each client. */
const clients = new Map();

tcpServer.onAccept.addListener(async ({ clientSocketId }) => {
  try {
    // With PROXY headers it is not the balancer's.
    const { peerAddress } = await tcp.getInfo(clientSocketId);
    clients.set(clientSocketId, { peerAddress, input: Buffer.alloc(0) });
    await tcp.setPaused(clientSocketId, false);
  } catch {
    // The host has gone.
    close(clientSocketId);
  }
});

tcp.onReceive.addListener(({ socketId, data }) => {
  const client = clients.get(socketId);
  client.input = Buffer.concat([client.input, Buffer.from(data)]);
  for (let request; clients.has(socketId) && (request = parse(client.input)); ) {
    client.input = client.input.subarray(request.length);
    answer(socketId, client, request);
  }
  if (client.input.length > MAX_REQUEST) close(socketId);
});

tcp.onReceiveError.addListener(({ socketId }) => close(socketId));

// The host has gone, or the OS has run out of a resource.
tcpServer.onAcceptError.addListener(({ socketId }) => {
  tcpServer.close(socketId).catch(() => {});
  start();
});

host.onDisconnect.addListener(() => clients.clear());

await start();

/** Listens. Calls wait until the client has connected to the host again. */
async function start() {
  for (;;) {
    try {
      const { socketId } = await tcpServer.create();
      const result = await new Promise((resolve) => tcpServer.listen(socketId, address, Number(port), resolve));
      if (result === 0) break;
      console.error(`${listen}: ${result}`);
      await tcpServer.close(socketId);
    } catch (error) {
      console.error(`${listen}: ${error.message}`);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY));
  }
  console.log(`${name} listens on ${listen}`);
}

/** The first complete request; undefined if there is none. */
function parse(input) {
  const end = input.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [first, ...fields] = input.toString('latin1', 0, end).split('\r\n');
  const [method, path] = first.split(' ');
  const field = (key) => fields.find((it) => it.toLowerCase().startsWith(`${key}:`))?.slice(key.length + 1).trim();
  const length = end + 4 + Number(field('content-length') ?? 0);
  if (!(length <= input.length)) return undefined;
  const isLast = field('connection')?.toLowerCase() === 'close';
  return { method, path, body: input.subarray(end + 4, length), length, isLast };
}

function answer(socketId, { peerAddress }, { method, path, body, isLast }) {
  const text = Buffer.concat([Buffer.from(`${name} ${peerAddress} ${method} ${path} `), body]);
  const head = `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\nConnection: ${isLast ? 'close' : 'keep-alive'}\r\n\r\n`;
  tcp.send(socketId, Buffer.concat([Buffer.from(head), text]), () => {});
  // What was sent before is delivered.
  if (isLast) close(socketId);
}

function close(socketId) {
  clients.delete(socketId);
  tcp.close(socketId).catch(() => {});
}
