"""Fixtures and options of all tests."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.environment import FOREIGN
from support.needs import lacking, sentence
from support.repositories import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator

# Files with long tests, the longest first; the examples are last, after the scenes have built their images.
_LONG = (
    "test_real_hosts",
    "test_operator",
    "test_files",
    "test_interruption",
    "test_record",
    "test_rollout_consul",
    "test_sabotage",
    "test_examples",
)


_LACKING = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Find out which needs the machine lacks; if CI is true, it must lack none."""
    # Under nohup, this process and its children ignore it.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.addinivalue_line(
        "markers", "needs(what): mount, immutable, ptrace or inspect; skipped on a machine that does not allow it"
    )
    told: list[str] | None = getattr(config, "workerinput", {}).get("lacking")
    config.stash[_LACKING] = lacking() if told is None else told
    if config.stash[_LACKING] and os.environ.get("CI") == "true":
        message = f"CI is true, and not everything can run. {sentence(config.stash[_LACKING])}"
        raise pytest.UsageError(message)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass the findings on to workers."""
    node.workerinput["lacking"] = node.config.stash[_LACKING]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Report which tests do not run."""
    return [sentence(config.stash[_LACKING])] if config.stash[_LACKING] else []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mix tests that wait with unit tests, which compute, and start with the longest: a long last test delays the end."""
    compute = [item for item in items if "unit" in item.path.parts]
    wait = sorted((item for item in items if "unit" not in item.path.parts), key=_turn)
    turns = {item: turn / len(group) for group in (compute, wait) for turn, item in enumerate(group)}
    items.sort(key=turns.__getitem__)
    for item in items:
        needs = {need for mark in item.iter_markers("needs") for need in mark.args}
        missing = sorted(needs & set(config.stash[_LACKING]))
        if missing:
            item.add_marker(pytest.mark.skip(reason=sentence(missing)))


def _turn(item: pytest.Item) -> int:
    name = item.path.stem
    return _LONG.index(name) if name in _LONG else len(_LONG)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the machine's own git, Consul and supervisor from the tests."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """Make a directory in which every user may work."""
    made = Path(tempfile.mkdtemp(prefix="release-agent-test-"))
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Make a repository that no test changes, with one commit, tagged v1.0.0."""
    made = Repository(tmp_path_factory.mktemp("template") / "api")
    made.commit({"app.py": "print('one')\n"}, tag="v1.0.0")
    return made


@pytest.fixture
def repo(template: Repository, tmp_path: Path) -> Repository:
    """Make a repository with one commit, tagged v1.0.0."""
    return Repository.copied(template, tmp_path / "repos" / "api")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Make a directory of the agent's own, for git's views."""
    made = tmp_path / "scratch"
    made.mkdir()
    return made
