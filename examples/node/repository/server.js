// Serve a page that a package of npm's registry renders from a template.
const fs = require("node:fs");
const http = require("node:http");
const mustache = require("mustache");

const read = (name) => fs.readFileSync(`${__dirname}/${name}`, "utf8");
const revision = read("revision");
const page = mustache.render(read("page.mustache"), { revision });

const server = http.createServer((request, response) => {
  response.end(request.url === "/health" ? revision : page);
});
// Descriptor 0 is the socket that supervisord has opened.
server.listen({ fd: 0 });
// Node exits when it has answered the last request.
process.on("SIGTERM", () => {
  server.close();
  server.closeIdleConnections();
});
