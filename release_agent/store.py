"""The root directory: releases, ``current``, ``shared``, the lock.

Everything here is safe to be killed at any instant: what is being made lies in
``incoming/`` until one rename(2) makes it whole, and the next run removes it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from release_agent import processes
from release_agent.errors import Busy, Code, Failed
from release_agent.model import Kind, Release, State, is_release_name, release_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from release_agent.config import Shared
    from release_agent.model import Request
    from release_agent.ports import Clock

_LOCK_POLL = 0.05
_ROOM_TO_SPARE = 1 << 20


class Root:
    """One application's root directory and what the agent keeps in it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Nothing is touched yet."""
        self.path = path
        self.shared = path / "shared"
        self.link = path / "current"
        self.own = path / ".release-agent"
        self.database = self.own / "state.db"
        self.incoming = self.own / "incoming"
        self._releases = path / "releases"
        self._notes = self.own / "releases"
        self._clock = clock

    # Preparing

    def prepare(self) -> None:
        """Make the directories; raises Failed (root-unusable)."""
        try:
            for directory in (self.path, self._releases, self.shared, self.own, self._notes, self.incoming):
                directory.mkdir(exist_ok=True)
            # Relative shared links are right both in releases/NAME and in incoming/NAME, one level deeper.
            if not (self.own / "shared").is_symlink():
                (self.own / "shared").symlink_to("../shared")
        except OSError as error:
            raise _unusable(self.path, error) from error
        if self.link.exists() and not self.link.is_symlink():
            raise Failed(
                Code.ROOT_UNUSABLE,
                f"{self.link} is not a symlink; the agent would have to replace it",
                hint="move it away: the agent makes `current` itself",
            )

    def holder(self) -> dict[str, Any] | None:
        """Return the run that holds the lock: id, pid, action, revision, since; None where nobody does.

        Reads alone: taking the lock to look would make a deployment of this moment busy.
        """
        try:
            holder: dict[str, Any] = json.loads((self.own / "lock").read_text(encoding="utf-8"))
            return holder if processes.started(holder["pid"]) == holder["started"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def lock(self, holder: Request, *, wait: bool) -> Iterator[None]:
        """Hold the lock, flock(2): the kernel frees it when the process ends, however it ends.

        Raises Busy, or waits for it.
        """
        self.prepare()
        try:
            # Close-on-exec: a hook's daemon must not go on holding it.
            descriptor = os.open(self.own / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _unusable(self.own, error) from error
        try:
            self._acquire(descriptor, wait=wait)
            self._sign(descriptor, holder)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int, *, wait: bool) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise self._busy() from None
                self._clock.sleep(_LOCK_POLL)
            else:
                return

    @staticmethod
    def _sign(descriptor: int, holder: Request) -> None:
        pid = os.getpid()
        what = {"id": holder.id, "pid": pid, "started": processes.started(pid), "since": time.time()}
        what |= {"action": holder.action, "revision": holder.revision or holder.release}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(what).encode(), 0)

    def _busy(self) -> Busy:
        holder = self.holder() or {}
        if not holder:
            return Busy(Code.BUSY, "another run holds the lock", hint="try again when it is done")
        what = f"{holder['action']} {holder['revision']}".strip()
        age = max(0, int(time.time() - holder["since"]))
        return Busy(
            Code.BUSY,
            f"deployment {holder['id']} ({what}, pid {holder['pid']}) has been running for {age} s",
            hint="try again when it is done; `release-agent status` shows its phase",
        )

    def clean(self) -> None:
        """Remove what a killed run left; call it with the lock held and before anything is built."""
        for left in self.incoming.iterdir():
            _remove(left)
        names = {path.name for path in self._releases.iterdir()}
        for note in self._notes.iterdir():
            if note.name.removesuffix(".json") not in names:
                note.unlink()

    # Building

    def next_number(self) -> int:
        """Return a number higher than that of any release there is."""
        names = [path.name for path in self._releases.iterdir() if is_release_name(path.name)]
        return max(map(release_number, names), default=0) + 1

    def check_room(self, size: int, files: int) -> None:
        """Raise Failed (disk-full) unless ``size`` bytes and ``files`` files fit."""
        disk = os.statvfs(self.path)
        free = disk.f_bavail * disk.f_frsize
        if size + _ROOM_TO_SPARE > free:
            what = f"{_megabytes(size)}, and {_megabytes(free)} are free"
        elif disk.f_files and files > disk.f_favail:
            what = f"{files} files, and {disk.f_favail} inodes are free"
        else:
            return
        raise Failed(
            Code.DISK_FULL,
            f"the release needs {what} on {self.path}",
            hint="make room, or lower [app] keep and `release-agent prune`",
        )

    def free(self) -> int:
        """Return the bytes that are free where releases go."""
        place = self.path if self.path.exists() else self.path.parent
        disk = os.statvfs(place)
        return disk.f_bavail * disk.f_frsize

    def build(self, name: str, write: Callable[[Path], None]) -> Path:
        """Make ``incoming/NAME`` and let ``write`` fill it: the one door by which files get into a release."""
        directory = self.incoming / name
        with _disk(directory):
            directory.mkdir()
            write(directory)
        return directory

    def link_shared(self, directory: Path, shared: Shared) -> None:
        """Replace shared paths by links to ``<root>/shared``, which is seeded from the release first."""
        with _disk(directory):
            for path in shared.directories:
                self._link(directory, path, is_directory=True)
            for path in shared.files:
                self._link(directory, path, is_directory=False)

    def _link(self, directory: Path, path: str, *, is_directory: bool) -> None:
        place, target = directory / path, self.shared / path
        _refuse_foreign_parents(directory, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(target):
            self._seed(place, target, is_directory=is_directory)
        if target.exists() and target.is_dir() != is_directory:
            raise _shared_conflict(path, f"{target} is a {'file' if is_directory else 'directory'}")
        _remove(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        up = "/".join([".."] * (len(Path(path).parts) + 1))
        place.symlink_to(f"{up}/shared/{path}")

    def _seed(self, place: Path, target: Path, *, is_directory: bool) -> None:
        if os.path.lexists(place) and (place.is_symlink() or place.is_dir() != is_directory):
            raise _shared_conflict(target.name, f"the release ships something else as {target.name}")
        made = self.incoming / f"seed-{target.name}"
        _remove(made)
        if place.is_dir():
            shutil.copytree(place, made, symlinks=True)
        elif place.exists():
            shutil.copy2(place, made)
        elif is_directory:
            made.mkdir()
        else:
            raise Failed(
                Code.SHARED_MISSING,
                f"the shared file {target} does not exist and the release ships none",
                hint=f"create {target}, or take it out of [shared] files",
            )
        made.rename(target)

    def sync(self) -> None:
        """Make everything written to the root's own mount durable, syncfs(2): far cheaper than a sync a file."""
        import ctypes  # noqa: PLC0415 - only a build needs it

        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
                number = ctypes.get_errno()
                raise Failed(
                    Code.DISK_FULL if number in (errno.ENOSPC, errno.EDQUOT) else Code.BUILD_FAILED,
                    f"the release could not be made durable: {os.strerror(number)}",
                    hint="look at the disk",
                )
        finally:
            os.close(descriptor)

    def install(self, release: Release) -> None:
        """Move ``incoming/NAME`` to ``releases/NAME``; what it is has been written down before it exists there."""
        self.save(release)
        with _disk(self._releases):
            (self.incoming / release.name).rename(self._releases / release.name)
            _sync(self._releases)

    def discard(self, name: str) -> None:
        """Remove a release, whole or half built; never the one that is live."""
        if self._named() == name:
            message = f"{name} is live"
            raise AssertionError(message)
        _remove(self.incoming / name)
        whole = self._releases / name
        if whole.exists():
            # First out of releases/, where existing means complete.
            trash = self.incoming / f"trash-{name}"
            _remove(trash)
            whole.rename(trash)
            _remove(trash)
        self._note(name).unlink(missing_ok=True)

    # Publishing

    def publish(self, name: str) -> None:
        """Swap ``current`` by rename(2): at every instant it names a complete release."""
        # A name of its own: what a killed run left can never be in the way, nor be published.
        fresh = self.incoming / f"current-{os.getpid()}-{os.urandom(4).hex()}"
        try:
            fresh.symlink_to(f"releases/{name}")
            fresh.replace(self.link)
            _sync(self.path)
        except OSError as error:
            raise _unusable(self.link, error) from error

    def save(self, release: Release) -> None:
        """Write ``releases/NAME.json``, durable before this returns; state.db can be rebuilt from these."""
        note = self._note(release.name)
        fresh = self.incoming / f"note-{release.name}"
        what = asdict(release) | {"number": release.number}
        with _disk(note), fresh.open("w", encoding="utf-8") as file:
            json.dump(what, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        with _disk(note):
            fresh.replace(note)
            _sync(self._notes)

    # Looking

    def current(self) -> Release | None:
        """Return the release that is live, or None where nothing usable is."""
        name = self._named()
        return self.get(name) if name else None

    def get(self, name: str) -> Release | None:
        """Return a release that is whole and known, or None."""
        if not is_release_name(name) or not (self._releases / name).is_dir():
            return None
        try:
            what = json.loads(self._note(name).read_text(encoding="utf-8"))
            del what["number"]
            return Release(**what | {"state": State(what["state"]), "kind": Kind(what["kind"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def releases(self) -> list[Release]:
        """Return all releases that are whole and known, by number."""
        if not self._releases.is_dir():
            return []
        found = [self.get(path.name) for path in self._releases.iterdir()]
        return sorted((release for release in found if release), key=lambda release: release.number)

    def directory(self, name: str) -> Path:
        """Return where a release is."""
        return self._releases / name

    def read(self, name: str, path: str) -> str | None:
        """Return a regular file of a release, or None; a link is not followed."""
        try:
            descriptor = os.open(self._releases / name / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
            return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None

    # Pruning

    def prune(self, keep: int, protected: set[str], live_at: Callable[[float], str | None]) -> list[str]:
        """Remove healthy releases but the newest ``keep``, and failed ones but the newest; by number, never by time.

        What is protected, live, or used by a process stays.
        """
        releases = self.releases()
        healthy = [release.name for release in releases if release.state is State.HEALTHY]
        failed = [release.name for release in releases if release.state is State.FAILED]
        kept = {*healthy[-keep:], *failed[-1:], *protected, self._named()}
        surplus = [release.name for release in releases if release.name not in kept]
        if surplus:
            used = processes.releases_in_use(self._releases, live_at)
            surplus = [name for name in surplus if name not in used]
        for name in surplus:
            self.discard(name)
        return surplus

    def _named(self) -> str | None:
        try:
            target = self.link.readlink()
        except OSError:
            return None
        return target.name if target.parent.name == "releases" else None

    def _note(self, name: str) -> Path:
        return self._notes / f"{name}.json"


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    """Say what a failing disk means."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise Failed(
            Code.DISK_FULL if full else Code.BUILD_FAILED,
            f"could not write {error.filename or place}: {error.strerror}",
            hint="make room, or lower [app] keep" if full else "look at the directory and who owns it",
        ) from error


def _unusable(place: Path, error: OSError) -> Failed:
    return Failed(
        Code.ROOT_UNUSABLE,
        f"cannot use {error.filename or place}: {error.strerror}",
        hint="the agent's user must own [app] root, all of it on one mount; `release-agent doctor` looks",
    )


def _shared_conflict(path: str, why: str) -> Failed:
    return Failed(
        Code.SHARED_CONFLICT, f"the shared path {path} cannot be linked: {why}", hint="rename one of the two, or change [shared]"
    )


def _refuse_foreign_parents(directory: Path, path: str) -> None:
    """A release's own symlink on the way would lead the shared link out of the release."""
    for parent in [*Path(path).parents][-2::-1]:
        place = directory / parent
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise _shared_conflict(path, f"the release has {parent} as something other than a directory")


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, onerror=_make_removable)


def _make_removable(function: Callable[[str], object], path: str, error: Any) -> None:  # noqa: ANN401 - sys.exc_info()
    """Read-only directories, such as Go's module cache, come from build hooks."""
    if not isinstance(error[1], PermissionError):
        raise error[1]
    for place in (Path(path).parent, Path(path)):
        if not place.is_symlink():
            place.chmod(place.stat().st_mode | stat.S_IRWXU)
    if function in (os.open, os.scandir):
        shutil.rmtree(path)
    else:
        function(path)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
