"""Hosts are written down together, so that a large fleet costs few transactions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from release_agent.rollout.model import Host, Order
from release_agent.rollout.record.file import FileRolloutStore
from release_agent.rollout.writer import Writer
from support.no_time import run
from support.rollouts import a_rollout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from release_agent.model import Completed
    from release_agent.rollout.model import Rollout


class _Noting(FileRolloutStore):
    """A record that notes which hosts came together, and all writes in their order."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.together: list[list[str]] = []
        self.writes: list[str] = []

    def save_hosts(self, hosts: Sequence[Host]) -> None:
        self.together.append([host.name for host in hosts])
        self.writes += self.together[-1]

    def save(self, rollout: Rollout) -> None:
        self.writes.append(rollout.id)

    def follow(self, app: str, _environment: str, _completed: Completed | None) -> None:
        self.writes.append(app)

    def acknowledge(self, order: Order) -> None:
        self.writes.append(order.verb)

    def release(self) -> None:
        self.writes.append("release")


def _hosts(number: int) -> list[Host]:
    return [Host(f"host-{index}", "") for index in range(number)]


def test_first_host_is_written_at_once_and_those_of_the_next_moment_together(tmp_path: Path) -> None:
    record = _Noting(tmp_path / "rollouts.db")
    writer = Writer(record, 0.0, lambda _why: None)
    first, *others = _hosts(10)

    async def arrive(host: Host, at: float) -> None:
        await asyncio.sleep(at)
        await writer.host(host)

    async def work() -> float:
        await writer.host(first)
        alone = asyncio.get_running_loop().time()
        await asyncio.gather(*(arrive(host, 0.002 * index) for index, host in enumerate(others)))
        return alone

    alone, _ = run(work())

    assert alone == 0.0
    assert record.together == [[first.name], [host.name for host in others]]


def test_hosts_that_come_one_after_the_other_are_written_apart(tmp_path: Path) -> None:
    record = _Noting(tmp_path / "rollouts.db")
    writer = Writer(record, 0.0, lambda _why: None)

    async def work() -> None:
        for host in _hosts(11):
            await writer.host(host)

    _, seconds = run(work())

    assert len(record.together) == 11
    assert seconds == pytest.approx(10 * 0.03)


@pytest.mark.parametrize(
    ("later", "written"),
    [
        (lambda writer: writer.rollout(a_rollout()), a_rollout().id),
        (lambda writer: writer.follow("api", "test", None), "api"),
        (lambda writer: writer.acknowledge(Order("pause", "bob")), "pause"),
        (lambda writer: writer.let_go(), "release"),
    ],
    ids=["rollout", "follow", "acknowledge", "let_go"],
)
def test_no_later_write_overtakes_a_host_that_waits(
    tmp_path: Path, later: Callable[[Writer], Awaitable[None]], written: str
) -> None:
    record = _Noting(tmp_path / "rollouts.db")
    writer = Writer(record, 0.0, lambda _why: None)
    first, second = _hosts(2)

    async def work() -> None:
        await writer.host(first)
        waiting = asyncio.create_task(writer.host(second))
        await asyncio.sleep(0)  # it waits now
        waiting.cancel()  # as a signal does, or the end of a bake
        await later(writer)

    asyncio.run(work())

    assert record.writes == [first.name, second.name, written]
