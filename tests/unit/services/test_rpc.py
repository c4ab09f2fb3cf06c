"""Errors of supervisor's RPC without a supervisor; the integration tests use a real one."""

from __future__ import annotations

import base64
import os
import socket
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Failed, SupervisorGone
from release_agent.services.programs import is_own, smallest
from release_agent.services.rpc import Rpc
from support.privileges import unprivileged
from support.servers import answering, listening, refusing

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "command",
    [
        "release-agent deploy",
        "/opt/agent/bin/release-agent --config /etc/x.toml boot --json",
        "/usr/bin/python3 -m release_agent monitor",
        "/usr/bin/env release-agent deploy",
        "'/opt/my agent/release-agent' deploy",
    ],
)
def test_programs_of_the_agent(command: str) -> None:
    assert is_own({"command": command})


@pytest.mark.parametrize(
    "command",
    [
        "python web.py",
        "/srv/release-agent-ui/serve deploy",
        "release-agent status",
        "deploy",
        "/bin/sh -c 'exec deploy'",
        "unbalanced ' quote deploy",
    ],
)
def test_programs_of_others(command: str) -> None:
    assert not is_own({"command": command})


def test_a_program_is_asked_for_by_its_verb() -> None:
    assert is_own({"command": "release-agent monitor"}, ("monitor",))
    assert not is_own({"command": "release-agent deploy"}, ("monitor",))


@pytest.mark.parametrize(
    ("programs", "fewest"),
    [
        pytest.param([], 0, id="nothing"),
        pytest.param([("web", "serve")], 1, id="one"),
        pytest.param([("web_09", "serve"), ("web_10", "serve")], 2, id="the-same-command"),
        pytest.param([("web_0", "serve 80"), ("web_1", "serve 81")], 2, id="a-port-each"),
        pytest.param([("web", "serve"), ("worker", "work")], 1, id="two-programs"),
        pytest.param([("web", "run"), ("worker", "run")], 1, id="two-programs-of-one-command"),
        pytest.param([("a1", "serve"), ("a2", "work")], 1, id="two-programs-with-numbers"),
        pytest.param([("web", "run"), ("web2", "run")], 1, id="two-programs-one-with-a-number"),
        pytest.param([("web_0", "serve"), ("web_1", "serve"), ("worker", "work")], 1, id="one-program-of-two-has-one"),
    ],
)
def test_how_many_processes_the_smallest_program_of_a_group_has(programs: list[tuple[str, str]], fewest: int) -> None:
    assert smallest([{"name": name, "command": command} for name, command in programs]) == fewest


def gone(url: str, **environ: str) -> SupervisorGone:
    with pytest.raises(SupervisorGone) as caught:
        Rpc(url, environ)("getState")
    assert caught.value.code is Code.SUPERVISOR_UNREACHABLE
    return caught.value


def test_without_an_address_there_is_no_supervisor() -> None:
    assert "neither [supervisor] url nor SUPERVISOR_SERVER_URL is set" in gone("").message


def test_a_supervisor_that_does_not_listen_is_gone(tmp_path: Path) -> None:
    with refusing() as closed:
        assert closed in gone(f"http://{closed}").message
        assert closed in gone("", SUPERVISOR_SERVER_URL=f"http://{closed}").message
    assert "supervisor.sock" in gone(f"unix://{tmp_path}/supervisor.sock").message


def test_the_configured_address_outranks_the_variable() -> None:
    with refusing() as closed:
        assert closed in gone(f"http://{closed}", SUPERVISOR_SERVER_URL="unix:///nowhere").message


@pytest.mark.parametrize(("status", "words"), [(401, "wants a user and a password"), (404, "answered 404")])
def test_a_supervisor_that_refuses_is_not_gone(status: int, words: str) -> None:
    with answering(status) as (address, _), pytest.raises(Failed, match=words) as failed:
        Rpc(address, {})("getState")

    assert failed.value.code is Code.SUPERVISOR_REFUSED
    assert not isinstance(failed.value, SupervisorGone)


def test_credentials_in_the_address_are_used_and_not_said() -> None:
    heard: list[bytes] = []

    def take(connection: socket.socket) -> None:
        heard.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 401 no\r\nContent-Length: 0\r\n\r\n")

    with listening(take) as there, pytest.raises(Failed) as failed:
        Rpc("", {"SUPERVISOR_SERVER_URL": f"http://bob:hunter2@{there}"})("getState")

    assert b"Authorization: Basic " + base64.b64encode(b"bob:hunter2") in heard[0]
    assert f"http://{there}" in failed.value.message
    assert "hunter2" not in failed.value.message + failed.value.hint


@pytest.mark.parametrize("url", ["ftp://bob:hunter2@host", "bob:hunter2@host:9001", "http://bob:hunter2@"])
def test_credentials_in_an_address_that_is_none_are_not_said(url: str) -> None:
    with pytest.raises(Failed) as failed:
        Rpc(url, {})("getState")

    assert "hunter2" not in failed.value.message + failed.value.hint


@pytest.mark.parametrize(
    ("mode", "hint"),
    [
        (0o770, "run it as root, or as a user in the group 12346, who may use {}"),
        (0o700, "run it as 12345, who owns {}, or set chown and chmod of [unix_http_server]"),
    ],
)
def test_who_may_not_use_supervisors_socket_is_told_which_user_to_be(open_place: Path, mode: int, hint: str) -> None:
    place = open_place / "s.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        place.chmod(mode)
        os.chown(place, 12345, 12346)

        with unprivileged(), pytest.raises(SupervisorGone) as gone:
            Rpc(f"unix://{place}", {})("getState")

    assert gone.value.hint == hint.format(place)
