// The tree of apps, servers and connections.

import { KeyedList, make, plot, setAttribute, setText } from './dom.mjs';
import { address, age, appState, bytes, clientState, counted, number, plain, rate, serverState, udpState } from './text.mjs';
import { POINTS, appKey, clientKey, foundKey, path, serverKey, udpKey } from './watch.mjs';

const HEIGHT = 20;

/** A text for screen readers only. */
const unseen = (text) => make('span', { class: 'unseen' }, text);

/** Draws the rates of the last minute: in above the middle, out below. */
export function draw(plot, points, height = HEIGHT) {
  const top = Math.max(1, ...points.flat());
  const line = (which, reach) => path(points.map((point) => point[which]), top, height / 2, reach);
  plot.draw(line(0, height / 2 - 1), line(1, 1 - height / 2));
}

/** Fills `element` with the buttons of a paged list. Returns a function that updates them. */
export function pager(element, title, showPage) {
  const text = make('span');
  const before = make('button', { type: 'button' }, 'Previous');
  const after = make('button', { type: 'button' }, 'Next');
  let list;
  before.onclick = () => showPage(list.key, Math.max(0, list.from - list.most));
  after.onclick = () => showPage(list.key, list.from + list.most);
  element.append(text, before, after);
  return (next) => {
    list = next;
    element.hidden = !list || (list.total <= list.most && list.from === 0);
    if (element.hidden) return;
    const end = list.from + list.rows.length;
    setText(text, `${title(list)}: ${number(list.from + 1)} to ${number(end)} of ${number(list.total)}`);
    const { activeElement } = document;
    before.disabled = list.from === 0;
    after.disabled = end >= list.total;
    // A disabled button would lose the focus.
    if (activeElement === before && before.disabled) after.focus();
    if (activeElement === after && after.disabled) before.focus();
    setAttribute(before, 'aria-label', `Previous ${title(list)}`);
    setAttribute(after, 'aria-label', `Next ${title(list)}`);
  };
}

export class Tree {
  #actions;
  #apps;
  #found;

  /**
   * Shows the tree in `root` and search results in `found`. `actions` are `toggle(key)`, `showPage(list, from)`, `setPaused(socket)`,
   * `drain(socket)`, `close(socket)` and `isOpen(key)`. A socket is `{ app, namespace, socketId, paused, title, clients }`, without
   * `socketId` to drain a whole app. `fallback` gets the focus when the last row is removed.
   */
  constructor(root, found, actions, fallback) {
    this.#actions = actions;
    this.#apps = this.#list(root, fallback, (app) => this.#app(app));
    const kinds = {
      app: (row) => this.#app(row, true),
      tcpServer: (row) => this.#server(row.app, row, true),
      tcp: (row) => this.#client(row.app, row, true),
      udp: (row) => this.#udp(row.app, row, true),
    };
    this.#found = this.#list(found, fallback, (row) => kinds[row.kind](row));
  }

  update(apps) {
    this.#apps.update(apps, appKey);
  }

  updateFound(rows) {
    this.#found.update(rows, foundKey);
  }

  #list(parent, fallback, make) {
    const nextFocus = (element) => {
      const near = element.nextElementSibling ?? element.previousElementSibling;
      return near?.querySelector('.row button:not([hidden])') ?? fallback;
    };
    return new KeyedList(parent, make, nextFocus);
  }

  /** The common parts of all rows. */
  #row(kind, key) {
    const title = make('span', { class: 'title' });
    const sub = make('span', { class: 'sub' });
    const what = make('div', { class: 'what' });
    const inside = make('ul', { id: key && `in-${key}` });
    const toggle = key && make('button', { type: 'button', class: 'toggle', 'aria-expanded': 'false' }, title);
    what.append(toggle ?? title, sub);
    if (toggle) toggle.onclick = () => this.#actions.toggle(key);
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
        setText(flows[index].now, rate(now));
        setText(flows[index].all, bytes(all));
      });
      draw(line, next.points);
      const text = JSON.stringify(states);
      if (text === badges) return;
      badges = text;
      why.replaceChildren(...states.map(([text, title, kind]) => make('span', { class: `badge ${kind}`, title }, text)));
    };
    return { element, toggle, title, sub, many, more, acts, inside, update };
  }

  /** The buttons of a socket. Returns a function that updates them. */
  #buttons(acts) {
    const pause = make('button', { type: 'button' });
    const drain = make('button', { type: 'button' }, 'Drain');
    const close = make('button', { type: 'button', class: 'danger' }, 'Close');
    acts.append(pause, drain, close);
    let socket;
    pause.onclick = () => this.#actions.setPaused(socket);
    drain.onclick = () => this.#actions.drain(socket);
    close.onclick = () => this.#actions.close(socket);
    return (next) => {
      socket = next;
      const verb = socket.paused ? 'Resume' : 'Pause';
      setText(pause, verb);
      setAttribute(pause, 'aria-label', `${verb} ${socket.title}`);
      drain.hidden = socket.namespace !== 'tcpServer';
      setAttribute(drain, 'aria-label', `Drain ${socket.title}`);
      setAttribute(close, 'aria-label', `Close ${socket.title}`);
    };
  }

  /** `isFlat`: a search result, without children. */
  #app({ app }, isFlat = false) {
    const key = appKey({ app });
    const row = this.#row('app', isFlat ? undefined : key);
    setText(row.title, plain(app));
    setAttribute(row.title, 'title', plain(app));
    const drain = make('button', { type: 'button', 'aria-label': `Drain app ${plain(app)}` }, 'Drain');
    row.acts.append(drain);
    let clientCount = 0;
    drain.onclick = () => this.#actions.drain({ app, title: `app ${plain(app)}`, clients: clientCount });
    const updateRow = (next) => {
      clientCount = next.clients;
      row.update(next, appState(next));
      setText(row.sub, [counted(next.servers, 'server'), next.udp > 0 && counted(next.udp, 'UDP socket')].filter(Boolean).join(' · '));
      setText(row.many, `${number(next.clients)} open`);
      setText(row.more, `${number(next.accepted)} accepted`);
    };
    if (isFlat) return { element: row.element, update: updateRow };
    const servers = make('ul');
    const clients = make('ul');
    const udp = make('ul');
    const showPage = (list, from) => this.#actions.showPage(list, from);
    const pagers = [servers, clients, udp].map((list) => {
      const element = make('div', { class: 'pager', hidden: '' });
      row.inside.append(make('li', {}, list, element));
      return element;
    });
    const updateServerPager = pager(pagers[0], () => `Servers of ${plain(app)}`, showPage);
    const updateClientPager = pager(pagers[1], () => `Connections of ${plain(app)}`, showPage);
    const updateUdpPager = pager(pagers[2], () => `UDP sockets of ${plain(app)}`, showPage);
    const serverRows = this.#list(servers, row.toggle, (server) => this.#server(app, server));
    const clientRows = this.#list(clients, row.toggle, (client) => this.#client(app, client));
    const udpRows = this.#list(udp, row.toggle, (socket) => this.#udp(app, socket));
    return {
      element: row.element,
      update: (next) => {
        const isOpen = this.#actions.isOpen(key);
        setAttribute(row.toggle, 'aria-expanded', `${isOpen}`);
        row.inside.hidden = !isOpen;
        updateRow(next);
        if (!isOpen) return;
        udpRows.update(next.udpList?.rows ?? [], (socket) => udpKey(app, socket));
        updateUdpPager(next.udpList);
        serverRows.update(next.serverList?.rows ?? [], (server) => serverKey(app, server));
        clientRows.update(next.clientList?.rows ?? [], (client) => clientKey(app, client));
        updateServerPager(next.serverList);
        updateClientPager(next.clientList);
      },
    };
  }

  #server(app, { socketId }, isFlat = false) {
    const key = serverKey(app, { socketId });
    const row = this.#row('server', isFlat ? undefined : key);
    const buttons = this.#buttons(row.acts);
    const updateRow = (next) => {
      const at = address(next.localAddress, next.localPort);
      setText(row.title, at || `server ${socketId}`);
      setText(row.sub, [isFlat && plain(app), next.name && plain(next.name), `#${socketId}`, next.persistent && 'persistent'].filter(Boolean).join(' · '));
      row.update(next, serverState(next));
      setText(row.many, `${number(next.clients)} open`);
      setText(row.more, `${number(next.accepted)} accepted`);
      const failed = [[next.refused, 'refused'], [next.failed, 'failed']].filter(([count]) => count > 0);
      setAttribute(row.more, 'title', failed.map(([count, what]) => `${number(count)} ${what}`).join(', ') || undefined);
      const title = `server ${at || socketId} of ${plain(app)}`;
      buttons({ app, namespace: 'tcpServer', socketId, paused: next.paused, title, clients: next.clients });
    };
    if (isFlat) return { element: row.element, update: updateRow };
    const clients = make('ul');
    const element = make('div', { class: 'pager', hidden: '' });
    row.inside.append(make('li', {}, clients, element));
    const showPage = (list, from) => this.#actions.showPage(list, from);
    const updatePager = pager(element, () => `Connections of server ${socketId} of ${plain(app)}`, showPage);
    const clientRows = this.#list(clients, row.toggle, (client) => this.#client(app, client));
    return {
      element: row.element,
      update: (next) => {
        const isOpen = this.#actions.isOpen(key);
        setAttribute(row.toggle, 'aria-expanded', `${isOpen}`);
        row.inside.hidden = !isOpen;
        updateRow(next);
        if (!isOpen) return;
        clientRows.update(next.clientList?.rows ?? [], (client) => clientKey(app, client));
        updatePager(next.clientList);
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
        setText(row.title, peer || `connection ${socketId}`);
        setText(row.sub, [isFlat && plain(app), next.name && plain(next.name), `#${socketId}`, next.persistent && 'persistent'].filter(Boolean).join(' · '));
        row.update(next, clientState(next));
        setText(row.many, age(next.age));
        setText(row.more, 'age');
        buttons({ app, namespace: 'tcp', socketId, paused: next.paused, title: `connection ${peer || socketId} of ${plain(app)}` });
      },
    };
  }

  #udp(app, { socketId }, isFlat = false) {
    const row = this.#row('client');
    const buttons = this.#buttons(row.acts);
    return {
      element: row.element,
      update: (next) => {
        const at = address(next.localAddress, next.localPort);
        setText(row.title, at ? `udp ${at}` : `UDP socket ${socketId}`);
        setText(row.sub, [isFlat && plain(app), next.name && plain(next.name), `#${socketId}`, next.persistent && 'persistent'].filter(Boolean).join(' · '));
        row.update(next, udpState(next));
        setText(row.many, number(next.datagramsReceived + next.datagramsSent));
        setText(row.more, 'datagrams');
        buttons({ app, namespace: 'udp', socketId, paused: next.paused, title: `UDP socket ${at || socketId} of ${plain(app)}` });
      },
    };
  }
}
