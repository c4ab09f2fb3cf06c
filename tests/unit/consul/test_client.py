"""The CONSUL_* variables give the address of Consul. Integration tests check the reports to a real Consul."""

from __future__ import annotations

import base64
import http.server
import os
import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from release_agent.consul.client import ConsulClient
from release_agent.consul.connection import ConsulError, address
from release_agent.consul.registration import ConsulAgent
from release_agent.health import Health
from support.configuration import configuration
from support.servers import listening, refusing

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("", ("http", "127.0.0.1", 8500)),
        ("10.0.0.1:8501", ("http", "10.0.0.1", 8501)),
        ("consul", ("http", "consul", 80)),
        ("localhost:8500", ("http", "localhost", 8500)),
        ("http://consul", ("http", "consul", 80)),
        ("https://consul", ("https", "consul", 443)),
        ("[::1]", ("http", "[::1]", 80)),
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
    with refusing() as closed, pytest.raises(ConsulError, match=f"cannot connect to Consul at http://{closed}$"):
        agent(CONSUL_HTTP_ADDR=closed).reachable()


def test_something_else_at_consuls_address_is_an_error_of_consul() -> None:
    with listening(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as there, pytest.raises(ConsulError):
        agent(CONSUL_HTTP_ADDR=there).reachable()


def test_an_address_that_is_none_is_an_error_of_consul() -> None:
    with pytest.raises(ConsulError, match="must be host:port"):
        agent(CONSUL_HTTP_ADDR="ftp://consul").reachable()


def test_a_socket_that_is_missing_is_an_error_of_consul() -> None:
    with pytest.raises(ConsulError, match=r"cannot connect to Consul at unix:///nowhere/consul\.sock"):
        agent(CONSUL_HTTP_ADDR="unix:///nowhere/consul.sock").reachable()


def test_a_token_file_that_is_missing_is_an_error_of_consul() -> None:
    with pytest.raises(ConsulError, match="cannot read CONSUL_HTTP_TOKEN_FILE /nowhere/token"):
        agent(CONSUL_HTTP_TOKEN_FILE="/nowhere/token").reachable()


@pytest.mark.parametrize("held", [b"line\nbreak", b"\xff\xfe\x00", "tok\u00e9n".encode()])
def test_a_token_file_that_holds_no_token_is_said_without_what_it_holds(tmp_path: Path, held: bytes) -> None:
    (tmp_path / "token").write_bytes(held)
    with pytest.raises(ConsulError, match=r"has no valid token$"):
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
    with pytest.raises(ConsulError, match="CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY must both be set"):
        agent(CONSUL_HTTP_ADDR="https://127.0.0.1:1", CONSUL_CLIENT_CERT="/run/client.pem").reachable()


def test_a_server_without_tls_is_told_from_one_that_is_not_trusted() -> None:
    answer = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with (
        listening(lambda connection: connection.sendall(answer)) as there,
        pytest.raises(ConsulError, match="TLS with Consul failed: WRONG_VERSION_NUMBER"),
    ):
        agent(CONSUL_HTTP_ADDR=f"https://{there}").reachable()


@contextmanager
def answering(status: int, body: bytes, length: int | None = None, **headers: str) -> Iterator[ConsulAgent]:
    """Give an agent whose Consul answers so to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_GET

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield agent(CONSUL_HTTP_ADDR=f"127.0.0.1:{server.server_port}")


OURS = "service:release-agent:api:blue"
CALLS: dict[str, Callable[[ConsulAgent], object]] = {
    "reachable": lambda agent: agent.reachable(),
    "health": lambda agent: agent.health(),
    "in_maintenance": lambda agent: agent.in_maintenance(),
    "register": lambda agent: agent.register(None, Health.of(), 30),
    "update": lambda agent: agent.update(None, Health.of()),
    "put": lambda agent: agent.put({}),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("status", "body", "length", "said"),
    [
        (500, b"rpc error: TTL of the lease expired", None, "^500 rpc error"),
        (500, b'CheckID "another" does not have associated TTL', None, "^500 CheckID"),
        (500, b"Unknown check", None, "^500 Unknown"),
        (500, b"\xff\x00", None, "^500 "),
        (429, b"Too many connections", None, "^429 Too many"),
        (503, b"", None, "^503"),
        (200, b"[" * 100_000, None, "recursion"),
        (200, b'{"cut', 100, "Connection broken"),
    ],
)
def test_an_answer_that_is_an_error_is_said_by_every_call(
    call: Callable[[ConsulAgent], object], status: int, body: bytes, length: int | None, said: str
) -> None:
    with answering(status, body, length) as asked, pytest.raises(ConsulError, match=said):
        call(asked)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, f'Unknown check "{OURS}"'),
        (500, f'CheckID "{OURS}" does not have associated TTL'),
        (404, f'Unknown check ID "{OURS}". Ensure that the check ID is passed, not the check name.'),
    ],
)
def test_a_check_that_consul_forgot_is_told_from_an_error(status: int, body: str) -> None:
    with answering(status, body.encode()) as asked:
        assert asked.update(None, Health.of()) is False


@pytest.mark.parametrize("call", ["register", "put"])
def test_what_is_not_there_takes_nothing(call: str) -> None:
    with answering(404, b"page not found") as asked, pytest.raises(ConsulError, match="Consul did not accept the request"):
        CALLS[call](asked)


@pytest.mark.parametrize("body", [b"false", b"[]", b"null", b'{"error": "try later"}'])
def test_a_record_is_kept_where_consul_says_so_alone(body: bytes) -> None:
    with answering(200, body) as asked, pytest.raises(ConsulError, match="Consul did not accept the request"):
        asked.put({})


@pytest.mark.parametrize("call", ["health", "in_maintenance"])
@pytest.mark.parametrize("body", [b"[]", b"true", b'"checks"', b"null"])
def test_checks_that_are_none_are_an_error_of_consul(call: str, body: bytes) -> None:
    with answering(200, body) as asked, pytest.raises(ConsulError, match="not from a Consul agent"):
        CALLS[call](asked)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("status", [200, 502])
def test_a_page_is_not_what_consul_answers(call: Callable[[ConsulAgent], object], status: int) -> None:
    page = b"<html>" * 1000
    with answering(status, page, Content_Type="text/html; charset=utf-8") as asked:
        with pytest.raises(ConsulError, match=f"the answer is not from a Consul agent: {status} [A-Z]") as told:
            call(asked)
        assert "<html>" not in str(told.value)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_redirection_is_not_followed_with_the_token(call: Callable[[ConsulAgent], object]) -> None:
    told: list[tuple[str, str | None]] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _consul(told))
    with serving(server), answering(302, b"", Location=f"http://127.0.0.1:{server.server_port}/") as asked:
        with pytest.raises(ConsulError, match="the answer is not from a Consul agent: 302 Found"):
            call(asked)
        assert told == []


def _without_end(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    for _ in range(100):
        connection.sendall(b" " * (1 << 20))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_answer_without_end_is_not_read_to_its_end(call: Callable[[ConsulAgent], object]) -> None:
    with listening(_without_end) as there, pytest.raises(ConsulError, match=r"larger than 32 MiB|did not answer within"):
        call(agent(CONSUL_HTTP_ADDR=there))


@pytest.mark.parametrize("from_byte", [0, 15, 60], ids=["the-status", "a-header", "the-body"])
def test_an_answer_that_comes_byte_by_byte_has_an_end(from_byte: int) -> None:
    body = b'"10.0.0.1:8300"'
    told = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Padding: %s\r\n\r\n%s" % (len(body), b"x" * 20, body)
    left = threading.Event()

    def dribble(connection: socket.socket) -> None:
        connection.sendall(told[:from_byte])
        for byte in told[from_byte:]:
            left.wait(0.15)  # less than the time-out, which every byte would begin anew
            connection.sendall(bytes([byte]))

    with listening(dribble) as there, pytest.raises(ConsulError, match=r"Consul did not answer within 0\.3 s"):
        ConsulClient({"CONSUL_HTTP_ADDR": there}, timeout=0.3).leader()


def test_a_pipe_in_the_place_of_the_token_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    with pytest.raises(ConsulError, match="it is not a regular file"):
        agent(CONSUL_HTTP_TOKEN_FILE=str(tmp_path / "token")).reachable()


@pytest.mark.parametrize("variable", ["CONSUL_CACERT", "CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY"])
def test_a_pipe_in_the_place_of_a_certificate_is_not_waited_for(tmp_path: Path, variable: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "some.pem").write_text("")
    some = dict.fromkeys(("CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY"), str(tmp_path / "some.pem"))

    with pytest.raises(ConsulError, match=f"cannot use {variable} .*/pipe: it is not a regular file"):
        agent(CONSUL_HTTP_ADDR="https://127.0.0.1:1", **some | {variable: str(tmp_path / "pipe")}).reachable()


def test_a_leader_that_is_none_is_an_error_of_consul() -> None:
    with answering(200, b'{"error": "try later"}') as asked, pytest.raises(ConsulError, match="not from a Consul agent"):
        asked.reachable()


def test_a_long_answer_is_cut_to_a_line() -> None:
    with answering(500, b"panic\n" * 1000) as asked, pytest.raises(ConsulError) as told:
        asked.reachable()
    assert str(told.value).startswith("500 panic panic ")
    assert len(str(told.value)) <= 500


def test_credentials_in_the_address_are_sent_and_not_said() -> None:
    heard: list[bytes] = []

    def take(connection: socket.socket) -> None:
        heard.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n")

    with listening(take) as there, pytest.raises(ConsulError) as failed:
        agent(CONSUL_HTTP_ADDR=f"http://bob:hunter2@{there}").reachable()

    assert b"Authorization: Basic " + base64.b64encode(b"bob:hunter2") in heard[0]
    assert "hunter2" not in str(failed.value)


@pytest.mark.parametrize("given", ["ftp://bob:hunter2@consul", "http://bob:hunter2@", "http://bob:hunter2@consul:x"])
def test_credentials_in_an_address_that_is_none_are_not_said(given: str) -> None:
    with pytest.raises(ConsulError) as failed:
        agent(CONSUL_HTTP_ADDR=given).reachable()

    assert "hunter2" not in str(failed.value)
