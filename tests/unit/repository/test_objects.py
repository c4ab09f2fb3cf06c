"""Objects in the form that git prints, without a git."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from release_agent.repository import objects
from release_agent.repository.process import LARGEST_LIST, GitFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Store:
    """Objects by id, printed as ``git cat-file --batch`` does."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[str, bytes]] = {}

    def add(self, kind: str, content: bytes) -> str:
        made = hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
        self.objects[made] = kind, content
        return made

    def cat(self, wanted: Iterable[str], feed: Callable[[bytes], bool]) -> None:
        for object_id in wanted:
            kind, content = self.objects[object_id]
            feed(f"{object_id} {kind} {len(content)}\n".encode() + content + b"\n")


def test_a_directory_in_the_form_of_old_programs_is_read() -> None:
    store = Store()
    file = store.add("blob", b"one")
    below = store.add("tree", b"100644 app.py\0" + bytes.fromhex(file))
    above = store.add("tree", b"040000 src\0" + bytes.fromhex(below))
    commit = store.add("commit", f"tree {above}\n\nold\n".encode())

    tree = objects.root_tree(store.cat, commit)
    assert [(entry.mode, entry.path) for entry in objects.files(store.cat, tree)] == [("100644", "src/app.py")]


def test_an_object_that_is_too_large_to_keep_is_refused_by_its_size() -> None:
    def cat(_wanted: Iterable[str], feed: Callable[[bytes], bool]) -> None:
        feed(f"{'0' * 40} tag {LARGEST_LIST + 1}\n".encode())

    with pytest.raises(GitFailedError, match="is larger than"):
        objects.contents(cat, ["0" * 40])
