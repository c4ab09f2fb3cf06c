"""Trouble of a host that passes is no word about the release: real hosts are asked again, and nothing is rolled back."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from support.fleet import Fleet
from support.go_between import GoBetween

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.desk import Operator

OLD, NEW = "v1.0.0", "v1.1.0"
LOCKED = b"database is locked"


class _Fleet(Fleet):
    """Two hosts; what is said to each can be looked at."""

    def __init__(self) -> None:
        super().__init__(2)
        self.between = [GoBetween(port) for port in self.ports]
        for port, between in zip(self.ports, self.between, strict=True):
            self.file.write_text(self.file.read_text().replace(f":{port}", f":{between.port}"))

    @contextmanager
    def journal_locked(self, number: int) -> Iterator[None]:
        """Let somebody lock a host's journal, as a commit on a slow disk does."""
        path = self.hosts[number].root / ".release-agent" / "state.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as journal:
            journal.execute("BEGIN EXCLUSIVE")
            yield

    def took_it_once(self, operator: Operator) -> None:
        """Hold the fleet to a rollout that was completed, and deployed to each host once."""
        assert operator.end() == 0, operator.events()
        assert self.live() == [NEW] * 2
        assert [self.fired(number) for number in range(2)] == [[operator.id]] * 2

    def close(self) -> None:
        """End everything."""
        for between in self.between:
            between.close()
        super().close()


@pytest.fixture
def fleet() -> Iterator[_Fleet]:
    made = _Fleet()
    yield made
    made.close()


def test_journal_locked_while_a_host_deploys_does_not_take_back_the_fleet(fleet: _Fleet) -> None:
    fleet.hold(1)
    operator = fleet.begin("--waves", "1", "--revert")
    fleet.held(1)

    with fleet.journal_locked(1):
        fleet.between[1].passed(LOCKED)
    fleet.let_go(1)

    fleet.took_it_once(operator)


def test_journal_locked_while_hosts_are_looked_at_does_not_leave_one_out(fleet: _Fleet) -> None:
    with fleet.journal_locked(1):
        operator = fleet.begin("--revert")
        fleet.between[1].passed(LOCKED)

    fleet.took_it_once(operator)


def test_journal_locked_while_drift_is_measured_does_not_make_a_host_unknown(fleet: _Fleet) -> None:
    with ThreadPoolExecutor() as pool, fleet.journal_locked(1):
        found = pool.submit(fleet.rollout, "drift", "--fleet", fleet.file)
        fleet.between[1].passed(LOCKED)

    assert [host["revision"] for host in found.result().json["hosts"]] == [OLD, OLD]


def test_journal_locked_beyond_the_end_of_a_bake_does_not_take_back_the_fleet(fleet: _Fleet) -> None:
    operator = fleet.begin("--waves", "1", "--revert", "--bake", "1s")
    operator.seen("bake.started")

    with fleet.journal_locked(0):
        fleet.between[0].passed(LOCKED, 3)  # in the bake, at its end, and after that

    fleet.took_it_once(operator)
