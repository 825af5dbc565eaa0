// Calls of chrome.socket whose results are compared between Chromium's own and the adapter.

/**
 * Makes the calls. Resolves to `[call, value, lastError]` for each, with ports and data in a form that can be compared. It uses
 * nothing outside itself: a Chrome App gets it as text. `isDenied` chooses the calls for an app with few permissions.
 */
export async function scenario(chrome, refusedPort, isDenied) {
  const results = [];
  const names = new Map([[refusedPort, 'refused']]);
  const text = (data) => new TextDecoder().decode(data);
  const bytes = (value) => new TextEncoder().encode(value).buffer;
  const NUMBERED = ['socketId', 'localPort', 'peerPort', 'port'];
  const plain = (value) => {
    if (value instanceof ArrayBuffer) return `data ${text(value)}`;
    if (Array.isArray(value)) return value.map(plain);
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.keys(value).sort().map((key) => [key, (NUMBERED.includes(key) && names.get(value[key])) || plain(value[key])]));
  };
  /** Starts a call. Resolves to its result, which is recorded in the order of the calls. */
  const start = (name, ...args) => {
    const result = [`${name}(${args.map((value) => JSON.stringify(names.get(value) ?? plain(value))).join(', ')})`];
    results.push(result);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        result.push('no answer');
        resolve();
      }, 5000);
      chrome.socket[name](...args, (...values) => {
        clearTimeout(timer);
        const [value] = values;
        if (name === 'create') names.set(value.socketId, `socket ${names.size}`);
        if (name === 'accept' && value.socketId !== undefined) names.set(value.socketId, `socket ${names.size}`);
        if (name === 'getInfo' && value?.localPort && !names.has(value.localPort)) names.set(value.localPort, `port ${names.size}`);
        result.push(values.map(plain), chrome.runtime.lastError?.message ?? null);
        resolve(value);
      });
    });
  };
  const create = async (type) => (await start('create', type)).socketId;
  const HERE = '127.0.0.1';

  if (isDenied) {
    const denied = await create('tcp');
    await start('connect', denied, HERE, 2);
    await start('connect', denied, HERE, 1);
    await start('listen', await create('tcp'), HERE, 0);
    const udp = await create('udp');
    await start('bind', udp, '0.0.0.0', 0);
    await start('sendTo', udp, bytes('x'), HERE, 1);
    await start('joinGroup', udp, '224.0.0.200');
    await start('bind', udp, HERE, 0);
    await start('sendTo', udp, bytes('x'), HERE, 1);
    await start('joinGroup', udp, '224.0.0.200');
    return results;
  }

  // What a new TCP socket cannot do.
  const server = await create('tcp');
  await start('getInfo', server);
  await start('read', server);
  await start('write', server, bytes('x'));
  await start('accept', server);
  await start('bind', server, HERE, 0);
  await start('recvFrom', server);
  await start('sendTo', server, bytes('x'), HERE, refusedPort);
  await start('joinGroup', server, '224.0.0.200');
  await start('leaveGroup', server, '224.0.0.200');
  await start('getJoinedGroups', server);
  await start('setMulticastTimeToLive', server, 1);
  await start('setMulticastLoopbackMode', server, true);
  await start('setNoDelay', server, true);
  await start('setKeepAlive', server, true, 5);
  await start('secure', server);

  // A server and a client.
  await start('listen', server, HERE, 0);
  const { localPort } = await start('getInfo', server);
  await start('read', server);
  await start('connect', server, HERE, localPort);
  const accepted = start('accept', server);
  await start('accept', server);
  const one = await create('tcp');
  await start('connect', one, HERE, localPort);
  await start('connect', one, HERE, localPort);
  await start('listen', one, HERE, 0);
  const two = (await accepted).socketId;
  const info = await start('getInfo', one);
  names.set(info.localPort, 'client port');
  await start('getInfo', two);
  await start('setNoDelay', one, true);
  await start('setKeepAlive', one, true, 5);
  await start('setKeepAlive', one, false);
  await start('write', one, bytes('hello'));
  await start('read', two, 2);
  await start('read', two, 100);
  const waiting = start('read', two);
  await start('read', two);
  await start('write', one, bytes('more'));
  await waiting;
  await start('secure', two);
  await start('getInfo', two);

  // The end of a connection.
  const again = start('accept', server);
  const three = await create('tcp');
  await start('connect', three, HERE, localPort);
  const four = (await again).socketId;
  await start('write', three, bytes('last'));
  chrome.socket.disconnect(three);
  await start('getInfo', three);
  await start('read', three);
  await start('read', four);
  await start('read', four);
  await start('read', four);
  await start('write', four, bytes('x'));
  await start('getInfo', four);
  await start('setNoDelay', four, true);
  const third = start('accept', server);
  await start('connect', three, HERE, localPort);
  const five = (await third).socketId;
  const dropped = start('read', three);
  chrome.socket.disconnect(three);
  await dropped;
  await start('read', five);
  const last = start('accept', server);
  await start('connect', three, HERE, localPort);
  await last;
  const destroyed = start('read', three);
  chrome.socket.destroy(three);
  await destroyed;
  await start('read', three);

  // Failures.
  const failing = await create('tcp');
  await start('connect', failing, HERE, refusedPort);
  await start('getInfo', failing);
  await start('read', failing);
  await start('connect', failing, HERE, 65536);
  await start('connect', failing, 'no.such.name.invalid', 80);
  await start('listen', failing, HERE, 0);
  const taken = await create('tcp');
  await start('listen', taken, HERE, localPort);
  const wrong = await create('tcp');
  await start('listen', wrong, 'localhost', 0);

  // Unknown sockets.
  for (const [name, ...args] of [
    ['connect', HERE, 1], ['bind', HERE, 1], ['read'], ['write', bytes('')], ['recvFrom'], ['sendTo', bytes(''), HERE, 1], ['listen', HERE, 1],
    ['accept'], ['setKeepAlive', true], ['setNoDelay', true], ['getInfo'], ['joinGroup', '224.0.0.200'], ['leaveGroup', '224.0.0.200'],
    ['setMulticastTimeToLive', 1], ['setMulticastLoopbackMode', true], ['getJoinedGroups'], ['secure'],
  ]) await start(name, 9999, ...args);

  // UDP.
  const receiver = await create('udp');
  await start('getInfo', receiver);
  await start('recvFrom', receiver);
  await start('read', receiver);
  await start('write', receiver, bytes('x'));
  await start('sendTo', receiver, bytes('x'), HERE, refusedPort);
  await start('setMulticastTimeToLive', receiver, 256);
  await start('setMulticastTimeToLive', receiver, 2);
  await start('setMulticastLoopbackMode', receiver, true);
  await start('bind', receiver, 'localhost', 0);
  const bound = await create('udp');
  await start('bind', bound, HERE, 0);
  const { localPort: udpPort } = await start('getInfo', bound);
  await start('bind', bound, HERE, 0);
  await start('connect', bound, HERE, udpPort);
  await start('setMulticastTimeToLive', bound, 2);
  await start('setMulticastLoopbackMode', bound, true);
  await start('joinGroup', bound, 'nowhere');
  await start('leaveGroup', bound, '224.0.0.200');
  await start('getJoinedGroups', bound);
  await start('setNoDelay', bound, true);
  await start('setKeepAlive', bound, true);
  await start('accept', bound);
  await start('listen', bound, HERE, 0);
  await start('secure', bound);
  const sender = await create('udp');
  await start('bind', sender, HERE, 0);
  await start('getInfo', sender);
  const datagram = start('recvFrom', bound);
  await start('recvFrom', bound);
  await start('sendTo', sender, bytes('in'), HERE, udpPort);
  await datagram;
  await start('sendTo', sender, bytes(''), HERE, udpPort);
  await start('recvFrom', bound);
  await start('sendTo', sender, bytes('0123456789'), HERE, udpPort);
  await start('recvFrom', bound, 4);
  await start('sendTo', sender, bytes('0123'), HERE, udpPort);
  await start('recvFrom', bound, 4);
  await start('sendTo', sender, new ArrayBuffer(70_000), HERE, udpPort);
  const connected = await create('udp');
  await start('connect', connected, HERE, udpPort);
  await start('connect', connected, HERE, udpPort);
  names.set((await start('getInfo', connected)).localPort, 'connected port');
  await start('recvFrom', connected);
  await start('write', connected, bytes('to the peer'));
  await start('recvFrom', bound);
  const pending = start('recvFrom', bound);
  chrome.socket.disconnect(bound);
  await pending;
  await start('getInfo', bound);
  return results;
}
