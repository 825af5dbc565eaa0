// Records which WebSockets open. Import it before the client.

globalThis.transports = [];

globalThis.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener('open', () => transports.push('WebSocket'));
    this.addEventListener('error', () => transports.push('no WebSocket'));
  }
};
