// The tree of apps, servers and clients, as elements.

import { Keyed, make, plot, say, set } from './dom.mjs';
import { address, age, appState, bytes, clientState, counted, number, plain, rate, serverState } from './text.mjs';
import { POINTS, appKey, clientKey, foundKey, path, serverKey } from './watch.mjs';

const HEIGHT = 20;

/** What nobody but a screen reader needs. */
const unseen = (text) => make('span', { class: 'unseen' }, text);

/** Draws the last minute of a row, or of all: what came in upwards, what went out downwards. */
export function draw(plot, points, height = HEIGHT) {
  const top = Math.max(1, ...points.flat());
  const line = (which, reach) => path(points.map((point) => point[which]), top, height / 2, reach);
  plot.draw(line(0, height / 2 - 1), line(1, 1 - height / 2));
}

/** Two buttons and what they turn to, for a list that is longer than what is shown of it. */
export function pager(element, what, turn) {
  const text = make('span');
  const before = make('button', { type: 'button' }, 'Previous');
  const after = make('button', { type: 'button' }, 'Next');
  let list;
  before.onclick = () => turn(list.key, Math.max(0, list.from - list.most));
  after.onclick = () => turn(list.key, list.from + list.most);
  element.append(text, before, after);
  return (next) => {
    list = next;
    element.hidden = !list || (list.total <= list.most && list.from === 0);
    if (element.hidden) return;
    const end = list.from + list.rows.length;
    say(text, `${what(list)}: ${number(list.from + 1)} to ${number(end)} of ${number(list.total)}`);
    const { activeElement } = document;
    before.disabled = list.from === 0;
    after.disabled = end >= list.total;
    // A button that can no longer be pressed leaves the focus to the other.
    if (activeElement === before && before.disabled) after.focus();
    if (activeElement === after && after.disabled) before.focus();
    set(before, 'aria-label', `Previous ${what(list)}`);
    set(after, 'aria-label', `Next ${what(list)}`);
  };
}

export class Tree {
  #acts;
  #apps;
  #found;

  /**
   * `acts` is what its buttons do: `toggle(key)`, `turn(list, from)`, `setPaused(socket)`, `drain(socket)` and `close(socket)`, where a
   * socket is `{ app, namespace, socketId, paused, title, clients }`; an app that is drained has no `socketId`. `isOpen(key)` is asked; `home`
   * gets the focus when its row and all others have gone. `found` is another list, of what a search has found.
   */
  constructor(root, found, acts, home) {
    this.#acts = acts;
    this.#apps = this.#list(root, home, (app) => this.#app(app));
    const kinds = {
      app: (row) => this.#app(row, true),
      tcpServer: (row) => this.#server(row.app, row, true),
      tcp: (row) => this.#client(row.app, row, true),
    };
    this.#found = this.#list(found, home, (row) => kinds[row.kind](row));
  }

  update(apps) {
    this.#apps.update(apps, appKey);
  }

  updateFound(rows) {
    this.#found.update(rows, foundKey);
  }

  #list(parent, home, make) {
    const next = (element) => {
      const near = element.nextElementSibling ?? element.previousElementSibling;
      return near?.querySelector('.row button:not([hidden])') ?? home;
    };
    return new Keyed(parent, make, next);
  }

  /** A row: what is common to all of them. */
  #row(kind, key) {
    const title = make('span', { class: 'title' });
    const sub = make('span', { class: 'sub' });
    const what = make('div', { class: 'what' });
    const inside = make('ul', { id: key && `in-${key}` });
    const toggle = key && make('button', { type: 'button', class: 'toggle', 'aria-expanded': 'false' }, title);
    what.append(toggle ?? title, sub);
    if (toggle) toggle.onclick = () => this.#acts.toggle(key);
    const why = make('div', { class: 'why' });
    const many = make('span');
    const more = make('small');
    const counts = make('div', { class: 'many' }, many, ' ', more);
    const flows = ['In', 'Out'].map((name, index) => {
      const now = make('span');
      const all = make('small');
      const flow = make('div', { class: index ? 'flow second' : 'flow', 'data-key': name }, unseen(`${name}: `), now, ' ', all);
      return { flow, now, all };
    });
    const line = plot(POINTS - 1, HEIGHT);
    const acts = make('div', { class: 'acts' });
    const row = make('div', { class: 'row' }, what, why, counts, flows[0].flow, flows[1].flow, make('div', { class: 'plot' }, line.svg), acts);
    const element = make('li', { class: kind }, row);
    if (key) element.append(inside);
    let badges = '';
    const update = (next, states) => {
      const rates = [[next.inRate, next.received], [next.outRate, next.sent]];
      rates.forEach(([now, all], index) => {
        say(flows[index].now, rate(now));
        say(flows[index].all, bytes(all));
      });
      draw(line, next.points);
      const text = JSON.stringify(states);
      if (text === badges) return;
      badges = text;
      why.replaceChildren(...states.map(([text, title, kind]) => make('span', { class: `badge ${kind}`, title }, text)));
    };
    return { element, toggle, title, sub, many, more, acts, inside, update };
  }

  /** The buttons of a socket; `update` takes what they are about. */
  #buttons(acts) {
    const pause = make('button', { type: 'button' });
    const drain = make('button', { type: 'button' }, 'Drain');
    const close = make('button', { type: 'button', class: 'danger' }, 'Close');
    acts.append(pause, drain, close);
    let socket;
    pause.onclick = () => this.#acts.setPaused(socket);
    drain.onclick = () => this.#acts.drain(socket);
    close.onclick = () => this.#acts.close(socket);
    return (next) => {
      socket = next;
      const verb = socket.paused ? 'Resume' : 'Pause';
      say(pause, verb);
      set(pause, 'aria-label', `${verb} ${socket.title}`);
      drain.hidden = socket.namespace !== 'tcpServer';
      set(drain, 'aria-label', `Drain ${socket.title}`);
      set(close, 'aria-label', `Close ${socket.title}`);
    };
  }

  /** `isFlat`: alone in a list, without what it has. */
  #app({ app }, isFlat = false) {
    const key = appKey({ app });
    const row = this.#row('app', isFlat ? undefined : key);
    say(row.title, plain(app));
    set(row.title, 'title', plain(app));
    const drain = make('button', { type: 'button', 'aria-label': `Drain app ${plain(app)}` }, 'Drain');
    row.acts.append(drain);
    let clientCount = 0;
    drain.onclick = () => this.#acts.drain({ app, title: `app ${plain(app)}`, clients: clientCount });
    const own = (next) => {
      clientCount = next.clients;
      row.update(next, appState(next));
      say(row.sub, counted(next.servers, 'server'));
      say(row.many, `${number(next.clients)} open`);
      say(row.more, `${number(next.accepted)} accepted`);
    };
    if (isFlat) return { element: row.element, update: own };
    const servers = make('ul');
    const clients = make('ul');
    const turn = (list, from) => this.#acts.turn(list, from);
    const pagers = [servers, clients].map((list) => {
      const element = make('div', { class: 'pager', hidden: '' });
      row.inside.append(make('li', {}, list, element));
      return element;
    });
    const turnServers = pager(pagers[0], () => `Servers of ${plain(app)}`, turn);
    const turnClients = pager(pagers[1], () => `Connections of ${plain(app)}`, turn);
    const serverRows = this.#list(servers, row.toggle, (server) => this.#server(app, server));
    const clientRows = this.#list(clients, row.toggle, (client) => this.#client(app, client));
    return {
      element: row.element,
      update: (next) => {
        const isOpen = this.#acts.isOpen(key);
        set(row.toggle, 'aria-expanded', `${isOpen}`);
        row.inside.hidden = !isOpen;
        own(next);
        if (!isOpen) return;
        serverRows.update(next.serverList?.rows ?? [], (server) => serverKey(app, server));
        clientRows.update(next.clientList?.rows ?? [], (client) => clientKey(app, client));
        turnServers(next.serverList);
        turnClients(next.clientList);
      },
    };
  }

  #server(app, { socketId }, isFlat = false) {
    const key = serverKey(app, { socketId });
    const row = this.#row('server', isFlat ? undefined : key);
    const buttons = this.#buttons(row.acts);
    const own = (next) => {
      const at = address(next.localAddress, next.localPort);
      say(row.title, at || `server ${socketId}`);
      say(row.sub, [isFlat && plain(app), next.name && plain(next.name), `#${socketId}`, next.persistent && 'persistent'].filter(Boolean).join(' · '));
      row.update(next, serverState(next));
      say(row.many, `${number(next.clients)} open`);
      say(row.more, `${number(next.accepted)} accepted`);
      const failed = [[next.refused, 'refused'], [next.failed, 'failed']].filter(([count]) => count > 0);
      set(row.more, 'title', failed.map(([count, what]) => `${number(count)} ${what}`).join(', ') || undefined);
      const title = `server ${at || socketId} of ${plain(app)}`;
      buttons({ app, namespace: 'tcpServer', socketId, paused: next.paused, title, clients: next.clients });
    };
    if (isFlat) return { element: row.element, update: own };
    const clients = make('ul');
    const element = make('div', { class: 'pager', hidden: '' });
    row.inside.append(make('li', {}, clients, element));
    const turn = pager(element, () => `Connections of server ${socketId} of ${plain(app)}`, (list, from) => this.#acts.turn(list, from));
    const clientRows = this.#list(clients, row.toggle, (client) => this.#client(app, client));
    return {
      element: row.element,
      update: (next) => {
        const isOpen = this.#acts.isOpen(key);
        set(row.toggle, 'aria-expanded', `${isOpen}`);
        row.inside.hidden = !isOpen;
        own(next);
        if (!isOpen) return;
        clientRows.update(next.clientList?.rows ?? [], (client) => clientKey(app, client));
        turn(next.clientList);
      },
    };
  }

  #client(app, { socketId }, isFlat = false) {
    const row = this.#row('client');
    const buttons = this.#buttons(row.acts);
    return {
      element: row.element,
      update: (next) => {
        const peer = address(next.peerAddress, next.peerPort);
        say(row.title, peer || `connection ${socketId}`);
        say(row.sub, [isFlat && plain(app), next.name && plain(next.name), `#${socketId}`, next.persistent && 'persistent'].filter(Boolean).join(' · '));
        row.update(next, clientState(next));
        say(row.many, age(next.age));
        say(row.more, 'age');
        buttons({ app, namespace: 'tcp', socketId, paused: next.paused, title: `connection ${peer || socketId} of ${plain(app)}` });
      },
    };
  }
}
