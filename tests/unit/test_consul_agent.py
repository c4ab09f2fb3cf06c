"""Where Consul is, as the CONSUL_* variables say it; what it is told is tested against a real one."""

from __future__ import annotations

import http.server
import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from release_agent.consul_agent import ConsulAgent
from release_agent.consul_client import ConsulClient, ConsulError, address
from unit.configuration import configuration
from unit.servers import listening, refusing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("", ("http", "127.0.0.1", 8500)),
        ("10.0.0.1:8501", ("http", "10.0.0.1", 8501)),
        ("consul", ("http", "consul", 8500)),
        ("localhost:8500", ("http", "localhost", 8500)),
        ("http://consul", ("http", "consul", 8500)),
        ("https://consul", ("https", "consul", 443)),
        ("[::1]", ("http", "[::1]", 8500)),
        ("unix:///run/consul.sock", ("unix", "/run/consul.sock", 0)),
        ("http://consul:8501", ("http", "consul", 8501)),
        ("https://consul:8501", ("https", "consul", 8501)),
        ("https://consul:8501/", ("https", "consul", 8501)),
        ("[::1]:8501", ("http", "[::1]", 8501)),
        ("http://[fe80::1]:8500", ("http", "[fe80::1]", 8500)),
    ],
)
def test_addresses(given: str, meant: tuple[str, str, int]) -> None:
    assert address({"CONSUL_HTTP_ADDR": given}) == meant


def test_without_the_variable_it_is_this_machines_agent() -> None:
    assert address({}) == ("http", "127.0.0.1", 8500)


@pytest.mark.parametrize(
    ("value", "scheme"),
    [("true", "https"), ("1", "https"), ("TRUE", "https"), ("t", "https"), ("false", "http"), ("0", "http"), ("", "http")],
)
def test_tls_may_be_switched_on_by_a_variable(value: str, scheme: str) -> None:
    assert address({"CONSUL_HTTP_ADDR": "consul:8501", "CONSUL_HTTP_SSL": value}) == (scheme, "consul", 8501)


def test_http_does_not_undo_the_variable() -> None:
    assert address({"CONSUL_HTTP_ADDR": "http://consul:8501", "CONSUL_HTTP_SSL": "true"})[0] == "https"


@pytest.mark.parametrize("variable", ["CONSUL_HTTP_SSL", "CONSUL_HTTP_SSL_VERIFY"])
def test_what_is_neither_true_nor_false_is_refused(variable: str) -> None:
    with pytest.raises(ConsulError, match=f"{variable} is yes; it must be true or false"):
        agent(**{"CONSUL_HTTP_ADDR": "https://127.0.0.1:1", variable: "yes"}).reachable()


@pytest.mark.parametrize("given", ["unix://", "ftp://consul:8500", "http://", ":8500", "::1", "https://consul/behind/a/proxy"])
def test_what_is_no_address_is_said_with_what_would_be_one(given: str) -> None:
    with pytest.raises(ValueError, match="must be host:port, http://host:port, https://host:port or unix:///path"):
        address({"CONSUL_HTTP_ADDR": given})


@pytest.mark.parametrize("given", ["consul:http", "consul:99999", "http://consul:-1"])
def test_what_is_no_port_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"[Pp]ort"):
        address({"CONSUL_HTTP_ADDR": given})


def agent(**environ: str) -> ConsulAgent:
    config = configuration(environ={"RELEASE_AGENT_HOST": "blue"})
    return ConsulAgent(config.consul, config.app, environ)


def test_a_host_has_a_key_of_its_own() -> None:
    assert agent().key == "release-agent/production/api/hosts/blue"


def test_consul_that_refuses_is_told_so() -> None:
    with refusing() as closed, pytest.raises(ConsulError, match="Consul cannot be connected to"):
        agent(CONSUL_HTTP_ADDR=closed).reachable()


def test_something_else_at_consuls_address_is_an_error_of_consul() -> None:
    with listening(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as there, pytest.raises(ConsulError):
        agent(CONSUL_HTTP_ADDR=there).reachable()


def test_an_address_that_is_none_is_an_error_of_consul() -> None:
    with pytest.raises(ConsulError, match="must be host:port"):
        agent(CONSUL_HTTP_ADDR="ftp://consul").reachable()


def test_a_socket_that_is_missing_is_an_error_of_consul() -> None:
    with pytest.raises(ConsulError, match="Consul cannot be connected to"):
        agent(CONSUL_HTTP_ADDR="unix:///nowhere/consul.sock").reachable()


def test_a_token_file_that_is_missing_is_an_error_of_consul() -> None:
    with pytest.raises(ConsulError, match="cannot read CONSUL_HTTP_TOKEN_FILE /nowhere/token"):
        agent(CONSUL_HTTP_TOKEN_FILE="/nowhere/token").reachable()


@pytest.mark.parametrize("held", [b"line\nbreak", b"\xff\xfe\x00", "tok\u00e9n".encode()])
def test_a_token_file_that_holds_no_token_is_said_without_what_it_holds(tmp_path: Path, held: bytes) -> None:
    (tmp_path / "token").write_bytes(held)
    with pytest.raises(ConsulError, match=r"holds is no token$"):
        agent(CONSUL_HTTP_TOKEN_FILE=str(tmp_path / "token")).reachable()


def _consul(told: list[tuple[str, str | None]]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.append((self.path, self.headers["X-Consul-Token"]))
            body = b'"10.0.0.1:8300"'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "a socket has none"

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_socket_is_asked_like_a_port(tmp_path: Path) -> None:
    told: list[tuple[str, str | None]] = []
    with serving(socketserver.ThreadingUnixStreamServer(str(tmp_path / "consul.sock"), _consul(told))):
        asked = ConsulClient({"CONSUL_HTTP_ADDR": f"unix://{tmp_path}/consul.sock", "CONSUL_HTTP_TOKEN": "t0ken"})
        assert asked.leader() == "10.0.0.1:8300"
    assert told == [("/v1/status/leader", "t0ken")]


def test_a_token_file_is_read_again_and_wins_unless_it_is_empty(tmp_path: Path) -> None:
    told: list[tuple[str, str | None]] = []
    file = tmp_path / "token"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _consul(told))
    with serving(server):
        where = f"127.0.0.1:{server.server_port}"
        asked = ConsulClient({"CONSUL_HTTP_ADDR": where, "CONSUL_HTTP_TOKEN_FILE": str(file), "CONSUL_HTTP_TOKEN": "other"})
        for held in ("first\n", "second\n", "\n"):
            file.write_text(held)
            asked.leader()
    assert [token for _, token in told] == ["first", "second", "other"]


def test_an_authority_that_cannot_be_read_is_said_with_its_variable(tmp_path: Path) -> None:
    (tmp_path / "garbage.pem").write_text("no certificate")
    there = "https://127.0.0.1:1"
    with pytest.raises(ConsulError, match=r"cannot use CONSUL_CACERT /nowhere/ca\.pem: No such file"):
        agent(CONSUL_HTTP_ADDR=there, CONSUL_CACERT="/nowhere/ca.pem").reachable()
    with pytest.raises(ConsulError, match=r"cannot use CONSUL_CAPATH .*/garbage\.pem: "):
        agent(CONSUL_HTTP_ADDR=there, CONSUL_CAPATH=str(tmp_path)).reachable()


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(ConsulError, match="CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY must be given both"):
        agent(CONSUL_HTTP_ADDR="https://127.0.0.1:1", CONSUL_CLIENT_CERT="/run/client.pem").reachable()


def test_a_server_without_tls_is_told_from_one_that_is_not_trusted() -> None:
    answer = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with (
        listening(lambda connection: connection.sendall(answer)) as there,
        pytest.raises(ConsulError, match="TLS with Consul failed: WRONG_VERSION_NUMBER"),
    ):
        agent(CONSUL_HTTP_ADDR=f"https://{there}").reachable()
