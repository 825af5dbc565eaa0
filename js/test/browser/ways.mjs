// Notes by which ways frames go. To be imported before what opens them.

globalThis.ways = [];

globalThis.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener('open', () => ways.push('by WebSocket'));
    this.addEventListener('error', () => ways.push('not by WebSocket'));
  }
};
