"""``status`` and ``history`` of a real host, on a real terminal and in a pipe."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.terminal import Terminal

if TYPE_CHECKING:
    from support.host import Host

COMMANDS = [("release-agent", "status"), ("release-agent", "history"), ("supervisorctl", "status"), ("supervisorctl", "history")]


def on_a_terminal(host: Host, program: str, verb: str, columns: int = 80, **environment: str) -> tuple[str, list[str]]:
    """Return what was written to a terminal, and the lines on its screen."""
    words = [program, "-c", host.path / "supervisord.conf", "release", verb] if program == "supervisorctl" else [program, verb]
    terminal = Terminal(command=list(map(str, words)), columns=columns, **host.environment | environment)
    try:
        lines = terminal.close()
    finally:
        terminal.abandon()
    return terminal.screen.raw, lines


def test_terminal_is_sent_colours_only_if_it_takes_them_and_a_pipe_never(host: Host) -> None:
    host.deploy("--by", "ada", "v1.0.0")

    for program, verb in COMMANDS:
        coloured, seen = on_a_terminal(host, program, verb)
        assert "\x1b[32m" in coloured
        for without in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            raw, lines = on_a_terminal(host, program, verb, **without)
            assert "\x1b" not in raw
            assert [re.sub(r"\d+ s", "", line) for line in lines] == [re.sub(r"\d+ s", "", line) for line in seen]

    piped = host.agent("status").out + host.agent("history").out + host.supervisorctl("release", "status").out
    assert "\x1b" not in piped
    assert re.search(r"^current   v1\.0\.0  000001-\S+  commit \S+  since \d{4}-\S+Z by ada$", piped, re.MULTILINE)
    assert re.search(
        r"^\d{4}-\S+Z  \S+  deploy    deployed         v1\.0\.0  000001-\S+  commit \S+  by ada", piped, re.MULTILINE
    )


def test_status_with_nothing_live_says_how_the_newest_deployment_failed(host: Host) -> None:
    assert host.status()["failure"] is None
    host.configure('[hooks]\nbuild = [{ run = "exit 1" }]')
    failed = host.deploy("v1.0.0").json

    known = f"v1.0.0: hook-failed; `release-agent history {failed['id']}` shows more"
    assert host.status()["failure"] == {"id": failed["id"], "revision": "v1.0.0", "code": "hook-failed"}
    assert host.rpc.release.getStatus()["failure"] == host.status()["failure"]
    assert f"failed    {known}" in host.agent("status").out.splitlines()
    assert f"failed    {known}" in host.supervisorctl("release", "status").out.splitlines()
    for program in ("release-agent", "supervisorctl"):
        assert f"failed     {known}" in on_a_terminal(host, program, "status", columns=120)[1]

    host.configure()
    assert host.deploy("v1.0.0").code == 0
    host.deploy("v9.9.9")
    assert host.status()["failure"] is None


@pytest.mark.parametrize("columns", [30, 50])
def test_narrow_terminal_gets_no_line_that_it_has_to_break(host: Host, columns: int) -> None:
    host.deploy("--by", "ada", "v1.0.0")

    raw, lines = on_a_terminal(host, "release-agent", "history", columns=columns, NO_COLOR="1")

    assert raw.count("\n") == len(lines)
    assert "commit" in " ".join(lines)
