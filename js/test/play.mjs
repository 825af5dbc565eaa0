// Replays the recordings of a real Chromium (tests/it/chrome_traces) on any chrome.sockets. The Rust tests replay them on
// the crate by the same rules.

/** The longest wait for an expected result, in milliseconds. */
const TIMEOUT = 10_000;

const QUIET_STEP = 5;

const IN_USE = 'net::ERR_ADDRESS_IN_USE';

const EVENTS = [
  'tcpServer.onAccept', 'tcpServer.onAcceptError', 'tcp.onReceive', 'tcp.onReceiveError', 'udp.onReceive', 'udp.onReceiveError',
];

/** The kind of the ids of each namespace. */
const IDS = { tcpServer: 'server', tcp: 'client', udp: 'udp' };

/** The expected result of a step: the recorded one, or for other implementations the documented one where it differs. */
export const expected = (step, isChromium) => (isChromium ? undefined : step.documented) ?? step.chrome;

/** Whether a result is the expected one. A recording may have only the length of what a peer received. */
export function agrees(wanted, result) {
  if (typeof wanted?.got !== 'object' || typeof result?.got !== 'string') return same(wanted, result);
  return same(wanted, { ...result, got: { length: result.got.length } });
}

/**
 * Replays a recording, and returns the results of its steps. If a step throws, the last result is `{ failed }`. `peers` are
 * the peers of the sockets.
 */
export async function play({ steps, chunks = false }, { sockets, runtime }, peers, isChromium = false) {
  const names = new Names();
  const events = [];
  const listeners = new Map(EVENTS.map((event) => [event, (info) => events.push({ event, info })]));
  const target = (event) => event.split('.').reduce((from, key) => from[key], sockets);
  /** Listens for exactly these events. */
  const listen = (wanted) => {
    const unknown = wanted.filter((event) => !listeners.has(event));
    if (unknown.length > 0) throw new Error(`unknown events: ${unknown}`);
    for (const [event, listener] of listeners) {
      if (wanted.includes(event)) target(event).addListener(listener);
      else target(event).removeListener(listener);
    }
  };
  listen(EVENTS);
  const results = [];
  try {
    const context = { sockets, runtime, names, events, peers, isChromium, listen, chunks, unanswered: [] };
    for (const step of steps) results.push(await run(step, context));
  } catch (error) {
    results.push({ failed: error.message });
  } finally {
    listen([]);
  }
  return results;
}

function run(step, context) {
  if (step.call) return call(step, context);
  if (step.peer) return peer(step, context);
  if (step.settle !== undefined) return collectEvents(step, context);
  if (step.listeners) return context.listen(step.listeners);
  if (step.finish !== undefined) return Promise.all(context.unanswered.splice(0));
  throw new Error(`unknown step: ${JSON.stringify(step)}`);
}

/** Makes a call. Repeats while a fixed port is in use unexpectedly: another place may replay the same recording now. */
async function call(step, context) {
  const wanted = expected(step, context.isChromium);
  const answer = retry(() => answered(step, context), (result) => result.lastError !== IN_USE || same(wanted, result));
  if (!step.nowait) return answer;
  context.unanswered.push(answer);
  return undefined;
}

async function answered({ call, args, bind }, { sockets, runtime, names }) {
  const [space, name] = call.split('.');
  const given = args.map((value) => (isData(value) ? toBytes(value) : names.resolve(value)));
  const answer = await new Promise((resolve) => {
    sockets[space][name](...given, (...result) => {
      const { lastError } = runtime;
      resolve({ result, ...(lastError && { lastError: lastError.message }) });
    });
  });
  const ids = IDS[space];
  for (const [bound, field] of Object.entries(bind ?? {})) names.bindField(bound, field, ids, answer.result[0]);
  return names.show(ids, answer);
}

async function peer(step, { names, peers, isChromium }) {
  const { peer, as, port, data, bind, echo } = step;
  switch (peer) {
    case 'connect': return connect(as, names.resolve(port), peers, isChromium && step.chrome);
    case 'listen': return names.bind('port', bind, await peers.listen(as, echo));
    case 'send': return peers.send(as, toBytes(data));
    case 'end': return peers.endOne(as);
    case 'reset': return peers.reset(as);
    case 'state': return state(as, peers, expected(step, isChromium));
    case 'udp': return names.bind('port', bind, await peers.bindUdp(as));
    case 'datagram': return peers.sendDatagram(as, names.resolve(port), toBytes(data));
    case 'datagrams': return datagrams(as, peers, names, expected(step, isChromium));
    default: throw new Error(`unknown action of a peer: ${peer}`);
  }
}

/** Connects. Repeats while a port is still open: Chromium's network service closes it some time after the answer to `disconnect`. */
const connect = (as, port, peers, wanted) =>
  retry(async () => ({ state: await peers.connect(as, port) }), (result) => wanted?.state !== 'ECONNREFUSED' || result.state !== 'open');

/** The state of a peer. Repeats while it is still open and not as expected. */
const state = (as, peers, wanted) => retry(() => peers.state(as), (result) => agrees(wanted, result) || result.state !== 'open');

/** The datagrams that a peer has received since the last time. Repeats while they are fewer than expected. */
async function datagrams(as, peers, names, wanted) {
  const received = [];
  await retry(async () => received.push(...await peers.datagrams(as)), (count) => count >= wanted.length);
  return names.show('udp', received);
}

/** Repeats a request until its result is good or the time is over. */
async function retry(request, isGood) {
  const start = Date.now();
  for (;;) {
    const result = await request();
    if (isGood(result) || Date.now() - start >= TIMEOUT) return result;
    await new Promise((resolve) => setTimeout(resolve, QUIET_STEP));
  }
}

/** Collects the events since the last time, for the recorded time, or longer while expected ones are missing. */
async function collectEvents(step, { names, events: received, isChromium, chunks }) {
  const wanted = expected(step, isChromium);
  const start = Date.now();
  const events = [];
  for (;;) {
    while (received.length > 0) add(events, received.shift(), names, chunks);
    const isAll = same(events, wanted);
    if (Date.now() - start >= (isAll ? step.settle : TIMEOUT)) return events;
    await new Promise((resolve) => setTimeout(resolve, QUIET_STEP));
  }
}

const sorted = (value) => value !== undefined && JSON.parse(JSON.stringify(value), (_, inner) =>
  inner && typeof inner === 'object' && !Array.isArray(inner)
    ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
    : inner);

const same = (one, other) => JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));

/** Adds an event. Joins data to that of the event before it if both are of one socket, because TCP may split data anywhere. */
function add(events, { event, info }, names, chunks) {
  if (event === 'tcpServer.onAccept') names.bindAccepted(info.clientSocketId);
  const ids = IDS[event.split('.')[0]];
  const shown = names.show(ids, { ...info, ...(info.data && { data: { bytes: fromBytes(info.data) } }) });
  const last = events.at(-1);
  if (!chunks && event === 'tcp.onReceive' && last?.event === event && last.info.socketId === shown.socketId) {
    last.info.data.bytes += shown.data.bytes;
  } else {
    events.push({ event, info: shown });
  }
}

/** The names that recordings have for ids and ports, which differ from run to run. */
class Names {
  #numbers = new Map();
  #names = new Map();
  #accepted = 0;

  bind(kind, name, number) {
    this.#numbers.set(`$${name}`, number);
    this.#names.set(`${kind} ${number}`, `$${name}`);
  }

  bindAccepted(client) {
    this.#accepted += 1;
    this.bind('client', `c${this.#accepted}`, client);
  }

  bindField(name, field, ids, result) {
    const number = result?.[field];
    if (number !== undefined) this.bind(kindOf(field, ids), name, number);
  }

  resolve(argument) {
    if (typeof argument !== 'string' || !argument.startsWith('$')) return argument;
    if (!this.#numbers.has(argument)) throw new Error(`unknown name ${argument}`);
    return this.#numbers.get(argument);
  }

  /** Replaces ids and ports by their names, and other ports by `<port>`. */
  show(ids, value) {
    if (Array.isArray(value)) return value.map((inner) => this.show(ids, inner));
    if (!value || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([field, inner]) => {
      const kind = kindOf(field, ids);
      if (!kind || typeof inner !== 'number') return [field, this.show(ids, inner)];
      return [field, this.#names.get(`${kind} ${inner}`) ?? (kind === 'port' && inner > 0 ? '<port>' : inner)];
    }));
  }
}

function kindOf(field, ids) {
  return { socketId: ids, clientSocketId: 'client', localPort: 'port', peerPort: 'port', remotePort: 'port', from: 'port' }[field];
}

const isData = (value) => value?.bytes !== undefined || value?.fill !== undefined;

/** Data of a recording: one character per byte, or a number of `x`. */
function toBytes(data) {
  const text = data.fill === undefined ? data.bytes ?? data : 'x'.repeat(data.fill);
  return Uint8Array.from(text, (c) => c.charCodeAt(0)).buffer;
}

const fromBytes = (data) => String.fromCharCode(...new Uint8Array(data));
