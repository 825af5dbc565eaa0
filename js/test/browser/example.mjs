// Sets up the example extension for tests.

import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { curl } from './curl.mjs';

export const EXAMPLE = fileURLToPath(new URL('../../../examples/extension/', import.meta.url));

/**
 * Copies an example with a free port instead of its own, which is in these files. Returns the options for starting a browser
 * with it.
 */
export async function example(t, { source = EXAMPLE, usual = '8080', files = ['server.mjs', 'sockets.json'] } = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'chrome-sockets-example-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await cp(source, folder, { recursive: true });
  // The client is a relative link, so make it absolute.
  const link = join(folder, 'chrome-sockets');
  await rm(link);
  await symlink(await realpath(join(source, 'chrome-sockets')), link);
  const port = await freePort();
  for (const name of files) {
    const text = await readFile(join(folder, name), 'utf8');
    assert.ok(text.includes(usual));
    await writeFile(join(folder, name), text.replaceAll(usual, port));
  }
  const install = ['--manifest', join(folder, 'sockets.json')];
  return { folder, url: `http://127.0.0.1:${port}/`, options: { extensions: [folder], install } };
}

export const freePort = () => new Promise((resolve) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

/** Requests the page until it is served. Returns the start time of the worker and its count of requests. */
export async function page(url, limit = 60_000) {
  const late = Date.now() + limit;
  for (;;) {
    // Repeats refused requests.
    const { code, error, out } = await curl('--fail', '--max-time', '10', url);
    if (code === 0) {
      const [, since, count] = /since (\S+), and this is request number (\d+)\./.exec(`${out}`);
      return { since, count: Number(count) };
    }
    assert.ok(Date.now() < late, `${url} is not served: ${error}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
