// Plays the recordings of real Chromium (tests/it/chrome_traces) on any chrome.sockets, wherever that is.
// The Rust tests play the same on the crate itself, by the same rules.

/** How long what was expected may come later than it came when it was recorded. */
const PATIENCE = 10_000;

const QUIET_STEP = 5;

const EVENTS = ['tcpServer.onAccept', 'tcpServer.onAcceptError', 'tcp.onReceive', 'tcp.onReceiveError'];

/** What a step should come to: for Chromium what was recorded, for others what is documented, where that is not the same. */
export const expected = (step, isChromium) => (isChromium ? undefined : step.documented) ?? step.chrome;

/** Whether a step came to what it should. Of what a peer got a recording may tell the length alone. */
export function agrees(wanted, came) {
  if (typeof wanted?.got !== 'object' || typeof came?.got !== 'string') return same(wanted, came);
  return same(wanted, { ...came, got: { length: came.got.length } });
}

/**
 * What each step came to; the last one is `{ failed }`, if the others were not possible then. `peers` opens the other
 * ends.
 */
export async function play({ steps, chunks = false }, { sockets, runtime }, peers, isChromium = false) {
  const names = new Names();
  const heard = [];
  const listeners = new Map(EVENTS.map((event) => [event, (info) => heard.push({ event, info })]));
  const target = (event) => event.split('.').reduce((from, key) => from[key], sockets);
  /** Exactly these have a listener from now on. Those of udp are nothing here. */
  const listen = (events) => {
    const unknown = events.filter((event) => !listeners.has(event) && !event.startsWith('udp.'));
    if (unknown.length > 0) throw new Error(`not known here: ${unknown}`);
    for (const [event, listener] of listeners) {
      if (events.includes(event)) target(event).addListener(listener);
      else target(event).removeListener(listener);
    }
  };
  listen(EVENTS);
  const came = [];
  try {
    const stage = { sockets, runtime, names, heard, peers, isChromium, listen, chunks, unanswered: [] };
    for (const step of steps) came.push(await one(step, stage));
  } catch (error) {
    came.push({ failed: error.message });
  } finally {
    listen([]);
  }
  return came;
}

function one(step, stage) {
  if (step.call) return call(step, stage);
  if (step.peer) return peer(step, stage);
  if (step.settle !== undefined) return settle(step, stage);
  if (step.listeners) return stage.listen(step.listeners);
  if (step.finish !== undefined) return Promise.all(stage.unanswered.splice(0));
  throw new Error(`what to do is not known here: ${JSON.stringify(step)}`);
}

async function call(step, stage) {
  const answer = answered(step, stage);
  if (!step.nowait) return answer;
  stage.unanswered.push(answer);
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
  const ids = space === 'tcpServer' ? 'server' : 'client';
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
    default: throw new Error(`what the peer does is not known here: ${peer}`);
  }
}

/** Connects. Chromium's network service frees a port some time after `disconnect` was answered, so it is asked again. */
const connect = (as, port, peers, wanted) =>
  patiently(async () => ({ state: await peers.connect(as, port) }), (came) => wanted?.state !== 'ECONNREFUSED' || came.state !== 'open');

/** How a peer is; asked again if that is not what is expected. */
const state = (as, peers, wanted) => patiently(() => peers.state(as), (came) => agrees(wanted, came) || came.state !== 'open');

/** Asks again, for a while, until the answer is good. */
async function patiently(ask, isGood) {
  const start = Date.now();
  for (;;) {
    const came = await ask();
    if (isGood(came) || Date.now() - start >= PATIENCE) return came;
    await new Promise((resolve) => setTimeout(resolve, QUIET_STEP));
  }
}

/** What was heard since the last time, in the time that was recorded; and on, if not all of it has come by then. */
async function settle(step, { names, heard, isChromium, chunks }) {
  const wanted = expected(step, isChromium);
  const start = Date.now();
  const events = [];
  for (;;) {
    while (heard.length > 0) add(events, heard.shift(), names, chunks);
    const isAll = same(events, wanted);
    if (Date.now() - start >= (isAll ? step.settle : PATIENCE)) return events;
    await new Promise((resolve) => setTimeout(resolve, QUIET_STEP));
  }
}

const sorted = (value) => value !== undefined && JSON.parse(JSON.stringify(value), (_, inner) =>
  inner && typeof inner === 'object' && !Array.isArray(inner)
    ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
    : inner);

const same = (one, other) => JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));

/** Data joins that of the event before it if both are of one socket: how TCP cuts it is nobody's promise. */
function add(events, { event, info }, names, chunks) {
  if (event === 'tcpServer.onAccept') names.bindAccepted(info.clientSocketId);
  const ids = event.startsWith('tcpServer.') ? 'server' : 'client';
  const shown = names.show(ids, { ...info, ...(info.data && { data: { bytes: fromBytes(info.data) } }) });
  const last = events.at(-1);
  if (!chunks && event === 'tcp.onReceive' && last?.event === event && last.info.socketId === shown.socketId) {
    last.info.data.bytes += shown.data.bytes;
  } else {
    events.push({ event, info: shown });
  }
}

/** Ids and ports differ from run to run: a recording has names for them. */
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
    if (!this.#numbers.has(argument)) throw new Error(`nothing is named ${argument}`);
    return this.#numbers.get(argument);
  }

  /** A port without a name is any port. */
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
  return { socketId: ids, clientSocketId: 'client', localPort: 'port', peerPort: 'port' }[field];
}

const isData = (value) => value?.bytes !== undefined || value?.fill !== undefined;

/** Binary data is written one character a byte, or is so many `x`. */
function toBytes(data) {
  const text = data.fill === undefined ? data.bytes ?? data : 'x'.repeat(data.fill);
  return Uint8Array.from(text, (c) => c.charCodeAt(0)).buffer;
}

const fromBytes = (data) => String.fromCharCode(...new Uint8Array(data));
