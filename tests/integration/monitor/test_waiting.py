"""The monitor stays up while its configuration is wrong, because supervisor would give up a program that ends."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.configuration import REPOSITORY
from support.environment import BIN
from support.waiting import ended, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_EVENT = "ver:3.0 server:supervisor serial:1 pool:monitor poolserial:1 eventname:TICK_5 len:15\nwhen:1201063880"
_ANSWER = "READY\nRESULT 2\nOK"


@contextmanager
def _monitor(place: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "RELEASE_AGENT_CONFIG": str(place / "agent.toml"), "SUPERVISOR_SERVER_URL": "unix:///nowhere"}
    with (place / "log").open("w") as log:
        command = [BIN / "release-agent", "monitor"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def _right(place: Path) -> str:
    (place / "root").mkdir()
    app = f'[app]\nname = "api"\nenvironment = "production"\nroot = "{place}/root"\n'
    return app + REPOSITORY + "[consul]\nenabled = false\n"


@pytest.mark.parametrize("wrong", ["[app", "", None])
def test_wrong_configuration_is_said_once_and_waited_for_while_events_are_answered(tmp_path: Path, wrong: str | None) -> None:
    if wrong is not None:
        (tmp_path / "agent.toml").write_text(wrong)
    right = _right(tmp_path)
    with _monitor(tmp_path) as monitor:
        assert monitor.stdin
        assert monitor.stdout
        for _ in range(3):
            monitor.stdin.write(_EVENT)
            monitor.stdin.flush()
            assert monitor.stdout.read(len(_ANSWER)) == _ANSWER
        eventually(lambda: "monitor.waiting" in (tmp_path / "log").read_text(), "it says what is wrong")

        (tmp_path / "fresh").write_text(right)
        (tmp_path / "fresh").rename(tmp_path / "agent.toml")

        eventually(lambda: "no release is live" in (tmp_path / "log").read_text(), "it looks")
        assert (tmp_path / "log").read_text().count("monitor.waiting") == 1
        monitor.stdin.close()
        monitor.stdin = None
        assert ended(monitor) == 0


def test_monitor_that_waits_ends_with_supervisor(tmp_path: Path) -> None:
    with _monitor(tmp_path) as monitor:
        eventually(lambda: "monitor.waiting" in (tmp_path / "log").read_text(), "it says what is wrong")

        monitor.communicate(_EVENT)

        assert monitor.returncode == 0
