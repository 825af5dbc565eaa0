// The npm packages of release/build.sh, in an empty home, where only Node and npm can be found:
//     PACKAGES=DIR NPM=/path/to/npm node --test release/npm.test.mjs

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

import { serveRegistry } from './registry.mjs';

const { PACKAGES, NPM } = process.env;
const EXTENSION = 'knldjmfmopnpolahpmmgbagdohdnhkik';
/** The time for the first command, from an empty folder, in milliseconds. */
const MINUTE = 60_000;

let home;
let registry;
let environment;

test.before(async () => {
  home = await mkdtemp(join(tmpdir(), 'chrome-sockets-npm-'));
  registry = await serveRegistry(PACKAGES);
  const bin = join(home, 'bin');
  await mkdir(bin);
  await symlink(process.execPath, join(bin, 'node'));
  for (const name of ['npm', 'npx']) await symlink(join(NPM, `bin/${name}-cli.js`), join(bin, name));
  // npm runs the commands of packages by it.
  await symlink('/bin/sh', join(bin, 'sh'));
  environment = { HOME: home, PATH: bin, npm_config_registry: registry.url, npm_config_update_notifier: 'false' };
});

test.after(() => rm(home, { recursive: true, force: true }));

async function emptyFolder(name) {
  const folder = join(home, name);
  await mkdir(folder);
  return folder;
}

/** Starts a program. `line(pattern)` waits for a line of its output, `ended` resolves when it has ended. */
function start(t, cwd, program, args, env = {}) {
  const child = spawn(join(environment.PATH, program), args, { cwd, env: { ...environment, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  let check = () => {};
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
      check();
    });
  }
  const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal, output })));
  const line = (pattern) => within(`${pattern}`, new Promise((resolve, reject) => {
    check = () => pattern.exec(output) && resolve(pattern.exec(output));
    check();
    ended.then(() => reject(new Error(`${program} ${args.join(' ')} ended: ${output}`)));
  }));
  return { child, ended: within(`the end of ${program} ${args.join(' ')}`, ended), line };
}

async function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what} did not come`)), MINUTE); });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function run(t, cwd, program, args, env) {
  const { code, output } = await start(t, cwd, program, args, env).ended;
  assert.equal(code, 0, output);
  return output;
}

const status = (url) => new Promise((resolve, reject) => {
  request(url, (response) => {
    response.resume();
    resolve(response.statusCode);
  }).on('error', reject).end();
});

test('no Rust can be found', () => {
  for (const program of ['cargo', 'rustc']) {
    assert.throws(() => execFileSync(program, ['--version'], { env: environment, stdio: 'ignore' }), { code: 'ENOENT' });
  }
});

test('the first command in an empty folder serves within a minute', async (t) => {
  const folder = await emptyFolder('empty');
  const began = Date.now();
  const { child, ended, line } = start(t, folder, 'npx', ['--yes', 'chrome-sockets', 'serve', '--dev', '--listen', '127.0.0.1:0']);
  const [, page] = await line(/^Admin page: (.*)#/m);
  assert.equal(await status(page), 200);
  t.diagnostic(`it served after ${Date.now() - began} ms`);
  child.kill('SIGTERM');
  await ended;
  assert.deepEqual(await readdir(folder), [], 'the folder is as empty as before');
});

test('install puts a path into the browsers that outlives the cache of npm, and the next install updates it', async (t) => {
  const folder = await emptyFolder('browser');
  const install = () => run(t, folder, 'npx', ['--yes', 'chrome-sockets', 'install', '--extension', EXTENSION, '--browser', 'chromium', '--dev']);
  await install();
  const manifest = JSON.parse(await readFile(join(home, '.config/chromium/NativeMessagingHosts/chrome_sockets.json')));
  const script = await readFile(manifest.path, 'utf8');
  const copy = join(home, '.local/share/chrome-sockets/chrome-sockets');
  assert.ok(script.includes(`exec ${copy} native-host`), script);
  const { size } = await stat(copy);
  await writeFile(copy, 'an older version');
  await install();
  assert.equal((await stat(copy)).size, size);
  await rm(join(home, '.npm'), { recursive: true });
  // What the browser does.
  const child = spawn(manifest.path, [`chrome-extension://${EXTENSION}/`], { env: { HOME: home, PATH: '/usr/bin:/bin' }, stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const hello = Buffer.from(JSON.stringify({ hello: { protocol: [1], app: EXTENSION, manifest: {} } }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(hello.length);
  child.stdin.write(Buffer.concat([length, hello]));
  const welcome = await within('the welcome', new Promise((resolve) => child.stdout.once('data', resolve)));
  assert.match(String(welcome), /"welcome"/);
  child.stdin.end();
});

test('startHost finds the program, and the host ends when its parent is killed', async (t) => {
  const folder = await emptyFolder('program');
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  await run(t, folder, 'npm', ['install', '--no-audit', '--no-fund', 'chrome-sockets']);
  await writeFile(join(folder, 'main.mjs'), `
    import { startHost } from 'chrome-sockets/host';
    const { tcpServer, host } = await startHost({ app: 'a', manifest: { sockets: { tcpServer: { listen: '' } } } });
    const { socketId } = await tcpServer.create();
    tcpServer.listen(socketId, '127.0.0.1', 0, (result) => console.log('listen', result, host.pid));
  `);
  const { child, line } = start(t, folder, 'node', ['main.mjs']);
  const [, result, pid] = await line(/listen (\S+) (\d+)/);
  assert.equal(result, '0');
  assert.ok(existsSync(`/proc/${pid}/exe`));
  child.kill('SIGKILL');
  await within('the end of the host', (async () => {
    while (existsSync(`/proc/${pid}/exe`)) await new Promise((resolve) => setTimeout(resolve, 20));
  })());
  const lock = JSON.parse(await readFile(join(folder, 'package-lock.json')));
  const installed = Object.keys(lock.packages).filter((name) => name.startsWith('node_modules/'));
  assert.deepEqual(installed.map((name) => name.slice('node_modules/'.length)), ['chrome-sockets', 'chrome-sockets-host', `chrome-sockets-host-linux-${process.arch}`]);
});

test('where the program is missing, pages can still be built, and the command says what to do', async (t) => {
  const folder = await emptyFolder('pages');
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  await run(t, folder, 'npm', ['install', '--no-audit', '--no-fund', '--omit=optional', 'chrome-sockets']);
  assert.deepEqual((await readdir(join(folder, 'node_modules'))).filter((name) => !name.startsWith('.')), ['chrome-sockets']);
  await run(t, folder, 'node', ['-e', "import('chrome-sockets')"]);
  const { code, output } = await start(t, folder, 'npx', ['chrome-sockets', '--version']).ended;
  assert.notEqual(code, 0);
  assert.match(output, /chrome-sockets-host/);
});

test('the packages have what they need, and nothing else', async () => {
  const files = Object.fromEntries((await readdir(PACKAGES)).filter((file) => file.endsWith('.tgz')).map((file) => [
    file.replace(/-\d+\.\d+\.\d+\.tgz$/, ''),
    execFileSync('tar', ['-tzf', join(PACKAGES, file)], { encoding: 'utf8' }).trim().split('\n').map((path) => path.replace('package/', '')).sort(),
  ]));
  const licenses = ['LICENSE-APACHE', 'LICENSE-MIT'];
  assert.deepEqual(files['chrome-sockets-host'], [...licenses, 'README.md', 'bin.mjs', 'index.d.ts', 'index.mjs', 'package.json']);
  assert.deepEqual(files[`chrome-sockets-host-linux-${process.arch}`], [...licenses, 'bin/chrome-sockets', 'package.json', 'sbom.cdx.json']);
  assert.ok(files['chrome-sockets'].includes('host.mjs') && !files['chrome-sockets'].some((file) => file.includes('test')));
});
