"""Random histories: a directory follows them in any order and any way, and always equals a checkout."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from release_agent.system.sharing import Sharing
from support.histories import EXECUTABLE, FILE, LINK, History, differences, picture
from support.repositories import source_of
from support.vandals import Vandal

if TYPE_CHECKING:
    from support.histories import Tree

# Few names and contents: they are to meet as file, link and directory, and to be what the attributes are about.
_NAMES = st.sampled_from([b"a", b"b", b"a\n", b"b\r", b'"', b"\xff", b"A", b"x a"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map(b"/".join)
_FILES = st.tuples(st.sampled_from([FILE, FILE, EXECUTABLE]), st.sampled_from([b"", b"a\n", b"a\r\nb\n", b"$Id$\n"]))
_LINKS = st.tuples(st.just(LINK), st.sampled_from([b"a", b"..", b"/etc", b"no/where"]))
_ATTRIBUTES = st.tuples(
    st.sampled_from([b".gitattributes", b".gitattributes", b"a/.gitattributes", b"b/.gitattributes"]),
    st.tuples(
        st.sampled_from([FILE, FILE, FILE, LINK]),
        st.sampled_from([b"* text eol=crlf\n", b"* ident\n", b"a eol=crlf\n", b"[attr]c eol=crlf\n*a c\n", b"* -text\n"]),
    ),
)
_CHANGES = st.lists(st.tuples(_PATHS, st.none() | _FILES | _FILES | _LINKS) | _ATTRIBUTES, min_size=1, max_size=6)


def trees(changes: list[list[tuple[bytes, tuple[str, bytes] | None]]]) -> list[Tree]:
    """Return the tree after each change: most files of one are in the next as well."""
    tree: dict[bytes, tuple[str, bytes]] = {}
    found: list[Tree] = []
    for change in changes:
        for path, entry in change:
            tree = {there: kept for there, kept in tree.items() if not _meet(there, path)}
            if entry:
                tree[path] = entry
        found.append(tree)
    return found


def _meet(one: bytes, other: bytes) -> bool:
    """Whether a path is the other, or one of them would be a directory of the other."""
    return (one + b"/").startswith(other + b"/") or (other + b"/").startswith(one + b"/")


class Following(RuleBasedStateMachine):
    """A directory that goes from commit to commit."""

    PART = ""

    @initialize(changes=st.lists(_CHANGES, min_size=2, max_size=5), algorithm=st.sampled_from(["sha1", "sha256"]))
    def begin(self, changes: list[list[tuple[bytes, tuple[str, bytes] | None]]], algorithm: str) -> None:
        """Write the first commit of a new history."""
        self.place = Path(tempfile.mkdtemp())
        self.history = History.of(self.place, trees(changes), f"--object-format={algorithm}")
        self.history.part = self.PART or "."
        self.source = source_of(self.place / "scratch", self.PART, api=self.history.repository)
        self.directory, self.damaged = self.place / "release", False
        self.directory.mkdir()
        self.at = self.history.commits[0]
        self.source.write({"api": self.at}, self.directory)

    @rule(turn=st.integers(0, 4))
    def by_difference(self, turn: int) -> None:
        """Go to another commit by the difference, if there is one."""
        assume(not self.damaged)
        new = self._commit(turn)
        difference = self.source.difference({"api": self.at}, {"api": "."}, {"api": new})
        if difference:
            difference.apply(self.directory)
            self.at = new

    @rule(turn=st.integers(0, 4))
    def restored(self, turn: int) -> None:
        """Go to another commit from whatever is there."""
        self.at, self.damaged = self._commit(turn), False
        self.source.restore({"api": self.at}, self.directory)

    @rule(turn=st.integers(0, 4), links=st.booleans())
    def shared(self, turn: int, links: bool) -> None:
        """Write another commit anew, with files of what is there."""
        new, old = self._commit(turn), self.directory
        self.directory = Path(tempfile.mkdtemp(dir=self.place)) / "release"
        self.directory.mkdir()
        self.source.share({"api": new}, old, self.directory, Sharing(links=links, clones_from=None))
        self.at, self.damaged = new, False

    @rule(seed=st.integers(0, 1 << 16), acts=st.integers(1, 6))
    def damage(self, seed: int, acts: int) -> None:
        """Let programs write into it."""
        self.damaged = True
        elsewhere = Path(tempfile.mkdtemp(dir=self.place))
        Vandal(self.directory, elsewhere, Random(seed)).rage(acts)  # noqa: S311 - to be had again

    @invariant()
    def it_is_a_checkout(self) -> None:
        """Compare it with what git itself checks out."""
        if hasattr(self, "at") and not self.damaged:
            assert differences(picture(self.directory), self.history.expected(self.at)) == []

    def teardown(self) -> None:
        """Remove it all."""
        if hasattr(self, "place"):
            shutil.rmtree(self.place)

    def _commit(self, turn: int) -> str:
        return self.history.commits[turn % len(self.history.commits)]


TestFollowing = Following.TestCase
# Shrinking takes minutes: to have a failure shrunk, leave `phases` out.
TestFollowing.settings = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=70,
    stateful_step_count=10,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


_ABOVE = st.tuples(
    st.sampled_from([b".gitattributes", b"p/.gitattributes", b"p/q/.gitattributes", b"p/q/a/.gitattributes"]),
    st.tuples(
        st.just(FILE),
        st.sampled_from(
            [
                b"* text eol=crlf\n",
                b"a ident\n* -text\n",
                b"p/q/a eol=crlf\n",
                b"/p/*/b ident\n/p/*/b -ident eol=crlf\n",
                b"**/a eol=crlf\np/** -text\n",
                b'"q/x a" eol=crlf\n/q/** ident\n',
                b"p/[!a-o]/**/b eol=crlf\np/q/ ident\n",
                b"** text=auto eol=crlf\na !text !eol\n",
            ]
        ),
    ),
)
_INSIDE = st.tuples(_PATHS, st.none() | _FILES | _FILES | _LINKS).map(lambda one: (b"p/q/" + one[0], one[1]))
_OUTSIDE = st.tuples(st.sampled_from([b"a", b"p/a", b"p/b"]), _FILES)
_MACRO = (b".gitattributes", (FILE, b"[attr]c eol=crlf\n/p/q/*a c\nq/* c\n"))
_AROUND = st.lists(_INSIDE | _INSIDE | _ABOVE | _OUTSIDE | st.just(_MACRO), min_size=1, max_size=6)


class FollowingAPart(Following):
    """A directory that goes from commit to commit with one directory of a repository."""

    PART = "p/q"

    @initialize(changes=st.lists(_AROUND, min_size=2, max_size=5), algorithm=st.sampled_from(["sha1", "sha256"]))
    def begin(self, changes: list[list[tuple[bytes, tuple[str, bytes] | None]]], algorithm: str) -> None:
        """Write the first commit of a new history, all of whose commits have the part."""
        Following.begin.__wrapped__(self, [[*change, (b"p/q/z", (FILE, b"there\n"))] for change in changes], algorithm)


TestFollowingAPart = FollowingAPart.TestCase
TestFollowingAPart.settings = TestFollowing.settings
