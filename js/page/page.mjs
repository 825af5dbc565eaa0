// The page of the host: what lives on it, and an echo server to try.

import { lookAfter } from './caretaker.mjs';
import { make, plot, say, set } from './dom.mjs';
import { echo, serve } from './echo.mjs';
import { bytes, number, plain, rate } from './text.mjs';
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

const TILES = [['Apps', 'apps'], ['Servers', 'servers'], ['Connections', 'clients'], ['Accepted', 'accepted']].map(([title, name]) => {
  const value = make('dd');
  $('tiles').append(make('div', { class: 'tile' }, make('dt', {}, title), value));
  return [name, value];
});
const flow = ['In', 'Out'].map((title, index) => {
  const value = make('dd');
  $('tiles').append(make('div', { class: 'tile' }, make('dt', { class: index ? 'out-key' : 'in-key' }, title), value));
  return value;
});
const wholePlot = plot(POINTS - 1, 40);
$('tiles').append(make('div', { class: 'tile wide' }, make('dt', {}, 'Last minute: ', make('span', { class: 'in-key' }, 'in'), ' and ',
  make('span', { class: 'out-key' }, 'out')), make('dd', { class: 'plot' }, wholePlot.svg)));

const again = (change) => (...values) => {
  change(...values);
  lookNow();
};

const turn = again((list, from) => watch.turn(list, from));
const turnApps = pager($('apps-pager'), () => 'Apps', turn);

const tree = new Tree($('tree'), {
  isOpen: (key) => watch.isOpen(key),
  toggle: again((key) => watch.toggle(key)),
  turn,
  setPaused: ({ app, namespace, socketId, paused, title }) => act(`${paused ? 'Resumed' : 'Paused'} ${title}.`, () =>
    caretaker.setPaused(app, namespace, socketId, !paused)),
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
    tell(`That was not possible: ${error.message}.`, true);
  }
  lookNow();
}

function isSure({ namespace, title, clients }) {
  const dialog = $('sure');
  say($('sure-what'), `Close ${title}?`);
  say($('sure-then'), namespace === 'tcp' ? 'The connection ends, and its app is told so.'
    : `Nobody can connect to it any more, and its app is told so. ${clients > 0 ? `Its ${number(clients)} open connections stay.` : ''}`);
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === 'yes');
    dialog.returnValue = '';
    dialog.showModal();
    $('sure-no').focus();
  });
}
$('sure-no').onclick = () => $('sure').close('no');
$('sure-yes').onclick = () => $('sure').close('yes');

function show({ all, total, rows, ...list }) {
  const values = { ...all, apps: total };
  for (const [name, value] of TILES) say(value, number(values[name]));
  [[all.inRate, all.received], [all.outRate, all.sent]].forEach(([now, whole], index) => {
    flow[index].replaceChildren(rate(now), ' ', make('small', {}, bytes(whole)));
  });
  draw(wholePlot, all.points, 40);
  tree.update(rows);
  turnApps({ ...list, total, rows });
  $('none').hidden = total > 0;
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
      if (!isOver()) tell(`The host cannot be looked at: ${error.message}.`, true);
    }
    await Promise.race([asked, wait(EVERY)]);
  }
}

$('order').onchange = again(() => { watch.byBytes = $('order').value === 'bytes'; });

/** Comes in, looks until the host has gone, and comes in again. */
async function look(key) {
  let rest = 100;
  for (;;) {
    let isLost = false;
    try {
      caretaker = await lookAfter(url, key, { lost: () => { isLost = true; lookNow(); } });
    } catch (error) {
      if (['forbidden', 'version'].includes(error.code)) return askForKey(error);
      state('lost', `${error.code === 'busy' ? 'As many look after this host as may' : 'The host is not there'}: trying again …`);
      await wait(rest);
      rest = Math.min(rest * 2, 5000);
      continue;
    }
    rest = 100;
    state('in', `Looking after ${location.host}`);
    $('key-form').hidden = true;
    $('live').hidden = false;
    $('tree').classList.remove('stale');
    await keepLooking(() => isLost);
    $('tree').classList.add('stale');
    state('lost', 'The host has gone: waiting for it …');
  }
}

function askForKey(error) {
  if (error) {
    sessionStorage.removeItem('key');
    say($('key-why'), `The host says: ${error.message}. It has another key after each start; the address that it prints has it.`);
  }
  state('out', 'This page may not look');
  $('live').hidden = true;
  $('key-form').hidden = false;
  $('key').value = '';
}

$('key-form').onsubmit = (event) => {
  event.preventDefault();
  const said = $('key').value.trim();
  const key = new URLSearchParams(said.split('#')[1] ?? '').get('key') ?? said;
  sessionStorage.setItem('key', key);
  state('coming', 'Coming in …');
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
