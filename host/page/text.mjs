// Formats numbers, addresses and states for the page.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** `0 B`, `999 B`, `1.0 KiB`. */
export function bytes(count) {
  let unit = 0;
  while (count >= 1023.95 && unit < UNITS.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(count) : count.toFixed(count < 99.95 ? 1 : 0)} ${UNITS[unit]}`;
}

/** Bytes per second. */
export const rate = (count) => `${bytes(count)}/s`;

/** `1,200`. */
export const number = (count) => count.toLocaleString('en');

/** A time in milliseconds: `12 s`, `5 min`, `3 h 20 min`, `4 d`. */
export function age(time) {
  const seconds = Math.max(0, Math.floor(time / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${number(Math.floor(hours / 24))} d`;
}

/** `1 server`, `1,200 servers`. */
export const counted = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** `127.0.0.1:80`, `[::1]:80`, or an empty text for no address. */
export function address(host, port) {
  if (host === undefined) return '';
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Replaces characters of an app's text that would affect the text around it. */
export function plain(text) {
  // Control characters, and characters that change the direction of text.
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '\ufffd');
}

/** The badges for the reasons why a server socket does not accept: text, meaning and kind. */
const BADGES = {
  app: ['paused', 'Paused by its app or by the admin. New connections wait.', 'warn'],
  acceptError: ['accept error', 'Accepting failed. Resume it to try again.', 'bad'],
  backingOff: ['retrying', 'Accepting failed. It tries again by itself.', 'bad'],
  limit: ['at its limit', 'It has as many connections as it may have. New ones wait.', 'warn'],
  noListener: ['no listener', 'Its app has no listener for onAccept.', 'warn'],
  unhandled: ['app is slow', 'Its app has not yet handled earlier connections.', 'warn'],
  suspended: ['app disconnected', 'Its app has no client now. New connections wait.', 'warn'],
  draining: ['draining', 'It accepts nothing; open connections finish or are closed at the deadline.', 'warn'],
  handover: ['moving', 'It is being handed over to another process.', 'warn'],
  tlsNotSet: ['needs TLS', 'It waits until its app calls setTls.', 'warn'],
};

const badgeOf = (reason) => BADGES[reason] ?? [reason, '', 'warn'];

/** The badges of a server socket: `[text, meaning, kind]`. */
export function serverState({ localAddress, blockedBy, backlog }) {
  const isDraining = blockedBy.some(({ reason }) => reason === 'draining');
  if (localAddress === undefined && !isDraining) return [['not listening', 'It has no port.', '']];
  const badges = blockedBy.map(({ reason, error }) => {
    const [text, meaning, kind] = badgeOf(reason);
    return [error ? `${text}: ${error}` : text, meaning, kind];
  });
  if (badges.length === 0) badges.push(['accepting', 'It accepts connections.', 'good']);
  if (backlog > 0) badges.push([`${number(backlog)} waiting`, 'Connections that wait to be accepted.', '']);
  return badges;
}

/** The badges of an app: whether its client is connected, and what keeps its servers from accepting. */
export function appState({ connected, servers, problems = [] }) {
  const badges = problems
    // The badge `disconnected` implies it.
    .filter(({ reason }) => connected || reason !== 'suspended')
    .map(({ reason, error, servers: count }) => {
      const [text, meaning, kind] = badgeOf(reason);
      const share = servers === 1 ? '' : `${number(count)} of ${number(servers)}: `;
      return [`${share}${error ? `${text}: ${error}` : text}`, meaning, kind];
    });
  if (!connected) badges.push(['disconnected', 'Its client is not connected to the host.', 'warn']);
  if (badges.length === 0) badges.push(['connected', 'Its client is connected to the host.', 'good']);
  return badges;
}

/** The badges of a socket of `udp`. */
export function udpState({ localAddress, paused, dropped }) {
  const badges = [];
  if (localAddress === undefined) badges.push(['not bound', 'It has no port.', '']);
  else if (paused) badges.push(['paused', 'It receives nothing until it is resumed. The system drops what does not fit in its buffer.', 'warn']);
  else badges.push(['bound', 'It receives.', 'good']);
  if (dropped > 0) badges.push([`${number(dropped)} dropped`, 'The system dropped these datagrams, because its buffer for the socket was full.', 'warn']);
  return badges;
}

export function clientState({ connected, paused }) {
  if (!connected) return [['not connected', 'It has no connection.', '']];
  if (paused) return [['paused', 'It receives nothing until it is resumed.', 'warn']];
  return [['connected', 'It receives.', 'good']];
}
