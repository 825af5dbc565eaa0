// A web server in a service worker. Apart from the import it would run in a Chrome App.

import './chrome-sockets/extension.mjs';

const ADDRESS = '127.0.0.1';
const PORT = 8080;

/** The most bytes of a request's head. */
const MAX_HEAD = 16 * 1024;

/** The time between two attempts to listen, in milliseconds. */
const RETRY_DELAY = 1000;

const { tcpServer, tcp } = chrome.sockets;

const started = new Date();
let requests = 0;
let server;

/** The unanswered input of each client. */
const clients = new Map();

tcpServer.onAccept.addListener(({ clientSocketId }) => {
  clients.set(clientSocketId, '');
  tcp.setPaused(clientSocketId, false, ignore);
});

tcp.onReceive.addListener(({ socketId, data }) => {
  // Heads are ASCII, so each byte is a character.
  let input = clients.get(socketId) + String.fromCharCode(...new Uint8Array(data));
  for (let end; clients.has(socketId) && (end = input.indexOf('\r\n\r\n')) >= 0; input = input.slice(end + 4)) {
    answer(socketId, input.slice(0, end));
  }
  if (!clients.has(socketId)) return;
  // An incomplete head that is already too long gets its error now.
  if (input.length > MAX_HEAD) answer(socketId, input);
  else clients.set(socketId, input);
});

// The client or the host has disconnected.
tcp.onReceiveError.addListener(({ socketId }) => close(socketId));

// The host has disconnected, or the OS has run out of a resource.
tcpServer.onAcceptError.addListener(() => {
  tcpServer.close(server, ignore);
  setTimeout(listen, RETRY_DELAY);
});

listen();

function listen() {
  tcpServer.create(({ socketId } = {}) => {
    if (chrome.runtime.lastError) return setTimeout(listen, RETRY_DELAY);
    server = socketId;
    tcpServer.listen(server, ADDRESS, PORT, (result) => {
      if (result === 0) return;
      console.warn(`${ADDRESS}:${PORT}: ${chrome.runtime.lastError.message}`);
      tcpServer.close(server, ignore);
      setTimeout(listen, RETRY_DELAY);
    });
  });
}

function answer(client, head) {
  if (head.length > MAX_HEAD) return respond(client, { status: '431 Request Header Fields Too Large', isLast: true });
  const [request, ...fields] = head.toLowerCase().split('\r\n');
  const [method, path, version] = request.split(' ');
  const has = (start) => fields.some((field) => field.startsWith(start));
  requests += 1;
  if (!version || has('content-length:') || has('transfer-encoding:') || !['get', 'head'].includes(method)) {
    // The start of the next request is unknown.
    return respond(client, { status: '400 Bad Request', text: 'Only GET and HEAD without a body are supported.\n', isLast: true });
  }
  const isLast = version !== 'http/1.1' || has('connection: close');
  const page = path === '/' ? { status: '200 OK', text: hello(), type: 'text/html' } : { status: '404 Not Found' };
  respond(client, { ...page, isLast, isHead: method === 'head' });
}

function hello() {
  return `<!doctype html>
<meta charset="utf-8">
<title>From a service worker</title>
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
  // Does not read further requests until the client has received this response.
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

/** Ignores errors: the socket may be closed already. Reading lastError keeps Chrome from logging it. */
function ignore() {
  return chrome.runtime.lastError;
}
