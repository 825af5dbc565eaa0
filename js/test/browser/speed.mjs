// Compares the speed of Chromium's own chrome.sockets and ours in one browser. After `cargo build --release -p
// chrome-sockets-host` and `npm ci`, run `node speed.mjs [ROUNDS]`. It prints a Markdown table; a round takes half a minute.

import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../../../target', import.meta.url));
process.env.CHROME_SOCKETS_HOST ??= join(target, 'release/chrome-sockets');
const { ALL_PERMISSIONS, startHost, within } = await import('../host.mjs');
const { makeExtension, servePages, startBrowser } = await import('./browser.mjs');

const KIB = 1024;
const MIB = 1024 * KIB;

/** The time for which short operations are repeated, in milliseconds. */
const REPEAT_TIME = 1000;

/** The longest time for one measurement. */
const LIMIT = 120_000;

const MEASURED = [
  { name: 'round trips/s', server: 'echo', client: (port) => roundTrips(port) },
  { name: 'connect + echo + close/s', server: 'echo', client: (port) => connects(port) },
  ...[['default buffer', undefined], ['`bufferSize` 64 KiB', 64 * KIB]].map(([which, bufferSize]) => ({
    name: `MiB/s in, ${which}`,
    server: 'receive',
    options: { bufferSize, size: 32 * MIB },
    client: (port) => pour(port, 32 * MIB),
  })),
  ...[4, 64].map((chunk) => ({
    name: `MiB/s out, sends of ${chunk} KiB`,
    server: 'send',
    options: { size: 32 * MIB, chunk: chunk * KIB },
    client: (port) => drain(port, 32 * MIB),
  })),
  ...[1, 64].map((inFlight) => ({
    name: `datagrams echoed/s, ${inFlight} in flight`,
    server: 'datagrams',
    client: (port) => exchange(port, inFlight),
  })),
];

/** A connection that counts received bytes. */
class Peer {
  #received = 0;
  #wanted = 0;
  #has;
  #failed;

  constructor(socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      this.#received += chunk.length;
      if (this.#received >= this.#wanted) this.#has?.();
    });
    socket.on('close', () => this.#failed?.(new Error('the connection has ended')));
  }

  static async to(port) {
    const socket = net.connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new Peer(socket);
  }

  /** Waits until this many bytes were received in total. */
  async has(count) {
    if (this.#received >= count) return;
    this.#wanted = count;
    await new Promise((resolve, reject) => {
      this.#has = resolve;
      this.#failed = reject;
    });
  }
}

async function repeat(act) {
  const start = performance.now();
  let count = 0;
  while (performance.now() - start < REPEAT_TIME) {
    await act();
    count += 1;
  }
  return (count * 1000) / (performance.now() - start);
}

async function roundTrips(port) {
  const peer = await Peer.to(port);
  const message = Buffer.alloc(64, 'x');
  let sent = 0;
  const rate = await repeat(() => {
    peer.socket.write(message);
    sent += message.length;
    return peer.has(sent);
  });
  peer.socket.destroy();
  return rate;
}

function connects(port) {
  const message = Buffer.alloc(64, 'x');
  return repeat(async () => {
    const peer = await Peer.to(port);
    peer.socket.write(message);
    await peer.has(message.length);
    peer.socket.end();
    await once(peer.socket, 'close');
  });
}

async function timed(size, act) {
  const start = performance.now();
  await act();
  return (size / MIB) * (1000 / (performance.now() - start));
}

async function pour(port, size) {
  const peer = await Peer.to(port);
  const rate = await timed(size, async () => {
    const chunk = Buffer.alloc(256 * KIB, 'x');
    for (let left = size; left > 0; left -= chunk.length) {
      if (!peer.socket.write(chunk)) await once(peer.socket, 'drain');
    }
    await peer.has(1);
  });
  peer.socket.destroy();
  return rate;
}

async function drain(port, size) {
  const peer = await Peer.to(port);
  const rate = await timed(size, async () => {
    peer.socket.write('x');
    await peer.has(size);
  });
  peer.socket.destroy();
  return rate;
}

/** Datagrams of 64 bytes, each of which is followed by another when it comes back. Few wait at a time, so none is lost. */
async function exchange(port, inFlight) {
  const socket = dgram.createSocket('udp4');
  const message = Buffer.alloc(64, 'x');
  const start = performance.now();
  let count = 0;
  let waiting = inFlight;
  // All come back before the socket is closed: Chromium's own worker does not survive answers to a closed port.
  const over = new Promise((resolve) => {
    socket.on('message', () => {
      count += 1;
      if (performance.now() - start < REPEAT_TIME) socket.send(message, port, '127.0.0.1');
      else if ((waiting -= 1) === 0) resolve();
    });
  });
  for (let sent = 0; sent < inFlight; sent += 1) socket.send(message, port, '127.0.0.1');
  await over;
  const rate = (count * 1000) / (performance.now() - start);
  socket.close();
  return rate;
}

async function measure(place, { name, server, options = {}, client }) {
  const port = await place.evaluate(`start(sockets, ${JSON.stringify(server)}, ${JSON.stringify(options)})`);
  const rate = await within(`the end of ${name}`, client(port), LIMIT);
  await place.evaluate('stop()');
  return rate;
}

const median = (values) => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/**
 * Stops Playwright from observing WebSocket messages, which costs more than the messages. Playwright has no setting for it, so
 * this uses its internals.
 */
function unwatched(place) {
  const inside = place._connection.toImpl(place);
  return (inside.delegate?._mainFrameSession._client ?? inside._session).send('Network.disable');
}

/** Cleans up like a test. */
const undo = [];
const run = { after: (act) => undo.push(act) };

try {
  const rounds = Number(process.argv[2] ?? 9);
  const only = process.argv[3];
  const measured = MEASURED.filter(({ name }) => !only || name.includes(only));
  const origin = await servePages(run);
  const host = await startHost(run, '--origin', origin);
  const real = await makeExtension(run, 'test/browser/speed-worker.mjs', ALL_PERMISSIONS);
  const ours = await makeExtension(run, 'test/browser/speed-worker.mjs', ALL_PERMISSIONS);
  const browser = await startBrowser(run, { extensions: [real, ours], real });
  const page = await browser.page(origin);
  await page.addScriptTag({ type: 'module', url: '/test/browser/speed-page.mjs' });
  await page.evaluate(`connectTo(${JSON.stringify(host.url)}, ${JSON.stringify(ALL_PERMISSIONS)})`);
  const places = [
    ["Chromium's own", await browser.worker(real)],
    ['native messaging', await browser.worker(ours)],
    ['WebSocket', page],
  ];
  await Promise.all(places.map(([, place]) => unwatched(place)));
  const rates = measured.map(() => places.map(() => []));
  // The first round is a warm-up. Each round starts with another place.
  for (let round = 0; round <= rounds; round += 1) {
    for (const [row, what] of measured.entries()) {
      for (let turn = 0; turn < places.length; turn += 1) {
        const column = (turn + round) % places.length;
        const rate = await measure(places[column][1], what);
        if (round > 0) rates[row][column].push(rate);
      }
    }
    console.error(`round ${round} of ${rounds}`);
  }
  const version = await page.evaluate('navigator.userAgentData?.brands.at(-1)?.version ?? navigator.userAgent');
  console.log(`Medians of ${rounds} rounds, and of the ratios to Chromium's own in each; Chromium ${version}, headless.\n`);
  console.log(`| | ${places.map(([name]) => name).join(' | ')} |`);
  console.log(`|---|${places.map(() => '---|').join('')}`);
  for (const [row, { name }] of measured.entries()) {
    const [own, ...both] = rates[row];
    const digits = (value) => (value < 100 ? value.toFixed(1) : value.toFixed(0));
    const cells = both.map((column) => {
      const ratio = median(column.map((rate, round) => rate / own[round]));
      return `${digits(median(column))} (${ratio.toFixed(2)} ×)`;
    });
    console.log(`| ${name} | ${[digits(median(own)), ...cells].join(' | ')} |`);
  }
} finally {
  for (const act of undo.reverse()) await act();
}
