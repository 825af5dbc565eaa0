// What a request gets: the file, a part of it, or what is said instead (RFC 9110).

import { REASONS, RequestError, namesOf } from './request.mjs';

const TYPES = {
  avif: 'image/avif', css: 'text/css', csv: 'text/csv', gif: 'image/gif', htm: 'text/html', html: 'text/html', ico: 'image/x-icon',
  jpeg: 'image/jpeg', jpg: 'image/jpeg', js: 'text/javascript', json: 'application/json', md: 'text/markdown', mjs: 'text/javascript',
  mp3: 'audio/mpeg', mp4: 'video/mp4', ogg: 'audio/ogg', pdf: 'application/pdf', png: 'image/png', svg: 'image/svg+xml',
  txt: 'text/plain', wasm: 'application/wasm', wav: 'audio/wav', webm: 'video/webm', webp: 'image/webp', woff2: 'font/woff2',
  xml: 'application/xml',
};

const ALLOWED = { Allow: 'GET, HEAD, OPTIONS' };

/** Resolves to `{ status, reason, headers, length, read }`. */
export async function answerTo({ method, path, headers }, files) {
  if (method === 'OPTIONS') return response(204, ALLOWED);
  if (!['GET', 'HEAD'].includes(method)) throw new RequestError(405, ALLOWED);
  const names = namesOf(path);
  const found = await files.open(names);
  if (!found) throw new RequestError(404);
  if (!found.isFolder) {
    // `file.txt/` is not a folder.
    if (path.endsWith('/')) throw new RequestError(404);
    return answerFile(method, headers, found, names.at(-1));
  }
  // Links in a page are relative to its folder.
  if (!path.endsWith('/')) return response(301, { Location: `${encodePath(names)}/` });
  const index = await files.open([...names, 'index.html']);
  if (index && !index.isFolder) return answerFile(method, headers, index, 'index.html');
  const list = await files.list?.(names);
  if (!list) throw new RequestError(404);
  return response(200, { 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-cache' }, page(names, list));
}

function response(status, headers, text = '') {
  const body = new TextEncoder().encode(text);
  return {
    status,
    reason: REASONS[status],
    headers: { 'X-Content-Type-Options': 'nosniff', ...headers },
    length: body.length,
    read: async (from, count) => body.slice(from, from + count),
  };
}

function answerFile(method, headers, file, name) {
  const modified = Math.floor(file.modified / 1000) * 1000;
  const tag = `"${file.size.toString(16)}-${Math.round(file.modified).toString(16)}"`;
  const about = { 'Last-Modified': new Date(modified).toUTCString(), ETag: tag, 'Cache-Control': 'no-cache' };
  const state = precondition(headers, tag, modified);
  if (state === 304) return { ...response(304, about), read: undefined };
  if (state === 412) throw new RequestError(412);
  const type = TYPES[name.split('.').pop().toLowerCase()] ?? 'application/octet-stream';
  const all = {
    ...about,
    'Content-Type': type.startsWith('text/') || type === 'application/json' ? `${type}; charset=utf-8` : type,
    'Accept-Ranges': 'bytes',
    'X-Content-Type-Options': 'nosniff',
  };
  const whole = { status: 200, reason: REASONS[200], headers: all, length: file.size, read: file.read };
  const wanted = method === 'GET' && isRangeValid(headers, tag, modified) ? range(headers.get('range'), file.size) : undefined;
  if (wanted === undefined) return whole;
  if (wanted === null) throw new RequestError(416, { 'Content-Range': `bytes */${file.size}`, 'Accept-Ranges': 'bytes' });
  const { first, last } = wanted;
  return {
    status: 206,
    reason: REASONS[206],
    headers: { ...all, 'Content-Range': `bytes ${first}-${last}/${file.size}` },
    length: last - first + 1,
    read: (from, count) => file.read(first + from, count),
  };
}

/** 304, 412, or undefined to go on (RFC 9110, section 13.2.2). */
function precondition(headers, tag, modified) {
  const date = (name) => Date.parse(headers.get(name) ?? '');
  const match = headers.get('if-match');
  if (match !== undefined) {
    if (!tags(match).some((given) => given === '*' || given === tag)) return 412;
  } else if (modified > date('if-unmodified-since')) {
    return 412;
  }
  const noneMatch = headers.get('if-none-match');
  // Weak tags are equal here.
  if (noneMatch !== undefined) return tags(noneMatch).some((given) => given === '*' || given.replace(/^W\//, '') === tag) ? 304 : undefined;
  return modified <= date('if-modified-since') ? 304 : undefined;
}

const tags = (list) => list.match(/(?:W\/)?"[^"]*"|\*/g) ?? [];

/** Whether the client's other parts are of this version. */
function isRangeValid(headers, tag, modified) {
  const given = headers.get('if-range');
  return given === undefined || given === tag || (!given.includes('"') && Date.parse(given) === modified);
}

/** `{ first, last }`; null if no byte of it exists; undefined for the whole file: no range, several, or one that is none. */
function range(text, size) {
  const [, from, to] = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(text ?? '') ?? [];
  if (from === undefined || (from === '' && to === '')) return undefined;
  if (from === '') {
    const count = Math.min(Number(to), size);
    return count === 0 ? null : { first: size - count, last: size - 1 };
  }
  const [first, last] = [Number(from), to === '' ? Infinity : Number(to)];
  if (last < first) return undefined;
  return first >= size ? null : { first, last: Math.min(last, size - 1) };
}

const encodePath = (names) => `/${names.map(encodeURIComponent).join('/')}`;

const escapeText = (text) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

/** A list of a folder. Names end with a slash for folders. */
function page(names, list) {
  const shown = list.filter((name) => !name.startsWith('.')).sort();
  const title = escapeText(`/${names.map((name) => `${name}/`).join('')}`);
  const items = [...(names.length > 0 ? ['../'] : []), ...shown].map((name) => {
    const link = name.endsWith('/') ? `${encodeURIComponent(name.slice(0, -1))}/` : encodeURIComponent(name);
    return `<li><a href="./${name === '../' ? name : link}">${escapeText(name)}</a>`;
  });
  return `<!doctype html>\n<meta charset="utf-8">\n<title>${title}</title>\n<h1>${title}</h1>\n<ul>\n${items.join('\n')}\n</ul>\n`;
}
