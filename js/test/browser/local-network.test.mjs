// Chromium's Local Network Access: what a page from the internet needs to reach a gateway on loopback, as docs/porting.md says.

import assert from 'node:assert/strict';
import test from 'node:test';

import { startHost } from '../host.mjs';
import { servePages, startBrowser } from './browser.mjs';

/** Connects from a page. Returns 'connected' or the error's code, and the state of the permission. */
const connected = (page, url) => page.evaluate(async (url) => {
  const { connect } = await import('/index.mjs');
  // The object follows changes, so its state is read before.
  const { state } = await navigator.permissions.query({ name: 'loopback-network' });
  const result = await connect(url, { app: 'a', manifest: {} }).then((sockets) => {
    sockets.host.close();
    return 'connected';
  }, (error) => error.code);
  return [result, state];
}, url);

/** A browser for which the pages of this test come from the internet; they have this host name, if any. */
async function started(t, { name } = {}) {
  const served = await servePages(t);
  const { port } = new URL(served);
  const origin = name ? `http://${name}:${port}` : served;
  const host = await startHost(t, '--origin', origin);
  const { context, page } = await startBrowser(t, {
    args: [`--ip-address-space-overrides=127.0.0.1:${port}=public`, ...(name ? [`--host-resolver-rules=MAP ${name} 127.0.0.1`] : [])],
  });
  return { origin, host, context, page: await page(`${origin}/`) };
}

test('a page from the internet needs the permission of its user', { timeout: 120_000 }, async (t) => {
  const { origin, host, context, page } = await started(t);
  // A headless browser shows no prompt, and refuses.
  assert.deepEqual(await connected(page, host.url), ['unreachable', 'prompt']);
  await context.grantPermissions(['local-network-access'], { origin });
  assert.deepEqual(await connected(page, host.url), ['connected', 'granted']);
  await context.clearPermissions();
  assert.equal((await connected(page, host.url))[0], 'unreachable');
});

test('a page without a secure context cannot have the permission', { timeout: 120_000 }, async (t) => {
  const { origin, host, context, page } = await started(t, { name: 'app.example' });
  assert.equal(await page.evaluate(() => isSecureContext), false);
  await assert.rejects(context.grantPermissions(['local-network-access'], { origin }));
  assert.deepEqual(await connected(page, host.url), ['unreachable', 'denied']);
});

test('a page from loopback needs no permission', { timeout: 120_000 }, async (t) => {
  const origin = await servePages(t);
  const host = await startHost(t, '--origin', origin);
  const { page } = await startBrowser(t);
  assert.deepEqual(await connected(await page(`${origin}/`), host.url), ['connected', 'prompt']);
});
