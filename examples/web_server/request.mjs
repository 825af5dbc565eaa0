// Parses requests, strictly: what two programs could read in two ways is refused.

/** The answer to a request that is not carried out. */
export class RequestError extends Error {
  constructor(status, headers = {}) {
    super(REASONS[status]);
    this.status = status;
    this.headers = headers;
  }

  response() {
    const text = new TextEncoder().encode(`${this.status} ${REASONS[this.status]}\n`);
    return {
      status: this.status,
      reason: REASONS[this.status],
      headers: { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff', ...this.headers },
      length: text.length,
      read: async (from, count) => text.slice(from, from + count),
    };
  }
}

export const REASONS = {
  200: 'OK', 204: 'No Content', 206: 'Partial Content', 301: 'Moved Permanently', 304: 'Not Modified', 400: 'Bad Request',
  403: 'Forbidden', 404: 'Not Found', 405: 'Method Not Allowed', 412: 'Precondition Failed', 416: 'Range Not Satisfiable',
  431: 'Request Header Fields Too Large', 500: 'Internal Server Error', 501: 'Not Implemented', 503: 'Service Unavailable',
  505: 'HTTP Version Not Supported',
};

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** The fields of which a request may have only one. */
const SINGLE = ['host', 'content-length', 'range', 'if-range', 'if-modified-since', 'if-unmodified-since'];

/**
 * Parses a head without its last empty line: `{ method, path, headers, isKeptAlive }`, with the names of `headers` in lower case and
 * `path` as it was sent, without the query.
 */
export function parseHead(bytes) {
  // Fields may have other bytes than ASCII; each is one character here.
  const [line, ...fields] = String.fromCharCode(...bytes).split('\r\n');
  const parts = line.split(' ');
  if (parts.length !== 3 || !TOKEN.test(parts[0])) throw new RequestError(400);
  const [method, target, version] = parts;
  if (!/^HTTP\/\d\.\d$/.test(version)) throw new RequestError(400);
  if (!version.startsWith('HTTP/1.')) throw new RequestError(505);
  const headers = new Map();
  for (const field of fields) {
    const colon = field.indexOf(':');
    const name = field.slice(0, colon).toLowerCase();
    // A name with white space, and a line that continues another, are ways to hide fields.
    if (colon < 1 || !TOKEN.test(name)) throw new RequestError(400);
    const value = field.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '');
    if (/[\0\r\n]/.test(value)) throw new RequestError(400);
    if (headers.has(name) && SINGLE.includes(name)) throw new RequestError(400);
    headers.set(name, headers.has(name) ? `${headers.get(name)}, ${value}` : value);
  }
  if (version === 'HTTP/1.1' && !headers.has('host')) throw new RequestError(400);
  // This server reads no bodies. Skipping one would need the same care as reading it.
  if (headers.has('transfer-encoding')) throw new RequestError(501);
  const length = headers.get('content-length');
  if (length !== undefined && length !== '0') throw new RequestError(/^\d+$/.test(length) && !['GET', 'HEAD'].includes(method) ? 405 : 400, { Allow: 'GET, HEAD, OPTIONS' });
  const options = (headers.get('connection') ?? '').toLowerCase().split(/[ \t]*,[ \t]*/);
  const isKeptAlive = version === 'HTTP/1.1' ? !options.includes('close') : options.includes('keep-alive');
  return { method, path: pathOf(target, method), headers, isKeptAlive };
}

function pathOf(target, method) {
  if (target === '*' && method === 'OPTIONS') return '*';
  const path = target.replace(/^https?:\/\/[^/?#]+/i, '').split('?')[0];
  if (path === '' && target !== path) return '/';
  if (!path.startsWith('/') || /[\0-\x20\x7f-\xff#]/.test(path)) throw new RequestError(400);
  return path;
}

/**
 * The names of a path, decoded. A path that would leave the folder, or that some file system could read otherwise, is
 * refused.
 */
export function namesOf(path) {
  let names;
  try {
    names = path.split('/').map(decodeURIComponent);
  } catch {
    throw new RequestError(400);
  }
  const inner = names.filter((name) => name !== '');
  if (inner.some((name) => name === '.' || name === '..' || /[/\\\0:]/.test(name))) throw new RequestError(403);
  // Hidden files do not exist for clients.
  if (inner.some((name) => name.startsWith('.'))) throw new RequestError(404);
  return inner;
}
