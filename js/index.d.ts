/**
 * `chrome.sockets.tcpServer`, `chrome.sockets.tcp` and `chrome.sockets.udp` in Node, in pages and in workers, through a
 * `chrome-sockets` host.
 *
 * The types agree with `chrome.sockets` of `@types/chrome-apps`. Beyond it they have promises, `DnsQueryType`, buffer views
 * as data, and null for optional arguments, all as in Chrome. `AcceptInfo` is Chrome's own, and the events have no rules.
 */

/** An event, as `chrome.events.Event`. */
export interface Event<Listener extends (...values: any) => void> {
  /** Adds a listener; adding it twice has no effect. */
  addListener(listener: Listener): void;
  removeListener(listener: Listener): void;
  hasListener(listener: Listener): boolean;
  hasListeners(): boolean;
}

export interface CreateInfo {
  /** Counts from 1 in each namespace. An id is never reused. */
  socketId: number;
}

export interface AcceptInfo {
  socketId: number;
  /** A paused socket of `tcp`. */
  clientSocketId: number;
}

export interface ErrorInfo {
  socketId: number;
  /** A net error code, below 0. */
  resultCode: number;
}

export interface ReceiveInfo {
  socketId: number;
  data: ArrayBuffer;
}

export interface DatagramInfo {
  socketId: number;
  /** The datagram; it may be empty. */
  data: ArrayBuffer;
  /** The address of the sender. */
  remoteAddress: string;
  /** The port of the sender. */
  remotePort: number;
}

export interface SendInfo {
  /** 0, or a net error code. */
  resultCode: number;
  bytesSent?: number | undefined;
}

export interface ServerSocketProperties {
  persistent?: boolean | undefined;
  name?: string | undefined;
}

export interface SocketProperties extends ServerSocketProperties {
  /** The most bytes of one `onReceive`; 4096 by default. */
  bufferSize?: number | undefined;
  /**
   * Beyond Chrome: whether the socket can send after its peer has shut its writing side; false by default. Then
   * `onReceiveError` reports that once, and the socket stays connected until `disconnect` or `close`, which deliver what
   * was sent.
   */
  allowHalfOpen?: boolean | undefined;
}

export interface UdpSocketProperties extends ServerSocketProperties {
  /** The longest datagram that is received; 4096 by default. A longer one is lost, and pauses the socket. */
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

export interface UdpSocketInfo extends ServerSocketInfo {
  bufferSize?: number | undefined;
}

export type TLSVersion = 'tls1' | 'tls1.1' | 'tls1.2' | 'tls1.3';

export interface SecureOptions {
  tlsVersion?: { min?: TLSVersion | undefined; max?: TLSVersion | undefined } | undefined;
}

export type DnsQueryType = 'any' | 'ipv4' | 'ipv6';

/** Beyond Chrome: how a server socket encrypts. */
export interface TlsOptions {
  /** The server's certificate in PEM, followed by those of its issuers; at most 64 KiB. */
  certificate: string;
  /** The private key of the certificate in PEM, not encrypted; at most 16 KiB. */
  privateKey: string;
  /** The protocols that the server speaks (ALPN), best first. By default none is chosen. */
  alpn?: string[] | undefined;
}

/** Beyond Chrome: a TLS handshake that failed. */
export interface HandshakeErrorInfo {
  socketId: number;
  /** A net error code: for instance -107 if the peer does not speak TLS, -117 if it refuses the certificate, -7 after 10 s. */
  resultCode: number;
  peerAddress: string;
  peerPort: number;
  /** The failures before this one that raised no event because there were too many. */
  missed: number;
}

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
  /**
   * Beyond Chrome: encrypts the connections that are accepted from now on by TLS; `null` ends that. `onAccept` is raised when the handshake is
   * complete. A certificate or key that cannot be used is an error with the reason, and changes nothing.
   */
  setTls(socketId: number, tls: TlsOptions | null, callback: () => void): void;
  setTls(socketId: number, tls: TlsOptions | null): Promise<void>;
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
  /** Beyond Chrome: a TLS handshake of a connection failed, and the connection is closed. */
  readonly onHandshakeError: Event<(info: HandshakeErrorInfo) => void>;
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

/** `chrome.sockets.udp`. */
export interface Udp {
  readonly DnsQueryType: { readonly ANY: 'any'; readonly IPV4: 'ipv4'; readonly IPV6: 'ipv6' };
  create(callback: (createInfo: CreateInfo) => void): void;
  create(properties: UdpSocketProperties, callback: (createInfo: CreateInfo) => void): void;
  create(properties?: UdpSocketProperties): Promise<CreateInfo>;
  update(socketId: number, properties: UdpSocketProperties, callback: () => void): void;
  update(socketId: number, properties: UdpSocketProperties): Promise<void>;
  setPaused(socketId: number, paused: boolean, callback: () => void): void;
  setPaused(socketId: number, paused: boolean): Promise<void>;
  bind(socketId: number, address: string, port: number, callback: (result: number) => void): void;
  send(socketId: number, data: ArrayBuffer | ArrayBufferView, address: string, port: number, callback: (sendInfo: SendInfo) => void): void;
  send(socketId: number, data: ArrayBuffer | ArrayBufferView, address: string, port: number, dnsQueryType: DnsQueryType | null | undefined, callback: (sendInfo: SendInfo) => void): void;
  close(socketId: number, callback: () => void): void;
  close(socketId: number): Promise<void>;
  getInfo(socketId: number, callback: (socketInfo: UdpSocketInfo) => void): void;
  getInfo(socketId: number): Promise<UdpSocketInfo>;
  getSockets(callback: (socketInfos: UdpSocketInfo[]) => void): void;
  getSockets(): Promise<UdpSocketInfo[]>;
  joinGroup(socketId: number, address: string, callback: (result: number) => void): void;
  leaveGroup(socketId: number, address: string, callback: (result: number) => void): void;
  setMulticastTimeToLive(socketId: number, ttl: number, callback: (result: number) => void): void;
  setMulticastLoopbackMode(socketId: number, enabled: boolean, callback: (result: number) => void): void;
  getJoinedGroups(socketId: number, callback: (groups: string[]) => void): void;
  getJoinedGroups(socketId: number): Promise<string[]>;
  setBroadcast(socketId: number, enabled: boolean, callback: (result: number) => void): void;
  readonly onReceive: Event<(info: DatagramInfo) => void>;
  readonly onReceiveError: Event<(info: ErrorInfo) => void>;
}

/** One address of a network interface. */
export interface NetworkInterface {
  /** The name of the interface, such as `eth0`. */
  name: string;
  /** An IPv4 or IPv6 address. */
  address: string;
  /** How many bits of the address are its network's. */
  prefixLength: number;
}

/** `chrome.system.network`. The app's manifest needs the permission `system.network`. */
export interface SystemNetwork {
  /** The addresses of the host's machine, without the loopback interface and those that are down. */
  getNetworkInterfaces(callback: (networkInterfaces: NetworkInterface[]) => void): void;
  getNetworkInterfaces(): Promise<NetworkInterface[]>;
}

/** The object that has `lastError`; in Chrome it is `chrome.runtime`. */
export interface Runtime {
  /** The error of the call whose callback runs. */
  lastError?: { message?: string | undefined } | undefined;
}

/** The connection to the host. */
export interface Host {
  /** Whether the client is connected. */
  readonly connected: boolean;
  /** The connection was lost. The error events of lost sockets follow. */
  readonly onDisconnect: Event<(error: HostError) => void>;
  /** The client has connected again, to the same or another run of the host. */
  readonly onConnect: Event<() => void>;
  /** Disconnects for good. The host suspends the app. */
  close(): void;
}

export interface Sockets {
  readonly tcpServer: TcpServer;
  readonly tcp: Tcp;
  readonly udp: Udp;
  /** `chrome.system`. */
  readonly system: { readonly network: SystemNetwork };
  readonly runtime: Runtime;
  readonly host: Host;
}

/** Why the host rejected the app or closed the connection. */
export interface HostError extends Error {
  /**
   * A code of `docs/protocol.md`: `forbidden` (the token), `origin` (the page), `version`, `unknown-app`, `bad-manifest`,
   * `app-in-use`, `busy`, `memory` and others. If no host answers it is `unreachable`, or the code of the error that another
   * `WebSocket` class reports, such as `ECONNREFUSED`.
   */
  code?: string | undefined;
}

export interface ConnectOptions {
  /** The app's id. Persistent sockets belong to it. */
  app: string;
  /** The permissions, as a Chrome App's manifest. Only a host with `--dev` accepts it. */
  manifest?: object | undefined;
  /** The token of the host, if it has one. */
  token?: string | undefined;
  /** How long calls wait for a lost connection, in milliseconds; 10,000 by default. After it they fail until the client has reconnected. */
  reconnectTimeout?: number | undefined;
  /** The object that gets `lastError`; a new one by default. */
  runtime?: Runtime | undefined;
  /**
   * Called when the host rejects the app for now: `code` is `app-in-use`, `busy` or `memory`. The client retries until
   * `reconnectTimeout`. Called once for each code. By default the client logs a warning.
   */
  onRetry?: ((error: HostError) => void) | undefined;
  /** The WebSocket class to use; by default the global one. It gets `protocols` if there is a token. */
  WebSocket?: (new (url: string, protocols?: string[]) => any) | undefined;
}

/**
 * Connects to the host at a `ws:` or `wss:` URL.
 *
 * Rejects with a `HostError` if no host answers or if the host rejects the app. After that it reconnects by itself.
 */
export function connect(url: string | URL, options: ConnectOptions): Promise<Sockets>;
