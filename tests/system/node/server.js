// A server on Node's own `net`, for our client.  It tells what happens to it on
// standard output, one JSON object a line, and ends with its standard input.
//
//   node server.js echo     sends back what comes, and lets Node end it
//   node server.js speak    says 5 MB, and ends its side at once
//   node server.js reset    answers the first byte with RST
'use strict';

const net = require('net');

const mode = process.argv[2];

function tell(event, facts) {
  process.stdout.write(JSON.stringify({ event, ...facts }) + '\n');
}

const server = net.createServer({ allowHalfOpen: mode === 'speak' }, (socket) => {
  const { remoteAddress, remotePort, remoteFamily, localAddress, localPort } = socket;
  tell('connection', { remoteAddress, remotePort, remoteFamily, localAddress, localPort });
  socket.on('end', () => tell('end'));
  socket.on('error', (error) => tell('error', { code: error.code }));
  socket.on('close', (hadError) => {
    tell('close', { hadError, bytesRead: socket.bytesRead, bytesWritten: socket.bytesWritten });
  });
  if (mode === 'echo') {
    socket.pipe(socket);
  } else if (mode === 'speak') {
    socket.resume();
    socket.end(Buffer.alloc(5000000));
  } else if (mode === 'reset') {
    socket.once('data', () => socket.resetAndDestroy());
  }
});

const where = process.argv[3] ? { path: process.argv[3] } : { host: '127.0.0.1', port: 0 };
server.listen(where, () => tell('listening', { address: server.address() }));

process.stdin.on('end', () => process.exit(0)).resume();
