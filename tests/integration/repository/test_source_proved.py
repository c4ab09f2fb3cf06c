"""A release has the content that the commit's id names, whatever somebody put into the repository's store."""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Failed, Refused
from release_agent.model import Kind
from support.repositories import Repository, git, loose_object, replace_object, source_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["sha1", "sha256"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Repository:
    """A repository with a file at its root and one below a directory."""
    made = Repository(tmp_path / "store", f"--object-format={request.param}")
    made.commit({"app.py": "print('one')\n", "sub/deep/x.txt": "x\n", "crlf.bat": "a\nb\n", ".gitattributes": "*.bat eol=crlf\n"})
    (made.path / "link").symlink_to(".//app.py")
    made.commit(tag="v1.0.0")
    return made


def written(scratch: Path, repo: Repository) -> Path:
    source = source_of(scratch, api=repo)
    place = scratch / "release"
    place.mkdir()
    source.write(source.resolve("v1.0.0", (Kind.TAG,)).commits, place)
    return place


def test_an_untouched_repository_is_written_whole(store: Repository, scratch: Path) -> None:
    place = written(scratch, store)

    assert (place / "crlf.bat").read_bytes() == b"a\r\nb\r\n"
    assert (place / "sub/deep/x.txt").read_text() == "x\n"
    assert (place / "link").is_symlink()


@pytest.mark.parametrize("path", ["app.py", "sub/deep/x.txt", "crlf.bat", "link", ".gitattributes"])
def test_a_file_that_was_replaced_in_the_store_is_not_written(store: Repository, scratch: Path, path: str) -> None:
    replace_object(store, f"HEAD:{path}", b"foreign\n")

    with pytest.raises(Failed, match="damaged or replaced") as failed:
        written(scratch, store)

    assert failed.value.code is Code.BUILD_FAILED


def test_a_file_that_was_replaced_by_one_of_the_same_size_is_not_written(store: Repository, scratch: Path) -> None:
    replace_object(store, "HEAD:app.py", b"print('two')\n")

    with pytest.raises(Failed):
        written(scratch, store)


@pytest.mark.parametrize("name", ["HEAD:sub", "HEAD:sub/deep", "HEAD^{tree}"])
def test_a_directory_that_was_replaced_in_the_store_is_not_written(store: Repository, scratch: Path, name: str) -> None:
    foreign = store.git("hash-object", "-w", "--stdin", stdin="foreign\n")
    replace_object(store, name, b"100644 evil.py\0" + bytes.fromhex(foreign))

    with pytest.raises(Failed, match=r"damaged or replaced|corrupt|hash"):
        written(scratch, store)


def test_many_repositories_with_every_conversion_are_written(tmp_path: Path, scratch: Path) -> None:
    repo = Repository(tmp_path / "converted")
    attributes = "*.bat text eol=crlf\n*.id ident\n*.u16 working-tree-encoding=UTF-16LE\n*.auto text=auto eol=crlf\n"
    files = {".gitattributes": attributes, "a.bat": "a\nb\n", "sub/b.id": "$Id$\n", "c.auto": "a\nb\n", "ünï\n.bat": "x\n"}
    repo.commit({**files, "d.u16": "ü\n".encode("utf-16-le")}, tag="v1.0.0")

    place = written(scratch, repo)

    assert (place / "sub/b.id").read_text() == f"$Id: {repo.git('rev-parse', 'HEAD:sub/b.id')} $\n"
    assert (place / "d.u16").read_bytes() == "ü\n".encode("utf-16-le")
    assert (place / "ünï\n.bat").read_bytes() == b"x\r\n"


@pytest.mark.parametrize("name", ["a:b", '"a"', 'a\\b:"c'])
def test_a_converted_file_is_written_from_a_repository_at_an_odd_path(tmp_path: Path, scratch: Path, name: str) -> None:
    repo = Repository(tmp_path / name)
    repo.commit({".gitattributes": "*.bat text eol=crlf\n", "a.bat": "a\n"}, tag="v1.0.0")

    assert (written(scratch, repo) / "a.bat").read_bytes() == b"a\r\n"


def test_a_converted_file_is_right_even_if_its_object_was_put_back_before_the_check(
    store: Repository, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loose = loose_object(store, "HEAD:crlf.bat")
    shutil.copy(loose, tmp_path / "right")
    replace_object(store, "HEAD:crlf.bat", b"foreign\n")
    put_back = tmp_path / "bin/git"
    put_back.parent.mkdir()
    right = f"[ ! -e {tmp_path}/right ] || mv -f {tmp_path}/right {loose}"
    put_back.write_text(f'#!/bin/sh\n{shutil.which("git")} "$@" || exit\ncase "$*" in *read-tree*) {right} ;; esac\n')
    put_back.chmod(0o755)
    monkeypatch.setenv("PATH", str(put_back.parent), prepend=os.pathsep)

    place = written(scratch, store)

    assert not (tmp_path / "right").exists()
    assert (place / "crlf.bat").read_bytes() == b"a\r\nb\r\n"


@pytest.mark.parametrize(("replaced", "other"), [("HEAD:release.toml", b'[[hooks.build]]\nrun = "id"\n'), ("HEAD^{tree}", b"")])
def test_a_release_toml_that_was_replaced_in_the_store_is_not_read(
    store: Repository, scratch: Path, replaced: str, other: bytes
) -> None:
    commit = store.commit({"release.toml": "[health]\n"})
    source = source_of(scratch, api=store)
    assert source.read({"api": commit}, "release.toml") == {"api": "[health]\n"}

    replace_object(store, replaced, other)

    with pytest.raises(Refused, match="does not have this id") as refused:
        source_of(scratch, api=store).read({"api": commit}, "release.toml")
    assert refused.value.code is Code.REPOSITORY_UNREADABLE


@pytest.mark.parametrize("tree", ["not a list", "100644 a\0too short", "\0" * 21, "mode\0name\0" + "x" * 20])
def test_a_directory_that_is_no_list_of_files_is_no_bug(repo: Repository, scratch: Path, tree: str) -> None:
    tree_id = repo.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=tree)
    head = repo.git("cat-file", "commit", "HEAD").replace(repo.git("rev-parse", "HEAD^{tree}"), tree_id)
    commit = repo.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=f"{head}\n")
    source = source_of(scratch, api=repo)

    with pytest.raises(Refused, match="not a list of files"):
        source.read({"api": commit}, "release.toml")
    with pytest.raises(Failed, match="not a list of files"):
        source.write({"api": commit}, scratch)


def test_a_large_file_is_hashed_in_pieces(repo: Repository, scratch: Path) -> None:
    large = bytes(range(256)) * (5 << 12)
    repo.commit({"large": large, ".gitattributes": "large ident\n"})
    repo.git("tag", "--force", "v1.0.0")

    assert hashlib.sha256((written(scratch, repo) / "large").read_bytes()).digest() == hashlib.sha256(large).digest()


def test_packed_objects_are_written_as_well(store: Repository, scratch: Path) -> None:
    git(store.path, "gc", "--quiet")

    assert (written(scratch, store) / "app.py").read_text() == "print('one')\n"
