// Prepares a page for the benchmark.

import { connect } from '../../index.mjs';
import './speed-servers.mjs';

globalThis.connectTo = async (url, manifest) => {
  globalThis.sockets = await connect(url, { app: 'speed', manifest });
};
