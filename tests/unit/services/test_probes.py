from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from release_agent.config.blueprint import combine
from release_agent.config.sections import Probe
from release_agent.health import Process
from release_agent.services.probes import Patience, Prober, describe, expected
from release_agent.system.clock import SystemClock
from release_agent.wiring import Parts
from support.configuration import configuration
from support.servers import answering, listening, refusing

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

NOWHERE = Path("/")


def no_command(command: str, _timeout: float, _directory: Path, _environment: Mapping[str, str]) -> str | None:
    raise AssertionError(command)


def probe(http: str = "", tcp: str = "", status: int = 200, timeout: float = 10.0) -> Probe:
    return Probe(http, status, tcp, "", timeout)


def ask(*probes: Probe) -> list[str | None]:
    return Prober(no_command).run(probes, NOWHERE, {})


def test_the_right_status_is_well() -> None:
    with answering(200) as (address, asked):
        assert ask(probe(http=f"{address}/health?deep=1")) == [None]
        assert asked == ["/health?deep=1"]


def test_another_status_is_told_with_the_right_one() -> None:
    with answering(503) as (address, _):
        assert ask(probe(http=f"{address}/")) == [f"{address}/: answered 503, not 200"]
        assert ask(probe(http=f"{address}/", status=503)) == [None]


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_counts_as_its_own_status_and_is_not_followed(status: int) -> None:
    with answering(200) as (elsewhere, followed), answering(status, Location=f"{elsewhere}/") as (address, _):
        assert ask(probe(http=address)) == [f"{address}: answered {status}, not 200"]
        assert ask(probe(http=address, status=status)) == [None]
        assert followed == []


def test_a_refused_connection_is_told() -> None:
    with refusing() as address:
        assert ask(probe(http=f"http://{address}/"), probe(tcp=address)) == [
            f"http://{address}/: no connection",
            f"tcp {address}: no connection: Connection refused",
        ]


def test_a_server_that_never_answers_is_given_up() -> None:
    with listening() as address:
        assert ask(probe(http=f"http://{address}/", timeout=0.2)) == [f"http://{address}/: no answer within 0.2 s"]


def test_a_server_that_dribbles_byte_by_byte_is_given_up() -> None:
    given_up = threading.Event()

    def dribble(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Endless: ")
        while not given_up.wait(0.01):
            connection.sendall(b"x")

    with listening(dribble) as address:
        answers = ask(probe(http=f"http://{address}/", timeout=0.2))
        given_up.set()

    assert answers == [f"http://{address}/: no answer within 0.2 s"]


def test_an_endless_body_is_not_waited_for() -> None:
    answered = threading.Event()

    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not answered.wait(0.01):
            connection.sendall(b"x")

    with listening(pour) as address:
        assert ask(probe(http=f"http://{address}/")) == [None]
        answered.set()


def test_what_is_no_http_is_told() -> None:
    with listening(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as address:
        (answer,) = ask(probe(http=f"http://{address}/"))

    assert answer is not None
    assert answer.startswith(f"http://{address}/: ")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with answering(502) as (proxy, asked), answering(200) as (address, _):
        monkeypatch.setenv(variable, proxy)

        assert ask(probe(http=f"{address}/")) == [None]
        assert asked == []


def test_a_password_file_of_the_agents_user_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    headers: list[bytes] = []

    def take(connection: socket.socket) -> None:
        headers.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    (tmp_path / ".netrc").write_text("default login bob password hunter2\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with listening(take) as address:
        assert ask(probe(http=f"http://{address}/")) == [None]

    assert b"Authorization" not in headers[0]


def test_a_port_that_accepts_is_well() -> None:
    with listening() as address:
        assert ask(probe(tcp=address)) == [None]


def test_a_host_that_does_not_exist_is_told() -> None:
    (answer,) = ask(probe(tcp="no-such-host.invalid:80"))

    assert answer is not None
    assert answer.startswith("tcp no-such-host.invalid:80: no connection: ")


def test_answers_come_in_the_order_of_the_probes() -> None:
    with answering(200) as (good, _), answering(500) as (bad, _), refusing() as closed, listening() as mute:
        answers = ask(
            probe(http=f"http://{mute}/", timeout=0.2), probe(tcp=closed), probe(http=good), probe(http=bad), probe(tcp=mute)
        )

    assert answers == [
        f"http://{mute}/: no answer within 0.2 s",
        f"tcp {closed}: no connection: Connection refused",
        None,
        f"{bad}: answered 500, not 200",
        None,
    ]


def test_a_probe_for_which_no_thread_can_be_had_is_told() -> None:
    before = threading.stack_size(1 << 46)  # more than any process may map
    try:
        assert ask(probe(tcp="127.0.0.1:1")) == ["tcp 127.0.0.1:1: could not run: can't start new thread"]
    finally:
        threading.stack_size(before)


def test_no_probes_are_well() -> None:
    assert ask() == []


class Running:
    """A supervisor under which everything runs."""

    def processes(self) -> dict[str, list[Process]]:
        return {"web": [Process("web", "web", "RUNNING", 7)]}


def ask_commands(directory: Path, *commands: str, timeout: str = "10s", **environment: str) -> tuple[str, ...]:
    """Ask exec probes as the agent puts them together."""
    probes = "".join(f"[[service.probe]]\nexec = '''{command}'''\ntimeout = '{timeout}'\n" for command in commands)
    config = configuration(f'[[service]]\nname = "web"\n{probes}')
    examiner = Parts(config, SystemClock(), {}).examiner(Running())  # type: ignore[arg-type]
    return examiner.look(combine(config, {}), directory, {"PATH": "/usr/bin:/bin", **environment}).problems


def test_a_command_that_exits_with_nought_is_well(tmp_path: Path) -> None:
    (tmp_path / "ready").touch()

    assert ask_commands(tmp_path, "test -e ready", '[ "$RELEASE_ACTION" = deploy ]', RELEASE_ACTION="deploy") == ()


def test_a_command_that_fails_is_told_with_the_end_of_what_it_said(tmp_path: Path) -> None:
    (problem,) = ask_commands(tmp_path, "seq 10; echo no database >&2; exit 3")

    assert problem == "exec `seq 10; echo no database >&2; exit 3`: exited with 3: 7\n8\n9\n10\nno database"


def test_a_command_that_says_nothing_is_told_by_its_code(tmp_path: Path) -> None:
    assert ask_commands(tmp_path, "exit 3") == ("exec `exit 3`: exited with 3",)


def test_a_command_that_takes_too_long_is_told(tmp_path: Path) -> None:
    assert ask_commands(tmp_path, "echo waiting; exec sleep 1000", timeout="300ms") == (
        "exec `echo waiting; exec sleep 1000`: was still running after 0.3 s and was stopped: waiting",
    )


def test_a_command_in_a_directory_that_is_missing_is_told(tmp_path: Path) -> None:
    (problem,) = ask_commands(tmp_path / "nowhere", "true")

    assert problem.startswith("exec `true`: FileNotFoundError: ")


def test_a_repositorys_command_runs_in_its_place(tmp_path: Path) -> None:
    asked: list[Path] = []

    def note(_command: str, _timeout: float, directory: Path, _environment: Mapping[str, str]) -> None:
        asked.append(directory)

    Prober(note).run([Probe("", 200, "", "true", 1.0, "api")], tmp_path, {})

    assert asked == [tmp_path / "api"]


def test_what_a_probe_asks_in_words() -> None:
    assert [describe(p) for p in (probe(http="http://h/"), probe(tcp="h:1"), Probe("", 200, "", "./ready", 1.0))] == [
        "http://h/",
        "tcp h:1",
        "exec `./ready`",
    ]


class LatePatience(Patience):
    """Time that passes only while an answer is awaited that does not come."""

    spent = 0.0

    def now(self) -> float:
        return self.spent

    def take(self, _answers: object, seconds: float) -> str | None:
        self.spent += seconds
        raise queue.Empty


def test_late_probes_are_awaited_side_by_side() -> None:
    """With twenty of them, one after the other would wait their margins twenty times."""
    late = [Probe("", 200, "", f"late {i}", 0.2) for i in range(20)]
    patience = LatePatience()

    answers = Prober(lambda *_: None, patience).run(late, NOWHERE, {})

    assert answers == [f"exec `late {i}`: no answer within 0.2 s" for i in range(20)]
    assert patience.spent == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("expect", "body", "found"),
    [
        ("{revision}", "v1.2.0", True),
        ("{revision}", '{"version": "v1.2.0", "ok": true}', True),
        ("{revision}", "This is v1.2.0. It is well.", True),
        ("{revision}", "v1.2.0-rc.1", False),
        ("{revision}", "v1.2.0+build", False),
        ("{revision}", "v1.2.01", False),
        ("{revision}", "v1.2.0.1", False),
        ("{revision}", "rv1.2.0", False),
        ("{revision}", "x-v1.2.0", False),
        ("version={revision};", "version=v1.2.0;", True),
        ("version={revision};", "version=v1.2.0.", False),
        ("{release} {commit}", "000001-a 0123", True),
        ("v1.2", "v1.2.0", True),
        ("a.b", "axb", False),
        ("é{revision}", "év1.2.0", True),
    ],
)
def test_what_is_expected_of_the_release_must_be_there_whole_and_any_other_text_as_it_is(
    expect: str, body: str, *, found: bool
) -> None:
    about = {"RELEASE_REVISION": "v1.2.0", "RELEASE_COMMIT": "0123", "RELEASE_NAME": "000001-a"}

    _, pattern = expected(expect, about)

    assert bool(pattern.search(body.encode())) is found
