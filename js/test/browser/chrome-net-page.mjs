import { connect } from '../../index.mjs';
import { serve } from './chrome-net-web.mjs';

globalThis.serveAt = async (url, manifest, port) => {
  const sockets = await connect(url, { app: 'page', manifest });
  // Everything that chrome-net uses of `chrome`.
  globalThis.chrome = { sockets, runtime: Object.assign(sockets.runtime, { id: 'page' }) };
  const { default: net } = await import('chrome-net');
  globalThis.serve = (port) => serve(net, port);
  return serve(net, port);
};
