import type { Sockets } from './index.js';

/**
 * What importing this has installed as `chrome.sockets`, with its `host`; or the browser's own
 * `chrome.sockets`, where it has one.
 */
export const sockets: Sockets | Pick<Sockets, 'tcpServer' | 'tcp'>;
