// Polls the host for the rows that the page shows.

/** The rows of one page of each list. */
export const APPS = 16;
export const SERVERS = 16;
export const CLIENTS = 16;
export const UDP = 16;
export const FOUND = 32;

/** The most expanded rows: each needs a list in every poll. */
export const OPEN = 24;

/** Rows of lists up to this length are expanded at first. */
const FEW = 3;

/** The points of a plot. */
export const POINTS = 60;

export const appKey = ({ app }) => `app ${app}`;
export const serverKey = (app, { socketId }) => `server ${app} ${socketId}`;
export const clientKey = (app, { socketId }) => `client ${app} ${socketId}`;
export const udpKey = (app, { socketId }) => `udp ${app} ${socketId}`;

const SOCKET_KEYS = { tcpServer: serverKey, tcp: clientKey, udp: udpKey };

/** The key of a search result. */
export const foundKey = (row) => (row.kind === 'app' ? appKey(row) : SOCKET_KEYS[row.kind](row.app, row));

export class Watch {
  /** The keys of the expanded rows, oldest first. */
  #open = new Set();
  /** The keys of the rows that were listed before. */
  #seen = new Set();
  /** The first row of each list that is not on its first page. */
  #from = new Map();
  /** The rows of the last poll with their rates. */
  #rows = new Map();

  byBytes = false;
  problemsFirst = true;
  /** The search text. If it is empty, the page shows the tree. */
  query = '';

  isOpen(key) {
    return this.#open.has(key);
  }

  /** Expands or collapses a row. Beyond the limit the oldest expanded row collapses. */
  toggle(key) {
    this.#seen.add(key);
    if (this.#open.delete(key)) return;
    this.#open.add(key);
    if (this.#open.size > OPEN) this.#open.delete(this.#open.values().next().value);
  }

  /** Shows another page of a list. */
  showPage(list, from) {
    if (from > 0) this.#from.set(list, from);
    else this.#from.delete(list);
  }

  /** Polls once, and returns the rows to show. */
  async poll(admin) {
    const rows = new Map();
    const seen = new Set();
    const list = async (key, most, request) => {
      const from = this.#from.get(key) ?? 0;
      const answer = await request(from, most);
      // The list has become shorter: shows its last page from the next poll on.
      const isBehind = from > 0 && from >= answer.total;
      if (isBehind) this.showPage(key, Math.max(0, Math.ceil(answer.total / most) - 1) * most);
      return { key, from, most, total: answer.total, at: answer.at, rows: answer.sockets ?? answer.apps ?? answer.found, all: answer.all };
    };
    const measure = (key, row, at) => {
      Object.assign(row, this.#rates(key, row, at));
      rows.set(key, row);
      seen.add(key);
    };
    const clients = async (app, server) => {
      const key = `clients ${app} ${server}`;
      const found = await list(key, CLIENTS, (from, most) => admin.listClients(app, server, this.byBytes, from, most));
      for (const row of found.rows) measure(clientKey(app, row), row, found.at);
      return found;
    };
    const { query } = this;
    const found = await list('apps', APPS, (from, most) => admin.listApps(from, most, this.problemsFirst));
    measure('all', found.all, found.at);
    if (query) {
      // The text is part of the key, so that a new search starts at the first page.
      found.found = await list(`found ${query}`, FOUND, (from, most) => admin.find(query, from, most));
      for (const row of found.found.rows) measure(foundKey(row), row, found.found.at);
    }
    for (const app of query ? [] : found.rows) {
      const key = appKey(app);
      measure(key, app, found.at);
      this.#expandNew(key, found.total);
      if (!this.isOpen(key)) continue;
      try {
        // Sorting by problems moves rows, so only where a problem could be on another page.
        const problemsFirst = this.problemsFirst && app.servers > SERVERS;
        app.serverList = await list(`servers ${app.app}`, SERVERS, (from, most) => admin.listServers(app.app, from, most, problemsFirst));
        for (const server of app.serverList.rows) {
          const key = serverKey(app.app, server);
          measure(key, server, app.serverList.at);
          this.#expandNew(key, app.serverList.total);
          if (this.isOpen(key)) server.clientList = await clients(app.app, server.socketId);
        }
        app.clientList = await clients(app.app, null);
        if (app.udp > 0) {
          app.udpList = await list(`sockets ${app.app}`, UDP, (from, most) => admin.listUdp(app.app, this.byBytes, from, most));
          for (const row of app.udpList.rows) measure(udpKey(app.app, row), row, app.udpList.at);
        }
      } catch (error) {
        // The app may have been removed since the list of apps.
        if (error.message !== 'There is no such app') throw error;
      }
    }
    this.#rows = rows;
    this.#removeOld(seen);
    return { ...found, apps: found.rows };
  }

  /** Expands a new row if its list is short. */
  #expandNew(key, total) {
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    if (total <= FEW) this.#open.add(key);
  }

  /** The rates of a row since the last poll, and those of the last minute. */
  #rates(key, row, at) {
    const before = this.#rows.get(key);
    if (!before) return { at, inRate: 0, outRate: 0, points: [] };
    const seconds = (at - before.at) / 1000;
    // Two polls in the same millisecond.
    if (!(seconds > 0)) return { at, inRate: before.inRate, outRate: before.outRate, points: before.points };
    const inRate = Math.max(0, row.received - before.received) / seconds;
    const outRate = Math.max(0, row.sent - before.sent) / seconds;
    return { at, inRate, outRate, points: [...before.points, [inRate, outRate]].slice(-POINTS) };
  }

  /** Bounds the memory for rows that no longer exist. */
  #removeOld(present) {
    if (this.#seen.size < 4096) return;
    for (const key of this.#seen) {
      if (present.has(key)) continue;
      this.#seen.delete(key);
      this.#open.delete(key);
    }
  }
}

/** The path of a plot. `base` is the y coordinate of 0, and `reach` the distance of the value `top` from it. */
export function path(values, top, base, reach) {
  if (values.length < 2) return '';
  const start = POINTS - values.length;
  const points = values.map((value, index) => `${start + index} ${(base - (top > 0 ? (value / top) * reach : 0)).toFixed(1)}`);
  return `M${points.join('L')}`;
}
