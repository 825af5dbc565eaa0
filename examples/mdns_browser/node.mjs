// Lists the services of the local network: node node.mjs [--host URL] [--app ID] [--token TOKEN]

import { parseArgs } from 'node:util';

import { connect } from './chrome-sockets/index.mjs';
import { browse, lineOf } from './browser.mjs';

const { values: { host, app, token } } = parseArgs({
  options: {
    host: { type: 'string', default: 'ws://127.0.0.1:8787' },
    app: { type: 'string', default: 'mdns-browser' },
    token: { type: 'string' },
  },
});
const manifest = { sockets: { udp: { bind: '0.0.0.0:*', send: '224.0.0.251:5353', multicastMembership: '' } } };
const sockets = await connect(host, { app, token, manifest });
sockets.host.onDisconnect.addListener((error) => {
  console.error(error.message);
  process.exit(1);
});
let known = new Set();
const { isShared } = await browse({ sockets, runtime: sockets.runtime }, {
  onChange(services) {
    const lines = new Set(services.map(lineOf));
    for (const line of lines) if (!known.has(line)) console.log(`+ ${line}`);
    for (const line of known) if (!lines.has(line)) console.log(`- ${line}`);
    known = lines;
  },
  onError: (error) => console.error(error.message),
});
console.log(isShared ? 'Browsing beside another responder' : 'Browsing');
