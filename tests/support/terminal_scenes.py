"""Play scenes on a terminal, in a process of their own. The test decides when a scene continues."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from release_agent.errors import Exit
from release_agent.rollout.console.table import Table
from release_agent.rollout.model import Host, HostStage, Phase
from support.rollouts import a_wave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONTROL, REPLY = 3, 4  # descriptors that the test writes to and reads from
_WRITE = ("1", "64")  # on x86-64 and on arm64


def started(table: Table, host: Host) -> None:
    """Start one host, and report its deployment."""
    host.stage = HostStage.STARTING
    table.tell("host.started", host)
    host.stage, host.deployment = HostStage.DEPLOYING, f"d-{host.name}"
    table.tell("host.deploying", host, deployment=host.deployment)


def finished(table: Table, host: Host, stage: HostStage = HostStage.DONE, code: str = "", why: str = "") -> None:
    """End one host."""
    host.stage, host.code, host.why = stage, code, why
    table.tell("host.finished", host)


def play() -> None:
    """Play the named scene, with the terminal as its controlling one."""
    os.setsid()
    with contextlib.suppress(OSError):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    globals()[sys.argv[1]]()


def wait() -> None:
    """Wait for the test."""
    os.read(CONTROL, 1)


def reply(what: object) -> None:
    """Send a message to the test."""
    os.write(REPLY, f"{what}\n".encode())


def scene_events() -> None:
    rollout, table = a_wave(6), Table()
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


def scene_watched() -> None:
    rollout, table = a_wave(3), Table()
    rollout.started_at = "2024-01-01T00:00:00.0Z"
    rollout.enter(Phase.PAUSED, "by joe@laptop")

    def command(verb: str) -> str:
        return f"release-agent rollout {verb} {rollout.id} --consul"

    table.watch(rollout, command, running=True)
    wait()
    again = a_wave(3)
    first, second, _ = again.hosts.values()
    first.stage, second.stage, second.phase = HostStage.DONE, HostStage.DEPLOYING, "health"
    again.stopping = "somebody aborted it"
    table.watch(again, command, running=True)
    wait()
    again.phase = Phase.COMPLETED
    table.watch(again, command, running=True)
    table.end()


def scene_many() -> None:
    rollout, table = a_wave(60), Table()
    hosts = list(rollout.hosts.values())
    table.begin(rollout, lambda verb: f"release-agent rollout {verb} {rollout.id}")
    for host in hosts[:50]:
        started(table, host)
    for host in hosts[:20]:
        finished(table, host, HostStage.FAILED, "hook-failed", "long " * 50)
    wait()
    table.end()


def scene_markup() -> None:
    rollout, table = a_wave(1), Table()
    host = Host("[red]h0[/red]", "http://", wave=0)
    rollout.hosts = {host.name: host}
    table.begin(rollout, lambda verb: f"release-agent rollout {verb} {rollout.id}")
    finished(table, host, HostStage.FAILED, "x", "[bold]a[/] [/nope] :smile:\x1b[2J\nb")
    wait()
    table.end()
    table.say("[bold]c[/]\x1b[2J")


def scene_exception() -> None:
    table = Table()
    table.begin(a_wave(1), str)
    try:
        wait()
        raise ZeroDivisionError
    finally:
        table.end()


class Counted(dict[str, Host]):
    """A mapping that counts its iterations."""

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
    rollout, table = a_wave(10_000), Table()
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


def _is_held_up() -> bool:
    """Return whether a thread of this process is inside write(2) to its terminal (see proc(5) on syscall)."""
    calls = [(task / "syscall").read_text().split() for task in Path("/proc/self/task").iterdir()]
    return any(call[0] in _WRITE and call[1] == "0x1" for call in calls)


def scene_standstill() -> None:
    rollout, table = a_wave(100), Table()
    table.begin(rollout, lambda verb: f"release-agent rollout {verb} {rollout.id}")
    wait()
    for host in rollout.hosts.values():
        started(table, host)
    while not _is_held_up():  # a thread draws the table, and waits for the terminal
        time.sleep(0.01)
    for host in rollout.hosts.values():
        finished(table, host)
    reply("went on")
    wait()
    table.end()


def ask(before: Callable[[asyncio.Event], None] = lambda _: None, *, done: int = 1) -> None:
    """Ask a question after one host of three, or more; then continue with the second."""

    async def run() -> None:
        rollout, table, approved = a_wave(3), Table(), asyncio.Event()
        hosts = list(rollout.hosts.values())
        table.begin(rollout, lambda verb: f"release-agent rollout {verb} {rollout.id}")
        for host in hosts[:done]:
            started(table, host)
            finished(table, host)
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


def scene_ask_at_the_end() -> None:
    ask(done=3)


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


def scene_ask_without_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ask()


def scene_ask_in_the_background() -> None:
    if child := os.fork():
        os.waitpid(child, 0)
        return
    os.setpgid(0, 0)
    ask()
