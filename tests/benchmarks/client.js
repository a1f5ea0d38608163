// The client with Node's net: client.js PORT CONNECTIONS SIZE; see clients.py.
const [port, connections, size] = process.argv.slice(2).map(Number);
const message = Buffer.alloc(size);
for (let i = 0; i < connections; i++) {
  let left = size;
  const socket = require("net").connect({ port, host: "127.0.0.1", noDelay: true });
  socket.on("connect", () => socket.write(message));
  socket.on("data", (data) => {
    left -= data.length;
    if (left) return;
    left = size;
    socket.write(message);
  });
}
