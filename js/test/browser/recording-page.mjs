// Lets a page replay recordings, each as its own app.

import { connect } from '../../index.mjs';
import { player } from './recording-player.mjs';

globalThis.player = player;

globalThis.connectTo = (url, app, manifest) => async () => {
  const sockets = await connect(url, { app, manifest });
  return { sockets, runtime: sockets.runtime, end: () => sockets.host.close() };
};
