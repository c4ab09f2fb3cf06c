from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.errors import Exit
from release_agent.rollout.console.progress import Progress
from release_agent.rollout.console.table import Table
from release_agent.rollout.model import Host, HostStage, Phase, Rollout
from release_agent.rollout.policy.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COLUMNS, LINES = 80, 24
PATIENCE = 30
QUESTION = "1 host runs v1.4.2 and is well. Go on with the other 2? [y/N]"
_PART = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])|(.)", re.DOTALL)


def fleet(count: int, **options: Any) -> Rollout:
    """Return a rollout over hosts h0, h1, … in one wave, none of them begun."""
    hosts = {f"h{number}": Host(f"h{number}", "http://", order=number, wave=0) for number in range(count)}
    return Rollout(
        "rollout-1", "api", "production", "v1.4.2", {}, Options(**options), hosts, "joe@laptop", "2024-01-01T00:00:00.0Z"
    )


def started(table: Table, host: Host) -> None:
    """Begin one host, and let it say its deployment."""
    host.stage = HostStage.STARTING
    table.tell("host.started", host)
    host.stage, host.deployment = HostStage.DEPLOYING, f"d-{host.name}"
    table.tell("host.deploying", host, deployment=host.deployment)


def finished(table: Table, host: Host, stage: HostStage = HostStage.DONE, code: str = "", why: str = "") -> None:
    """End one host."""
    host.stage, host.code, host.why = stage, code, why
    table.tell("host.finished", host)


# Scenes: what goes on in a process of its own, on the terminal. They go on when the test says so.

CONTROL, REPLY = (int(os.environ.get(name, "-1")) for name in ("TEST_CONTROL", "TEST_REPLY"))


def play(scene: str) -> None:
    """Play one with the terminal as its own."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    globals()[scene]()


def wait() -> None:
    """Wait for the test."""
    os.read(CONTROL, 1)


def reply(what: object) -> None:
    """Tell the test."""
    os.write(REPLY, f"{what}\n".encode())


def scene_events() -> None:
    rollout, table = fleet(6), Table()
    hosts = list(rollout.hosts.values())
    table.begin(rollout, lambda verb: f"release-agent rollout {verb} {rollout.id}")
    table.tell("wave.started", wave=1, waves=1, hosts=6)
    for host in hosts[:4]:
        started(table, host)
    finished(table, hosts[0])
    finished(table, hosts[1], HostStage.FAILED, "hook-failed", "`make` exited with 2")
    finished(table, hosts[2], HostStage.UNREACHABLE, "host-unreachable", "no answer")
    wait()
    rollout.phase, rollout.why = Phase.FAILED, "2 failed"
    table.end()
    table.ended(rollout, Exit.FLEET_FAILED, str)


def scene_many() -> None:
    rollout, table = fleet(60), Table()
    hosts = list(rollout.hosts.values())
    table.begin(rollout, lambda verb: f"release-agent rollout {verb} {rollout.id}")
    for host in hosts[:50]:
        started(table, host)
    for host in hosts[:20]:
        finished(table, host, HostStage.FAILED, "hook-failed", "long " * 50)
    wait()
    table.end()


def scene_markup() -> None:
    rollout, table = fleet(1), Table()
    host = Host("[red]h0[/red]", "http://", wave=0)
    rollout.hosts = {host.name: host}
    table.begin(rollout, lambda verb: f"release-agent rollout {verb} {rollout.id}")
    finished(table, host, HostStage.FAILED, "x", "[bold]a[/] [/nope] :smile:\x1b[2J\nb")
    wait()
    table.end()
    table.say("[bold]c[/]\x1b[2J")


def scene_exception() -> None:
    table = Table()
    table.begin(fleet(1), str)
    try:
        wait()
        raise ZeroDivisionError
    finally:
        table.end()


class Counted(dict[str, Host]):
    """Counts how often it was gone through."""

    times = 0

    def values(self) -> Any:
        """Count it."""
        self.times += 1
        return super().values()

    def __iter__(self) -> Iterator[str]:
        """Count it."""
        self.times += 1
        return super().__iter__()


def scene_ten_thousand() -> None:
    rollout, table = fleet(10_000), Table()
    hosts = list(rollout.hosts.values())
    counted = rollout.hosts = Counted(rollout.hosts)
    table.begin(rollout, lambda verb: f"release-agent rollout {verb} {rollout.id}")
    counted.times = 0
    for host in hosts:
        started(table, host)
        finished(table, host)
    wait()
    reply(counted.times)
    table.end()


def scene_standstill() -> None:
    rollout, table = fleet(100), Table()
    table.begin(rollout, lambda verb: f"release-agent rollout {verb} {rollout.id}")
    wait()
    for host in rollout.hosts.values():
        started(table, host)
    time.sleep(0.5)  # the table is drawn meanwhile, which takes until the terminal goes on
    for host in rollout.hosts.values():
        finished(table, host)
    reply("went on")
    wait()
    table.end()


def ask(before: Callable[[asyncio.Event], None] = lambda _: None) -> None:
    """Ask after one host of three, and go on with the second."""

    async def run() -> None:
        rollout, table, approved = fleet(3), Table(), asyncio.Event()
        hosts = list(rollout.hosts.values())
        table.begin(rollout, lambda verb: f"release-agent rollout {verb} {rollout.id}")
        started(table, hosts[0])
        finished(table, hosts[0])
        rollout.phase = Phase.WAITING
        table.tell("approval.awaited")
        before(approved)
        answer: object
        try:
            answer = await table.ask(approved)
        except asyncio.CancelledError:
            answer = "cancelled"
        reply(f"{answer} {asyncio.get_running_loop().remove_reader(0)}")
        rollout.phase = Phase.RUNNING
        started(table, hosts[1])
        await asyncio.to_thread(wait)
        table.end()
        table.say("at its end")

    asyncio.run(run())


def scene_ask() -> None:
    ask()


def scene_ask_late() -> None:
    ask(lambda _: wait())


def scene_ask_elsewhere() -> None:
    def heard(approved: asyncio.Event) -> None:
        asyncio.get_running_loop().remove_reader(CONTROL)
        wait()
        approved.set()

    ask(lambda approved: asyncio.get_running_loop().add_reader(CONTROL, heard, approved))
    reply(sys.stdin.readline())


def scene_ask_cancelled() -> None:
    def before(_: asyncio.Event) -> None:
        task = asyncio.current_task()
        assert task
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)

    ask(before)


def scene_ask_in_the_background() -> None:
    if child := os.fork():
        os.waitpid(child, 0)
        return
    os.setpgid(0, 0)
    ask()


# What tests see of them


class Screen:
    """A terminal as far as a table needs one: lines, a cursor that goes up to the first that is seen, and erasing."""

    def __init__(self, columns: int, lines: int) -> None:
        """Empty."""
        self.columns, self.height = columns, lines
        self.lines, self.row, self.column = [""], 0, 0
        self.has_cursor, self.pending, self.raw = True, "", ""

    def feed(self, data: bytes) -> None:
        """Draw what was written."""
        written = data.decode(errors="surrogateescape").encode(errors="surrogateescape").decode(errors="replace")
        self.raw += written
        written = self.pending + written
        cut = re.search(r"\x1b(\[[?0-9;]*)?\Z", written)
        self.pending = cut[0] if cut else ""
        for part in _PART.finditer(written, 0, cut.start() if cut else len(written)):
            self._control(part[2], part[1]) if part[2] else self._put(part[3])

    def _control(self, letter: str, number: str) -> None:
        if letter == "A":
            self.row = max(self.row - int(number or 1), len(self.lines) - self.height, 0)
        elif letter == "K":
            assert number == "2"
            self.lines[self.row] = ""
        elif number == "?25":
            self.has_cursor = letter == "h"
        else:
            assert letter == "m", letter

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down()
        elif character >= " ":
            if self.column == self.columns:
                self._down()
                self.column = 0
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")


class Terminal:
    """A real one, with a scene on it and a screen that is drawn as it is written to."""

    def __init__(self, scene: str, *, columns: int = COLUMNS, lines: int = LINES, **environment: str) -> None:
        """Start the scene."""
        self.screen = Screen(columns, lines)
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        control, self._control = os.pipe()
        self._reply, reply = os.pipe()
        tests = str(Path(__file__).parents[3])
        code = f"import sys; sys.path.insert(0, {tests!r}); from unit.rollout.console.test_table import play; play({scene!r})"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
        named = {"TEST_CONTROL": str(control), "TEST_REPLY": str(reply), "TERM": "xterm", "PYTHONUTF8": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            pass_fds=(control, reply),
            start_new_session=True,
            env=kept | named | environment,
        )
        for descriptor in (slave, control, reply):
            os.close(descriptor)
        self._drawn, self._abandoned = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._draw)
        self._thread.start()

    def _draw(self) -> None:
        with contextlib.suppress(OSError):  # its last process is gone
            while not self._abandoned.is_set():
                if not select.select([self._master], [], [], 0.1)[0]:
                    continue
                data = os.read(self._master, 65536)
                with self._drawn:
                    self.screen.feed(data)
                    self._drawn.notify_all()

    def see(self, what: str) -> list[str]:
        """Return the lines of the screen once this is on it."""
        with self._drawn:
            seen = self._drawn.wait_for(lambda: what in "\n".join(self.screen.lines), PATIENCE)
            assert seen, "\n".join(self.screen.lines)
            return [line.rstrip() for line in self.screen.lines]

    def type(self, what: str) -> None:
        """Press keys."""
        os.write(self._master, what.encode())

    def go(self) -> None:
        """Let the scene go on."""
        os.write(self._control, b".")

    def reply(self) -> str:
        """Return what the scene tells the test."""
        assert select.select([self._reply], [], [], PATIENCE)[0], "\n".join(self.screen.lines)
        return os.read(self._reply, 1000).decode().strip()

    def close(self) -> list[str]:
        """Return the lines of the screen at the end of the scene, to the last that is not empty."""
        self.process.wait(PATIENCE)
        self._thread.join(PATIENCE)
        return [line.rstrip() for line in "\n".join(self.screen.lines).rstrip().split("\n")]

    def abandon(self) -> None:
        """Leave nothing, however the test went."""
        self._abandoned.set()
        self.process.kill()
        self.process.wait()
        self._thread.join()
        for descriptor in (self._master, self._control, self._reply):
            os.close(descriptor)


@pytest.fixture
def open_terminal() -> Iterator[Callable[..., Terminal]]:
    """Return what opens terminals."""
    opened: list[Terminal] = []

    def one(scene: str, **options: Any) -> Terminal:
        opened.append(Terminal(scene, **options))
        return opened[-1]

    yield one
    for terminal in opened:
        terminal.abandon()


if TYPE_CHECKING:
    Open = Callable[..., Terminal]


def test_hosts_in_flight_and_failed_are_rows_and_all_others_are_a_number(open_terminal: Open) -> None:
    terminal = open_terminal("scene_events")

    lines = terminal.see("0:00  2 pending, 1 deploying, 1 done, 1 failed, 1 unreachable")

    assert lines[0].startswith("rollout-1  v1.4.2  api (production)  by joe@laptop")
    rows = [line.split(maxsplit=2) for line in lines if line.startswith("h")]
    assert rows[:2] == [
        ["h2", "unreachable", "host-unreachable: no answer"],
        ["h1", "failed", "hook-failed: `make` exited with 2"],
    ]
    assert rows[2][:2] == ["h3", "deploying"]
    assert re.fullmatch(r"\d s, \d+ s left  d-h3", rows[2][2])
    assert "wave 1 of 1" in lines[-1]
    assert not terminal.screen.has_cursor

    terminal.go()
    lines = terminal.close()

    assert "wave 1 of 1" not in "\n".join(lines)
    assert "failed: v1.4.2 on api (production); 6 hosts: 2 pending, 1 deploying, 1 done, 1 failed, 1 unreachable" in "".join(
        lines
    )
    assert "  h1  failed  hook-failed: `make` exited with 2" in lines
    assert "\x1b[31mfailed\x1b[0m" in terminal.screen.raw
    assert terminal.screen.has_cursor


@pytest.mark.parametrize(("columns", "height"), [(80, 24), (40, 12), (200, 60)])
def test_more_rows_than_the_terminal_is_high_are_counted_and_none_is_broken(
    open_terminal: Open, columns: int, height: int
) -> None:
    terminal = open_terminal("scene_many", columns=columns, lines=height)

    lines = terminal.see("wave 1 of 1  0:00  10 pending, 30 dep")
    table = lines[next(number for number, line in enumerate(lines) if line.startswith("h")) :]

    assert len(table) < height
    shown = [line.split()[0] for line in table if line.startswith("h")]
    failed = [name for name in shown if int(name[1:]) < 20]
    flying = [name for name in shown if int(name[1:]) >= 20]
    assert shown == failed + flying
    assert failed == [f"h{19 - number}" for number in range(len(failed))]
    assert flying == [f"h{49 - number}" for number in range(len(flying))]
    assert failed
    assert flying
    more = f"… and {30 - len(flying)} more in flight and {20 - len(failed)} more in trouble"
    cut = more if len(more) <= columns else f"{more[: columns - 1]}…"
    assert [line for line in table if line.startswith("…")] == ([] if len(shown) == 50 else [cut])


def test_what_a_host_says_is_no_markup_and_moves_no_cursor(open_terminal: Open) -> None:
    terminal = open_terminal("scene_markup")

    assert "[red]h0[/red]  failed  x: [bold]a[/] [/nope] :smile:?[2J; b" in terminal.see("x: ")

    terminal.go()
    assert "[bold]c[/]?[2J" in terminal.close()


def test_an_exception_leaves_a_terminal_with_its_cursor(open_terminal: Open) -> None:
    terminal = open_terminal("scene_exception")
    terminal.see("1 pending")
    assert not terminal.screen.has_cursor

    terminal.go()

    assert terminal.close()[-1] == "ZeroDivisionError"
    assert terminal.screen.has_cursor


def test_events_of_ten_thousand_hosts_are_not_drawn_one_by_one_and_go_through_no_hosts(open_terminal: Open) -> None:
    terminal = open_terminal("scene_ten_thousand")

    terminal.see("10000 done")
    terminal.go()

    assert terminal.reply() == "0"
    terminal.close()
    assert terminal.screen.raw.count("wave 1 of 1") < 1000  # of 30,000 events


def test_a_terminal_that_stands_still_holds_up_no_rollout(open_terminal: Open) -> None:
    terminal = open_terminal("scene_standstill")
    terminal.see("100 pending")
    terminal.type("\x13")

    terminal.go()

    assert terminal.reply() == "went on"
    terminal.type("\x11")
    terminal.see("100 done")
    terminal.go()
    terminal.close()


def test_a_dumb_terminal_has_a_line_each_transition(open_terminal: Open) -> None:
    terminal = open_terminal("scene_events", TERM="dumb", columns=120)
    terminal.go()

    lines = terminal.close()

    assert "\x1b" not in terminal.screen.raw
    assert any("host.deploying      host=h3  stage=deploying  deployment=d-h3" in line for line in lines)


def test_a_terminal_that_knows_few_characters_gets_others_instead(open_terminal: Open) -> None:
    terminal = open_terminal("scene_many", PYTHONUTF8="0", PYTHONIOENCODING="ascii", columns=120)

    assert any(line.startswith("? and ") for line in terminal.see("in trouble"))

    terminal.go()
    terminal.close()
    assert terminal.process.returncode == 0


@pytest.mark.parametrize("kind", ["xterm", "dumb"])
@pytest.mark.parametrize(
    ("keys", "answer"), [("y\n", True), (" YES \n", True), ("n\n", False), ("\n", False), ("yep\n", False), ("\x04", False)]
)
def test_the_question_is_answered_from_the_keyboard(
    open_terminal: Open,
    kind: str,
    keys: str,
    answer: bool,
) -> None:
    terminal = open_terminal("scene_ask", TERM=kind, columns=120)

    lines = terminal.see(QUESTION)
    assert "(from elsewhere: release-agent rollout approve rollout-1)" in lines
    assert terminal.screen.has_cursor
    terminal.type(keys)

    assert terminal.reply() == f"{answer} False"
    terminal.see("1 pending, 1 deploying, 1 done" if kind == "xterm" else "deployment=d-h1")
    terminal.go()
    lines = terminal.close()
    assert f"{QUESTION} {keys.strip(chr(4))}".rstrip() in lines
    assert lines[-1] == "at its end"
    assert terminal.screen.has_cursor


def test_the_question_is_answered_from_elsewhere_and_the_keyboard_is_free_again(open_terminal: Open) -> None:
    terminal = open_terminal("scene_ask_elsewhere")
    terminal.see(QUESTION)

    terminal.go()

    assert terminal.reply() == "True False"
    lines = terminal.see("1 pending, 1 deploying")
    assert lines[lines.index(QUESTION) + 1] == "answered from elsewhere"
    terminal.go()
    terminal.see("at its end")
    terminal.type("for others\n")
    assert terminal.reply() == "for others"


def test_what_was_typed_before_the_question_is_no_answer(open_terminal: Open) -> None:
    terminal = open_terminal("scene_ask_late")
    terminal.see("1 done")
    terminal.type("y\n")
    terminal.see("y\n")

    terminal.go()
    terminal.see(QUESTION)
    terminal.type("n\n")

    assert terminal.reply() == "False False"


def test_a_question_that_is_interrupted_leaves_the_keyboard(open_terminal: Open) -> None:
    terminal = open_terminal("scene_ask_cancelled")
    terminal.see(QUESTION)

    terminal.type("\x03")

    assert terminal.reply() == "cancelled False"
    terminal.go()
    assert terminal.close()[-1] == "at its end"


def test_in_the_background_there_is_nobody_to_ask(open_terminal: Open) -> None:
    terminal = open_terminal("scene_ask_in_the_background")

    assert terminal.reply() == "None False"
    terminal.go()
    terminal.close()
    assert QUESTION not in terminal.screen.raw


# What is known, by a clock that tests move


class Clock:
    """Goes on when it is told."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_a_bake_is_counted_down_and_its_end_is_the_end_of_its_line() -> None:
    clock = Clock()
    seen = Progress(fleet(3), clock)
    seen.hear("bake.started", None, {"seconds": 30.0, "hosts": 1})

    clock.now += 12

    assert seen.notes() == ["watching 1 host for 18 s more"]
    clock.now += 18
    assert seen.notes() == []


def test_the_progress_deadline_begins_anew_with_the_end_of_a_bake() -> None:
    clock, rollout = Clock(), fleet(3, progress_deadline=100.0)
    seen, host = Progress(rollout, clock), rollout.hosts["h1"]
    seen.hear("bake.started", None, {"seconds": 500.0, "hosts": 1})
    clock.now += 510
    host.stage = HostStage.STARTING
    seen.hear("host.started", host, {})

    assert seen.notes() == []
    clock.now += 70
    assert seen.notes() == ["no host became healthy for 80 s; it stops in 20 s"]


def test_the_progress_deadline_is_counted_down_where_it_runs_short() -> None:
    clock, rollout = Clock(), fleet(3, progress_deadline=100.0)
    seen, (host, other, _) = Progress(rollout, clock), rollout.hosts.values()
    host.stage = other.stage = HostStage.STARTING
    seen.hear("host.started", host, {})
    seen.hear("host.started", other, {})

    clock.now += 74
    assert seen.notes() == []
    clock.now += 6
    assert seen.notes() == ["no host became healthy for 80 s; it stops in 20 s"]
    other.stage = HostStage.DONE
    seen.hear("host.finished", other, {})
    assert seen.notes() == []


def test_what_a_rollout_waits_for_is_said() -> None:
    rollout = fleet(3)
    seen = Progress(rollout, Clock())

    rollout.phase, rollout.why = Phase.PAUSED, "by ann@desk"
    seen.hear("order.heard", None, {"verb": "pause", "who": "ann@desk"})
    seen.hear("record.away", None, {"why": "Consul\ndoes not answer"})

    assert seen.notes() == [
        "what keeps the record is away, no further host is begun: Consul; does not answer",
        "paused by ann@desk; what is in flight goes on; release-agent rollout resume rollout-1",
        "last heard: pause, ordered by ann@desk",
    ]
    seen.hear("record.back", None, {"why": ""})
    rollout.phase = Phase.WAITING
    assert seen.notes()[0] == "waiting for approval"


def test_a_host_has_its_seconds_from_its_start_and_a_revert_its_own() -> None:
    clock, rollout = Clock(), fleet(1, deadline=60.0)
    seen, host = Progress(rollout, clock), rollout.hosts["h0"]
    rows = []
    for stage in (HostStage.STARTING, HostStage.DEPLOYING, HostStage.REVERTING):
        host.stage = stage
        seen.hear("host", host, {})
        clock.now += 5
        rows.append(seen.rows(9)[0][0][1])

    assert rows == ["5 s, 55 s left", "10 s, 50 s left", "5 s, 55 s left"]


def test_a_rollout_that_is_resumed_begins_with_what_it_knows() -> None:
    rollout = fleet(4)
    rollout.wave = 0
    for host, stage in zip(
        rollout.hosts.values(), (HostStage.DONE, HostStage.FAILED, HostStage.DEPLOYING, HostStage.PENDING), strict=True
    ):
        host.stage = stage

    seen = Progress(rollout, Clock())

    assert seen.summary() == "wave 1 of 1  0:00  1 pending, 1 deploying, 1 done, 1 failed"
    assert [row.name for row, _ in seen.rows(9)[0]] == ["h1", "h2"]
    assert seen.settled == 2


def test_what_goes_back_is_no_wave() -> None:
    rollout = fleet(1)
    rollout.phase = Phase.REVERTING
    rollout.hosts["h0"].stage = HostStage.STUCK

    assert Progress(rollout, Clock()).summary() == "putting back what was changed  0:00  1 stuck"
