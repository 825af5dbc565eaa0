// The client's record of its app's sockets: it maps their ids to those of the host, and knows which ones are lost with a
// connection.

/** The result code for a lost socket: net::ERR_CONNECTION_CLOSED. */
export const LOST = -100;

/** The result codes of `secure` after which the socket still exists. */
const KEEPS_SOCKET = [-4, -11, -112];

export class Mirror {
  // `system` and `host` (admin calls) have no sockets.
  #spaces = { tcpServer: new Space(), tcp: new Space(), udp: new Space(), system: new Space(), host: new Space() };

  /** The host's id of a socket; 0, which no socket has, for a socket of an earlier run of the host. */
  toHost(name, id) {
    return Math.max(id - this.#of(name).offset, 0);
  }

  /** The app's id of a socket of the host. */
  fromHost(name, id) {
    const space = this.#of(name);
    space.last = Math.max(space.last, id + space.offset);
    return id + space.offset;
  }

  /** Whether a call closes a lost socket: it succeeds without the host, once. */
  closesLost(name, id) {
    return name.endsWith('.close') && this.#of(name).lost.delete(id);
  }

  /** Records an answered call. */
  answered(name, [first, ...others], failed, [value]) {
    const { sockets } = this.#of(name);
    const socket = sockets.get(first);
    switch (name.split('.')[1]) {
      case 'create':
        if (!failed) sockets.set(value.socketId, { persistent: first?.persistent ?? false, live: false });
        break;
      case 'update':
        if (!failed && socket) socket.persistent = others[0].persistent ?? socket.persistent;
        break;
      case 'listen':
      case 'connect':
      case 'bind':
        if (!failed && socket) Object.assign(socket, { live: true, ended: false });
        break;
      case 'disconnect':
        if (!failed && socket) socket.live = false;
        break;
      case 'secure':
        if (failed && !KEEPS_SOCKET.includes(value)) sockets.delete(first);
        break;
      case 'close':
        sockets.delete(first);
        break;
      case 'getInfo':
        if (!failed) this.#record(name, value);
        break;
      case 'getSockets':
        if (!failed) for (const info of value) this.#record(name, info);
        break;
    }
  }

  #record(name, { socketId, persistent, connected, localPort }) {
    const { sockets } = this.#of(name);
    // A half-closed connection is connected, but its end was reported.
    const ended = sockets.get(socketId)?.ended ?? false;
    const live = !ended && (connected ?? localPort !== undefined);
    sockets.set(socketId, { persistent, live, ended });
  }

  accepted(client) {
    this.#spaces.tcp.sockets.set(client, { persistent: false, live: true });
  }

  disconnected(client) {
    const socket = this.#spaces.tcp.sockets.get(client);
    if (socket) Object.assign(socket, { live: false, ended: true });
  }

  /** The namespaces that have persistent sockets. */
  persistentSpaces() {
    return Object.keys(this.#spaces).filter((space) =>
      [...this.#spaces[space].sockets.values()].some((socket) => socket.persistent));
  }

  /** Removes the sockets for which `isLost` holds. Returns the error events to raise, as `[event, socketId]`. */
  lose(isLost) {
    const events = [];
    for (const [space, { sockets, lost }] of Object.entries(this.#spaces)) {
      for (const [id, socket] of sockets) {
        if (!isLost(space, id, socket)) continue;
        sockets.delete(id);
        lost.add(id);
        if (socket.live) events.push([space === 'tcpServer' ? 'tcpServer.onAcceptError' : `${space}.onReceiveError`, id]);
      }
    }
    return events;
  }

  /** Another run of the host counts from 1 again. The app's ids continue, so that none is used twice. */
  startNewIds() {
    for (const space of Object.values(this.#spaces)) space.offset = space.last;
  }

  #of(name) {
    return this.#spaces[name.split('.')[0]];
  }
}

class Space {
  /** The difference between the app's and the host's ids. */
  offset = 0;
  /** The greatest id of the app. */
  last = 0;
  /** The sockets by id: `persistent`; `live` if it listens, or is connected or bound; `ended` if that was reported as ended. */
  sockets = new Map();
  /** The ids of lost sockets, until the app closes them. */
  lost = new Set();
}
