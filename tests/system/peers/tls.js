// A client or a server on Node's own `tls`.  It tells what happens to it on standard
// output, one JSON object a line.
//
//   node tls.js server PEM MODE           listens on a free port, until its input ends
//   node tls.js client PORT PEM MODE      trusts the certificate in PEM
//
//   echo          sends back what comes
//   ask TEXT      sends TEXT, and ends its side at the answer
//   size N        sends N bytes, and ends its side when as many have come back
//   end TEXT      sends TEXT and ends its side
//   wait          does nothing
//
// The variable ALPN has the protocols that it speaks, with commas.
'use strict';

const fs = require('fs');
const tls = require('tls');

function tell(event, facts) {
  process.stdout.write(JSON.stringify({ event, ...facts }) + '\n');
}

function attend(socket, mode, argument) {
  let received = '';
  let count = 0;
  if (mode === 'echo') {
    socket.pipe(socket);
  } else if (mode === 'ask') {
    socket.write(argument);
  } else if (mode === 'size') {
    socket.write(Buffer.alloc(Number(argument), 'node '));
  } else if (mode === 'end') {
    socket.end(argument);
  }
  socket.on('data', (data) => {
    count += data.length;
    received = count > 1000 ? '' : received + data;
    if (mode === 'ask' || (mode === 'size' && count === Number(argument))) {
      tell('answer', { received, count });
      socket.end();
    }
  });
  socket.on('end', () => tell('end', { received, count }));
  socket.on('close', (hadError) => {
    tell('close', { hadError, bytesRead: socket.bytesRead, bytesWritten: socket.bytesWritten });
  });
}

const ALPNProtocols = process.env.ALPN ? process.env.ALPN.split(',') : undefined;
const [role, ...rest] = process.argv.slice(2);
if (role === 'server') {
  const [pem, mode, argument] = rest;
  const text = fs.readFileSync(pem);
  const options = { key: text, cert: text, ALPNProtocols };
  const server = tls.createServer(options, (socket) => {
    const { alpnProtocol, servername, remotePort } = socket;
    tell('secure', { alpnProtocol, servername, remotePort, version: socket.getProtocol() });
    socket.on('error', (error) => tell('error', { code: error.code }));
    attend(socket, mode, argument);
  });
  server.on('tlsClientError', (error) => tell('error', { code: error.code }));
  server.listen({ host: '127.0.0.1', port: 0 }, () => tell('listening', server.address()));
  process.stdin.on('end', () => process.exit(0)).resume();
} else {
  const [port, pem, mode, argument] = rest;
  const options = {
    port: Number(port),
    host: '127.0.0.1',
    servername: 'localhost',
    ca: fs.readFileSync(pem),
    ALPNProtocols,
  };
  const socket = tls.connect(options, () => {
    const { alpnProtocol, localPort } = socket;
    tell('secure', { alpnProtocol, localPort, version: socket.getProtocol() });
  });
  socket.on('error', (error) => tell('error', { code: error.code }));
  attend(socket, mode, argument);
}
