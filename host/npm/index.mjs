// Where the program of this machine is, and how to run it.

import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';

/**
 * The path of the program. It is in the package of this platform, which npm installs as an optional dependency.
 * `CHROME_SOCKETS_HOST` is the path of another one.
 */
export function program() {
  const { CHROME_SOCKETS_HOST: other } = process.env;
  if (other) return other;
  const name = `chrome-sockets-host-${process.platform}-${process.arch}`;
  try {
    return createRequire(import.meta.url).resolve(`${name}/bin/chrome-sockets`);
  } catch (cause) {
    throw new Error(
      `${name} is not installed: npm was told to omit optional dependencies, or there is no such package. `
        + 'Where Rust is installed, `cargo install chrome-sockets-host` builds the program; CHROME_SOCKETS_HOST is its path.',
      { cause },
    );
  }
}

/** The signals that end the program, which decides how. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** How often the command of `npx` looks for its parent, in milliseconds. */
const PARENT_INTERVAL = 500;

/** Runs the program with these arguments in the place of this process. */
export function run(args) {
  let path;
  try {
    path = program();
  } catch (error) {
    console.error(`chrome-sockets: ${error.message}`);
    process.exitCode = 1;
    return;
  }
  const child = spawn(path, args, { stdio: 'inherit' });
  // A terminal sends Ctrl-C to both processes, and a second one ends a drain. So it is passed on only where there is no terminal.
  const isInTerminal = process.stdin.isTTY;
  for (const signal of SIGNALS) process.on(signal, () => (signal === 'SIGINT' && isInTerminal) || child.kill(signal));
  // npx starts this program in a shell. A signal to npx ends that shell only, not this program.
  const { ppid } = process;
  const watch = process.env.npm_command === 'exec' && setInterval(() => {
    if (process.ppid === ppid) return;
    clearInterval(watch);
    child.kill('SIGTERM');
  }, PARENT_INTERVAL);
  child.on('error', (error) => {
    clearInterval(watch);
    console.error(`chrome-sockets: ${path}: ${error.message}`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    clearInterval(watch);
    for (const name of SIGNALS) process.removeAllListeners(name);
    if (signal) process.kill(process.pid, signal);
    else process.exitCode = code;
  });
}
