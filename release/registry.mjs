// A stand-in for npm's registry, which has the packages of a folder and no others.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';

/** Serves the packages. Resolves to the server, its URL, and the names that were asked for. */
export async function serveRegistry(folder) {
  const packages = new Map();
  const files = new Map();
  for (const file of await readdir(folder)) {
    if (!file.endsWith('.tgz')) continue;
    const path = join(folder, file);
    const bytes = await readFile(path);
    const described = JSON.parse(execFileSync('tar', ['-xzOf', path, 'package/package.json']));
    files.set(`/-/${file}`, bytes);
    packages.set(`/${described.name}`, { described, file, integrity: `sha512-${createHash('sha512').update(bytes).digest('base64')}` });
  }
  const asked = [];
  const server = createServer(({ url }, response) => {
    const bytes = files.get(url);
    if (bytes) return response.end(bytes);
    asked.push(url.slice(1));
    const found = packages.get(url);
    if (!found) return response.writeHead(404, { 'Content-Type': 'application/json' }).end('{"error":"not found"}');
    const { described, file, integrity } = found;
    const { name, version } = described;
    const dist = { tarball: `http://${server.address().address}:${server.address().port}/-/${file}`, integrity };
    response.writeHead(200, { 'Content-Type': 'application/json' });
    return response.end(JSON.stringify({ name, 'dist-tags': { latest: version }, versions: { [version]: { ...described, dist } } }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  return { server, url: `http://127.0.0.1:${server.address().port}/`, asked };
}
