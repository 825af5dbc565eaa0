// The page of the host: what lives on it, and an echo server to try.

import { lookAfter } from './caretaker.mjs';
import { make, plot, say, set } from './dom.mjs';
import { echo, serve } from './echo.mjs';
import { bytes, counted, number, plain, rate } from './text.mjs';
import { Tree, draw, pager } from './tree.mjs';
import { POINTS, Watch } from './watch.mjs';

/** How often the page looks, and how long it waits for a host that has gone. */
const EVERY = 1000;

const $ = (id) => document.getElementById(id);
const url = location.origin.replace(/^http/, 'ws');
const wait = (time) => new Promise((resolve) => { setTimeout(resolve, time); });

/** The key, from the address that the host has printed: then it is taken out of it, and kept for this tab. */
function takeKey() {
  const said = new URLSearchParams(location.hash.slice(1));
  const key = said.get('key');
  if (key) {
    sessionStorage.setItem('key', key);
    history.replaceState(null, '', location.pathname);
  }
  return sessionStorage.getItem('key');
}

function state(what, text) {
  set($('state'), 'data-state', what);
  say($('state'), text);
}

function tell(text, isBad = false) {
  set($('said'), 'data-bad', isBad && '');
  say($('said'), text);
}

// What is there.

const watch = new Watch();
let caretaker;
let lookNow = () => {};

/** A tile; what it gives says a value and, below, a second one. */
function tile(title, style) {
  const value = make('span');
  const more = make('small');
  $('tiles').append(make('div', { class: 'tile' }, make('dt', { class: style }, title), make('dd', {}, value, ' ', more)));
  return (text, second, isProblem = false) => {
    say(value, text);
    say(more, second);
    set(more, 'class', isProblem && 'problem');
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

const again = (change) => (...values) => {
  change(...values);
  lookNow();
};

const turn = again((list, from) => watch.turn(list, from));
const turnApps = pager($('apps-pager'), () => 'Apps', turn);
const turnFound = pager($('found-pager'), () => 'Found', turn);

const tree = new Tree($('tree'), $('found'), {
  isOpen: (key) => watch.isOpen(key),
  toggle: again((key) => watch.toggle(key)),
  turn,
  setPaused: ({ app, namespace, socketId, paused, title }) => act(`${paused ? 'Resumed' : 'Paused'} ${title}.`, () =>
    caretaker.setPaused(app, namespace, socketId, !paused)),
  drain: async (socket) => {
    const seconds = await drainTime(socket);
    if (seconds === undefined) return;
    await act(`Draining ${socket.title}.`, () => caretaker.drain(socket.app, socket.socketId, seconds));
  },
  close: async (socket) => {
    if (!await isSure(socket)) return;
    await act(`Closed ${socket.title}.`, () => caretaker.close(socket.app, socket.namespace, socket.socketId));
  },
}, $('sockets-title'));

async function act(done, doIt) {
  try {
    await doIt();
    tell(done);
  } catch (error) {
    tell(`Failed: ${error.message}.`, true);
  }
  lookNow();
}

/** Asks before something is ended; whether it shall be. */
function ask(what, then, verb) {
  const dialog = $('sure');
  say($('sure-what'), what);
  say($('sure-then'), then);
  say($('sure-yes'), verb);
  return new Promise((resolve) => {
    asked.push(resolve);
    dialog.showModal();
    $('sure-no').focus();
  });
}

/**
 * Each opening of the dialog, until the event that says it was closed. That comes later than the close: who is quick has
 * opened the dialog again by then.
 */
const asked = [];
$('sure').onclose = ({ target }) => {
  const isYes = target.returnValue === 'yes';
  // Escape leaves it as it is.
  target.returnValue = '';
  asked.shift()(isYes);
};
$('sure-no').onclick = () => $('sure').close('no');
$('sure-yes').onclick = () => $('sure').close('yes');

const openConnections = (clients) => counted(clients, 'open connection');

function isSure({ namespace, title, clients }) {
  $('sure-time').hidden = true;
  return ask(`Close ${title}?`, namespace === 'tcp' ? 'This ends the connection. Its app receives an error event.'
    : `This ends listening on its port. Its app receives an error event.${clients > 0 ? ` ${openConnections(clients)} will stay.` : ''}`, 'Close');
}

/** How many seconds open connections have to finish; nothing, if there shall be no drain. */
async function drainTime({ title, clients }) {
  $('sure-time').hidden = false;
  const isWanted = await ask(`Drain ${title}?`,
    `It stops listening now. ${openConnections(clients)} can finish until the time is over; then they are closed.`, 'Drain');
  return isWanted ? Number($('sure-seconds').value) : undefined;
}

function show({ all, total, rows, found, ...list }) {
  appsTile(number(total), all.problems > 0 ? `${number(all.problems)} with problems` : 'no problems', all.problems > 0);
  serversTile(number(all.servers), '');
  clientsTile(number(all.clients), `${number(all.accepted)} accepted`);
  inTile(rate(all.inRate), `${bytes(all.received)} in all`);
  outTile(rate(all.outRate), `${bytes(all.sent)} in all`);
  draw(wholePlot, all.points, 40);
  $('tree').hidden = Boolean(found);
  $('found').hidden = !found;
  if (found) tree.updateFound(found.rows);
  else tree.update(rows);
  turnApps(found ? undefined : { ...list, total, rows });
  turnFound(found);
  $('none').hidden = (found ?? { total }).total > 0;
  say($('none'), found ? 'Nothing matches.' : 'No app has connected yet.');
}

/** Looks every second while somebody sees it, and at once when something was done. */
async function keepLooking(isOver) {
  while (!isOver()) {
    const asked = new Promise((resolve) => { lookNow = resolve; });
    if (document.hidden) {
      await Promise.race([asked, new Promise((resolve) => document.addEventListener('visibilitychange', resolve, { once: true }))]);
      continue;
    }
    try {
      show(await watch.look(caretaker));
    } catch (error) {
      if (!isOver()) tell(`The host did not answer: ${error.message}.`, true);
    }
    await Promise.race([asked, wait(EVERY)]);
  }
}

$('order').onchange = again(() => { watch.byBytes = $('order').value === 'bytes'; });
$('app-order').onchange = again(() => { watch.problemsFirst = $('app-order').value === 'problems'; });

/** A search begins when nothing is typed for a moment. */
let typing;
$('search').oninput = () => {
  clearTimeout(typing);
  typing = setTimeout(again(() => { watch.query = $('search').value.trim(); }), 200);
};

/** Connects, looks until the connection is lost, and connects again. */
async function look(key) {
  let rest = 100;
  for (;;) {
    let isLost = false;
    try {
      caretaker = await lookAfter(url, key, { lost: () => { isLost = true; lookNow(); } });
    } catch (error) {
      if (['forbidden', 'version'].includes(error.code)) return askForKey(error);
      state('lost', `${error.code === 'busy' ? 'Too many admin pages are open' : 'No connection to the host'}: trying again …`);
      await wait(rest);
      rest = Math.min(rest * 2, 5000);
      continue;
    }
    rest = 100;
    state('in', `Connected to ${location.host}`);
    $('key-form').hidden = true;
    $('live').hidden = false;
    $('tree').classList.remove('stale');
    $('found').classList.remove('stale');
    await keepLooking(() => isLost);
    $('tree').classList.add('stale');
    $('found').classList.add('stale');
    state('lost', 'Connection lost: reconnecting …');
  }
}

function askForKey(error) {
  if (error) {
    sessionStorage.removeItem('key');
    say($('key-why'), `The host says: ${error.message}. The host makes a new key at each start.`);
  }
  state('out', 'Not authorised: enter the admin key');
  $('live').hidden = true;
  $('key-form').hidden = false;
  $('key').value = '';
}

$('key-form').onsubmit = (event) => {
  event.preventDefault();
  const said = $('key').value.trim();
  const key = new URLSearchParams(said.split('#')[1] ?? '').get('key') ?? said;
  sessionStorage.setItem('key', key);
  state('coming', 'Connecting …');
  look(key);
};

// The address of a host that was started anew, put into this tab.
window.addEventListener('hashchange', () => {
  if (location.hash.includes('key=')) {
    takeKey();
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
  say($('echo-start'), 'Start');
  $('echo-port').disabled = false;
  say($('echo-said'), why);
}

const HINTS = {
  forbidden: () => {
    $('echo-token-field').hidden = false;
    return 'The host asks for its token.';
  },
  'unknown-app': () => 'Give the host a manifest for the app page, or start it with --dev.',
  'app-in-use': () => 'Another tab is the app page.',
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
    running = await echo({ url, token, port: Number($('echo-port').value), said: log, lost: () => echoStopped('The host has gone, and the server with it.') });
    say(button, 'Stop');
    $('echo-port').disabled = true;
    say($('echo-said'), `It listens: nc 127.0.0.1 ${running.port}`);
  } catch (error) {
    echoStopped(`It has not started: ${error.message}. ${HINTS[error.code]?.() ?? ''}`);
  }
  button.disabled = false;
  lookNow();
};

const key = takeKey();
if (key) look(key);
else askForKey();
