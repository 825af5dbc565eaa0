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

test('every function was recorded', () => {
  assert.deepEqual(new Set(recorded.map(({ call }) => call)), new Set(NAMES.filter((name) => !name.startsWith('system.'))));
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
