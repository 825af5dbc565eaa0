// Compiles in an extension with @types/chrome, which has no chrome.sockets.

import { connect } from 'chrome-sockets';
import type { Event, HostError, Runtime, Sockets } from 'chrome-sockets';
import { sockets } from 'chrome-sockets/extension';

// Chrome's events have functions for rules, which fail. These events do not have them.
type Bare<Listener extends (...values: any) => void> = Omit<chrome.events.Event<Listener>, 'addRules' | 'getRules' | 'removeRules'>;
type Listener = (info: { socketId: number }) => void;
const toThem: Bare<Listener> = {} as Event<Listener>;
const toUs: Event<Listener> = {} as Bare<Listener>;

// lastError of chrome.runtime is optional. The manifest is the extension's own.
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
// A WebSocket class need not accept protocols, which only a token needs.
type Options = Parameters<typeof connect>[1];
const make = (options: Options) => options.WebSocket && [new options.WebSocket(''), new options.WebSocket('', [''])];
const retried: HostError[] = [new Error('one without a code')];
const code: string | undefined = retried[0]?.code;
const withCode: HostError = Object.assign(new Error(), { code: 'busy' });
const { tcpServer, tcp, udp, host, runtime: same } = await connect('ws://127.0.0.1:8787', { app: chrome.runtime.id });
const found: Pick<Sockets, 'tcpServer' | 'tcp' | 'udp'> = sockets;
if ('host' in sockets) {
  const { host } = sockets;
  host.onDisconnect.addListener((error) => console.error(error.message));
  host.onConnect.addListener(() => console.log(host.connected satisfies boolean));
  host.close();
}

// @ts-expect-error: `app` is required
connect('ws://127.0.0.1:8787', {});
// @ts-expect-error: there is no such function
tcp.listen;
// @ts-expect-error: nor this one
udp.connect;
