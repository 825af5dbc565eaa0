// The example extension without requests. The name of this file is the first, so that other tests run meanwhile.

import assert from 'node:assert/strict';
import test from 'node:test';

import { startUnwatched } from './browser.mjs';
import { curl } from './curl.mjs';
import { example, page } from './example.mjs';

const IDLE = 5 * 60_000;

test('a worker without requests for five minutes still answers', { timeout: IDLE + 120_000 }, async (t) => {
  const { url, options } = await example(t);
  await startUnwatched(t, options);
  const before = await page(url);
  await new Promise((resolve) => setTimeout(resolve, IDLE));
  const asked = Date.now();
  const { out, code, error } = await curl('--fail', url);
  assert.equal(code, 0, error);
  t.diagnostic(`it took ${Date.now() - asked} ms`);
  assert.match(`${out}`, new RegExp(`since ${before.since}, and this is request number ${before.count + 1}`), 'the same worker');
});
