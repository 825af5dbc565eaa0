// The types of chrome-sockets/socket and chrome-sockets/shim.

import { connect } from 'chrome-sockets';
import { filesAt, install } from 'chrome-sockets/shim';
import type { Files } from 'chrome-sockets/shim';
import { makeSocket } from 'chrome-sockets/socket';
import type { ReadInfo } from 'chrome-sockets/socket';

const sockets = await connect('ws://127.0.0.1:8787', { app: 'a' });
const socket = makeSocket(sockets);
socket.create('tcp', ({ socketId }) => {
  socket.connect(socketId, 'localhost', 80, (result: number) => result);
  socket.read(socketId, (info: ReadInfo) => info.data.byteLength);
  socket.read(socketId, null, ({ resultCode }) => resultCode satisfies number);
  socket.write(socketId, new Uint8Array(1), ({ bytesWritten }) => bytesWritten satisfies number);
  socket.accept(socketId, ({ socketId }) => socketId satisfies number | undefined);
  const nothing: void = socket.destroy(socketId);
  // @ts-expect-error: a callback is required
  socket.read(socketId);
  // @ts-expect-error: there is no such function
  socket.send(socketId);
});
// @ts-expect-error: there is no such type
socket.create('sctp', () => {});

const files: Files = { read: (path) => new Blob([path]), list: () => ['a', 'b/'] };
const { chrome: made, launch } = install({}, { id: 'a', manifest: {}, files, base: new URL('https://app.example/') });
launch();
launch({ items: [] });
install(undefined, { files: filesAt('https://app.example/') });
made.app.runtime.onLaunched.addListener(() => {});
// @ts-expect-error: `read` is required
install({}, { files: {} });
