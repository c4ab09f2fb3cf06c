"""Another kind of file replaces each file of a rollout's operator in turn, for every verb."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from support import warm
from support.attacked import LIMIT, remove
from support.replaced import KINDS, replace
from support.simulated_rollouts import SimulatedRollouts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

KEPT = ("fleet.toml", "password", "operator")
VERBS = ("list", "status", "dry run", "start", "pause", "approve", "abort", "resume", "revert", "freeze", "unfreeze")
OWN = "operator/release-agent"


class Desk:
    """A desk with a fleet of two hosts and a rollout that has ended."""

    def __init__(self, place: Path) -> None:
        self._kept = place / "kept"
        self.path = place / "desk"
        self.path.mkdir()
        self.fleet = SimulatedRollouts(self.path, 2, credentials=("ada", "secret-secret"))
        started = self.fleet.run(self.fleet.start_command(revision="v1.1.0"))
        assert started.code == 0, started.out + started.err
        self.rollout = next(line for line in started.out.split('"') if line.startswith("rollout-2"))
        self._kept.mkdir()
        for name in KEPT:
            _copy(self.path / name, self._kept / name)

    def put_back(self) -> None:
        """Have everything as it was."""
        for name in KEPT:
            remove(self.path / name)
            _copy(self._kept / name, self.path / name)

    def command(self, verb: str) -> Sequence[str]:
        """Return a command line with short waits."""
        if verb in ("start", "dry run"):
            more = ["--dry-run"] if verb == "dry run" else []
            return self.fleet.start_command("--deadline", "2s", "--progress-deadline", "2s", *more, revision="v1.0.0")
        fleet = ("api", "test")
        more = {"list": (), "freeze": (*fleet, "the database moves"), "unfreeze": fleet}
        return self.fleet.command(verb, *more.get(verb, (self.rollout,)))

    def wrong_with(self, verb: str) -> str:
        """Run a verb; returns what none may do: hang, end with a bug, print a traceback. Empty: nothing."""
        try:
            code, said, complaint = warm.run(self.command(verb), self.fleet.environment, LIMIT)
        except subprocess.TimeoutExpired:
            return f"hung for {LIMIT:g} s"
        if code in (1, 2) or code < 0 or "Traceback" in said + complaint:
            return f"ended with {code}: {(said + complaint)[-900:]}"
        return ""


def _copy(path: Path, to: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, to, symlinks=True)
    else:
        shutil.copy2(path, to)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(tmp_path_factory.mktemp("desk"))
    yield made
    made.fleet.close()


@pytest.mark.parametrize("place", ["fleet.toml", "password", "operator", OWN, f"{OWN}/rollouts.db", f"{OWN}/rollouts.db-journal"])
def test_file_that_is_something_else_is_no_bug_and_keeps_no_verb_waiting(desk: Desk, place: str) -> None:
    found = []
    for kind in KINDS:
        for verb in VERBS:
            desk.put_back()
            replace(desk.path / place, kind)
            wrong = desk.wrong_with(verb)
            found += [f"{verb}, {place} a {kind}: {wrong}"] if wrong else []
    assert found == []
