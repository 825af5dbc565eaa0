/**
 * The path of the program `chrome-sockets` for this platform, or the value of the environment variable `CHROME_SOCKETS_HOST`.
 *
 * @throws if the package of this platform is not installed
 */
export function program(): string;

/** Runs the program with these arguments, the streams of this process, and its exit code. */
export function run(args: readonly string[]): void;
