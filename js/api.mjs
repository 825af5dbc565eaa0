// The functions and events of `chrome.sockets`.

import { Client } from './client.mjs';
import { Event, callGuarded } from './events.mjs';
import { NAMES, resolve } from './signatures.mjs';

const EVENTS = [
  'tcpServer.onAcceptError', 'tcp.onReceiveError', 'udp.onReceiveError', 'tcpServer.onAccept', 'tcpServer.onHandshakeError', 'tcp.onReceive',
  'udp.onReceive',
];

/** The events by which the client itself records which sockets have ended. */
const ENDS = ['tcpServer.onAcceptError', 'tcp.onReceiveError', 'udp.onReceiveError'];

/** The info objects of the events. */
const INFOS = {
  'tcpServer.onAccept': ([socketId, clientSocketId]) => ({ socketId, clientSocketId }),
  'tcpServer.onAcceptError': ([socketId, resultCode]) => ({ socketId, resultCode }),
  'tcpServer.onHandshakeError': ([socketId, resultCode, peerAddress, peerPort, missed]) => ({ socketId, resultCode, peerAddress, peerPort, missed }),
  'tcp.onReceive': ([socketId, data]) => ({ socketId, data }),
  'tcp.onReceiveError': ([socketId, resultCode]) => ({ socketId, resultCode }),
  'udp.onReceive': ([socketId, data, remoteAddress, remotePort]) => ({ socketId, data, remoteAddress, remotePort }),
  'udp.onReceiveError': ([socketId, resultCode]) => ({ socketId, resultCode }),
};

/**
 * Makes `chrome.sockets` on a transport. Callbacks find `lastError` in `runtime`.
 */
export function makeSockets({ open, hello, reconnectTimeout = 10_000, onRetry = warnOfRetry, runtime = {} }) {
  const events = new Map();
  const onDisconnect = new Event();
  const onConnect = new Event();
  const client = new Client({
    open,
    hello,
    reconnectTimeout,
    onRetry: (error) => callGuarded(onRetry, error),
    onEvent(event, values) {
      if (event === 'host.disconnect') return onDisconnect.dispatch(values[0]);
      if (event === 'host.connect') return onConnect.dispatch();
      return events.get(event).dispatch(INFOS[event](values));
    },
  });
  const sockets = { tcpServer: {}, tcp: {}, udp: {}, system: { network: {} } };
  for (const name of EVENTS) {
    events.set(name, new Event(() => client.listen(listenedFor())));
  }
  const listenedFor = () => EVENTS.filter((name) => ENDS.includes(name) || events.get(name).hasListeners());
  client.listen(listenedFor());
  const add = (name, value) => {
    const [key, ...spaces] = name.split('.').reverse();
    spaces.reduceRight((object, space) => object[space], sockets)[key] = value;
  };
  for (const [name, event] of events) add(name, event);
  for (const name of NAMES) {
    const key = name.split('.').at(-1);
    // As in a browser, the functions have names and need no `this`.
    add(name, { [key]: (...given) => call(client, runtime, name, given) }[key]);
  }
  for (const space of [sockets.tcp, sockets.udp]) space.DnsQueryType = { ANY: 'any', IPV4: 'ipv4', IPV6: 'ipv6' };
  return { client, sockets, onDisconnect, onConnect };
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
      // Code that awaits the promise continues asynchronously.
      return true;
    });
  });
  return promise;
}

/**
 * The promise of an answer. Programs from before promises ignore it. A failure is then only logged: an unhandled rejection
 * would end Node.
 */
class Answer extends Promise {
  #isUsed = false;

  static get [Symbol.species]() {
    return Promise;
  }

  then(...handlers) {
    this.#isUsed = true;
    return super.then(...handlers);
  }

  fail(reject, message) {
    if (!this.#isUsed) {
      this.catch(() => {});
      logUnchecked(message);
    }
    reject(new Error(message));
  }
}

function warnOfRetry({ code, message }) {
  console.warn(`chrome.sockets: the host does not accept this app yet (${code}): ${message}`);
}

function logUnchecked(message) {
  console.error(`Unchecked runtime.lastError: ${message}`);
}

/** Calls a callback with `lastError` set. Logs the error if the callback does not read it, as Chrome does. */
export function answer(runtime, callback, message, values) {
  if (message === undefined) return callGuarded(callback, ...values);
  let isRead = false;
  const lastError = { message };
  Object.defineProperty(runtime, 'lastError', {
    configurable: true,
    enumerable: true,
    get() {
      isRead = true;
      return lastError;
    },
  });
  try {
    return callGuarded(callback, ...values);
  } finally {
    delete runtime.lastError;
    if (!isRead) logUnchecked(message);
  }
}
