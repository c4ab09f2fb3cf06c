"""A release that programs and hooks wrote into gets back the files of its commits, exactly as a checkout makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.histories import FILE, History, differences, picture
from support.repositories import source_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.histories import Tree


class Restored:
    """A release of a single commit, to be damaged and restored."""

    def __init__(self, place: Path, tree: Tree) -> None:
        self.history = History(place, [tree])
        self.directory = place / "release"
        self.directory.mkdir()
        self.source = source_of(place / "scratch", api=self.history.repository)
        self.commits = {"api": self.history.commits[0]}
        self.source.write(self.commits, self.directory)

    def wrong(self) -> list[str]:
        """Restore it, and return what is not as in a fresh checkout."""
        self.source.restore(self.commits, self.directory)
        return differences(picture(self.directory), self.history.expected(self.commits["api"]))


@pytest.fixture
def make(tmp_path: Path) -> Callable[[Tree], Restored]:
    return lambda tree: Restored(tmp_path, tree)


@pytest.mark.parametrize("name", [b"Icon\r", b"\r", b"sub/a\rb\r", b'"Icon"\r', b"line\nbreak"])
def test_a_file_of_an_odd_name_is_found_as_it_is(make: Callable[[Tree], Restored], name: bytes) -> None:
    release = make({name: (FILE, b"x"), b"app.py": (FILE, b"x")})

    assert release.wrong() == []


ATTRIBUTES = b"*.bat eol=crlf\n*.id ident\n*.u16 working-tree-encoding=UTF-16LE\n* text=auto\n"


def test_a_converted_file_that_a_program_gave_its_committed_content_is_converted_again(make: Callable[[Tree], Restored]) -> None:
    committed = {b"a.bat": b"a\n", b"sub/b.id": b"$Id$\n", b"c.u16": b"c\n", b"plain": b"d\n"}
    release = make({b".gitattributes": (FILE, ATTRIBUTES)} | {path: (FILE, content) for path, content in committed.items()})
    inode = (release.directory / "plain").stat().st_ino
    for path, content in committed.items():
        (release.directory / path.decode()).write_bytes(content)

    assert release.wrong() == []
    assert (release.directory / "plain").stat().st_ino == inode, "what is not converted is not written again"
