// A web server inside the browser. Everything except the import would run in a Chrome App.

import './chrome-sockets/extension.mjs';

const ADDRESS = '127.0.0.1';
const PORT = 8080;

/** The longest head of a request, in bytes. */
const HEAD = 16 * 1024;

/** How long is waited before the port is asked for again, in milliseconds. */
const REST = 1000;

const { tcpServer, tcp } = chrome.sockets;

const started = new Date();
let requests = 0;
let server;

/** What each client has said that was not answered. */
const clients = new Map();

tcpServer.onAccept.addListener(({ clientSocketId }) => {
  clients.set(clientSocketId, '');
  tcp.setPaused(clientSocketId, false, ignore);
});

tcp.onReceive.addListener(({ socketId, data }) => {
  // One character per byte: HTTP heads are ASCII.
  let said = clients.get(socketId) + String.fromCharCode(...new Uint8Array(data));
  for (let end; clients.has(socketId) && (end = said.indexOf('\r\n\r\n')) >= 0; said = said.slice(end + 4)) {
    answer(socketId, said.slice(0, end));
  }
  if (!clients.has(socketId)) return;
  // The head is incomplete, and already too long.
  if (said.length > HEAD) answer(socketId, said);
  else clients.set(socketId, said);
});

// The client or the host is gone.
tcp.onReceiveError.addListener(({ socketId }) => close(socketId));

// The host is gone, or the machine is out of resources.
tcpServer.onAcceptError.addListener(() => {
  tcpServer.close(server, ignore);
  setTimeout(listen, REST);
});

listen();

function listen() {
  tcpServer.create(({ socketId } = {}) => {
    if (chrome.runtime.lastError) return setTimeout(listen, REST);
    server = socketId;
    tcpServer.listen(server, ADDRESS, PORT, (result) => {
      if (result === 0) return;
      console.warn(`${ADDRESS}:${PORT}: ${chrome.runtime.lastError.message}`);
      tcpServer.close(server, ignore);
      setTimeout(listen, REST);
    });
  });
}

function answer(client, head) {
  if (head.length > HEAD) return respond(client, { status: '431 Request Header Fields Too Large', isLast: true });
  const [request, ...fields] = head.toLowerCase().split('\r\n');
  const [method, path, version] = request.split(' ');
  const has = (start) => fields.some((field) => field.startsWith(start));
  requests += 1;
  if (!version || has('content-length:') || has('transfer-encoding:') || !['get', 'head'].includes(method)) {
    // The rest of the input may be anything, so the connection ends.
    return respond(client, { status: '400 Bad Request', text: 'There is only GET, without a body.\n', isLast: true });
  }
  const isLast = version !== 'http/1.1' || has('connection: close');
  const page = path === '/' ? { status: '200 OK', text: hello(), type: 'text/html' } : { status: '404 Not Found' };
  respond(client, { ...page, isLast, isHead: method === 'head' });
}

function hello() {
  return `<!doctype html>
<meta charset="utf-8">
<title>From inside the browser</title>
<h1>Hello from a service worker</h1>
<p>It runs in ${navigator.userAgent}
since ${started.toISOString()}, and this is request number ${requests}.
`;
}

function respond(client, { status, text = `${status}\n`, type = 'text/plain', isLast, isHead = false }) {
  const encoder = new TextEncoder();
  const head = [
    `HTTP/1.1 ${status}`,
    `Content-Type: ${type}; charset=utf-8`,
    `Content-Length: ${encoder.encode(text).length}`,
    `Connection: ${isLast ? 'close' : 'keep-alive'}`,
  ];
  if (isLast) clients.delete(client);
  // A client that sends requests without reading answers is not read.
  tcp.setPaused(client, true, ignore);
  tcp.send(client, encoder.encode(`${head.join('\r\n')}\r\n\r\n${isHead ? '' : text}`), ({ resultCode } = {}) => {
    if (isLast || chrome.runtime.lastError || resultCode < 0) close(client);
    else tcp.setPaused(client, false, ignore);
  });
}

function close(client) {
  clients.delete(client);
  tcp.close(client, ignore);
}

/** The client may be gone. */
function ignore() {
  return chrome.runtime.lastError;
}
