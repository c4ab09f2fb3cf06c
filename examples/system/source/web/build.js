// Build public/, and nginx.conf with the name server of this container.
const fs = require("node:fs");

const version = fs.readFileSync("VERSION", "utf8").trim();
const [, nameServer] = /^nameserver (\S+)/m.exec(fs.readFileSync("/etc/resolv.conf", "utf8"));

fs.mkdirSync("public", { recursive: true });
fs.writeFileSync("public/version", version);
fs.writeFileSync("public/index.html", fs.readFileSync("index.html", "utf8").replaceAll("{version}", version));
fs.writeFileSync("nginx.conf", fs.readFileSync("nginx.conf.in", "utf8").replaceAll("{name-server}", nameServer));
