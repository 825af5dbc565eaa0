// What the client knows of its app's sockets: under which ids the host has
// them, and which are lost with it.

/** What is raised for a socket that is lost: net::ERR_CONNECTION_CLOSED. */
export const LOST = -100;

/** What `secure` answers that leaves its socket as it is. */
const LEAVE_IT = [-4, -11, -112];

export class Mirror {
  // A caretaker's calls name no socket that is its own.
  #spaces = { tcpServer: new Space(), tcp: new Space(), host: new Space() };

  /** The host's id for a socket of the app; none has 0. */
  toHost(name, id) {
    return Math.max(id - this.#of(name).offset, 0);
  }

  /** The app's id for a socket of the host. */
  fromHost(name, id) {
    const space = this.#of(name);
    space.last = Math.max(space.last, id + space.offset);
    return id + space.offset;
  }

  /** Whether a socket was lost with the host. Its `close` does what it should. */
  closesLost(name, id) {
    return name.endsWith('.close') && this.#of(name).lost.delete(id);
  }

  /** A call was answered. */
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
        if (!failed && socket) socket.live = true;
        break;
      case 'disconnect':
        if (!failed && socket) socket.live = false;
        break;
      case 'secure':
        if (failed && !LEAVE_IT.includes(value)) sockets.delete(first);
        break;
      case 'close':
        sockets.delete(first);
        break;
      case 'getInfo':
        if (!failed) this.#found(name, value);
        break;
      case 'getSockets':
        if (!failed) for (const info of value) this.#found(name, info);
        break;
    }
  }

  #found(name, { socketId, persistent, connected, localPort }) {
    const live = connected ?? localPort !== undefined;
    this.#of(name).sockets.set(socketId, { persistent, live });
  }

  accepted(client) {
    this.#spaces.tcp.sockets.set(client, { persistent: false, live: true });
  }

  ended(client) {
    const socket = this.#spaces.tcp.sockets.get(client);
    if (socket) socket.live = false;
  }

  hasPersistent() {
    return Object.values(this.#spaces).some(({ sockets }) =>
      [...sockets.values()].some((socket) => socket.persistent));
  }

  /** Forgets the sockets that are gone, and says of which ones that must be told. */
  lose(isGone) {
    const told = [];
    for (const [space, { sockets, lost }] of Object.entries(this.#spaces)) {
      for (const [id, socket] of sockets) {
        if (!isGone(space, id, socket)) continue;
        sockets.delete(id);
        lost.add(id);
        if (socket.live) told.push([space === 'tcp' ? 'tcp.onReceiveError' : 'tcpServer.onAcceptError', id]);
      }
    }
    return told;
  }

  /** Another host: its ids begin anew, and the app's go on. */
  startAnew() {
    for (const space of Object.values(this.#spaces)) space.offset = space.last;
  }

  #of(name) {
    return this.#spaces[name.split('.')[0]];
  }
}

class Space {
  /** What the app's ids are greater by than the host's. */
  offset = 0;
  /** The greatest id that the app has seen. */
  last = 0;
  /** Those that the app may use: whether they are persistent, and whether they listen or are connected. */
  sockets = new Map();
  /** Those that were lost with a host, until the app closes them. */
  lost = new Set();
}
