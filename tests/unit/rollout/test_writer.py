"""Hosts are written down together, so that a large fleet costs few transactions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from release_agent.rollout.model import Host
from release_agent.rollout.record.file import FileRolloutStore
from release_agent.rollout.writer import Writer
from support.no_time import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class _Noting(FileRolloutStore):
    """A record that notes which hosts came together."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.together: list[list[str]] = []

    def save_hosts(self, hosts: Sequence[Host]) -> None:
        self.together.append([host.name for host in hosts])


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
    assert seconds == pytest.approx(10 * 0.05)
