// `chrome.sockets` itself: its functions and events, on a client.

import { Client } from './client.mjs';
import { Event, guarded } from './events.mjs';
import { NAMES, resolve } from './signatures.mjs';

const EVENTS = ['tcpServer.onAcceptError', 'tcp.onReceiveError', 'tcpServer.onAccept', 'tcp.onReceive'];

/** How each event's values are told. */
const INFOS = {
  'tcpServer.onAccept': ([socketId, clientSocketId]) => ({ socketId, clientSocketId }),
  'tcpServer.onAcceptError': ([socketId, resultCode]) => ({ socketId, resultCode }),
  'tcp.onReceive': ([socketId, data]) => ({ socketId, data }),
  'tcp.onReceiveError': ([socketId, resultCode]) => ({ socketId, resultCode }),
};

/**
 * An app's sockets on a transport. `runtime` is the object whose `lastError` callbacks look at.
 */
export function makeSockets({ open, hello, patience = 10_000, onRetry = warnOfRetry, runtime = {} }) {
  const events = new Map();
  const onLost = new Event();
  const onBack = new Event();
  const client = new Client({
    open,
    hello,
    patience,
    retries: (error) => guarded(onRetry, error),
    told(event, values) {
      if (event === 'host.lost') return onLost.dispatch(values[0]);
      if (event === 'host.back') return onBack.dispatch();
      return events.get(event).dispatch(INFOS[event](values));
    },
  });
  const sockets = { tcpServer: {}, tcp: {} };
  for (const name of EVENTS) {
    events.set(name, new Event(() => client.listen(heard())));
  }
  // How sockets end is always heard: the client itself wants to know.
  const heard = () => EVENTS.filter((name) => name.endsWith('Error') || events.get(name).hasListeners());
  client.listen(heard());
  const add = (name, value) => {
    const [space, key] = name.split('.');
    sockets[space][key] = value;
  };
  for (const [name, event] of events) add(name, event);
  for (const name of NAMES) {
    const [, key] = name.split('.');
    // A name, as the browser's own functions have; and no `this`.
    add(name, { [key]: (...given) => call(client, runtime, name, given) }[key]);
  }
  sockets.tcp.DnsQueryType = { ANY: 'any', IPV4: 'ipv4', IPV6: 'ipv6' };
  return { client, sockets, onLost, onBack };
}

function call(client, runtime, name, given) {
  const { values, callback } = resolve(name, given);
  if (callback) {
    client.call(name, values, (lastError, values) => answer(runtime, callback, lastError, values));
    return undefined;
  }
  const promise = new Answer((resolve, reject) => {
    client.call(name, values, (lastError, [value]) => {
      if (lastError === undefined) resolve(value);
      else promise.fail(reject, lastError);
      // Who awaits it goes on later.
      return true;
    });
  });
  return promise;
}

/**
 * The promise of an answer. What was written before there were promises leaves it alone: if it fails then, that is said,
 * but it is no unhandled rejection, which would end Node.
 */
class Answer extends Promise {
  #isWanted = false;

  static get [Symbol.species]() {
    return Promise;
  }

  then(...handlers) {
    this.#isWanted = true;
    return super.then(...handlers);
  }

  fail(reject, message) {
    if (!this.#isWanted) {
      this.catch(() => {});
      unchecked(message);
    }
    reject(new Error(message));
  }
}

function warnOfRetry({ code, message }) {
  console.warn(`chrome.sockets: the host does not let this app in yet (${code}): ${message}`);
}

function unchecked(message) {
  console.error(`Unchecked runtime.lastError: ${message}`);
}

/** Calls back while `lastError` says what failed; says so itself if nobody looks. */
function answer(runtime, callback, message, values) {
  if (message === undefined) return guarded(callback, ...values);
  let isSeen = false;
  const lastError = { message };
  Object.defineProperty(runtime, 'lastError', {
    configurable: true,
    enumerable: true,
    get() {
      isSeen = true;
      return lastError;
    },
  });
  try {
    return guarded(callback, ...values);
  } finally {
    delete runtime.lastError;
    if (!isSeen) unchecked(message);
  }
}
