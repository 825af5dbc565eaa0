// Serves a folder that the user chooses from a page, as long as the page is open.

import { connect } from './chrome-sockets/index.mjs';
import { filesOf } from './files.mjs';
import { serve } from './server.mjs';

const [host, port, folder, state] = ['host', 'port', 'folder', 'state'].map((id) => document.getElementById(id));
let end = () => {};

folder.addEventListener('change', async () => {
  end();
  state.textContent = 'Connecting …';
  try {
    const sockets = await connect(host.value, { app: 'web-server', manifest: { sockets: { tcpServer: { listen: '127.0.0.1:*' } } } });
    const server = await serve({ sockets, runtime: sockets.runtime }, { files: filesOf(folder.files), port: Number(port.value) });
    end = () => sockets.host.close();
    state.textContent = `Serving at http://${server.address}:${server.port}/`;
    state.textContent = `Ended: ${await server.closed}`;
  } catch (error) {
    state.textContent = `${error.code ?? 'error'}: ${error.message}`;
  }
});
