// Plays the recordings of real Chromium (tests/it/chrome_traces) on any chrome.sockets, wherever that is.
// The Rust tests play the same on the crate itself, by the same rules.

/** How long what was expected may come later than it came when it was recorded. */
const PATIENCE = 10_000;

const QUIET_STEP = 5;

/** What a step should come to: for Chromium what was recorded, for others what is documented, where that is not the same. */
export const expected = (step, isChromium) => (isChromium ? undefined : step.documented) ?? step.chrome;

/**
 * What each step came to; the last one is `{ failed }`, if the others were not possible then. `peers` opens the other
 * ends.
 */
export async function play({ steps }, { sockets, runtime }, peers, isChromium = false) {
  const names = new Names();
  const heard = [];
  const listeners = [];
  for (const [space, event] of [['tcpServer', 'onAccept'], ['tcpServer', 'onAcceptError'], ['tcp', 'onReceive'], ['tcp', 'onReceiveError']]) {
    const listener = (info) => heard.push({ event: `${space}.${event}`, info });
    sockets[space][event].addListener(listener);
    listeners.push(() => sockets[space][event].removeListener(listener));
  }
  const came = [];
  try {
    const stage = { sockets, runtime, names, heard, peers, isChromium };
    for (const step of steps) came.push(await one(step, stage));
  } catch (error) {
    came.push({ failed: error.message });
  } finally {
    listeners.forEach((remove) => remove());
  }
  return came;
}

function one(step, stage) {
  if (step.call) return call(step, stage);
  if (step.peer) return peer(step, stage);
  if (step.settle !== undefined) return settle(step, stage);
  throw new Error(`what to do is not known here: ${JSON.stringify(step)}`);
}

async function call({ call, args, bind }, { sockets, runtime, names }) {
  const [space, name] = call.split('.');
  const given = args.map((value) => (value?.bytes === undefined ? names.resolve(value) : toBytes(value.bytes)));
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

async function peer({ peer, as, port, data, bind, echo }, { names, peers }) {
  switch (peer) {
    case 'connect': return { state: await peers.connect(as, names.resolve(port)) };
    case 'listen': return names.bind('port', bind, await peers.listen(echo));
    case 'send': return peers.send(as, toBytes(data));
    case 'end': return peers.endOne(as);
    case 'state': return peers.state(as);
    default: throw new Error(`what the peer does is not known here: ${peer}`);
  }
}

/** What was heard since the last time, in the time that was recorded; and on, if not all of it has come by then. */
async function settle(step, { names, heard, isChromium }) {
  const wanted = JSON.stringify(sorted(expected(step, isChromium)));
  const start = Date.now();
  const events = [];
  for (;;) {
    while (heard.length > 0) add(events, heard.shift(), names);
    const isAll = JSON.stringify(sorted(events)) === wanted;
    if (Date.now() - start >= (isAll ? step.settle : PATIENCE)) return events;
    await new Promise((resolve) => setTimeout(resolve, QUIET_STEP));
  }
}

const sorted = (value) => JSON.parse(JSON.stringify(value), (_, inner) =>
  inner && typeof inner === 'object' && !Array.isArray(inner)
    ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
    : inner);

/** Data joins that of the event before it if both are of one socket: how TCP cuts it is nobody's promise. */
function add(events, { event, info }, names) {
  if (event === 'tcpServer.onAccept') names.bindAccepted(info.clientSocketId);
  const ids = event.startsWith('tcpServer.') ? 'server' : 'client';
  const shown = names.show(ids, { ...info, ...(info.data && { data: { bytes: fromBytes(info.data) } }) });
  const last = events.at(-1);
  if (event === 'tcp.onReceive' && last?.event === event && last.info.socketId === shown.socketId) {
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

/** Binary data is written one character a byte. */
const toBytes = (text) => Uint8Array.from(text, (c) => c.charCodeAt(0)).buffer;
const fromBytes = (data) => String.fromCharCode(...new Uint8Array(data));
