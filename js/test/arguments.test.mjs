// Invalid arguments throw what Chromium 156 throws (recorded in arguments.json).

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { NAMES, resolve } from '../signatures.mjs';

/** Values that JSON cannot express. */
const MADE = {
  cb: () => () => {},
  nan: () => NaN,
  undefined: () => undefined,
  buffer: () => new ArrayBuffer(1),
  view: () => new Uint8Array(1),
  dataview: () => new DataView(new ArrayBuffer(2)),
  regexp: () => /x/,
  map: () => new Map(),
  boxed: () => new String('x'),
  minuszero: () => -0,
};

function made(value) {
  if (Array.isArray(value)) return value.map(made);
  if (value === null || typeof value !== 'object') return value;
  if ('$' in value) return MADE[value.$]();
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, made(inner)]));
}

const recorded = JSON.parse(readFileSync(new URL('arguments.json', import.meta.url)));

/** The functions beyond Chrome. */
const BEYOND = ['tcpServer.setTls'];

/** Not of `chrome.sockets`. */
const OTHERS = ['system.network.getNetworkInterfaces'];

test('every function of Chrome was recorded', () => {
  assert.deepEqual(new Set([...recorded.map(({ call }) => call), ...BEYOND, ...OTHERS]), new Set(NAMES));
});

test('the arguments of setTls are checked, and only null takes the TLS away', () => {
  const pem = { certificate: 'c', privateKey: 'k' };
  const values = (...given) => resolve('tcpServer.setTls', given).values;
  assert.deepEqual(values(1, pem), [1, pem]);
  assert.deepEqual(values(1, { ...pem, alpn: ['h2'] }, () => {}), [1, { ...pem, alpn: ['h2'] }]);
  assert.deepEqual(values(1, { ...pem, alpn: null }), [1, pem]);
  assert.deepEqual(values(1, null), [1, null]);
  assert.deepEqual(values(1, null, () => {}), [1, null]);
  const start = 'Error in invocation of sockets.tcpServer.setTls(integer socketId, sockets.tcpServer.TlsOptions tls, optional function callback): ';
  for (const [given, text] of [
    [[1], 'No matching signature.'],
    [[1, undefined], 'No matching signature.'],
    [[1, undefined, () => {}], 'No matching signature.'],
    [[null, null], 'No matching signature.'],
    [[1, {}], "Error at parameter 'tls': Missing required property 'certificate'."],
    [[1, { certificate: 'c' }], "Error at parameter 'tls': Missing required property 'privateKey'."],
    [[1, { ...pem, privateKey: 7 }], "Error at parameter 'tls': Error at property 'privateKey': Invalid type: expected string, found integer."],
    [[1, { ...pem, alpn: 'h2' }], "Error at parameter 'tls': Error at property 'alpn': Invalid type: expected array, found string."],
    [[1, { ...pem, alpn: ['h2', 3] }], "Error at parameter 'tls': Error at property 'alpn': Error at index 1: Invalid type: expected string, found integer."],
    [[1, { ...pem, key: 'k' }], "Error at parameter 'tls': Unexpected property: 'key'."],
  ]) {
    assert.throws(() => values(...given), new TypeError(`${start}${text}`));
  }
});

test('arguments are accepted and rejected as in Chromium', () => {
  for (const { call, args, returns, throws, message } of recorded) {
    const shown = `${call}(${JSON.stringify(args)})`;
    let got;
    try {
      const { callback } = resolve(call, made(args));
      got = { returns: callback ? 'undefined' : 'promise' };
    } catch (error) {
      got = { throws: error.constructor.name, message: error.message };
    }
    assert.deepEqual(got, returns ? { returns } : { throws, message }, shown);
  }
});

test('data is copied at the call', () => {
  const bytes = new Uint8Array([1, 2, 3, 4]);
  const { values: [, data] } = resolve('tcp.send', [1, bytes.subarray(1, 3), () => {}]);
  bytes.fill(9);
  assert.deepEqual([...data], [2, 3]);
});
