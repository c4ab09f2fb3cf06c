"""Run Consul as in production: three servers and a client agent, with ACLs and TLS, each at its own loopback address."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
import uuid
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.consul_process import binary
from support.environment import clean_environment
from support.servers import free_port
from support.waiting import eventually, freeze

if TYPE_CHECKING:
    from collections.abc import Callable

    Request = http.server.BaseHTTPRequestHandler
    Fault = Callable[["Proxy", Request], None]

NODE = "node-1"
_MASTER = "11111111-2222-3333-4444-555555555555"
_ANONYMOUS = "00000000-0000-0000-0000-000000000002"
_NAME_UNKNOWN = 3


def authority(folder: Path, name: str) -> Path:
    """Make a private certificate authority; its certificate is ``<name>.pem``."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    uses = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    _openssl("req", *made, *uses, "-keyout", str(key), "-out", str(certificate))
    return certificate


def certificate(folder: Path, name: str, signer: Path, alternatives: str) -> Path:
    """Make a certificate that an authority signs; its key lies beside it as ``<name>.key``."""
    request, extensions, made = folder / f"{name}.csr", folder / f"{name}.ext", folder / f"{name}.pem"
    extensions.write_text(f"subjectAltName={alternatives}\nextendedKeyUsage=serverAuth,clientAuth\n")
    asked = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}"]
    _openssl("req", *asked, "-keyout", str(folder / f"{name}.key"), "-out", str(request))
    signed = ["-CA", str(signer), "-CAkey", str(signer.with_suffix(".key")), "-CAcreateserial", "-days", "2"]
    _openssl("x509", "-req", "-in", str(request), *signed, "-extfile", str(extensions), "-out", str(made))
    return made


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, env=clean_environment())


class Agent:
    """One process of Consul, which a test may end, pause and start again."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.data = path / "data"
        path.mkdir()
        (path / "consul.json").write_text(json.dumps(settings | {"data_dir": str(self.data)}))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        command = [binary(), "agent", f"-config-file={self.path}/consul.json"]
        with (self.path / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=clean_environment())

    def kill(self) -> None:
        """End it with signal 9."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def hang(self) -> None:
        """Let it accept connections and answer nothing."""
        assert self.process
        freeze(self.process.pid)

    def go_on(self) -> None:
        """Let it answer again."""
        assert self.process
        os.kill(self.process.pid, signal.SIGCONT)

    def forget(self) -> None:
        """Remove its data."""
        shutil.rmtree(self.data)


class Proxy:
    """A reverse proxy before the socket of a real agent; while it has a fault, every answer is the fault."""

    def __init__(self, agent: Path) -> None:
        proxy = self
        self._agent = agent
        self.fault: Fault | None = None

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                (proxy.fault or Proxy.passes_on)(proxy, self)

            do_PUT = do_GET

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of a client of the proxy, without the token."""
        return {"CONSUL_HTTP_ADDR": f"http://127.0.0.1:{self._server.server_port}"}

    def passes_on(self, request: Request) -> None:
        """Let the agent answer."""
        agent = http.client.HTTPConnection("localhost")
        agent.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        agent.sock.connect(str(self._agent))
        agent.request(request.command, request.path, _body(request), {"X-Consul-Token": request.headers["X-Consul-Token"]})
        answer = agent.getresponse()
        _answer(request, answer.status, answer.read(), answer.headers.get("Content-Type", "text/plain"))
        agent.close()

    def is_slow(self, request: Request) -> None:
        """Let the agent answer slowly, each time a little before a client's time-out."""
        threading.Event().wait(1.5)
        self.passes_on(request)

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    def shutdown_request(self, request: Any) -> None:
        """Close the connection without shutdown(2), so that a fault can reset it."""
        self.close_request(request)


def answers(status: int, text: str, kind: str = "text/plain") -> Fault:
    """Return a fault that gives this answer to every call."""

    def answer(_: Proxy, request: Request) -> None:
        _body(request)
        _answer(request, status, text.encode(), kind)

    return answer


def breaks_off(_: Proxy, request: Request) -> None:
    """Announce more bytes than the answer has."""
    _body(request)
    _answer(request, 200, b'{"service:', "application/json", missing=100)


def resets(proxy: Proxy, request: Request) -> None:
    """Reset the connection in the middle of an answer."""
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    breaks_off(proxy, request)


def _body(request: Request) -> bytes:
    return request.rfile.read(int(request.headers["Content-Length"] or 0))


def _answer(request: Request, status: int, body: bytes, kind: str, missing: int = 0) -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body) + missing))
    request.end_headers()
    request.wfile.write(body)
    request.close_connection = missing > 0


class ConsulCluster:
    """Servers at 127.0.0.11 to .13; their HTTPS requires client certificates.

    The client agent at .14 has HTTPS and HTTP, both also at ::1, a socket and DNS.
    """

    master = _MASTER  # the token that may do everything

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="ra-cluster-"))
        self.socket = self.path / "consul.sock"
        self.ca = authority(self.path, "ca")
        self.wrong_ca = authority(self.path, "wrong-ca")
        names = "IP:::1,IP:127.0.0.14,IP:127.0.0.11,IP:127.0.0.12,IP:127.0.0.13,DNS:server.dc1.consul,DNS:localhost"
        self.certificate = certificate(self.path, "consul", self.ca, names)
        self.ports = {
            "serf_lan": free_port(),
            "server": free_port(),
            "http": free_port(),
            "https": free_port(),
            "dns": free_port(),
        }
        addresses = ["127.0.0.11", "127.0.0.12", "127.0.0.13"]
        self.servers = {address: self._agent(address, addresses, server=True) for address in addresses}
        self.client = self._agent("127.0.0.14", addresses, server=False)
        try:
            for agent in (*self.servers.values(), self.client):
                agent.start()
            eventually(self.well, "the cluster is well")
            eventually(self._readable, "ACLs are ready")
        except BaseException:
            self.close()
            raise

    def _readable(self) -> bool:
        """Let clients without a token read, because DNS has none."""
        try:
            policies = {policy["Name"] for policy in self.get("/v1/acl/policies")}
            if "readers" not in policies:
                rules = 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'
                self.put("/v1/acl/policy", {"Name": "readers", "Rules": rules})
            self.put(f"/v1/acl/token/{_ANONYMOUS}", {"Policies": [{"Name": "readers"}]})
        except urllib.error.HTTPError:  # no leader has set up ACLs yet
            return False
        return True

    def _agent(self, address: str, servers: list[str], *, server: bool) -> Agent:
        number = address.rpartition(".")[2]
        ports = self.ports | {"serf_wan": -1, "grpc": -1} | ({"dns": -1} if server else {})
        settings: dict[str, Any] = {
            "server": server,
            "node_name": f"server-{number}" if server else NODE,
            # Kept, as in production, because servers refuse a known node name with another id.
            "node_id": f"00000000-0000-0000-0000-0000000000{number}",
            "bind_addr": address,
            "client_addr": address,
            "ports": ports,
            "retry_join": [f"{other}:{self.ports['serf_lan']}" for other in servers],
            "retry_interval": "1s",
            "performance": {"raft_multiplier": 1},
            "log_level": "warn",
            # The agent asks for a token's rights again after a second: a test revokes a token and waits.
            "acl": {
                "enabled": True,
                "default_policy": "deny",
                "token_ttl": "1s",
                "policy_ttl": "1s",
                "role_ttl": "1s",
                "tokens": {"master": _MASTER, "agent": _MASTER},
            },
            "ca_file": str(self.ca),
            "cert_file": str(self.certificate),
            "key_file": str(self.certificate.with_suffix(".key")),
            "verify_outgoing": True,
        }
        if server:
            settings |= {"bootstrap_expect": len(servers), "verify_incoming_https": True}
        else:
            settings |= {"addresses": {"http": f"unix://{self.socket} {address} ::1", "https": f"{address} ::1"}}
        return Agent(self.path / address, settings)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of a client that trusts the authority, without the token."""
        return {"CONSUL_HTTP_ADDR": f"https://127.0.0.14:{self.ports['https']}", "CONSUL_CACERT": str(self.ca)}

    # Answers

    def get(self, path: str, token: str = _MASTER) -> Any:
        """GET a path, with the master token by default."""
        return self._ask("GET", path, token=token)

    def put(self, path: str, body: Any = None, token: str = _MASTER) -> Any:
        """PUT to a path, with the master token by default."""
        return self._ask("PUT", path, json.dumps(body).encode(), token)

    def refuses(self, method: str, path: str, token: str) -> bool:
        """Return whether Consul refuses this call with a token."""
        try:
            self._ask(method, path, token=token)
        except urllib.error.HTTPError as error:
            return error.code == HTTPStatus.FORBIDDEN
        return False

    def delete(self, path: str) -> None:
        """DELETE a path with the master token."""
        self._ask("DELETE", path)

    def _ask(self, method: str, path: str, body: bytes | None = None, token: str = _MASTER) -> Any:
        request = urllib.request.Request(self.environment["CONSUL_HTTP_ADDR"] + path, data=body, method=method)
        request.add_header("X-Consul-Token", token)
        trust = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(request, timeout=60, context=trust) as answer:
            return json.loads(answer.read() or b"null")

    def well(self) -> bool:
        """Return whether there is a leader, ACLs work, and every node is in the catalog and healthy."""
        try:
            well = {check["Node"] for check in self.get("/v1/health/state/passing") if check["CheckID"] == "serfHealth"}
            return bool(self.get("/v1/status/leader")) and NODE in well and len(well) == len(self.servers) + 1
        except (OSError, urllib.error.URLError):
            return False

    def leader(self) -> str:
        """Return the address of the leader; empty if there is none, or Consul does not answer."""
        try:
            address: str = self.get("/v1/status/leader")
        except (OSError, urllib.error.URLError):
            return ""
        return address.rpartition(":")[0]

    def health(self, service: str) -> list[dict[str, Any]]:
        """Return a service's instances from the catalog, not only from the agent; none if the catalog does not answer."""
        try:
            instances: list[dict[str, Any]] = self.get(f"/v1/health/service/{service}")
        except (OSError, urllib.error.URLError):
            return []
        return instances

    def record(self, key: str) -> dict[str, Any]:
        """Return the JSON of a key; empty if the key does not exist, or Consul does not answer."""
        try:
            record: dict[str, Any] = self.get(f"/v1/kv/{key}?raw")
        except (OSError, urllib.error.URLError):
            return {}
        return record

    def token(self, rules: str) -> dict[str, Any]:
        """Make a token with a policy of these rules."""
        made = self._written("/v1/acl/policy", {"Name": f"policy-{uuid.uuid4()}", "Rules": rules})
        token = self._written("/v1/acl/token", {"Policies": [{"ID": made["ID"]}]})
        known = "/v1/agent/checks"  # the agent may ask a server that does not know the token yet
        eventually(lambda: not self.refuses("GET", known, token["SecretID"]), "the token is known")
        return token

    def _written(self, path: str, body: Any) -> dict[str, Any]:
        """PUT to a path until a leader takes it: after a test that killed the leader, the election may still run."""

        def put() -> Any:
            try:
                return self.put(path, body)
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                return None

        written: dict[str, Any] = eventually(put, "a leader takes writes")
        return written

    def resolve(self, name: str) -> list[str] | None:
        """Ask Consul's DNS for a name's IPv4 addresses; None if it does not answer, or answers with an error."""
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        question = struct.pack(">6H", 0x1234, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            try:
                client.sendto(question, ("127.0.0.14", self.ports["dns"]))
                answer = client.recv(4096)
            except OSError:
                return None
        _, flags, _, count, _, _ = struct.unpack_from(">6H", answer)
        return _addresses(answer, len(question), count) if flags & 0xF in (0, _NAME_UNKNOWN) else None

    def close(self) -> None:
        """End it."""
        for agent in (*self.servers.values(), self.client):
            agent.kill()
        shutil.rmtree(self.path, ignore_errors=True)


def _addresses(answer: bytes, offset: int, count: int) -> list[str]:
    """Read the A records after the question; Consul writes their names as pointers or in full."""
    found = []
    for _ in range(count):
        while answer[offset] and answer[offset] < 0xC0:  # labels
            offset += answer[offset] + 1
        offset += 2 if answer[offset] else 1
        kind, _, _, length = struct.unpack_from(">2HIH", answer, offset)
        offset += 10
        if kind == 1:
            found.append(socket.inet_ntoa(answer[offset : offset + length]))
        offset += length
    return found
