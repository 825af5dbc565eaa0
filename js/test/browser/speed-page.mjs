// Makes a page fit to be measured.

import { connect } from '../../index.mjs';
import './speed-stage.mjs';

globalThis.connectTo = async (url, manifest) => {
  globalThis.sockets = await connect(url, { app: 'speed', manifest });
};
