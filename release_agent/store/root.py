"""The root directory: releases, ``current``, ``shared``, the lock.

A run may be killed at any instant. It makes a release in ``incoming/``, and one rename(2)
moves the complete release. The next run removes all leftovers in ``incoming/``.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from release_agent.config import programs
from release_agent.config.readers import joined
from release_agent.errors import Code, Failed, Refused
from release_agent.model import State, is_release_name, release_number, unknown_release
from release_agent.store.cache import HookCache
from release_agent.store.links import CurrentLink
from release_agent.store.lock import Lock
from release_agent.store.notes import ReleaseNotes
from release_agent.store.owner import claim, require_not_anothers
from release_agent.store.parked import ParkedRelease
from release_agent.store.places import make_directory, make_link, require_file, require_link, take_back
from release_agent.store.shared import SharedLinks
from release_agent.system import inspection
from release_agent.system.disk import (
    check_space,
    entered,
    explained,
    free_bytes,
    read_regular,
    regular_files,
    remove,
    require_directory,
    require_nothing_mounted,
    sync_directory,
    sync_mount,
    sync_paths,
    told,
    unusable,
)
from release_agent.system.sharing import can_clone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from release_agent.config.sections import Shared
    from release_agent.model import Release, Request
    from release_agent.system.clock import Clock


_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
_LONGEST_FILE = 16 << 20  # bytes of a release.toml
_SHARED = "../shared"
_FEW = 64  # files; an fsync costs 1 to 2 ms per file on ext4, a syncfs beside a busy writer some hundred


class Root:
    """The root directory of one application, with its releases and the agent's own files."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.shared = path / "shared"
        self.own = path / ".release-agent"
        self.database = self.own / "state.db"
        self.incoming = self.own / "incoming"
        self.output = self.own / "output"
        self._releases = path / "releases"
        self._current = CurrentLink(path / "current", self.own / "back", self.incoming)
        self.link = self._current.path
        self._notes = ReleaseNotes(self.own / "releases", self.incoming)
        self._parked = ParkedRelease(self.own / "parked", self.incoming)
        self.cache = HookCache(self.own / "cache", self.incoming, clock)
        self._private = (self._parked.directory, self.cache.directory)
        self._own_directories = (self._releases, self.own, self._notes.directory, self.incoming, *self._private)
        self._lock_file = self.own / "lock"
        self._lock = Lock(self._lock_file, clock)
        self._made: tuple[int, int] | None = None

    # Preparing

    def prepare(self) -> None:
        """Make the directories; raises Failed (root-unusable)."""
        try:
            for directory in (self.path, self.shared):  # these two may be links that a person has made
                directory.mkdir(exist_ok=True)
            for directory in self._own_directories:
                make_directory(directory, stat.S_IRWXU if directory in self._private else 0o777)
            # Relative shared links must be right in releases/NAME and in incoming/NAME, which is one level deeper.
            make_link(self.own / "shared", _SHARED)
        except OSError as error:
            raise unusable(self.path, error) from error
        self._current.require_link()

    def claim(self, app: str) -> None:
        """Mark the root as this app's; raises Failed (root-unusable) if it is another app's. The caller holds the lock."""
        claim(self.own / "app", app, self.incoming)

    def require_not_anothers(self, app: str) -> None:
        """Raise Failed (root-unusable) if it is known to be another app's root."""
        require_not_anothers(self.own / "app", app)

    def _require_own(self) -> None:
        """Raise OSError if one of the agent's directories is a link or a file; never follow it."""
        for directory in self._own_directories:
            require_directory(directory)

    def holder(self) -> dict[str, Any] | None:
        """Return the run that holds the lock, or None."""
        return self._lock.holder()

    @contextmanager
    def lock(self, holder: Request, *, wait: bool) -> Iterator[None]:
        """Hold the root's lock; if another run has it, wait (``wait``) or raise Busy."""
        self.prepare()
        with self._lock.held(holder, wait=wait):
            yield

    def describe(self, revision: str) -> None:
        """Write the revision of the run into the lock, for its readers."""
        self._lock.describe(revision)

    def clean(self) -> dict[str, str]:
        """Remove the leftovers of a killed run. The caller holds the lock and has not built a release yet.

        Returns the harmless leftovers that could not be removed: the reason by name. Raises Failed (root-unusable).
        """
        try:
            names = {path.name for path in self._releases.iterdir()}
            remains = [*self.incoming.iterdir(), *self._notes.without_release(names), *self._parked.remains()]
        except OSError as error:
            raise unusable(self.path, error) from error
        stuck = {}
        for left in remains:
            try:
                remove(left)
            except OSError as error:
                stuck[left.name] = f"{error.filename}: {error.strerror}"
        return stuck

    # Building

    def next_number(self) -> int:
        """Return a number higher than those of all releases, also of leftovers that could not be removed."""
        places = [place for place in (self._releases, self.incoming) if place.is_dir()]
        names = [path.name for place in places for path in place.iterdir() if is_release_name(path.name)]
        return max(map(release_number, names), default=0) + 1

    def check_room(self, size: int, files: int) -> None:
        """Raise Failed (disk-full) unless ``size`` bytes and ``files`` files fit, or make_room() can remove something.

        Raises Failed (root-unusable) as check_own() does.
        """
        self.check_own()
        if not self.parked() and self.cache.is_empty():
            check_space(self.path, size, files)

    def make_room(self, size: int, files: int) -> None:
        """Remove the parked release, then cached outputs, until ``size`` bytes and ``files`` files fit.

        Raises Failed (disk-full, root-unusable).
        """
        for give_up in (self.remove_parked, self._empty_cache):
            if self.fits(size, files):
                return
            give_up()
        check_space(self.path, size, files)

    def fits(self, size: int, files: int) -> bool:
        """Return whether ``size`` bytes and ``files`` files fit."""
        try:
            check_space(self.path, size, files)
        except Failed:
            return False
        return True

    def _empty_cache(self) -> None:
        with removing():
            self.cache.prune(0)

    def can_clone(self) -> bool:
        """Return whether releases can share files by clones."""
        return can_clone(self.path)

    def free(self) -> int:
        """Return the free bytes on the disk of the releases."""
        return free_bytes(self.path)

    def build(self, name: str, write: Callable[[Path], None]) -> Path:
        """Make ``incoming/NAME`` and let ``write`` fill it; no other method writes files of a release."""
        directory = self.incoming / name
        with explained(directory):
            directory.mkdir()
            self._made = _identity(directory)
            write(directory)
        return directory

    def parked(self) -> Release | None:
        """Return the parked release, whose files the next one may take; raises Failed (root-unusable)."""
        with entered(self.own):
            return self._parked.get()

    def take_parked(self, name: str) -> Path | None:
        """Move the parked release's files to ``incoming/NAME``; returns None if there is none, or a process uses it.

        Raises Failed (build-failed, disk-full).
        """
        release, directory = self._parked.get(), self.incoming / name
        if release is None or inspection.uses(self._parked.place(release)):
            return None
        with explained(directory):
            self._parked.give(release, directory)
            self._made = _identity(directory)
        return directory

    def remove_parked(self) -> str | None:
        """Remove the parked release; returns its name, None if there was none. Raises Failed (root-unusable)."""
        release = self._parked.get()
        if release is None:
            return None
        with removing():
            self._parked.give(release, self.incoming / release.name)
            remove(self.incoming / release.name)
        return release.name

    def check_built(self, name: str) -> None:
        """Raise Failed (build-failed) if a hook removed or replaced the directory that build() made."""
        directory = self.incoming / name
        try:
            self._require_own()
            replaced = _identity(directory) != self._made
        except OSError as error:
            raise _replaced(Path(error.filename)) from error
        if replaced:
            raise _replaced(directory)

    def link_shared(self, directory: Path, shared: Shared) -> bool:
        """Fill ``<root>/shared`` from the release, and replace its shared paths by links; returns whether it filled any."""
        return SharedLinks(self.shared, self.incoming).link(directory, shared)

    def sync(self, directory: Path, written: Sequence[str] | None = None) -> None:
        """Make a built release and the link to it durable; ``written``: its paths that are not durable yet, None if unknown.

        syncfs(2) also waits for the writes of other programs to the mount, such as a database; a few files cost less.
        """
        self._current.prepare(directory.name)
        if written is None or len(written) > _FEW:
            sync_mount(self.path)
            return
        with explained(directory):
            sync_paths(directory, written)
            sync_directory(self.incoming)

    def install(self, release: Release) -> None:
        """Write the note of a release, then move ``incoming/NAME`` to ``releases/NAME``: no release exists without a note."""
        self.save(release)
        with explained(self._releases):
            (self.incoming / release.name).rename(self._releases / release.name)
            sync_directory(self._releases)

    def discard(self, name: str) -> None:
        """Remove a release, complete or not, never the live one; raises Failed (root-unusable)."""
        with removing():
            self._discard(name)

    def _discard(self, name: str) -> None:
        if self._current.name() == name:
            message = f"{name} is live"
            raise AssertionError(message)
        self._require_own()
        self._current.forget()
        remove(self.incoming / name)
        whole = self._releases / name
        if whole.exists():
            # Move it out of releases/ first, where every existing release is complete.
            trash = self.incoming / f"trash-{name}-{os.urandom(4).hex()}"
            try:
                whole.rename(trash)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                # The release came with the container's image: overlayfs cannot move a directory of a lower layer.
                trash = whole  # without its note it is not a release any more
            self._notes.remove(name)
            remove(trash)
        self._notes.remove(name)

    # Publishing

    def publish(self, name: str) -> None:
        """Swap ``current`` by rename(2), so that it always names a complete release."""
        self._current.publish(self._releases / name)

    def prepare_return(self, name: str) -> None:
        """Prepare the link to a release, so that publishing it again takes only one rename(2), without an inode or a block.

        Raises Failed (disk-full, root-unusable).
        """
        self._current.prepare_return(name)

    def save(self, release: Release) -> None:
        """Write the note of a release, durable before this returns; state.db can be rebuilt from these notes."""
        self._notes.save(release)

    # Looking

    def directories(self) -> list[Path]:
        """Return all directories that the agent moves releases and notes between; some may not exist yet."""
        return [self.path, *self._own_directories]

    def check_own(self) -> None:
        """Raise Failed (root-unusable) if one of the agent's paths is something else; accept a missing one."""
        try:
            for place in filter(os.path.lexists, self._own_directories):
                require_directory(place)
            for place in filter(os.path.lexists, (self._lock_file, self.own / "app")):
                require_file(place)
            if os.path.lexists(self.own / "shared"):
                require_link(self.own / "shared", _SHARED)
        except OSError as error:
            raise unusable(self.path, error) from error

    def take_back(self) -> None:
        """Restore the agent's access to the root and its own directories, best effort; a hook may have removed it."""
        for place in (self.path.resolve(), *self._own_directories):
            with suppress(OSError):
                take_back(place)

    def made(self) -> list[Path]:
        """Return the paths that the agent makes and must own: its directories and files, every release and its note."""
        places = [self._releases, self.own, self.database, self.incoming, self._lock_file, self._notes.directory]
        more = [self.own / name for name in ("app", "back", "shared", f"{self.database.name}-journal")]
        private = [*self._private, *(path for there in self._private if os.access(there, os.R_OK) for path in there.glob("*"))]
        all_places = (*places, *more, *private, *self._releases.glob("*"), *self._notes.places())
        return [place for place in all_places if os.path.lexists(place)]

    def current(self) -> Release | None:
        """Return the live release, or None if ``current`` names no complete release; raises Failed (root-unusable)."""
        name = self._published()
        return self.get(name) if name else None

    def unnoted(self) -> Release | None:
        """Return the complete release that ``current`` names, even if its note is unreadable."""
        name = self._published()
        return unknown_release(name) if name and self._is_whole(name) else None

    def _published(self) -> str | None:
        with entered(self.path):
            return self._current.name() if self._current.path.is_symlink() else None

    def get(self, name: str) -> Release | None:
        """Return a release, or None if it is not complete or its note cannot be read; raises Failed (root-unusable)."""
        return self._notes.get(name) if self._is_whole(name) else None

    def _is_whole(self, name: str) -> bool:
        with entered(self._releases):
            return is_release_name(name) and (self._releases / name).is_dir()

    def releases(self) -> list[Release]:
        """Return all complete releases with a readable note, by number; raises Failed (root-unusable)."""
        with entered(self._releases):
            names = [path.name for path in self._releases.iterdir()] if self._releases.is_dir() else []
        found = map(self.get, names)
        return sorted((release for release in found if release), key=lambda release: release.number)

    def directory(self, name: str) -> Path:
        """Return the directory of a release."""
        return self._releases / name

    def read(self, name: str, path: str) -> str | None:
        """Return the text of a release's ``release.toml``, or None if a link, a directory or nothing has its name.

        Older agents ignored such a link, and their releases must start; a new release with one is refused.
        Raises Refused (release-toml-invalid) for an unreadable file: a release without services would count as healthy.
        """
        file = self._releases / name / path
        try:
            return read_regular(file, _LONGEST_FILE, follow=False).decode("utf-8", errors="surrogateescape")
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            message = f"cannot read {file}: {error.strerror}"
            raise Refused(
                Code.RELEASE_TOML_INVALID, message, hint="deploy again with --force, or roll back to another release"
            ) from error

    def programs(self, name: str, place: str, pattern: str) -> dict[str, str]:
        """Return the texts of a release's programs by their path below ``place`` in the release; never follow a link.

        ``pattern``: a path with a shell pattern in its last name. Raises Refused (release-toml-invalid) for an unreadable file.
        """
        directory, _, wanted = pattern.rpartition("/")
        try:
            found = regular_files(
                self._releases / name, joined(place, directory or "."), wanted, programs.LARGEST, programs.MOST_FILES
            )
        except OSError as error:
            message = f"cannot read {self._releases / name / joined(place, pattern)}: {told(error)}"
            raise Refused(
                Code.RELEASE_TOML_INVALID, message, hint="deploy again with --force, or roll back to another release"
            ) from error
        texts = {file: held.decode("utf-8", errors="surrogateescape") for file, held in found.items()}
        return {joined(directory or ".", file): text for file, text in texts.items()}

    def sharers(self, name: str, path: str) -> list[str]:
        """Return the other releases in which a path is the same file as in the named release, by hard link."""
        file = self._releases / name / path
        with suppress(OSError):
            if stat.S_ISREG(file.lstat().st_mode) and file.lstat().st_nlink > 1:
                others = [each.name for each in self.releases() if each.name != name]
                return [other for other in others if _is_same(file, self._releases / other / path)]
        return []

    # Pruning

    def surplus(
        self, keep: int, protected: set[str], live_at: Callable[[float], str | None], serving: Iterable[int] = ()
    ) -> list[str]:
        """Return all healthy releases except the newest ``keep``, and all failed and staged ones except the newest, by number.

        Releases that a person protects stay, and do not count towards ``keep``. The live release, those named ``protected``, and
        those that a process uses also stay. The processes in ``serving`` (pids) use the release that was live when they
        started.
        """
        names = _surplus(self.releases(), keep, {*protected, self._current.name()})
        used = self.used(live_at, serving) if names else set()
        return [name for name in names if name not in used]

    def used(self, live_at: Callable[[float], str | None], serving: Iterable[int] = ()) -> set[str]:
        """Return the releases that processes use; ``serving``: as for surplus()."""
        return inspection.releases_in_use(self._releases, live_at, serving)

    def park(self, name: str, restore: Callable[[Path], None]) -> None:
        """Move a release out of the releases and park it; ``restore`` gives it the files of its commits.

        Removes the release if parking fails, unless something is mounted in it. Raises Failed, Refused, OSError.
        """
        release, place = self.get(name), self.incoming / name
        if release is None:
            return
        require_nothing_mounted(self._releases / name)
        (self._releases / name).rename(place)
        self._notes.remove(name)
        try:
            # Check twice: a program that ends in between may have written to files that restore() had already seen.
            _require_unused(place)
            restore(place)
            sync_mount(self.path)
            _require_unused(place)
            self._parked.adopt(release, place)
        except BaseException:
            remove(place)
            raise


@contextmanager
def removing() -> Iterator[None]:
    """Raise Failed (root-unusable) if the removal fails."""
    try:
        yield
    except OSError as error:
        raise Failed(
            Code.ROOT_UNUSABLE,
            f"cannot remove {error.filename}: {error.strerror}",
            hint="find the mount or the immutable file in it (`lsattr -R`), and remove that by hand",
        ) from error


def _require_unused(directory: Path) -> None:
    if inspection.uses(directory):
        message = f"a process works in {directory.name}, or has one of its files open"
        raise Failed(Code.BUILD_FAILED, message, hint="let services work in <root>/current, and restart them with each release")


def _is_same(file: Path, other: Path) -> bool:
    try:
        return _identity(file) == _identity(other)
    except OSError:
        return False


def _identity(directory: Path) -> tuple[int, int]:
    found = directory.lstat()
    return found.st_dev, found.st_ino


def _replaced(directory: Path) -> Failed:
    return Failed(
        Code.BUILD_FAILED,
        f"a build hook removed or replaced {directory}",
        hint="let build hooks change only files inside their working directory",
    )


def _surplus(releases: Sequence[Release], keep: int, protected: set[str | None]) -> list[str]:
    """Return the releases beyond ``keep``: see Root.surplus()."""
    healthy = [release.name for release in releases if release.state is State.HEALTHY and not release.protected]
    failed = [release.name for release in releases if release.state is State.FAILED]
    staged = [release.name for release in releases if release.state is State.STAGED]
    lasting = [release.name for release in releases if release.protected]
    kept = {*healthy[-keep:], *failed[-1:], *staged[-1:], *lasting, *protected}
    return [release.name for release in releases if release.name not in kept]
