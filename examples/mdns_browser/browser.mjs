// Finds the services of the local network by multicast DNS (RFC 6762, RFC 6763), on chrome.sockets.udp. It runs wherever
// chrome.sockets does; node.mjs, page.mjs and extension.mjs are three homes for it.

import { MalformedError, TYPE, parse, query } from './dns.mjs';

const GROUP = '224.0.0.251';
const PORT = 5353;

/** The list of all types of services. */
const TYPES = ['_services', '_dns-sd', '_udp', 'local'];

/** The time to the first repetition of a query, which doubles up to the last, in milliseconds. */
const FIRST_INTERVAL = 1000;
const LAST_INTERVAL = 60_000;

/** What a network can make this program keep and ask. */
const MAX_RECORDS = 4096;
const MAX_QUESTIONS = 512;
/** The most bytes of the texts of one service that are kept. */
const MAX_TEXTS = 8192;

/** The longest time that a record is kept, whatever it says, in seconds. */
const MAX_TTL = 75 * 60;

/** The bytes of the questions of one datagram. */
const MAX_QUERY = 1200;

/** How long changes are collected before `onChange`, in milliseconds. */
const CHANGE_DELAY = 100;

/**
 * Browses until `close` is called. `chrome` has `sockets` and `runtime`. `onChange(services)` is called with the list when it
 * has changed. Resolves to `{ services, close, isShared }`; `isShared` tells that another program has the port of mDNS, so
 * answers come to this one alone.
 */
export async function browse(chrome, { onChange = () => {}, onError = () => {}, firstInterval = FIRST_INTERVAL, now = Date.now } = {}) {
  const { udp } = chrome.sockets;
  const call = (name, ...given) => new Promise((resolve, reject) => {
    udp[name](...given, (value) => {
      const error = chrome.runtime.lastError;
      if (error) reject(Object.assign(new Error(error.message), { code: value?.resultCode ?? value }));
      else resolve(value);
    });
  });
  const ADDRESS_IN_USE = -147;
  const { socketId } = await call('create', { bufferSize: 9000 });
  const cache = new Cache(now);
  let isClosed = false;
  let isShared = false;
  const timers = new Set();
  const later = (time, act) => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      act();
    }, time);
    timers.add(timer);
    return timer;
  };

  let isChangeDue = false;
  let shown = '[]';
  const changed = () => {
    if (isChangeDue || isClosed) return;
    isChangeDue = true;
    later(CHANGE_DELAY, () => {
      isChangeDue = false;
      askNew();
      const services = cache.services();
      const text = JSON.stringify(services);
      if (text !== shown) {
        shown = text;
        onChange(services);
      }
      // Records expire without a message.
      const expiry = cache.nextExpiry();
      if (expiry !== undefined) scheduleExpiry(expiry);
    });
  };
  let expiryTimer;
  const scheduleExpiry = (at) => {
    clearTimeout(expiryTimer);
    timers.delete(expiryTimer);
    expiryTimer = later(Math.min(Math.max(at - now(), 0) + 10, 2 ** 31 - 1), changed);
  };

  /** The questions that were asked, so that each new one is asked at once. */
  let asked = new Set();
  const ask = (questions) => {
    for (let at = 0; at < questions.length;) {
      const some = [];
      for (let size = 0; at < questions.length; at += 1) {
        size += questions[at][0].reduce((sum, label) => sum + 1 + 4 * label.length, 6);
        if (size > MAX_QUERY && some.length > 0) break;
        some.push(questions[at]);
      }
      const data = query(some, isShared);
      call('send', socketId, data.buffer, GROUP, PORT).then(({ resultCode }) => {
        if (resultCode < 0) onError(new Error(`sending failed: ${resultCode}`));
      }, onError);
    }
  };
  const askNew = () => {
    const questions = cache.questions();
    const fresh = questions.filter((question) => !asked.has(keyOf(question)));
    asked = new Set(questions.map(keyOf));
    if (fresh.length > 0) ask(fresh);
  };
  const repeat = (interval) => later(interval, () => {
    ask(cache.questions());
    repeat(Math.min(2 * interval, LAST_INTERVAL));
  });

  const onReceive = (info) => {
    if (info.socketId !== socketId) return;
    // An answer to all comes from the port of mDNS (RFC 6762, section 6).
    if (!isShared && info.remotePort !== PORT) return;
    try {
      const { isResponse, records } = parse(new Uint8Array(info.data));
      if (!isResponse) return;
      cache.expire();
      for (const record of records) cache.add(record);
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      return;
    }
    changed();
  };
  const onReceiveError = (info) => {
    if (info.socketId !== socketId) return;
    const MESSAGE_TOO_BIG = -142;
    if (info.resultCode === MESSAGE_TOO_BIG) {
      // A datagram that no responder sends. The socket was paused.
      call('setPaused', socketId, false).catch(onError);
    } else {
      onError(new Error(`receiving failed: ${info.resultCode}`));
    }
  };
  const close = () => {
    if (isClosed) return;
    isClosed = true;
    for (const timer of timers) clearTimeout(timer);
    udp.onReceive.removeListener(onReceive);
    udp.onReceiveError.removeListener(onReceiveError);
    call('close', socketId).catch(() => {});
  };
  udp.onReceive.addListener(onReceive);
  udp.onReceiveError.addListener(onReceiveError);
  try {
    await call('setMulticastTimeToLive', socketId, 255);
    try {
      await call('bind', socketId, '0.0.0.0', PORT);
      await call('joinGroup', socketId, GROUP);
    } catch (error) {
      // A responder of this machine, such as Avahi, has the port.
      if (error.code !== ADDRESS_IN_USE) throw error;
      isShared = true;
      await call('bind', socketId, '0.0.0.0', 0);
    }
  } catch (error) {
    close();
    throw error;
  }
  askNew();
  repeat(firstInterval);
  return { services: () => cache.services(), close, isShared };
}

const lower = (name) => name.map((label) => label.toLowerCase());
const textOf = (name) => JSON.stringify(lower(name));
const keyOf = ([name, type]) => `${type} ${textOf(name)}`;

/** The records of the network, within bounds. */
export class Cache {
  #now;
  /** By type and name: `Map` of data as text to `{ name, data, expires }`. */
  #records = new Map();
  #count = 0;

  constructor(now) {
    this.#now = now;
  }

  add({ name, type, ttl, isFlush, data }) {
    const key = keyOf([name, type]);
    const known = this.#records.get(key) ?? new Map();
    const text = JSON.stringify(type === TYPE.TXT ? data.map((bytes) => [...bytes]) : data);
    if (type === TYPE.TXT && text.length > 4 * MAX_TEXTS) return;
    const time = this.#now();
    if (isFlush) {
      // The older ones stay for a second: they may be of the same announcement.
      for (const record of known.values()) if (time - record.since > 1000) record.expires = Math.min(record.expires, time + 1000);
    }
    const isNew = !known.has(text);
    if (isNew && (ttl === 0 || this.#count >= MAX_RECORDS)) return;
    if (isNew) this.#count += 1;
    // A record that says goodbye stays for a second (RFC 6762, section 10.1).
    const life = ttl === 0 ? 1 : Math.min(ttl, MAX_TTL);
    known.set(text, { name, data, since: time, expires: time + 1000 * life });
    this.#records.set(key, known);
  }

  /** Forgets what is too old. */
  expire() {
    const time = this.#now();
    for (const [key, known] of this.#records) {
      for (const [text, { expires }] of known) {
        if (expires > time) continue;
        known.delete(text);
        this.#count -= 1;
      }
      if (known.size === 0) this.#records.delete(key);
    }
  }

  /** When the next record expires; undefined if there is none. */
  nextExpiry() {
    let first;
    for (const known of this.#records.values()) for (const { expires } of known.values()) first = Math.min(first ?? expires, expires);
    return first;
  }

  #all(name, type) {
    return [...(this.#records.get(keyOf([name, type]))?.values() ?? [])];
  }

  /** The types of services: names such as `_http._tcp.local`. */
  #types() {
    return this.#all(TYPES, TYPE.PTR).map(({ data }) => data).filter(isType);
  }

  #instances(type) {
    // An instance is one label before its type.
    const isOfType = (name) => name.length === type.length + 1 && textOf(name.slice(1)) === textOf(type);
    return this.#all(type, TYPE.PTR).map(({ data }) => data).filter(isOfType);
  }

  /** What is worth asking. */
  questions() {
    this.expire();
    const questions = new Map();
    const add = (name, type) => {
      if (questions.size < MAX_QUESTIONS) questions.set(keyOf([name, type]), [name, type]);
    };
    add(TYPES, TYPE.PTR);
    for (const type of this.#types()) {
      add(type, TYPE.PTR);
      for (const instance of this.#instances(type)) {
        add(instance, TYPE.SRV);
        add(instance, TYPE.TXT);
        for (const { data: { target } } of this.#all(instance, TYPE.SRV)) {
          if (target.length === 0) continue;
          add(target, TYPE.A);
          add(target, TYPE.AAAA);
        }
      }
    }
    return [...questions.values()];
  }

  /** The services: `{ name, type, host, port, addresses, txt }`, sorted. Those without an SRV record yet are left out. */
  services() {
    this.expire();
    const services = [];
    for (const type of this.#types()) {
      for (const instance of this.#instances(type)) {
        const [server] = this.#all(instance, TYPE.SRV);
        if (!server) continue;
        const { target, port } = server.data;
        const addresses = [TYPE.A, TYPE.AAAA].flatMap((kind) => this.#all(target, kind).map(({ data }) => data));
        const [texts] = this.#all(instance, TYPE.TXT);
        services.push({ name: instance[0], type: type.join('.'), host: target.join('.'), port, addresses: addresses.sort(), txt: txtOf(texts?.data ?? []) });
      }
    }
    const key = ({ type, name }) => `${type} ${name}`;
    return services.sort((a, b) => (key(a) < key(b) ? -1 : 1));
  }
}

const isType = (name) => name.length >= 3 && name[0].startsWith('_') && ['_tcp', '_udp'].includes(name[1].toLowerCase());

/** The pairs of a TXT record. The first of two with the same key counts; one without a value is `true` (RFC 6763, section 6.4). */
function txtOf(texts) {
  const decoder = new TextDecoder();
  const pairs = new Map();
  for (const bytes of texts) {
    const text = decoder.decode(bytes);
    const equals = text.indexOf('=');
    const key = equals < 0 ? text : text.slice(0, equals);
    if (key === '' || pairs.has(key.toLowerCase())) continue;
    pairs.set(key.toLowerCase(), [key, equals < 0 ? true : text.slice(equals + 1)]);
  }
  // Without a prototype: the network chooses the keys.
  return Object.assign(Object.create(null), Object.fromEntries(pairs.values()));
}

/** A service as one line, without characters that a terminal would obey. */
export function lineOf({ name, type, host, port, addresses, txt }) {
  const pairs = Object.entries(txt).map(([key, value]) => (value === true ? key : `${key}=${value}`));
  const line = `${name}  ${type}  ${host}:${port}  ${addresses.join(' ')}  ${pairs.join(' ')}`.trimEnd();
  // Also what changes the direction of a text.
  return line.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\ufffd');
}
