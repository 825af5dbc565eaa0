/**
 * `chrome.sockets.tcpServer` and `chrome.sockets.tcp` in Node, in pages and in
 * workers, by a `chrome-sockets` host. The types agree with `chrome.sockets` of
 * `@types/chrome-apps`. Beyond it there are promises, `DnsQueryType`, views of
 * buffers to send, and null for what is optional, all as in Chrome; `AcceptInfo`
 * is Chrome's own, and the events have no rules.
 */

/** An event, as `chrome.events.Event`. */
export interface Event<Listener extends (...values: any) => void> {
  /** Adding a listener twice is adding it once. */
  addListener(listener: Listener): void;
  removeListener(listener: Listener): void;
  hasListener(listener: Listener): boolean;
  hasListeners(): boolean;
}

export interface CreateInfo {
  /** Counts from 1 in each namespace, and is never used again. */
  socketId: number;
}

export interface AcceptInfo {
  socketId: number;
  /** A socket of `tcp`, which is paused. */
  clientSocketId: number;
}

export interface ErrorInfo {
  socketId: number;
  /** A net error, below 0. */
  resultCode: number;
}

export interface ReceiveInfo {
  socketId: number;
  data: ArrayBuffer;
}

export interface SendInfo {
  /** 0, or a net error. */
  resultCode: number;
  bytesSent?: number | undefined;
}

export interface ServerSocketProperties {
  persistent?: boolean | undefined;
  name?: string | undefined;
}

export interface SocketProperties extends ServerSocketProperties {
  /** The most bytes of one `onReceive`: 4096, if it is not set. */
  bufferSize?: number | undefined;
}

export interface ServerSocketInfo {
  socketId: number;
  persistent: boolean;
  name?: string | undefined;
  paused: boolean;
  localAddress?: string | undefined;
  localPort?: number | undefined;
}

export interface SocketInfo extends ServerSocketInfo {
  bufferSize?: number | undefined;
  connected: boolean;
  peerAddress?: string | undefined;
  peerPort?: number | undefined;
}

export type TLSVersion = 'tls1' | 'tls1.1' | 'tls1.2' | 'tls1.3';

export interface SecureOptions {
  tlsVersion?: { min?: TLSVersion | undefined; max?: TLSVersion | undefined } | undefined;
}

export type DnsQueryType = 'any' | 'ipv4' | 'ipv6';

/** `chrome.sockets.tcpServer`. */
export interface TcpServer {
  create(callback: (createInfo: CreateInfo) => void): void;
  create(properties: ServerSocketProperties, callback: (createInfo: CreateInfo) => void): void;
  create(properties?: ServerSocketProperties): Promise<CreateInfo>;
  update(socketId: number, properties: ServerSocketProperties, callback: () => void): void;
  update(socketId: number, properties: ServerSocketProperties): Promise<void>;
  setPaused(socketId: number, paused: boolean, callback: () => void): void;
  setPaused(socketId: number, paused: boolean): Promise<void>;
  listen(socketId: number, address: string, port: number, backlog: number | null | undefined, callback: (result: number) => void): void;
  listen(socketId: number, address: string, port: number, callback: (result: number) => void): void;
  disconnect(socketId: number, callback: () => void): void;
  disconnect(socketId: number): Promise<void>;
  close(socketId: number, callback: () => void): void;
  close(socketId: number): Promise<void>;
  getInfo(socketId: number, callback: (socketInfo: ServerSocketInfo) => void): void;
  getInfo(socketId: number): Promise<ServerSocketInfo>;
  getSockets(callback: (socketInfos: ServerSocketInfo[]) => void): void;
  getSockets(): Promise<ServerSocketInfo[]>;
  readonly onAccept: Event<(info: AcceptInfo) => void>;
  readonly onAcceptError: Event<(info: ErrorInfo) => void>;
}

/** `chrome.sockets.tcp`. */
export interface Tcp {
  readonly DnsQueryType: { readonly ANY: 'any'; readonly IPV4: 'ipv4'; readonly IPV6: 'ipv6' };
  create(callback: (createInfo: CreateInfo) => void): void;
  create(properties: SocketProperties, callback: (createInfo: CreateInfo) => void): void;
  create(properties?: SocketProperties): Promise<CreateInfo>;
  update(socketId: number, properties: SocketProperties, callback: () => void): void;
  update(socketId: number, properties: SocketProperties): Promise<void>;
  setPaused(socketId: number, paused: boolean, callback: () => void): void;
  setPaused(socketId: number, paused: boolean): Promise<void>;
  setKeepAlive(socketId: number, enable: boolean, callback: (result: number) => void): void;
  setKeepAlive(socketId: number, enable: boolean, delay: number | null | undefined, callback: (result: number) => void): void;
  setNoDelay(socketId: number, noDelay: boolean, callback: (result: number) => void): void;
  connect(socketId: number, peerAddress: string, peerPort: number, callback: (result: number) => void): void;
  connect(socketId: number, peerAddress: string, peerPort: number, dnsQueryType: DnsQueryType | null | undefined, callback: (result: number) => void): void;
  disconnect(socketId: number, callback: () => void): void;
  disconnect(socketId: number): Promise<void>;
  secure(socketId: number, callback: (result: number) => void): void;
  secure(socketId: number, options: SecureOptions | null | undefined, callback: (result: number) => void): void;
  send(socketId: number, data: ArrayBuffer | ArrayBufferView, callback: (sendInfo: SendInfo) => void): void;
  close(socketId: number, callback: () => void): void;
  close(socketId: number): Promise<void>;
  getInfo(socketId: number, callback: (socketInfo: SocketInfo) => void): void;
  getInfo(socketId: number): Promise<SocketInfo>;
  getSockets(callback: (socketInfos: SocketInfo[]) => void): void;
  getSockets(): Promise<SocketInfo[]>;
  readonly onReceive: Event<(info: ReceiveInfo) => void>;
  readonly onReceiveError: Event<(info: ErrorInfo) => void>;
}

/** The object whose `lastError` callbacks look at: Chrome's is `chrome.runtime`. */
export interface Runtime {
  /** What the call failed with whose callback runs. */
  lastError?: { message?: string | undefined } | undefined;
}

/** The host at the other end. */
export interface Host {
  /** Whether it is there. */
  readonly connected: boolean;
  /** It has gone. Before this, nothing was told of it; after it, each socket that is lost. */
  readonly onLost: Event<(error: HostError) => void>;
  /** It, or another one, is there (again). */
  readonly onBack: Event<() => void>;
  /** Leaves it for good: the app is suspended there. */
  close(): void;
}

export interface Sockets {
  readonly tcpServer: TcpServer;
  readonly tcp: Tcp;
  readonly runtime: Runtime;
  readonly host: Host;
}

/** Why the host did not let the app in, or has ended the connection. */
export interface HostError extends Error {
  /**
   * One of the codes of `docs/protocol.md`: `forbidden` (the token), `origin` (the page), `version`, `unknown-app`, `bad-manifest`,
   * `app-in-use`, `busy`, `memory` and others; or `unreachable` where no host answers (in Node the system's, `ECONNREFUSED` for
   * instance).
   */
  code?: string | undefined;
}

export interface ConnectOptions {
  /** The app's id. Its persistent sockets are found again under it. */
  app: string;
  /** What it asks to be permitted, as a Chrome App's manifest: for a host that runs with `--dev`. */
  manifest?: object | undefined;
  /** What the host asks for, if it was given a token. It is shown with the WebSocket's handshake. */
  token?: string | undefined;
  /** How long calls wait for a host that has gone, in milliseconds (10,000). Then they fail until it is back. */
  patience?: number | undefined;
  /** Where callbacks look for `lastError`: an object of its own, otherwise. */
  runtime?: Runtime | undefined;
  /**
   * Hears at once, with its `code`, why the host does not let the app in yet: `app-in-use`, `busy` or `memory`. The client tries
   * again for as long as `patience` says; each reason is told once. Without it a warning goes to the console.
   */
  onRetry?: ((error: HostError) => void) | undefined;
  /** Another class of WebSockets than the one that is there. `protocols` is given if there is a token. */
  WebSocket?: (new (url: string, protocols?: string[]) => any) | undefined;
}

/**
 * Connects to the host at a `ws:` or `wss:` URL.
 *
 * Fails with a `HostError` if no host is there, or if the app may not come in. Once connected it comes back by itself.
 */
export function connect(url: string | URL, options: ConnectOptions): Promise<Sockets>;
