// Makes a page play recordings on the host, each as an app of its own.

import { connect } from '../../index.mjs';
import { stage } from './stage.mjs';

globalThis.stage = stage;

globalThis.connectTo = (url, app, manifest) => async () => {
  const sockets = await connect(url, { app, manifest });
  return { sockets, runtime: sockets.runtime, end: () => sockets.host.close() };
};
