// Echo with Node's net and tls: echo.js DOOR FOLDER PATH; see servers.py.
const [door, folder, path] = process.argv.slice(2);
const serve = (socket) => {
  socket.on("data", (data) => socket.write(data));
  socket.on("error", () => {});
};
const pem = () => require("fs").readFileSync(`${folder}/server.pem`);
const server =
  door === "tls"
    ? require("tls").createServer(
        { noDelay: true, minVersion: "TLSv1.3", key: pem(), cert: pem() }, serve)
    : require("net").createServer({ noDelay: true }, serve);
server.on("tlsClientError", () => {});
const remark = door === "tls" ? ` OpenSSL ${process.versions.openssl}` : "";
const where = door === "unix" ? { path, backlog: 511 } : { port: 0, host: "127.0.0.1", backlog: 511 };
server.listen(where, () => console.log((server.address().port || path) + remark));
