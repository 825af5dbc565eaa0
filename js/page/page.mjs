// Says whether the host that has served this page lets it in.

import { connect } from './js/index.mjs';

const state = document.querySelector('#state');
const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? undefined;
try {
  const sockets = await connect(location.origin.replace(/^http/, 'ws'), { app: 'page', token });
  state.textContent = 'It lets this page in.';
  sockets.host.onLost.addListener(() => { state.textContent = 'It has gone.'; });
  sockets.host.onBack.addListener(() => { state.textContent = 'It is back, and lets this page in.'; });
} catch (error) {
  state.textContent = `It does not let this page in: ${error.message}.`;
}
