// What the page says of numbers, addresses and reasons.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** Bytes, as people read them: `0 B`, `999 B`, `1.0 KiB`. */
export function bytes(count) {
  let unit = 0;
  while (count >= 1023.95 && unit < UNITS.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(count) : count.toFixed(count < 99.95 ? 1 : 0)} ${UNITS[unit]}`;
}

/** Bytes a second. */
export const rate = (count) => `${bytes(count)}/s`;

/** A count, in groups of three. */
export const number = (count) => count.toLocaleString('en');

/** `127.0.0.1:80`, `[::1]:80`; nothing if there is no address. */
export function address(host, port) {
  if (host === undefined) return '';
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A text of an app's own, in which nothing moves what stands around it. */
export function plain(text) {
  // Control characters, and those that only turn the direction of others.
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '\ufffd');
}

/** Why a server socket stands still: what a badge says, what that means, and how bad it is. */
const REASONS = {
  app: ['paused', 'Paused by its app, or from here.', 'warn'],
  acceptError: ['accept error', 'Accepting has failed; it goes on when it is resumed.', 'bad'],
  backingOff: ['backing off', 'Accepting has failed, and is tried again by itself.', 'bad'],
  limit: ['at a limit', 'It has as many connections as it may; others wait.', 'warn'],
  noListener: ['no listener', 'Its app does not listen for onAccept.', 'warn'],
  unhandled: ['app is busy', 'Its app has not handled the connections before.', 'warn'],
  suspended: ['app is away', 'Its app has no client at the moment; connections wait.', 'warn'],
  draining: ['draining', 'Nobody new is let in.', 'warn'],
  handover: ['handed over', 'It is on its way to another process.', 'warn'],
  tlsNotSet: ['no TLS yet', 'It waits for setTls.', 'warn'],
};

/** The badges of a server socket: `[text, meaning, kind]`. */
export function serverState({ localAddress, heldUpBy, backlog }) {
  if (localAddress === undefined) return [['not listening', 'It has no port.', '']];
  const badges = heldUpBy.map(({ why, error }) => {
    const [text, meaning, kind] = REASONS[why] ?? [why, '', 'warn'];
    return [error ? `${text}: ${error}` : text, meaning, kind];
  });
  if (badges.length === 0) badges.push(['accepting', 'It accepts connections.', 'good']);
  if (backlog > 0) badges.push([`${number(backlog)} waiting`, 'Connections that wait to be accepted.', '']);
  return badges;
}

export function clientState({ connected, paused }) {
  if (!connected) return [['not connected', 'It has no connection.', '']];
  if (paused) return [['paused', 'Nothing is received.', 'warn']];
  return [['connected', 'It receives.', 'good']];
}
