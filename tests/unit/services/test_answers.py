"""A program at supervisor's address may give any answer."""

from __future__ import annotations

import socket
import threading
import xmlrpc.client
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Failed, SupervisorGone
from release_agent.health import Process
from release_agent.services import rpc
from release_agent.services.rpc import Rpc
from release_agent.services.supervisor import SupervisorServices
from support.configuration import configuration
from support.fake_supervisor import CONFIG, INFO
from support.servers import listening

if TYPE_CHECKING:
    from collections.abc import Callable

WEB = Process("web", "web", "RUNNING", 7)
CALLS: dict[str, Callable[[SupervisorServices], object]] = {
    "alive": lambda services: services.alive(),
    "pid": lambda services: services.supervisor_pid(),
    "programs": lambda services: services.programs(),
    "stop_seconds": lambda services: services.stop_seconds("web"),
    "smallest_program": lambda services: services.smallest_program("web"),
    "start_seconds": lambda services: services.start_seconds("web"),
    "processes": lambda services: services.processes(),
    "look": lambda services: services.look(WEB),
    "check": lambda services: services.check(configuration('[[service]]\nname = "web"\n').services),
}
HUGE = f"<int>{10**400}</int>"  # the library writes no such number, but reads it
GARBAGE = {
    "nil": None,
    "text": "hello",
    "float": 1.5,
    "negative": -1,
    "list of an empty struct": [{}],
    "list of nil": [None],
    "list of lists": [[]],
    "struct": {"a": 1},
    "wrong members": [dict.fromkeys({**INFO, **CONFIG}, 1.5)],
    "binary members": [dict.fromkeys({**INFO, **CONFIG}, xmlrpc.client.Binary(b"x"))],
    "huge numbers": [{**CONFIG, **INFO, "stopwaitsecs": 2**31 - 1, "startsecs": 2**31 - 1, "pid": 2**31 - 1}],
}


def take(connection: socket.socket) -> None:
    """Take a whole call: what closes a connection before that resets it."""
    heard = b""
    while b"</methodCall>" not in heard:
        heard += connection.recv(65536)


def answer(body: bytes, head: str = "") -> Callable[[socket.socket], None]:
    """Answer a call over HTTP with 200."""

    def serve(connection: socket.socket) -> None:
        take(connection)
        connection.sendall(f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    return serve


def dumped(value: object) -> bytes:
    return xmlrpc.client.dumps((value,), methodresponse=True, allow_none=True).replace("<int>2147483647</int>", HUGE).encode()


def refused(body: bytes, call: str, head: str = "") -> str:
    with listening(answer(body, head)) as there, pytest.raises(Failed) as failed:
        CALLS[call](SupervisorServices(Rpc(f"http://{there}", {})))
    assert failed.value.code is Code.SUPERVISOR_REFUSED
    assert not isinstance(failed.value, SupervisorGone)
    failed.value.message.encode()
    return failed.value.message


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_after_http_200_is_refused(call: str, kind: str) -> None:
    assert "is not a supervisor" in refused(dumped(GARBAGE[kind]), call)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe\x00",
        b"<?xml version='1.0' encoding='klingon'?><methodResponse/>",
        b"<?xml version='1.0' encoding='punycode'?><methodResponse/>",
        b"<methodResponse><params/></methodResponse>",
        b"<methodResponse><params><param><value><int>x</int></value></param></params></methodResponse>",
        b"<methodResponse><params><param><value><nil/></value></param><param><value/></param></params></methodResponse>",
        b"<methodResponse><params><param><value><struct><member><name>a</name></member></struct></value></param></params>",
        b"<methodResponse><params><param><value><base64>?</base64></value></param></params></methodResponse>",
        b"<methodResponse><params><param><value><string>&#xD800;</string></value></param></params></methodResponse>",
        b"<methodResponse><params><param><value><i1>" + b"9" * 5000 + b"</i1></value></param></params></methodResponse>",
        b"<methodResponse><fault><value><int>1</int></value></fault></methodResponse>",
        b"<methodResponse><fault><value><struct/></value></fault></methodResponse>",
        b"<methodResponse>" + b"<value><array><data>" * 1_000,
    ],
)
def test_what_is_no_answer_of_xml_rpc_is_refused(body: bytes) -> None:
    refused(body, "processes")


@pytest.mark.parametrize("call", CALLS)
def test_a_fault_that_no_question_has_is_refused_in_its_own_words(call: str) -> None:
    fault = xmlrpc.client.dumps(xmlrpc.client.Fault(92, "OUT\x07 of order"), methodresponse=True).encode()

    assert "fault 92" in refused(fault.replace(b"\x07", b"&#233;"), call)


def test_an_answer_in_an_encoding_that_nobody_asked_for_is_refused() -> None:
    refused(b"\x1f\x8b\x08nonsense", "processes", "Content-Encoding: gzip\r\n")


@pytest.mark.parametrize("member", INFO)
def test_a_process_without_one_of_its_members_is_refused(member: str) -> None:
    left = {name: value for name, value in INFO.items() if name != member}

    assert f"{member} is missing" in refused(dumped([left]), "processes")


def test_what_supervisor_answers_is_read() -> None:
    with listening(answer(dumped([{**INFO, "unheard_of": 1}]))) as there:
        assert SupervisorServices(Rpc(f"http://{there}", {})).processes() == {"web": [WEB]}


def test_a_process_that_this_supervisor_never_started_is_known_as_such() -> None:
    with listening(answer(dumped([{**INFO, "start": 0, "pid": 0, "statename": "STOPPED"}]))) as there:
        (process,) = SupervisorServices(Rpc(f"http://{there}", {})).processes()["web"]

    assert not process.started


@pytest.mark.parametrize("state", ["RESTARTING", "SHUTDOWN"])
def test_a_supervisor_that_is_about_to_go_is_gone(state: str) -> None:
    with listening(answer(dumped({"statename": state, "statecode": 0}))) as there, pytest.raises(SupervisorGone):
        SupervisorServices(Rpc(f"http://{there}", {})).alive()


def test_an_answer_that_is_cut_off_is_of_a_supervisor_that_is_gone() -> None:
    def serve(connection: socket.socket) -> None:
        take(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<methodResponse>")

    with listening(serve) as there, pytest.raises(SupervisorGone):
        Rpc(f"http://{there}", {})("getState")


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n\r\n", b""], ids=["body", "head"])
def test_an_answer_that_dribbles_in_ends_with_the_limit_of_the_whole_call(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "_CALL_TIMEOUT", 0.5)
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        take(connection)
        connection.sendall(start)
        while not over.wait(0.05):
            connection.sendall(b" ")

    with listening(serve) as there, pytest.raises(SupervisorGone, match=r"no whole answer within|timed out"):
        Rpc(f"http://{there}", {})("getState")
    over.set()


def test_an_answer_without_end_is_refused_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "_LARGEST", 1 << 20)

    def serve(connection: socket.socket) -> None:
        take(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n<methodResponse>")
        while True:
            connection.sendall(b" " * 65536)

    with listening(serve) as there, pytest.raises(Failed, match="more than 1048576 bytes") as failed:
        Rpc(f"http://{there}", {})("getState")
    assert failed.value.code is Code.SUPERVISOR_REFUSED


def test_a_unix_socket_is_asked_like_a_port(tmp_path: object) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{tmp_path}/s")
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                answer(dumped({"statename": "RUNNING"}))(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        SupervisorServices(Rpc(f"unix://{tmp_path}/s", {})).alive()
        thread.join()


@pytest.mark.parametrize("url", ["http://[", "http://host:x", "http://a\nb", "unix:///a\0b", "http://\udcff:1"])
def test_an_address_that_cannot_be_asked_is_no_bug(url: str) -> None:
    with pytest.raises(Failed):
        Rpc(url, {})("getState")
