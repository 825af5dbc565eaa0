// In an extension with the types of @types/chrome, which has no chrome.sockets, these are what else they need.

import { connect } from 'chrome-sockets';
import type { Event, HostError, Runtime, Sockets } from 'chrome-sockets';
import { sockets } from 'chrome-sockets/extension';

// The events have no rules. Chrome's have the functions for them, which fail there.
type Bare<Listener extends (...values: any) => void> = Omit<chrome.events.Event<Listener>, 'addRules' | 'getRules' | 'removeRules'>;
type Listener = (info: { socketId: number }) => void;
const toThem: Bare<Listener> = {} as Event<Listener>;
const toUs: Event<Listener> = {} as Bare<Listener>;

// The runtime's own lastError, which is not always there, and the extension's own manifest.
const runtimes: Runtime[] = [{}, chrome.runtime];
const [, runtime] = runtimes;
const lastError: chrome.runtime.LastError | undefined = runtime.lastError;
const connected: Promise<Sockets> = connect(new URL('ws://127.0.0.1:8787'), {
  app: chrome.runtime.id,
  manifest: chrome.runtime.getManifest(),
  token: '',
  reconnectTimeout: 10_000,
  onRetry: (error) => retried.push(error),
  runtime,
  WebSocket,
});
// A class may leave out what only a token needs; it is called with a text and a list, or with a text alone.
type Options = Parameters<typeof connect>[1];
const make = (options: Options) => options.WebSocket && [new options.WebSocket(''), new options.WebSocket('', [''])];
const retried: HostError[] = [new Error('one without a code')];
const code: string | undefined = retried[0]?.code;
const withCode: HostError = Object.assign(new Error(), { code: 'busy' });
const { tcpServer, tcp, host, runtime: same } = await connect('ws://127.0.0.1:8787', { app: chrome.runtime.id });
const found: Pick<Sockets, 'tcpServer' | 'tcp'> = sockets;
if ('host' in sockets) {
  const { host } = sockets;
  host.onDisconnect.addListener((error) => console.error(error.message));
  host.onConnect.addListener(() => console.log(host.connected satisfies boolean));
  host.close();
}

// @ts-expect-error: the app has to say who it is
connect('ws://127.0.0.1:8787', {});
// @ts-expect-error: it is not there
tcp.listen;
