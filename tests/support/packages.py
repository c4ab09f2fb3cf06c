"""Make real histories: the source releases of a public package, one after the other, each a commit with a tag."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from support.environment import PROJECT
from support.histories import History
from support.repositories import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE = PROJECT / ".tools" / "histories"
_LONGEST = 300  # seconds for one download; pip also reads the requirements of each release
_ENDINGS = (".tar.gz", ".tar.bz2", ".zip")


def history_of(package: str, releases: int, place: Path) -> History:
    """Commit the newest source releases of a package, oldest first; raises CalledProcessError if there is no registry."""
    repository = Repository(place / package)
    commits = [_commit(repository, archive) for archive in reversed(list(_archives(package, releases)))]
    return History(place / f"{package}-checkouts", repository, commits)


def _archives(package: str, releases: int) -> Iterator[Path]:
    """Yield archives, the newest first, except those that pip can no longer download."""
    cache = CACHE / package
    cache.mkdir(parents=True, exist_ok=True)
    found = 0
    for version in _versions(package):
        archive = _cached(cache, version) or _downloaded(package, version, cache)
        if archive:
            yield archive
            found += 1
        if found == releases:
            return


def _versions(package: str) -> list[str]:
    told = _pip("index", "versions", package)
    line = next(line for line in told.splitlines() if line.startswith("Available versions: "))
    return line.removeprefix("Available versions: ").split(", ")


def _cached(cache: Path, version: str) -> Path | None:
    names = [path for path in cache.iterdir() if any(path.name.endswith(f"-{version}{ending}") for ending in _ENDINGS)]
    return names[0] if names else None


def _downloaded(package: str, version: str, cache: Path) -> Path | None:
    with tempfile.TemporaryDirectory() as place:
        try:
            _pip("download", "--quiet", "--no-deps", "--no-binary", package, "--dest", place, f"{package}=={version}")
        except subprocess.CalledProcessError:
            return None
        (archive,) = Path(place).iterdir()
        return Path(shutil.move(archive, cache / archive.name))


def _pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=_LONGEST).stdout


def _commit(repository: Repository, archive: Path) -> str:
    for path in repository.path.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    with tempfile.TemporaryDirectory(dir=repository.path.parent) as place:
        if archive.suffix == ".zip":
            shutil.unpack_archive(archive, place)
        else:
            shutil.unpack_archive(archive, place, filter="data")
        (top,) = Path(place).iterdir()
        for path in top.iterdir():
            path.rename(repository.path / path.name)
    return repository.commit(tag=archive.name)
