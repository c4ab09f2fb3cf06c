from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from release_agent.system.clock import SystemClock

PROGRAM = """
import sys
from release_agent.system.clock import SystemClock
from release_agent.errors import Cancelled
clock = SystemClock()
clock.listen()
def tell(text):
    print(text, flush=True)
def go_on():
    return sys.stdin.readline()
try:
{body}
except Cancelled as cancelled:
    tell(f"{{cancelled.exit_code}} {{cancelled.message}}")
"""


class Program:
    """A real process with a clock of its own, told when to go on."""

    def __init__(self, *body: str) -> None:
        text = PROGRAM.format(body="\n".join(f"    {line}" for line in body))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def says(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def go_on(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_sleep(number: signal.Signals) -> None:
    program = Program("tell('asleep')", "clock.sleep(1000)")
    assert program.says() == "asleep"

    program.signal(number)

    assert program.says() == f"14 stopped by {number.name}"
    assert program.end() == 0


def test_a_signal_that_came_while_awake_ends_the_next_sleep() -> None:
    program = Program("tell('awake')", "go_on()", "tell('went on')", "clock.sleep(1000)")
    assert program.says() == "awake"

    program.signal(signal.SIGTERM)
    program.go_on()

    assert program.says() == "went on"
    assert program.says() == "14 stopped by SIGTERM"
    assert program.end() == 0


def test_a_signal_waits_where_it_is_shielded() -> None:
    program = Program(
        "with clock.shielded():",
        "    with clock.shielded():",
        "        tell('shielded')",
        "        go_on()",
        "    clock.sleep(0.01)",
        "    clock.check()",
        "    tell('finished')",
        "clock.check()",
        "tell('not reached')",
    )
    assert program.says() == "shielded"

    program.signal(signal.SIGTERM)
    program.go_on()

    assert program.says() == "finished"
    assert program.says() == "14 stopped by SIGTERM"
    assert program.end() == 0


def test_a_shield_goes_with_an_error() -> None:
    program = Program(
        "try:",
        "    with clock.shielded():",
        "        raise ValueError",
        "except ValueError:",
        "    tell('failed')",
        "go_on()",
        "clock.check()",
    )
    assert program.says() == "failed"

    program.signal(signal.SIGTERM)
    program.go_on()

    assert program.says() == "14 stopped by SIGTERM"
    assert program.end() == 0


def test_a_terminal_that_hangs_up_changes_nothing() -> None:
    program = Program("tell('awake')", "go_on()", "clock.check()", "tell('still here')")
    assert program.says() == "awake"

    program.signal(signal.SIGHUP)
    program.go_on()

    assert program.says() == "still here"
    assert program.end() == 0


def test_without_a_signal_a_sleep_lasts_as_long_as_it_should() -> None:
    clock = SystemClock()
    before = clock.now()

    clock.sleep(0.15)
    clock.sleep(0)
    clock.sleep(-1)

    assert clock.now() - before >= 0.15
