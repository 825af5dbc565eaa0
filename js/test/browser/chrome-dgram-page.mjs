import { connect } from '../../index.mjs';
import { echo, greet, sendNowhere } from './chrome-dgram-client.mjs';

globalThis.load = async (url, manifest) => {
  const sockets = await connect(url, { app: 'page', manifest });
  // Everything that chrome-dgram uses of `chrome`.
  globalThis.chrome = { sockets, runtime: Object.assign(sockets.runtime, { id: 'page' }) };
  const { default: dgram } = await import('chrome-dgram');
  Object.assign(globalThis, {
    echo: (port) => echo(dgram, port),
    greet: (port) => greet(dgram, port),
    sendNowhere: () => sendNowhere(dgram),
  });
};
