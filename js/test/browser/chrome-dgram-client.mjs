// A program on Node's `dgram`, for browsers.

/** Resolves to the first of these events of a socket, with its values. */
const first = (socket, events) => new Promise((resolve) => {
  for (const event of events) socket.once(event, (...values) => resolve([event, ...values]));
});

/**
 * Greets a peer, and answers its `boop` with two datagrams, in the two forms of `send`. Resolves to the address of its sender.
 */
export async function greet(dgram, port) {
  const socket = dgram.createSocket('udp4');
  // It binds the socket.
  socket.send('beep', 0, 4, port, '127.0.0.1');
  const [event, data, from] = await first(socket, ['message', 'error']);
  if (event !== 'message') throw data;
  if (`${data}` !== 'boop') throw new Error(`${data}`);
  const sent = (...values) => new Promise((resolve, reject) => {
    socket.send(...values, from.port, from.address, (error) => (error ? reject(error) : resolve()));
  });
  await sent('pass1', 0, 5);
  await sent([Buffer.from('pa'), 'ss2']);
  socket.close();
  return from.address;
}

/** Sends back what a socket receives. Resolves to its port; rejects if the port is in use. */
export async function echo(dgram, port) {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (data, from) => socket.send(data, 0, data.length, from.port, from.address));
  socket.setMulticastTTL(4);
  socket.bind(port, '127.0.0.1');
  const [event, error] = await first(socket, ['listening', 'error']);
  if (event === 'error') throw error;
  // The test ends the host.
  socket.on('error', () => {});
  return socket.address().port;
}

/** Sends to a name that does not exist. Resolves to the message of the error. */
export async function sendNowhere(dgram) {
  const socket = dgram.createSocket('udp4');
  socket.on('error', () => {});
  const error = await new Promise((resolve) => socket.send('x', 0, 1, 9, 'nowhere.invalid', resolve));
  socket.close();
  return error.message;
}
