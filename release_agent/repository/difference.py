"""Find the difference between two trees, proved from their ids on; only directories that differ are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.repository.objects import DIRECTORY, TreeEntry, contents, damaged, head_of_entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.repository.objects import Cat

# Whole entries of a tree: most entries of two versions are equal, and need no parsing.
_ENTRY = {20: re.compile(rb"\d+ [^\0]+\0.{20}", re.DOTALL), 32: re.compile(rb"\d+ [^\0]+\0.{32}", re.DOTALL)}

_Entries = dict[str, tuple[str, str]]  # mode and object id by name


@dataclass(frozen=True)
class TreeDifference:
    """The removed paths and the new files between two trees; a changed file is in both.

    ``gone``: relative paths, of files or whole directories.
    """

    gone: Sequence[str]
    come: Sequence[TreeEntry]

    def names(self) -> set[str]:
        """Return the names, without directories, of all files in the difference."""
        return {path.rpartition("/")[2] for path in (*self.gone, *(entry.path for entry in self.come))}


def difference(cat: Cat, old: str, new: str) -> TreeDifference:
    """Return the difference between the files of two trees, which are named by their ids; raises GitFailedError."""
    gone: list[str] = []
    come: list[TreeEntry] = []
    level = [("", old, new)]
    while level := [pair for pair in level if pair[1] != pair[2]]:
        trees = contents(cat, [tree for _, *both in level for tree in both if tree])
        below: list[tuple[str, str, str]] = []
        for prefix, before, after in level:
            was, now = _differing(trees[before][1] if before else b"", trees[after][1], len(after) // 2)
            for name in was.keys() | now.keys():
                (old_mode, old_id), (new_mode, new_id) = was.get(name, ("", "")), now.get(name, ("", ""))
                if new_mode == DIRECTORY:
                    below.append((f"{prefix}{name}/", old_id if old_mode == DIRECTORY else "", new_id))
                if old_mode and (old_mode, new_mode) != (DIRECTORY, DIRECTORY):
                    gone.append(prefix + name)
                if new_mode and new_mode != DIRECTORY:
                    come.append(TreeEntry(new_mode, new_id, prefix + name))
        level = below
    return TreeDifference(gone, come)


def _differing(before: bytes, after: bytes, id_bytes: int) -> tuple[_Entries, _Entries]:
    """Return the entries that only one of two trees has."""
    was, now = _whole_entries(before, id_bytes), _whole_entries(after, id_bytes)
    return _by_name(was - now, was, before), _by_name(now - was, now, after)


def _whole_entries(tree: bytes, id_bytes: int) -> set[bytes]:
    found = _ENTRY[id_bytes].findall(tree)
    if sum(map(len, found)) != len(tree):
        raise damaged()
    return set(found)


def _by_name(entries: set[bytes], among: set[bytes], tree: bytes) -> _Entries:
    """Read some entries of a tree; raises GitFailedError if the tree has one of their names twice."""
    found: _Entries = {}
    for entry in entries:
        head, _, object_id = entry.partition(b"\0")
        mode, name = head_of_entry(head)
        # Counting is cheap, and never too low: ids and longer names may hold the same bytes.
        if tree.count(head[head.index(b" ") :] + b"\0") > 1 and _is_twice(name, among):
            raise damaged()
        found[name] = mode, object_id.hex()
    return found


def _is_twice(name: str, entries: set[bytes]) -> bool:
    return sum(head_of_entry(entry.partition(b"\0")[0])[1] == name for entry in entries) > 1
