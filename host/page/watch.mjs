// Polls the host for what the page shows: the branches that are open, a slice of each.

/** The rows of a slice. */
export const APPS = 16;
export const SERVERS = 16;
export const CLIENTS = 16;
export const FOUND = 32;

/** The branches that may be open: each is a list in every round. */
export const OPEN = 24;

/** Branches open by themselves where a list has no more rows than this: of many none is better than another. */
const FEW = 3;

/** The points of a plot. */
export const POINTS = 60;

export const appKey = ({ app }) => `app ${app}`;
export const serverKey = (app, { socketId }) => `server ${app} ${socketId}`;
export const clientKey = (app, { socketId }) => `client ${app} ${socketId}`;

/** The key of something that a search has found. */
export function foundKey(row) {
  if (row.kind === 'app') return appKey(row);
  return row.kind === 'tcp' ? clientKey(row.app, row) : serverKey(row.app, row);
}

export class Watch {
  /** The open branches, in the order in which they were opened. */
  #open = new Set();
  #seen = new Set();
  /** Where each list begins that does not begin at its beginning. */
  #from = new Map();
  /** What is known of each row that was listed last: its counts, and its rates. */
  #rows = new Map();

  byBytes = false;
  problemsFirst = true;
  /** What is searched for; empty: nothing is. */
  query = '';

  isOpen(key) {
    return this.#open.has(key);
  }

  /** Opens or closes a branch; beyond the bound the one that was opened first is closed. */
  toggle(key) {
    this.#seen.add(key);
    if (this.#open.delete(key)) return;
    this.#open.add(key);
    if (this.#open.size > OPEN) this.#open.delete(this.#open.values().next().value);
  }

  /** Has a list begin elsewhere. */
  turn(list, from) {
    if (from > 0) this.#from.set(list, from);
    else this.#from.delete(list);
  }

  /** Looks once: the tree, as it is now. */
  async look(caretaker) {
    const rows = new Map();
    const seen = new Set();
    const list = async (key, most, ask) => {
      const from = this.#from.get(key) ?? 0;
      const answer = await ask(from, most);
      const isBehind = from > 0 && from >= answer.total;
      // What was there has gone: from the last slice that there is.
      if (isBehind) this.turn(key, Math.max(0, Math.ceil(answer.total / most) - 1) * most);
      return { key, from, most, total: answer.total, at: answer.at, rows: answer.sockets ?? answer.apps ?? answer.found, all: answer.all };
    };
    const measure = (key, row, at) => {
      Object.assign(row, this.#measured(key, row, at));
      rows.set(key, row);
      seen.add(key);
    };
    const clients = async (app, server) => {
      const key = `clients ${app} ${server}`;
      const found = await list(key, CLIENTS, (from, most) => caretaker.listClients(app, server, this.byBytes, from, most));
      for (const row of found.rows) measure(clientKey(app, row), row, found.at);
      return found;
    };
    const { query } = this;
    const found = await list('apps', APPS, (from, most) => caretaker.listApps(from, most, this.problemsFirst));
    measure('all', found.all, found.at);
    if (query) {
      // Each search has a list of its own, which begins at its beginning.
      found.found = await list(`found ${query}`, FOUND, (from, most) => caretaker.find(query, from, most));
      for (const row of found.found.rows) measure(foundKey(row), row, found.found.at);
    }
    for (const app of query ? [] : found.rows) {
      const key = appKey(app);
      measure(key, app, found.at);
      this.#first(key, found.total);
      if (!this.isOpen(key)) continue;
      try {
        // Rows that move are worth it only where a problem could be out of sight.
        const problemsFirst = this.problemsFirst && app.servers > SERVERS;
        app.serverList = await list(`servers ${app.app}`, SERVERS, (from, most) => caretaker.listServers(app.app, from, most, problemsFirst));
        for (const server of app.serverList.rows) {
          const key = serverKey(app.app, server);
          measure(key, server, app.serverList.at);
          this.#first(key, app.serverList.total);
          if (this.isOpen(key)) server.clientList = await clients(app.app, server.socketId);
        }
        app.clientList = await clients(app.app, null);
      } catch (error) {
        // It may have gone since the list of apps.
        if (error.message !== 'There is no such app') throw error;
      }
    }
    this.#rows = rows;
    this.#forget(seen);
    return { ...found, apps: found.rows };
  }

  /** A branch that is there for the first time opens by itself, if its list is short. */
  #first(key, total) {
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    if (total <= FEW) this.#open.add(key);
  }

  /** Bytes a second since the last time, and those of the last minute. */
  #measured(key, row, at) {
    const before = this.#rows.get(key);
    if (!before) return { at, inRate: 0, outRate: 0, points: [] };
    const seconds = (at - before.at) / 1000;
    // Twice in the same millisecond: as it was.
    if (!(seconds > 0)) return { at, inRate: before.inRate, outRate: before.outRate, points: before.points };
    const inRate = Math.max(0, row.received - before.received) / seconds;
    const outRate = Math.max(0, row.sent - before.sent) / seconds;
    return { at, inRate, outRate, points: [...before.points, [inRate, outRate]].slice(-POINTS) };
  }

  /** What has gone is not remembered. */
  #forget(there) {
    if (this.#seen.size < 4096) return;
    for (const key of this.#seen) {
      if (there.has(key)) continue;
      this.#seen.delete(key);
      this.#open.delete(key);
    }
  }
}

/** The path of a plot as wide as it has points: `base` is where 0 is, `reach` how far the greatest of all, `top`, is from there. */
export function path(values, top, base, reach) {
  if (values.length < 2) return '';
  const start = POINTS - values.length;
  const points = values.map((value, index) => `${start + index} ${(base - (top > 0 ? (value / top) * reach : 0)).toFixed(1)}`);
  return `M${points.join('L')}`;
}
