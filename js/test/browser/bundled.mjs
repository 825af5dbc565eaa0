import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

/** Bundles a file for browsers, with polyfills of Node.js modules. */
export async function bundled(name) {
  const { outputFiles: [file] } = await build({
    entryPoints: [fileURLToPath(new URL(name, import.meta.url))],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    define: { global: 'globalThis' },
    inject: [fileURLToPath(new URL('node-globals.mjs', import.meta.url))],
    alias: { stream: 'stream-browserify', timers: 'timers-browserify', util: 'util/', events: 'events/', buffer: 'buffer/' },
  });
  return file.text;
}
