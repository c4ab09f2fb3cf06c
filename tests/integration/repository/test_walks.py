"""Walks along histories: after every step a directory equals a fresh checkout, whichever release it was made from."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from support.histories import EXECUTABLE, FILE, LINK, Follower, History, differences, orders, picture
from support.repositories import source_of
from support.vandals import Vandal

if TYPE_CHECKING:
    from pathlib import Path

    from support.histories import Tree

_ODD_NAMES = [
    b"new\nline", b"tab\t", b'"quoted"', b'in"side', b"back\\slash", b"\\", b"\xff\xfe", b"\xc3", b"-n", b"--", b" ", b" both ",
    b"*", b"?[a]", b":(glob)*", b"!x", b"#x", b"~", b"$HOME", b"Icon\r", b"\r", b"carriage\rreturn", b"n" * 255,
    "\u00e9".encode(), "e\u0301".encode(), "\u2028".encode(), b"README", b"readme", b"ReadMe", b"...", b".gitignore",
    b".gitmodules", b"CON", b"a:b", b".git-", b"\x01\x7f", b"cafe.bat",
]  # fmt: skip
_KINDS: dict[str, dict[bytes, tuple[str, bytes]]] = {
    "nothing": {},
    "file": {b"": (FILE, b"file\n")},
    "empty": {b"": (FILE, b"")},
    "executable": {b"": (EXECUTABLE, b"file\n")},
    "directory": {b"/a": (FILE, b"file\n"), b"/sub/b": (EXECUTABLE, b"")},
    "deep": {b"/a/b": (FILE, b"file\n"), b"/sub/b/c": (EXECUTABLE, b"")},
    "link": {b"": (LINK, b"app.py")},
    "link to a directory": {b"": (LINK, b"../tree")},
    "dangling": {b"": (LINK, b"no//where/")},
    "absolute": {b"": (LINK, b"/etc/passwd")},
}
_CONVERTED: dict[bytes, tuple[str, bytes]] = {
    b"a.bat": (FILE, b"a\nb\n"),
    b"conv/deep/b.bat": (EXECUTABLE, b"a\r\nb\n"),
    b"conv/c.id": (FILE, b"$Id$ $Id: old $\n"),
    b"conv/d.u16": (FILE, "ü\n".encode()),
    b"conv/e.auto": (FILE, b"a\nb\n"),
    b"conv/f.auto": (FILE, b"a\n\0b\n"),
    b"conv/g.sh": (FILE, b"a\r\nb\r\n"),
    b"conv/odd\n.bat": (FILE, b"a\n"),
    b"conv/Icon.bat\r": (FILE, b"a\n"),
}
_ATTRIBUTES = b"""\
*.bat text eol=crlf
*.bat? text eol=crlf
*.id ident
*.u16 working-tree-encoding=UTF-16LE
*.auto text=auto eol=crlf
*.sh text eol=lf
README filter=lfs diff=lfs merge=lfs -text
"""


def _pairs(turn: int) -> dict[bytes, tuple[str, bytes]]:
    """Each kind of file beside every other: what is the one in this turn is the other in the next."""
    found = {}
    for number, pair in enumerate(itertools.permutations(_KINDS, 2)):
        place = b"pairs/%d" % number
        found |= {place + path: entry for path, entry in _KINDS[pair[turn % 2]].items()}
    return found


def _named(turn: int) -> dict[bytes, tuple[str, bytes]]:
    """Files and directories of odd names; every second one changes with each turn, some go."""
    found: dict[bytes, tuple[str, bytes]] = {}
    for number, name in enumerate(_ODD_NAMES):
        content = b"%d\n" % (turn if number % 2 else 0)
        if (number + turn) % 7:
            found[name] = (FILE, content)
        if (number + turn) % 5:
            found[b"odd/" + name + b"/" + name] = (EXECUTABLE if turn % 2 else FILE, content)
        if name != b".gitmodules":  # git takes no link of this name
            found[b"links/" + name] = (LINK, name if number % 3 else b"%d" % turn)
    return found


def _tree(turn: int) -> dict[bytes, tuple[str, bytes]]:
    same = {b"tree/%d/file" % number: (FILE, b"%d\n" % number) for number in range(20)}
    return {
        **same,
        **{b"copy/" + path: entry for path, entry in same.items()},
        b"app.py": (FILE, b"print(%d)\n" % turn),
        b"huge": (FILE, b"%d" % (turn // 3) + bytes(range(256)) * (3 << 12)),
        b"/".join([b"deep"] * 15) + b"%d" % (turn % 3): (FILE, b"deep\n"),
        b"%s/renamed" % (b"before", b"after")[turn % 2]: (FILE, b"the same\n"),
        **_pairs(turn),
        **_named(turn),
        **_CONVERTED,
    }


def made_up() -> list[Tree]:
    """Return trees with everything that git can hold, one after the other."""
    attributes = {b".gitattributes": (FILE, _ATTRIBUTES)}
    below = {b"conv/.gitattributes": (FILE, b"*.id -ident\n*.bat -text\n*.auto eol=lf\n")}
    own = {b".gitattributes": (FILE, b"* text=auto eol=crlf\n")}
    other = {path: (mode, content + b"more\n") for path, (mode, content) in _CONVERTED.items()}
    return [
        _tree(0),
        _tree(1),
        _tree(2) | attributes,
        _tree(3) | attributes | other,
        _tree(4) | attributes,
        _tree(5) | attributes | below,
        _tree(6) | attributes | below | other,
        _tree(7) | own,
        _tree(8) | own | other,
        {},
        _tree(9) | {b".gitattributes": (LINK, b"app.py")},
        _tree(10) | {b".gitattributes": (LINK, b"app.py")} | other,
        _tree(11) | {b".gitattributes/file": (FILE, b"a directory\n")},
        _tree(12) | {b".gitattributes/file": (FILE, b"a directory\n")} | other,
        _tree(0),
    ]


@pytest.fixture(scope="module", params=["sha1", "sha256"])
def history(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> History:
    return History.of(tmp_path_factory.mktemp("history"), made_up(), f"--object-format={request.param}")


@pytest.fixture
def follower(history: History, tmp_path: Path) -> Follower:
    return Follower(history, source_of(tmp_path / "scratch", api=history.repository), tmp_path / "release")


@pytest.mark.parametrize("order", ["forwards", "backwards", "at random"])
def test_by_difference_every_step_is_a_fresh_checkout(follower: Follower, order: str) -> None:
    first, *others = orders(follower.history.commits, seed=11)[order]
    follower.start(first)
    assert differences(picture(follower.directory), follower.history.expected(first)) == []
    for commit in others:
        assert follower.go(commit) == []
    assert follower.ways["difference"] >= 5


@pytest.mark.parametrize("seed", range(6))
def test_after_any_damage_every_step_is_a_fresh_checkout(follower: Follower, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)  # noqa: S311 - to be had again
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    follower.start(chance.choice(follower.history.commits))
    vandal = Vandal(follower.directory, elsewhere, chance)
    for _ in range(5):
        done = vandal.rage(30)
        assert follower.go(chance.choice(follower.history.commits), restore=True) == [], done
