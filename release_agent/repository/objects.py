"""Read git's objects and check each against its id.

git does not do that: it silently checks out a loose object that somebody replaced in the
store under the same id. This module proves everything that it returns by its hash,
from the id of a commit on.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.repository.process import LARGEST_LIST, GitFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    # Streams the output of `git cat-file --batch` for ids into a function, until the function returns True.
    Cat = Callable[[Iterable[str], Callable[[bytes], bool]], None]

DIRECTORY, GITLINK, SYMLINK = "40000", "160000", "120000"
_ALGORITHMS = {40: "sha1", 64: "sha256"}
_USUAL = frozenset((b"100644", b"100755", b"40000"))
_FILE = re.compile(b"100[0-7]{3}")
_LONGEST_HEADER = 200
_MOST_FILES = 5_000_000


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A file of a commit: its mode as git writes it, the id of its object, its path."""

    mode: str
    object_id: str
    path: str


def hasher(object_id: str, kind: str, size: int) -> hashlib._Hash:
    """Start the hash of an object, in the algorithm of an id; the caller adds its content."""
    made = hashlib.new(_ALGORITHMS[len(object_id)], usedforsecurity=False)
    made.update(f"{kind} {size}\0".encode())
    return made


def check(cat: Cat, object_ids: Iterable[str]) -> None:
    """Raise GitFailedError unless every object exists and its content has its id; memory does not grow with their size."""
    wanted = list(dict.fromkeys(object_ids))
    if wanted:
        batch = _Batch(wanted)
        cat(wanted, batch.feed)


def contents(cat: Cat, object_ids: Iterable[str]) -> dict[str, tuple[str, bytes]]:
    """Return kind and content of objects by id, each checked against its id; raises GitFailedError."""
    wanted = list(dict.fromkeys(object_ids))
    batch = _Batch(wanted, keep=True)
    if wanted:
        cat(wanted, batch.feed)
    return batch.kept


def entry_of(cat: Cat, tree: str, name: str) -> TreeEntry | None:
    """Return the entry of a name in a tree, proved from the tree's id on; None if there is none."""
    entries = _entries(contents(cat, [tree])[tree][1], len(tree) // 2)
    return next((TreeEntry(mode, entry_id, name) for mode, found, entry_id in entries if found == name), None)


def in_directory(cat: Cat, tree: str, directory: str) -> list[TreeEntry]:
    """Return the entries of a directory below a tree, proved from the tree's id on; none without such a directory."""
    for wanted in filter(None, directory.split("/")):
        below = entry_of(cat, tree, wanted)
        if below is None or below.mode != DIRECTORY:
            return []
        tree = below.object_id
    return [TreeEntry(mode, entry_id, name) for mode, name, entry_id in _entries(contents(cat, [tree])[tree][1], len(tree) // 2)]


def files(cat: Cat, tree: str) -> list[TreeEntry]:
    """Return every file of a tree and those below, symlinks and submodules included, proved from the tree's id on."""
    level = [("", tree)]
    found: list[TreeEntry] = []
    while level:
        trees = contents(cat, [object_id for _, object_id in level])
        below: list[tuple[str, str]] = []
        for prefix, object_id in level:
            for mode, name, entry_id in _entries(trees[object_id][1], len(object_id) // 2):
                if mode == DIRECTORY:
                    below.append((f"{prefix}{name}/", entry_id))
                else:
                    found.append(TreeEntry(mode, entry_id, prefix + name))
            if len(found) + len(below) > _MOST_FILES:
                message = f"tree {tree} has more than {_MOST_FILES} files"
                raise GitFailedError(message)
        level = below
    return found


def root_tree(cat: Cat, commit: str) -> str:
    """Return the id of a commit's tree; raises GitFailedError."""
    kind, content = contents(cat, [commit])[commit]
    if kind != "commit":
        message = f"object {commit} is a {kind}"
        raise GitFailedError(message)
    return content.partition(b"\n")[0].removeprefix(b"tree ").decode("ascii", "replace")


def _entries(tree: bytes, id_bytes: int) -> Iterable[tuple[str, str, str]]:
    place, names = 0, set[str]()
    while place < len(tree):
        start, end = place, tree.find(b"\0", place)
        place = end + 1 + id_bytes
        if end < 0 or place > len(tree):
            raise damaged()
        mode, name = head_of_entry(tree[start:end])
        if name in names:
            raise damaged()
        names.add(name)
        yield mode, name, tree[end + 1 : place].hex()


def head_of_entry(head: bytes) -> tuple[str, str]:
    """Return mode and name of an entry; raises GitFailedError for a name that would lead out of its directory.

    git checks only the names of files; an empty directory can have any name.
    """
    mode, _, name = head.partition(b" ")
    # Old programs wrote directories as 040000, and files with modes such as 100664, which git reads as one of these two.
    kind = mode.lstrip(b"0")
    if kind not in _USUAL and _FILE.fullmatch(kind):
        kind = b"100755" if int(kind, 8) & stat.S_IXUSR else b"100644"
    if not kind.isdigit() or name in (b"", b".", b"..") or b"/" in name:
        raise damaged()
    return kind.decode("ascii"), os.fsdecode(name)


def damaged() -> GitFailedError:
    """Make the error for a tree that is not a list of files."""
    return GitFailedError("a directory of the commit is damaged: it is not a list of files")


@dataclass(frozen=True)
class ObjectHead:
    """Git's description of an object: its id, its kind, and its size in bytes."""

    object_id: str
    kind: str
    size: int


class Listing:
    """Takes the output of ``git cat-file --batch-check`` in pieces: a line for each requested name."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._text = bytearray()

    def feed(self, data: bytes) -> bool:
        """Take the next piece; returns whether every line has come. Raises GitFailedError for more output than that."""
        self._text += data
        if len(self._text) > self._wanted * _LONGEST_HEADER:
            raise GitFailedError(_unexpected(bytes(self._text)))
        return self._text.count(b"\n") >= self._wanted

    def heads(self) -> list[ObjectHead | None]:
        """Return the parsed lines, None for a missing object; raises GitFailedError."""
        return [_head(line) for line in self._text.decode("utf-8", "replace").splitlines()]


def _head(line: str) -> ObjectHead | None:
    words = line.split(" ")
    if words[1:] == ["missing"]:
        return None
    if len(words) != len(("id", "kind", "size")) or not words[2].isdecimal():
        raise GitFailedError(_unexpected(line.encode()))
    return ObjectHead(words[0], words[1], int(words[2]))


class _Batch:
    """Takes the output of ``git cat-file --batch`` in pieces: header, content, line break, for each requested object."""

    def __init__(self, wanted: list[str], *, keep: bool = False) -> None:
        self.kept: dict[str, tuple[str, bytes]] = {}
        self._wanted = wanted
        self._keep = keep
        self._next = 0
        self._header = b""
        self._left = 0  # bytes of content, and of its line break, that are still to come
        self._kind = ""
        self._hash = hashlib.sha1(usedforsecurity=False)
        self._content: list[bytes] = []

    def feed(self, data: bytes) -> bool:
        """Take the next piece; returns whether every object has come completely.

        Raises GitFailedError for an object that is missing or has other content.
        """
        view = memoryview(data)
        while view:
            view = self._take_content(view) if self._left else self._take_header(view)
        return self._next == len(self._wanted)

    def _take_header(self, view: memoryview) -> memoryview:
        data = bytes(view[:_LONGEST_HEADER])
        line, found, _ = data.partition(b"\n")
        self._header += line
        if not found:
            if len(self._header) > _LONGEST_HEADER:
                raise GitFailedError(_unexpected(self._header))
            return view[len(data) :]
        words, self._header = self._header.decode("utf-8", "replace").split(" "), b""
        wanted = self._wanted[self._next] if self._next < len(self._wanted) else ""
        if words[1:] == ["missing"]:
            message = f"object {wanted} is missing"
            raise GitFailedError(message)
        if len(words) != len(("id", "kind", "size")) or words[0] != wanted or not words[2].isdecimal():
            raise GitFailedError(_unexpected(" ".join(words).encode()))
        self._kind, size = words[1], int(words[2])
        if self._keep and size > LARGEST_LIST:
            message = f"object {wanted} ({self._kind}) is larger than {LARGEST_LIST} bytes"
            raise GitFailedError(message)
        self._hash, self._content = hasher(wanted, self._kind, size), []
        self._left = size + 1
        return view[len(line) + 1 :]

    def _take_content(self, view: memoryview) -> memoryview:
        piece = view[: self._left]
        self._left -= len(piece)
        content = piece if self._left else piece[:-1]  # without the line break
        self._hash.update(content)
        if self._keep:
            self._content.append(bytes(content))
        if not self._left:
            self._complete()
        return view[len(piece) :]

    def _complete(self) -> None:
        object_id = self._wanted[self._next]
        if self._hash.hexdigest() != object_id:
            message = f"the content of object {object_id} ({self._kind}) does not have this id: it was damaged or replaced"
            raise GitFailedError(message)
        if self._keep:
            self.kept[object_id] = (self._kind, b"".join(self._content))
        self._next += 1


def _unexpected(header: bytes) -> str:
    return f"git cat-file printed {header[:_LONGEST_HEADER]!r}"
