"""A signal arrives in the first moments of a command, before it listens to signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

# The signal comes as the program imports what it needs: nothing is read and nothing is begun by then.
PROGRAM = """
import os, sys
moment, number = sys.argv.pop(1), int(sys.argv.pop(1))
def hit(event, arguments):
    global moment
    if event == "import" and arguments[0] == moment:
        moment = ""
        os.kill(os.getpid(), number)
from release_agent.cli.main import main
sys.addaudithook(hit)
sys.argv[0] = "release-agent"
main()
"""
MOMENTS = ["release_agent.cli.call", "release_agent.wiring"]


def hit(moment: str, number: signal.Signals, command: str) -> subprocess.CompletedProcess[str]:
    arguments = [moment, str(int(number)), "--config", "/nonexistent", command, "--json"]
    return subprocess.run([sys.executable, "-P", "-c", PROGRAM, *arguments], check=False, capture_output=True, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["deploy", "rollback", "boot"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_command_that_ends_in_a_record_ends_as_cancelled(moment: str, command: str, number: signal.Signals) -> None:
    ran = hit(moment, number, command)

    assert ran.returncode == 14, ran.stderr
    assert json.loads(ran.stdout)["error"]["message"] == f"stopped by {number.name}"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_command_that_only_looks_ends_of_the_signal(number: signal.Signals, code: int) -> None:
    assert [hit(moment, number, "status").returncode for moment in MOMENTS] == [code] * 2
