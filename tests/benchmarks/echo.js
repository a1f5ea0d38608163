// Echo with Node's net.
const server = require("net").createServer({ noDelay: true }, (socket) => {
  socket.on("data", (data) => socket.write(data));
  socket.on("error", () => {});
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 511 }, () => console.log(server.address().port));
