// Lists services in a page.

import { browse } from './browser.mjs';
import { connect } from './chrome-sockets/index.mjs';
import { show } from './list.mjs';

const [host, button, state] = ['host', 'browse', 'state'].map((id) => document.getElementById(id));
const manifest = { sockets: { udp: { bind: '0.0.0.0:*', send: '224.0.0.251:5353', multicastMembership: '' } } };

button.addEventListener('click', async () => {
  button.disabled = true;
  try {
    const sockets = await connect(host.value, { app: 'mdns-browser', manifest });
    const onError = (error) => { state.textContent = error.message; };
    await browse({ sockets, runtime: sockets.runtime }, { onChange: show, onError });
    state.textContent = 'Browsing';
  } catch (error) {
    state.textContent = `${error.code ?? 'error'}: ${error.message}`;
    button.disabled = false;
  }
});
