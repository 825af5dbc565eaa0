// Serves a folder from Node: node node.mjs [--host URL] [--app ID] [--address IP] [--port N] [--certificate FILE --key FILE] FOLDER

import { open, readFile, readdir, realpath, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { parseArgs } from 'node:util';
import { pathToFileURL } from 'node:url';

import { connect } from './chrome-sockets/index.mjs';
import { serve } from './server.mjs';

/** A folder as a source of files (see files.mjs). Links that leave it lead nowhere. */
export async function folder(path) {
  const root = await realpath(path);
  const locate = async (names) => {
    const found = await realpath(join(root, ...names)).catch(() => undefined);
    if (found === undefined) return undefined;
    const inside = relative(root, found);
    return inside === '..' || inside.startsWith(`..${sep}`) || inside.startsWith(sep) ? undefined : found;
  };
  return {
    async open(names) {
      const found = await locate(names);
      if (found === undefined) return undefined;
      const about = await stat(found);
      if (about.isDirectory()) return { isFolder: true };
      // Reading a device or a pipe may never end.
      if (!about.isFile()) return undefined;
      return {
        size: about.size,
        modified: about.mtimeMs,
        async read(from, count) {
          const file = await open(found);
          try {
            const { bytesRead, buffer } = await file.read(new Uint8Array(count), 0, count, from);
            return buffer.subarray(0, bytesRead);
          } finally {
            await file.close();
          }
        },
      };
    },
    async list(names) {
      const found = await locate(names);
      const entries = await readdir(found, { withFileTypes: true });
      return entries.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name));
    },
  };
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      host: { type: 'string', default: 'ws://127.0.0.1:8787' },
      app: { type: 'string', default: 'web-server' },
      token: { type: 'string' },
      address: { type: 'string', default: '127.0.0.1' },
      port: { type: 'string', default: '8080' },
      certificate: { type: 'string' },
      key: { type: 'string' },
    },
  });
  const { host, app, token, address, port, certificate, key } = values;
  const tls = certificate && { certificate: await readFile(certificate, 'utf8'), privateKey: await readFile(key, 'utf8') };
  const manifest = { sockets: { tcpServer: { listen: `${address}:*` } } };
  const sockets = await connect(host, { app, token, manifest });
  const files = await folder(positionals[0] ?? '.');
  const server = await serve({ sockets, runtime: sockets.runtime }, { files, address, port: Number(port), tls, log: console.log });
  console.log(`Serving at ${tls ? 'https' : 'http'}://${server.address}:${server.port}/`);
  console.error(await server.closed);
  process.exitCode = 1;
  sockets.host.close();
}

if (process.argv[1] && import.meta.url === pathToFileURL(await realpath(process.argv[1])).href) await main();
