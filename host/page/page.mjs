// The admin page: the sockets of all apps, and an echo server.

import { connectAdmin } from './admin.mjs';
import { make, plot, setAttribute, setText } from './dom.mjs';
import { echo, serve } from './echo.mjs';
import { bytes, counted, number, plain, rate } from './text.mjs';
import { Tree, draw, pager } from './tree.mjs';
import { POINTS, Watch } from './watch.mjs';

/** The time between two polls, in milliseconds. */
const POLL_INTERVAL = 1000;

const $ = (id) => document.getElementById(id);
const url = location.origin.replace(/^http/, 'ws');
const wait = (time) => new Promise((resolve) => { setTimeout(resolve, time); });

/** Moves the key from the URL to the storage of this tab, so that it shows nowhere. Returns it. */
function readKey() {
  const fields = new URLSearchParams(location.hash.slice(1));
  const key = fields.get('key');
  if (key) {
    sessionStorage.setItem('key', key);
    history.replaceState(null, '', location.pathname);
  }
  return sessionStorage.getItem('key');
}

function showState(state, text) {
  setAttribute($('state'), 'data-state', state);
  setText($('state'), text);
}

function showMessage(text, isError = false) {
  setAttribute($('message'), 'data-error', isError && '');
  setText($('message'), text);
}

// The tree.

const watch = new Watch();
let admin;
let pollNow = () => {};

/** Adds a tile. Returns a function that sets its value and a second text. */
function tile(title, style) {
  const value = make('span');
  const more = make('small');
  $('tiles').append(make('div', { class: 'tile' }, make('dt', { class: style }, title), make('dd', {}, value, ' ', more)));
  return (text, second, isProblem = false) => {
    setText(value, text);
    setText(more, second);
    setAttribute(more, 'class', isProblem && 'problem');
  };
}

const appsTile = tile('Apps');
const serversTile = tile('Servers');
const clientsTile = tile('Connections');
const inTile = tile('In', 'in-key');
const outTile = tile('Out', 'out-key');
const wholePlot = plot(POINTS - 1, 40);
$('tiles').append(make('div', { class: 'tile wide' }, make('dt', {}, 'Last minute: ', make('span', { class: 'in-key' }, 'in'), ' and ',
  make('span', { class: 'out-key' }, 'out')), make('dd', { class: 'plot' }, wholePlot.svg)));

const thenPoll = (change) => (...values) => {
  change(...values);
  pollNow();
};

const showPage = thenPoll((list, from) => watch.showPage(list, from));
const updateAppsPager = pager($('apps-pager'), () => 'Apps', showPage);
const updateFoundPager = pager($('found-pager'), () => 'Found', showPage);

const tree = new Tree($('tree'), $('found'), {
  isOpen: (key) => watch.isOpen(key),
  toggle: thenPoll((key) => watch.toggle(key)),
  showPage,
  setPaused: ({ app, namespace, socketId, paused, title }) => act(`${paused ? 'Resumed' : 'Paused'} ${title}.`, () =>
    admin.setPaused(app, namespace, socketId, !paused)),
  drain: async (socket) => {
    const seconds = await confirmDrain(socket);
    if (seconds === undefined) return;
    await act(`Draining ${socket.title}.`, () => admin.drain(socket.app, socket.socketId, seconds));
  },
  close: async (socket) => {
    if (!await confirmClose(socket)) return;
    await act(`Closed ${socket.title}.`, () => admin.close(socket.app, socket.namespace, socket.socketId));
  },
}, $('sockets-title'));

/** Carries out an action of a button, and shows its result. */
async function act(message, action) {
  try {
    await action();
    showMessage(message);
  } catch (error) {
    showMessage(`Failed: ${error.message}.`, true);
  }
  pollNow();
}

/** Asks for confirmation. Resolves to whether the user confirms. */
function confirmAction(question, consequence, verb) {
  const dialog = $('confirm');
  setText($('confirm-what'), question);
  setText($('confirm-then'), consequence);
  setText($('confirm-yes'), verb);
  return new Promise((resolve) => {
    answers.push(resolve);
    dialog.showModal();
    $('confirm-no').focus();
  });
}

/** One entry for each opening of the dialog. Its close event is asynchronous: a quick user may have opened it again by then. */
const answers = [];
$('confirm').onclose = ({ target }) => {
  const isYes = target.returnValue === 'yes';
  // Escape does not set the value, so reset it for the next time.
  target.returnValue = '';
  answers.shift()(isYes);
};
$('confirm-no').onclick = () => $('confirm').close('no');
$('confirm-yes').onclick = () => $('confirm').close('yes');

const openConnections = (clients) => counted(clients, 'open connection');

function confirmClose({ namespace, title, clients }) {
  $('confirm-time').hidden = true;
  const consequences = {
    tcp: 'This ends the connection. Its app receives an error event.',
    tcpServer: `This ends listening on its port. Its app receives an error event.${clients > 0 ? ` ${openConnections(clients)} will stay.` : ''}`,
    udp: 'This frees its port. Its app receives an error event.',
  };
  return confirmAction(`Close ${title}?`, consequences[namespace], 'Close');
}

/** Resolves to the time to finish in seconds, or to nothing if the user cancels. */
async function confirmDrain({ title, clients }) {
  $('confirm-time').hidden = false;
  const isConfirmed = await confirmAction(`Drain ${title}?`,
    `It stops listening now. ${openConnections(clients)} can finish until the time is over; then they are closed.`, 'Drain');
  return isConfirmed ? Number($('confirm-seconds').value) : undefined;
}

function show({ all, total, rows, found, ...list }) {
  appsTile(number(total), all.problems > 0 ? `${number(all.problems)} with problems` : 'no problems', all.problems > 0);
  serversTile(number(all.servers), all.udp > 0 ? `and ${counted(all.udp, 'UDP socket')}` : '');
  clientsTile(number(all.clients), `${number(all.accepted)} accepted`);
  inTile(rate(all.inRate), `${bytes(all.received)} in all`);
  outTile(rate(all.outRate), `${bytes(all.sent)} in all`);
  draw(wholePlot, all.points, 40);
  $('tree').hidden = Boolean(found);
  $('found').hidden = !found;
  if (found) tree.updateFound(found.rows);
  else tree.update(rows);
  updateAppsPager(found ? undefined : { ...list, total, rows });
  updateFoundPager(found);
  $('none').hidden = (found ?? { total }).total > 0;
  setText($('none'), found ? 'Nothing matches.' : 'No app has connected yet.');
}

/** Polls every second while the page is visible, and at once after an action. */
async function pollUntil(isOver) {
  while (!isOver()) {
    const requested = new Promise((resolve) => { pollNow = resolve; });
    if (document.hidden) {
      await Promise.race([requested, new Promise((resolve) => document.addEventListener('visibilitychange', resolve, { once: true }))]);
      continue;
    }
    try {
      show(await watch.poll(admin));
    } catch (error) {
      if (!isOver()) showMessage(`The host did not answer: ${error.message}.`, true);
    }
    await Promise.race([requested, wait(POLL_INTERVAL)]);
  }
}

$('order').onchange = thenPoll(() => { watch.byBytes = $('order').value === 'bytes'; });
$('app-order').onchange = thenPoll(() => { watch.problemsFirst = $('app-order').value === 'problems'; });

/** A search starts when the user stops typing. */
let typing;
$('search').oninput = () => {
  clearTimeout(typing);
  typing = setTimeout(thenPoll(() => { watch.query = $('search').value.trim(); }), 200);
};

/** Connects, polls until the connection is lost, and connects again. */
async function run(key) {
  let delay = 100;
  for (;;) {
    let isLost = false;
    try {
      admin = await connectAdmin(url, key, { onDisconnect: () => { isLost = true; pollNow(); } });
    } catch (error) {
      if (['forbidden', 'version'].includes(error.code)) return askForKey(error);
      showState('lost', `${error.code === 'busy' ? 'Too many admin pages are open' : 'No connection to the host'}: trying again …`);
      await wait(delay);
      delay = Math.min(delay * 2, 5000);
      continue;
    }
    delay = 100;
    showState('connected', `Connected to ${location.host}`);
    $('key-form').hidden = true;
    $('live').hidden = false;
    $('tree').classList.remove('stale');
    $('found').classList.remove('stale');
    await pollUntil(() => isLost);
    $('tree').classList.add('stale');
    $('found').classList.add('stale');
    showState('lost', 'Connection lost: reconnecting …');
  }
}

function askForKey(error) {
  if (error) {
    sessionStorage.removeItem('key');
    setText($('key-why'), `The host rejected the key: ${error.message}. The host makes a new key at each start.`);
  }
  showState('unauthorised', 'Not authorised: enter the admin key');
  $('live').hidden = true;
  $('key-form').hidden = false;
  $('key').value = '';
}

$('key-form').onsubmit = (event) => {
  event.preventDefault();
  const text = $('key').value.trim();
  const key = new URLSearchParams(text.split('#')[1] ?? '').get('key') ?? text;
  sessionStorage.setItem('key', key);
  showState('connecting', 'Connecting …');
  run(key);
};

// The user pasted the URL of a restarted host into this tab.
window.addEventListener('hashchange', () => {
  if (location.hash.includes('key=')) {
    readKey();
    location.reload();
  }
});

// The echo server.

const LINES = 200;
let running;

$('echo-code').textContent = serve.toString();

function log(line) {
  const element = $('echo-log');
  element.hidden = false;
  const isAtEnd = element.scrollTop + element.clientHeight >= element.scrollHeight - 8;
  element.append(`${plain(line)}\n`);
  while (element.childNodes.length > LINES) element.firstChild.remove();
  if (isAtEnd) element.scrollTop = element.scrollHeight;
}

function echoStopped(why) {
  running = undefined;
  setText($('echo-start'), 'Start');
  $('echo-port').disabled = false;
  setText($('echo-state'), why);
}

const HINTS = {
  forbidden: () => {
    $('echo-token-field').hidden = false;
    return 'The host asks for its token.';
  },
  'unknown-app': () => 'Give the host a manifest for the app page, or start it with --dev.',
  'app-in-use': () => 'Another tab runs the app page.',
};

$('echo').onsubmit = async (event) => {
  event.preventDefault();
  if (running) {
    running.stop();
    return echoStopped('It has stopped.');
  }
  const button = $('echo-start');
  button.disabled = true;
  try {
    const token = $('echo-token').value || undefined;
    running = await echo({ url, token, port: Number($('echo-port').value), log, onDisconnect: () => echoStopped('The connection to the host was lost, and the server with it.') });
    setText(button, 'Stop');
    $('echo-port').disabled = true;
    setText($('echo-state'), `It listens: nc 127.0.0.1 ${running.port}`);
  } catch (error) {
    echoStopped(`It did not start: ${error.message}. ${HINTS[error.code]?.() ?? ''}`);
  }
  button.disabled = false;
  pollNow();
};

const key = readKey();
if (key) run(key);
else askForKey();
