// The program with Node's net: net.js WISHES; see program.py and wanted.py.
const net = require("net");
const fs = require("fs");
const wanted = JSON.parse(process.argv[2]);
const MUCH = Buffer.alloc(8000000);
const living = new Set();
const eaten = [];

// An exception in a callback would end the process.
process.on("uncaughtException", (error) => console.log(String(error)));

const block = (milliseconds) =>
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);

const eat = () => {
  try {
    for (;;) eaten.push(fs.openSync("/dev/null"));
  } catch {}
};

const answer = (data) => {
  if (data[0] !== 0x21) return data;
  switch (String.fromCharCode(data[1])) {
    case "f": return MUCH;
    case "r": throw new Error(data.toString("latin1"));
    case "h": block(1000); break;
    case "z": for (;;) block(1000);
    case "e": eat(); break;
    case "s": while (eaten.length) fs.closeSync(eaten.pop());
  }
  return data;
};

const serve = (socket) => {
  if (wanted.overflow === "reset" && living.size >= wanted.limit) {
    socket.on("error", () => {});
    socket.resetAndDestroy();
    return;
  }
  living.add(socket);
  const life = setTimeout(() => socket.destroy(), wanted.lifetime * 1000);
  const first = setTimeout(() => socket.destroy(), wanted.firstByte * 1000);
  socket.setTimeout(Math.min(wanted.idle, wanted.stall) * 1000, () => socket.destroy());
  socket.on("error", () => {});
  socket.on("close", () => {
    living.delete(socket);
    clearTimeout(life);
    clearTimeout(first);
  });
  socket.on("data", (data) => {
    clearTimeout(first);
    let given;
    try {
      given = answer(data);
    } catch (error) {
      // As the exception of a callback cannot be laid to a socket's account.
      console.log(String(error));
      socket.destroy();
      return;
    }
    if (!socket.write(given)) {
      socket.pause();
      socket.once("drain", () => socket.resume());
    }
  });
};

const server = net.createServer({ noDelay: true }, serve);
if (wanted.overflow !== "reset") server.maxConnections = wanted.limit;
server.on("error", (error) => console.log(String(error)));
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () =>
  console.log(`listening on 127.0.0.1:${server.address().port}`));
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  for (const socket of living) socket.end();
  setTimeout(() => {
    for (const socket of living) socket.destroy();
  }, wanted.drain * 1000).unref();
});
