"""Damage the files of a release at random, as programs and hooks may."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

_MODES = (0o000, 0o400, 0o600, 0o640, 0o664, 0o666, 0o700, 0o755, 0o777, 0o1755, 0o2755, 0o4755, 0o7777)
_NAMES = ("new", ".gitattributes", ".git", ".gitignore", "\udcff", "a\nb", "-r")
_USERS = (0, 65534)


class Vandal:
    """Damages a directory at random, by ``chance``. ``elsewhere``: a path outside the directory, on the same disk."""

    def __init__(self, directory: Path, elsewhere: Path, chance: Random) -> None:
        self.directory = directory
        self.elsewhere = elsewhere
        self.chance = chance
        self.turn = 0

    def rage(self, acts: int) -> str:
        """Do some random damage; returns a list of it."""
        return "\n".join(self._act() for _ in range(acts))

    def _act(self) -> str:
        self.turn += 1
        places = sorted(Path(place) / name for place, names, files in os.walk(self.directory) for name in (*names, *files))
        files = [path for path in places if stat.S_ISREG(path.lstat().st_mode)]
        directories = [self.directory, *(path for path in places if stat.S_ISDIR(path.lstat().st_mode))]
        fresh = self.chance.choice(directories) / self.chance.choice(_NAMES)
        kinds = [(_TO_FILES, files), (_TO_DIRECTORIES, directories), (_TO_ANY, places)]
        kinds += [] if os.path.lexists(fresh) else [(_NEW, [fresh])]
        acts, among = self.chance.choice([kind for kind in kinds if kind[1]])
        act, place = self.chance.choice(acts), self.chance.choice(among)
        act(place, self)
        return f"{act.__name__.strip('_')} {os.fsencode(place.relative_to(self.directory))!r}"


def _rewrite(place: Path, vandal: Vandal) -> None:
    place.write_bytes(vandal.chance.choice((b"", b"other\n", place.read_bytes() + b"\n", b"* text eol=crlf ident\n")))


def _change_with_its_size_and_time(place: Path, _: Vandal) -> None:
    there, content = place.stat(), place.read_bytes()
    place.write_bytes(bytes(255 - byte for byte in content[:9]) + content[9:])
    os.utime(place, ns=(there.st_atime_ns, there.st_mtime_ns))


def _change_line_endings(place: Path, vandal: Vandal) -> None:
    content = place.read_bytes().replace(b"\r\n", b"\n")
    place.write_bytes(vandal.chance.choice((content, content.replace(b"\n", b"\r\n"))))


def _chmod(place: Path, vandal: Vandal) -> None:
    place.chmod(vandal.chance.choice(_MODES))


def _chown(place: Path, vandal: Vandal) -> None:
    os.lchown(place, vandal.chance.choice(_USERS), vandal.chance.choice(_USERS))


def _link_from_elsewhere(place: Path, vandal: Vandal) -> None:
    os.link(place, vandal.elsewhere / f"linked-{vandal.turn}")


def _remove(place: Path, _: Vandal) -> None:
    if place.is_symlink() or not place.is_dir():
        place.unlink()
    else:
        shutil.rmtree(place)


def _move(place: Path, vandal: Vandal) -> None:
    names = (place.with_name(f"moved-{number}") for number in itertools.count())
    moved = next(name for name in names if not os.path.lexists(name))
    place.rename(moved)
    if vandal.chance.random() < 0.5:
        place.symlink_to(moved.name)


def _exchange(place: Path, vandal: Vandal) -> None:
    _remove(place, vandal)
    vandal.chance.choice(_NEW)(place, vandal)


def _make_a_pipe(place: Path, _: Vandal) -> None:
    os.mkfifo(place)


def _make_a_file(place: Path, _: Vandal) -> None:
    place.write_text("new\n")


def _make_attributes(place: Path, _: Vandal) -> None:
    place.write_text("* text eol=crlf ident working-tree-encoding=UTF-16\n")


def _make_an_empty_directory(place: Path, _: Vandal) -> None:
    place.mkdir()


def _make_a_link(place: Path, vandal: Vandal) -> None:
    place.symlink_to(vandal.chance.choice(("/etc", "..", ".", "nowhere", str(vandal.elsewhere), "app.py")))


def _make_a_locked_tree(place: Path, _: Vandal) -> None:
    (place / "a/b").mkdir(parents=True)
    (place / "a/b/file").write_text("x")
    (place / "a").chmod(0)


def _make_a_repository(place: Path, _: Vandal) -> None:
    inner = place if place.name == ".git" else place / ".git"
    for name in ("objects", "refs"):
        (inner / name).mkdir(parents=True)
    (inner / "HEAD").write_text("ref: refs/heads/main\n")
    (inner / "config").write_text("[core]\n\tbare = false\n\tfsmonitor = /bin/false\n")


_TO_FILES: list[Callable[[Path, Vandal], None]] = [
    _rewrite,
    _change_with_its_size_and_time,
    _change_line_endings,
    _chmod,
    _chown,
    _link_from_elsewhere,
]
_TO_DIRECTORIES: list[Callable[[Path, Vandal], None]] = [_chmod, _chown]
_TO_ANY: list[Callable[[Path, Vandal], None]] = [_remove, _move, _exchange]
_NEW: list[Callable[[Path, Vandal], None]] = [
    _make_a_pipe,
    _make_a_file,
    _make_attributes,
    _make_an_empty_directory,
    _make_a_link,
    _make_a_locked_tree,
    _make_a_repository,
]
