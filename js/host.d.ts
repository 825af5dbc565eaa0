import type { ConnectOptions, Host, Sockets } from './index.js';

export interface StartOptions extends Omit<ConnectOptions, 'manifest' | 'token'> {
  /** The permissions, as a Chrome App's manifest. With it the host runs with `--dev`; without it `args` must have `--manifest`. */
  manifest?: object | undefined;
  /** The token of the host; a random one by default, which only this process knows. */
  token?: string | undefined;
  /** More arguments of `chrome-sockets serve`. */
  args?: readonly string[] | undefined;
  /** Where the host listens; `127.0.0.1:0` by default, a free port. */
  listen?: string | undefined;
  /** Environment variables of the host, beside those of this process. */
  env?: Record<string, string> | undefined;
  /** The path of the program; that of the package `chrome-sockets-host` by default. */
  program?: string | undefined;
  /** How long the host may take to listen, in milliseconds; 30,000 by default. */
  startTimeout?: number | undefined;
}

/** How the host ended. */
export interface HostExit {
  code: number | null;
  signal: string | null;
  /** The program could not be started. */
  error?: Error | undefined;
}

/** A host that is a child of this process. */
export interface OwnHost extends Host {
  /** The URL of its gateway, for other clients, which need the token. */
  readonly url: string;
  readonly token: string;
  readonly pid: number;
  /** Resolves when the host has ended, for whatever reason. */
  readonly exited: Promise<HostExit>;
  /** Disconnects, ends the host, and resolves when it has ended: after 10 seconds it is killed. */
  stop(): Promise<HostExit>;
}

/**
 * Starts a host as a child of this process, waits until it listens, and connects to it.
 *
 * The host ends with this process, also when it is killed: it waits for the end of its standard input. While the client is
 * connected this process keeps running; after `host.close()` it can end.
 *
 * Rejects if the program is missing or ends before it listens, and as `connect` does. Then no host is left.
 */
export function startHost(options: StartOptions): Promise<Omit<Sockets, 'host'> & { readonly host: OwnHost }>;
