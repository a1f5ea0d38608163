// The greeting server on Node's net, with everything that it does on
// console.log: what twistd tcpdemo is compared with.
'use strict';
const net = require('node:net');

const server = net.createServer((socket) => {
  const { remoteAddress, remotePort, remoteFamily, localAddress, localPort } = socket;
  server.getConnections((error, count) => {
    console.log(`connection: ${remoteAddress}:${remotePort} (${remoteFamily}) to ` +
      `${localAddress}:${localPort}; ${count} connected`);
  });
  const message = `client, the server address is ${JSON.stringify(server.address())}\n`;
  socket.write(message, () => {
    console.log(`sent: ${message.trimEnd()} (${socket.bytesWritten} bytes written)`);
  });
  socket.on('data', (data) => {
    console.log(`data: ${data.toString()} (${socket.bytesRead} bytes read)`);
  });
  socket.on('end', () => console.log('end: the client has sent FIN'));
  socket.on('error', (error) => console.log(`error: ${error.message}`));
  socket.on('close', (failed) => {
    console.log(`close: ${socket.bytesRead} bytes read, ${socket.bytesWritten} written, ` +
      `error ${failed}; ${remoteAddress}:${remotePort}`);
  });
});
server.listen(0, '127.0.0.1', 511, () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
