import type { NetworkInterface, Sockets, Tcp, TcpServer, Udp } from './index.js';

/**
 * The installed `chrome.sockets` with its `host`, or the browser's own `chrome.sockets` where it has one.
 */
export const sockets: Sockets | Pick<Sockets, 'tcpServer' | 'tcp' | 'udp'>;

declare global {
  namespace chrome {
    /** Installed by importing `chrome-sockets/extension`. */
    namespace sockets {
      const tcpServer: TcpServer;
      const tcp: Tcp;
      const udp: Udp;
    }
    /** Installed by importing `chrome-sockets/extension`. */
    namespace system.network {
      function getNetworkInterfaces(callback: (networkInterfaces: NetworkInterface[]) => void): void;
      function getNetworkInterfaces(): Promise<NetworkInterface[]>;
    }
  }
}
