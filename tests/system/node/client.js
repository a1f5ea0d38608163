// A client on Node's own `net`, for our server.  It tells what happens to it on
// standard output, one JSON object a line, and ends when it is disconnected.
//
//   node client.js PORT TEXT     sends TEXT when it has been greeted, ends its
//                                side, and shows what it got
//   node client.js PORT size N   sends N bytes, ends its side, and counts
'use strict';

const net = require('net');

const [port, text, size] = process.argv.slice(2);

function tell(event, facts) {
  process.stdout.write(JSON.stringify({ event, ...facts }) + '\n');
}

let received = '';
let count = 0;
const socket = net.connect({ port: Number(port), host: '127.0.0.1' }, () => {
  const { localAddress, localPort, remoteAddress, remotePort, remoteFamily } = socket;
  tell('connect', { localAddress, localPort, remoteAddress, remotePort, remoteFamily });
  if (size) {
    socket.end(Buffer.alloc(Number(size)));
  }
});
socket.on('data', (data) => {
  count += data.length;
  if (size) {
    return;
  }
  received += data;
  tell('data', { received });
  if (text && received.endsWith('\n')) {
    socket.end(text);
  }
});
socket.on('end', () => tell('end', { count }));
socket.on('error', (error) => tell('error', { code: error.code }));
socket.on('close', (hadError) => {
  tell('close', { hadError, bytesRead: socket.bytesRead, bytesWritten: socket.bytesWritten });
});
