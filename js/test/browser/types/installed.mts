// Importing 'chrome-sockets/extension' declares chrome.sockets beside @types/chrome.

import type { Sockets } from 'chrome-sockets';
import 'chrome-sockets/extension';

const installed: Pick<Sockets, 'tcpServer' | 'tcp' | 'udp'> = chrome.sockets;
const { socketId }: { socketId: number } = await chrome.sockets.tcpServer.create({ persistent: true });
chrome.sockets.tcpServer.onAccept.addListener(({ clientSocketId }) => chrome.sockets.tcp.setPaused(clientSocketId, false));
chrome.sockets.udp.onReceive.addListener(({ remoteAddress, remotePort }) => console.log(`${remoteAddress}:${remotePort}`));
chrome.alarms.create({ periodInMinutes: 1 });
// @ts-expect-error: there is no such function
chrome.sockets.tcp.listen;
// @ts-expect-error: the id must be a number
chrome.sockets.tcpServer.listen(`${socketId}`, '127.0.0.1', 80, () => {});
const [{ name, address, prefixLength }] = await chrome.system.network.getNetworkInterfaces();
const shown: string = `${name} ${address}/${prefixLength.toFixed()}`;
chrome.system.network.getNetworkInterfaces(([first]) => console.log(first?.address === shown));
