/**
 * Chrome's deprecated `chrome.socket` on top of `chrome.sockets`.
 */

import type { Sockets } from './index.js';

export interface ReadInfo {
  /** The number of bytes; 0 at the end of the connection; else a net error code. */
  resultCode: number;
  data: ArrayBuffer;
}

export interface RecvFromInfo extends ReadInfo {
  address: string;
  port: number;
}

export interface WriteInfo {
  /** The number of bytes, or a net error code. */
  bytesWritten: number;
}

export interface AcceptInfo {
  resultCode: number;
  socketId?: number | undefined;
}

export interface SocketInfo {
  socketType: 'tcp' | 'udp';
  connected: boolean;
  peerAddress?: string | undefined;
  peerPort?: number | undefined;
  localAddress?: string | undefined;
  localPort?: number | undefined;
}

export interface NetworkInterface {
  name: string;
  address: string;
  prefixLength: number;
}

export interface SecureOptions {
  tlsVersion?: { min?: string | undefined; max?: string | undefined } | undefined;
}

type Result = (result: number) => void;
type Data = ArrayBuffer | ArrayBufferView;

/** `chrome.socket`. */
export interface Socket {
  create(type: 'tcp' | 'udp', callback: (createInfo: { socketId: number }) => void): void;
  create(type: 'tcp' | 'udp', options: {} | null | undefined, callback: (createInfo: { socketId: number }) => void): void;
  destroy(socketId: number): void;
  connect(socketId: number, hostname: string, port: number, callback: Result): void;
  bind(socketId: number, address: string, port: number, callback: Result): void;
  disconnect(socketId: number): void;
  read(socketId: number, callback: (readInfo: ReadInfo) => void): void;
  read(socketId: number, bufferSize: number | null | undefined, callback: (readInfo: ReadInfo) => void): void;
  write(socketId: number, data: Data, callback: (writeInfo: WriteInfo) => void): void;
  recvFrom(socketId: number, callback: (recvFromInfo: RecvFromInfo) => void): void;
  recvFrom(socketId: number, bufferSize: number | null | undefined, callback: (recvFromInfo: RecvFromInfo) => void): void;
  /** As in Chrome, an error before the data is sent answers a number instead, with `lastError`. */
  sendTo(socketId: number, data: Data, address: string, port: number, callback: (writeInfo: WriteInfo) => void): void;
  listen(socketId: number, address: string, port: number, callback: Result): void;
  listen(socketId: number, address: string, port: number, backlog: number | null | undefined, callback: Result): void;
  accept(socketId: number, callback: (acceptInfo: AcceptInfo) => void): void;
  setKeepAlive(socketId: number, enable: boolean, callback: (result: boolean) => void): void;
  setKeepAlive(socketId: number, enable: boolean, delay: number | null | undefined, callback: (result: boolean) => void): void;
  setNoDelay(socketId: number, noDelay: boolean, callback: (result: boolean) => void): void;
  getInfo(socketId: number, callback: (result: SocketInfo) => void): void;
  getNetworkList(callback: (result: NetworkInterface[]) => void): void;
  joinGroup(socketId: number, address: string, callback: Result): void;
  leaveGroup(socketId: number, address: string, callback: Result): void;
  setMulticastTimeToLive(socketId: number, ttl: number, callback: Result): void;
  setMulticastLoopbackMode(socketId: number, enabled: boolean, callback: Result): void;
  getJoinedGroups(socketId: number, callback: (groups: string[]) => void): void;
  secure(socketId: number, callback: Result): void;
  secure(socketId: number, options: SecureOptions | null | undefined, callback: Result): void;
}

/**
 * Makes `chrome.socket` on `chrome.sockets`. The ids are its own. UDP needs `sockets.udp`, and `getNetworkList` needs
 * `sockets.system` and the permission `system.network`.
 */
export function makeSocket(sockets: Pick<Sockets, 'tcp' | 'tcpServer' | 'runtime'> & Partial<Pick<Sockets, 'udp' | 'system'>>): Socket;
