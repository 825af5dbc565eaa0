// The types of this package agree with @types/chrome-apps, apart from the differences below.

import type {
  AcceptInfo, CreateInfo, DatagramInfo, DnsQueryType, ErrorInfo, Event, HandshakeErrorInfo, NetworkInterface, ReceiveInfo, SecureOptions, SendInfo,
  ServerSocketInfo, ServerSocketProperties, SocketInfo, SocketProperties, Sockets, Tcp, TcpServer, TlsOptions, Udp, UdpSocketInfo,
  UdpSocketProperties,
} from 'chrome-sockets';
import { sockets as installed } from 'chrome-sockets/extension';

import apps = chrome.sockets;

/** Compiles only for `true`. */
declare function holds<Claim extends true>(): Claim;

/** Both types are assignable to each other and have the same members. */
type Same<A, B> = [A, B, keyof A, keyof B] extends [B, A, keyof B, keyof A] ? true : false;

holds<Same<CreateInfo, apps.CreateInfo>>();
holds<Same<SendInfo, apps.SendInfo>>();
holds<Same<ReceiveInfo, apps.ReceiveEventArgs>>();
holds<Same<ErrorInfo, apps.ReceiveErrorEventArgs>>();
holds<Same<ErrorInfo, apps.AcceptErrorEventArgs>>();
holds<Same<Omit<SocketProperties, 'allowHalfOpen'>, apps.SocketProperties>>();
holds<Same<SocketInfo, apps.SocketInfo>>();
holds<Same<SecureOptions, apps.tcp.SecureOptions>>();
holds<Same<NonNullable<SecureOptions['tlsVersion']>, NonNullable<apps.tcp.SecureOptions['tlsVersion']>>>();
holds<Same<ServerSocketProperties, apps.tcpServer.SocketProperties>>();
holds<Same<ServerSocketInfo, apps.tcpServer.SocketInfo>>();
holds<Same<UdpSocketProperties, apps.SocketProperties>>();

// 1. @types/chrome-apps has `data` in the info of onAccept by mistake: Chrome has `clientSocketId`.
holds<Same<AcceptInfo, { socketId: number; clientSocketId: number }>>();

// By mistake too, udp has the infos of tcp: Chrome tells the sender of a datagram, and no connection.
holds<Same<DatagramInfo, apps.ReceiveEventArgs & { remoteAddress: string; remotePort: number }>>();
holds<Same<UdpSocketInfo, Omit<apps.SocketInfo, 'connected' | 'peerAddress' | 'peerPort'>>>();

// 2. Chrome's events have functions for rules, which fail. These events do not have them.
type Bare<Listener extends (...values: any) => void> = Omit<chrome.events.Event<Listener>, 'addRules' | 'getRules' | 'removeRules'>;
holds<Same<TcpServer['onAccept'], Bare<(info: AcceptInfo) => void>>>();
holds<Same<TcpServer['onAcceptError'], Bare<(info: apps.AcceptErrorEventArgs) => void>>>();
holds<Same<Tcp['onReceive'], Bare<(info: apps.ReceiveEventArgs) => void>>>();
holds<Same<Tcp['onReceiveError'], Bare<(info: apps.ReceiveErrorEventArgs) => void>>>();
holds<Same<Udp['onReceive'], Bare<(info: DatagramInfo) => void>>>();
holds<Same<Udp['onReceiveError'], Bare<(info: apps.ReceiveErrorEventArgs) => void>>>();

// 3. Chrome has DnsQueryType, and @types/chrome-apps does not.
holds<Same<Exclude<keyof TcpServer, 'setTls' | 'onHandshakeError'>, keyof typeof apps.tcpServer>>();
holds<Same<Exclude<keyof Tcp, 'DnsQueryType'>, keyof typeof apps.tcp>>();
holds<Same<Tcp['DnsQueryType'], { readonly ANY: 'any'; readonly IPV4: 'ipv4'; readonly IPV6: 'ipv6' }>>();
holds<Same<Tcp['DnsQueryType'][keyof Tcp['DnsQueryType']], DnsQueryType>>();
holds<Same<Exclude<keyof Udp, 'DnsQueryType'>, keyof typeof apps.udp>>();
holds<Same<Udp['DnsQueryType'], Tcp['DnsQueryType']>>();

// Beyond Chrome.
holds<Same<Pick<SocketProperties, 'allowHalfOpen'>, { allowHalfOpen?: boolean | undefined }>>();
type Exactly<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;
holds<Exactly<TlsOptions, { certificate: string; privateKey: string; alpn?: string[] | undefined }>>();
holds<Exactly<HandshakeErrorInfo, { socketId: number; resultCode: number; peerAddress: string; peerPort: number; missed: number }>>();
holds<Exactly<TcpServer['onHandshakeError'], Event<(info: HandshakeErrorInfo) => void>>>();
holds<Exactly<ReturnType<TcpServer['setTls']>, Promise<void>>>();
holds<Exactly<Parameters<TcpServer['setTls']>, [socketId: number, tls: TlsOptions | null]>>();

// 4. Optional arguments may be null or undefined. 5. Functions return promises.
type Form<Given, Result> = Result extends Promise<unknown> ? never : { [Index in keyof Given]-?: NonNullable<Given[Index]> };
/** The argument lists of all overloads of a function, with the callback. */
type Forms<Function> = Function extends {
  (...given: infer A): infer R;
  (...given: infer B): infer S;
  (...given: infer C): infer T;
  (...given: infer D): infer U;
} ? Form<A, R> | Form<B, S> | Form<C, T> | Form<D, U> : never;
type Functions<Space> = { [Name in keyof Space as Space[Name] extends Function ? Name : never]: Forms<Space[Name]> };
type AllSame<A, B> = { [Name in keyof A | keyof B]: Name extends keyof A & keyof B ? Same<A[Name], B[Name]> : false };
type Every<Claims> = Claims[keyof Claims] extends true ? true : false;
holds<Every<AllSame<Omit<Functions<TcpServer>, 'setTls'>, Functions<typeof apps.tcpServer>>>>();
holds<Same<Functions<TcpServer>['setTls'], [number, TlsOptions, () => void]>>();
holds<Every<AllSame<Omit<Functions<Tcp>, 'connect' | 'send'>, Omit<Functions<typeof apps.tcp>, 'connect' | 'send'>>>>();

type UdpDiffers = 'send' | 'getInfo' | 'getSockets' | 'getJoinedGroups';
holds<Every<AllSame<Omit<Functions<Udp>, UdpDiffers>, Omit<Functions<typeof apps.udp>, UdpDiffers>>>>();
holds<Same<Functions<Udp>['getJoinedGroups'], Functions<typeof apps.udp>['getJoinedGroups']>>();
holds<Same<Functions<Udp>['getInfo'], [number, (info: UdpSocketInfo) => void]>>();
holds<Same<Functions<Udp>['getSockets'], [(infos: UdpSocketInfo[]) => void]>>();

// `connect` has a fourth argument; `send` accepts views of buffers too.
type Connect = Functions<typeof apps.tcp>['connect'];
type Result = (result: number) => void;
holds<Same<Functions<Tcp>['connect'], Connect | [number, string, number, DnsQueryType, Result]>>();
type Send = Functions<typeof apps.tcp>['send'];
holds<Same<Functions<Tcp>['send'], [Send[0], Send[1] | ArrayBufferView, Send[2]]>>();
type Sent = (info: SendInfo) => void;
type To = [number, ArrayBuffer | ArrayBufferView, string, number];
holds<Same<Functions<Udp>['send'], [...To, Sent] | [...To, DnsQueryType, Sent]>>();

// These functions are assignable to Chrome's, but for the infos of udp and the callback of `setBroadcast`.
declare const ours: { tcpServer: TcpServer; tcp: Tcp; udp: Udp };
type Takes<Space> = { [Name in keyof Space]: Space[Name] extends Function ? Space[Name] : unknown };
type Udps = Omit<typeof apps.udp, 'getInfo' | 'getSockets' | 'setBroadcast'>;
const chromes: { tcpServer: Takes<typeof apps.tcpServer>; tcp: Takes<typeof apps.tcp>; udp: Takes<Udps> } = ours;
const promising: {
  tcpServer: {
    create(properties?: apps.tcpServer.SocketProperties): Promise<apps.CreateInfo>;
    getInfo(socketId: number): Promise<apps.tcpServer.SocketInfo>;
    getSockets(): Promise<apps.tcpServer.SocketInfo[]>;
  } & Done<apps.tcpServer.SocketProperties>;
  tcp: {
    create(properties?: apps.SocketProperties): Promise<apps.CreateInfo>;
    getInfo(socketId: number): Promise<apps.SocketInfo>;
    getSockets(): Promise<apps.SocketInfo[]>;
  } & Done<apps.SocketProperties>;
  udp: {
    create(properties?: apps.SocketProperties): Promise<apps.CreateInfo>;
    getInfo(socketId: number): Promise<UdpSocketInfo>;
    getSockets(): Promise<UdpSocketInfo[]>;
    getJoinedGroups(socketId: number): Promise<string[]>;
  } & Omit<Done<apps.SocketProperties>, 'disconnect'>;
} = ours;
interface Done<Properties> {
  update(socketId: number, properties: Properties): Promise<void>;
  setPaused(socketId: number, paused: boolean): Promise<void>;
  disconnect(socketId: number): Promise<void>;
  close(socketId: number): Promise<void>;
}

// As in Chrome, these callbacks are required.
const { tcpServer, tcp, udp } = installed;
const created: Promise<CreateInfo>[] = [tcpServer.create(), tcp.create(), udp.create()];
// @ts-expect-error
tcpServer.listen(1, '127.0.0.1', 0);
// @ts-expect-error
tcp.connect(1, '127.0.0.1', 7);
// @ts-expect-error
tcp.secure(1);
// @ts-expect-error
tcp.send(1, new ArrayBuffer(1));
// @ts-expect-error
tcp.setNoDelay(1, true);
// @ts-expect-error
tcp.setKeepAlive(1, true);
// @ts-expect-error
udp.bind(1, '127.0.0.1', 0);
// @ts-expect-error
udp.send(1, new ArrayBuffer(1), '127.0.0.1', 7);
// @ts-expect-error
udp.joinGroup(1, '224.0.0.251');
// @ts-expect-error: @types/chrome-apps has this callback as optional, and Chrome requires it
udp.setBroadcast(1, true);

// 5. Beyond @types/chrome-apps getNetworkInterfaces returns a promise without a callback.
holds<Same<NetworkInterface, chrome.system.network.NetworkInterface>>();
declare const { system }: Sockets;
const listed: Promise<chrome.system.network.NetworkInterface[]> = system.network.getNetworkInterfaces();
system.network.getNetworkInterfaces((found: chrome.system.network.NetworkInterface[]) => found);
