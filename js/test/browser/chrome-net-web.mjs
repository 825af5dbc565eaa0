// A web server on Node's `net`, for browsers, which have no `http`.

/** Serves `/bytes/COUNT` and `/line/PORT`, the first line from a server on that port. */
export function serve(net, port) {
  const server = net.createServer((socket) => {
    let input = '';
    socket.on('error', () => {});
    socket.on('data', (data) => {
      input += data.toString('latin1');
      for (let end; (end = input.indexOf('\r\n\r\n')) >= 0; input = input.slice(end + 4)) answer(net, socket, input.split(' ')[1]);
    });
  });
  return new Promise((resolve, reject) => {
    server.on('error', (error) => reject(new Error(error.code)));
    server.listen(port, '127.0.0.1', () => resolve(server.address().port));
  });
}

function answer(net, socket, path) {
  const [, what, number] = path.split('/');
  if (what === 'bytes') return respond(socket, Buffer.alloc(Number(number), 'x'));
  const other = net.connect(Number(number), '127.0.0.1');
  let line = '';
  other.on('error', (error) => respond(socket, Buffer.from(error.code)));
  other.on('data', (data) => {
    line += data;
    if (!line.endsWith('\n')) return;
    respond(socket, Buffer.from(line));
    other.destroy();
  });
}

function respond(socket, body) {
  socket.write(Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`), body]));
}
