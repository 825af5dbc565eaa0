/**
 * What Chrome Apps use besides sockets, where it is simple. `docs/porting.md` has the list of what is here, what only fails
 * with a text that says so, and what to use instead.
 */

/** The files of the app's package, for `chrome.runtime.getPackageDirectoryEntry`. */
export interface Files {
  /** The content of the file at an absolute path such as `/images/logo.png`; undefined if there is none. */
  read(path: string): Promise<Blob | undefined> | Blob | undefined;
  /** The names in a folder; those of folders end with a slash. Without it folders cannot be listed. */
  list?(path: string): Promise<string[]> | string[];
}

export interface ShimOptions {
  /** `chrome.runtime.id`; `chrome-sockets-app` by default. */
  id?: string | undefined;
  /** What `chrome.runtime.getManifest` returns; `{}` by default. */
  manifest?: object | undefined;
  files?: Files | undefined;
  /** What `chrome.runtime.getURL` is relative to; by default the page or script. */
  base?: string | URL | undefined;
  /** Where to find `navigator` and `process`; `globalThis` by default. */
  environment?: any;
}

/**
 * Adds what is missing to `chrome` (by default `globalThis.chrome`, which is made if it is missing): `app.runtime`,
 * `app.window`, `power`, `fileSystem`, and parts of `runtime`. What `chrome` has already stays.
 */
export function install(chrome?: any, options?: ShimOptions): {
  chrome: any;
  /** Raises `chrome.app.runtime.onLaunched`, which starts most Chrome Apps. */
  launch(launchData?: object): void;
};

/** Files below a URL, by `fetch`. They cannot be listed. */
export function filesAt(base: string | URL, fetch?: (url: URL) => Promise<Response>): Files;
