"""Releases by difference: the agent proves the difference, and writes all files or refuses if it cannot use one."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Failed, Refused
from support.histories import FILE, LINK, History, differences, picture
from support.repositories import ALL_MODES, Repository, replace_object, source_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from release_agent.repository.source import GitSource

IN_PLACE = {"api": "."}


def by(way: str, source: GitSource, old: str, new: str, directory: Path) -> None:
    """Turn a release into another one, or write that."""
    if way == "difference":
        apply(source, old, new, directory)
    else:
        getattr(source, way)({"api": new}, directory)


def apply(source: GitSource, old: str, new: str, directory: Path) -> None:
    difference = source.difference({"api": old}, IN_PLACE, {"api": new})
    assert difference
    difference.apply(directory)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "release"
    made.mkdir()
    return made


@pytest.mark.parametrize(
    ("old", "new"),
    [({}, {b".gitattributes": b"* eol=crlf\n"}), ({b".gitattributes": b"* eol=crlf\n"}, {b".gitattributes": b"* ident\n"})],
)
@pytest.mark.parametrize("where", [b"", b"sub/"])
def test_new_attributes_change_files_that_are_the_same_in_both_commits_so_it_is_written_whole(
    tmp_path: Path, place: Path, old: Mapping[bytes, bytes], new: Mapping[bytes, bytes], where: bytes
) -> None:
    same = {b"sub/file": (FILE, b"$Id$\n")}
    trees = [same | {where + path: (FILE, content) for path, content in each.items()} for each in (old, new)]
    history = History.of(tmp_path, trees)
    source = source_of(tmp_path / "scratch", api=history.repository)
    here, there = ({"api": commit} for commit in history.commits)

    assert source.difference(here, IN_PLACE, there) is None
    assert source.difference(there, IN_PLACE, here) is None
    assert source.difference(here, IN_PLACE, here) is not None
    source.write(here, place)
    source.restore(there, place)
    assert differences(picture(place), history.expected(there["api"])) == []


def test_a_file_that_comes_is_converted_by_attributes_that_stay(tmp_path: Path, place: Path) -> None:
    attributes = {b"sub/.gitattributes": (FILE, b"*.bat eol=crlf\n*.id ident\n")}
    come = {b"sub/deep/a.bat": (FILE, b"a\n"), b"sub/b.id": (FILE, b"$Id$\n"), b"c.bat": (FILE, b"c\n")}
    history = History.of(tmp_path, [attributes, attributes | come])
    source = source_of(tmp_path / "scratch", api=history.repository)
    source.write({"api": history.commits[0]}, place)

    apply(source, *history.commits, place)

    assert (place / "sub/deep/a.bat").read_bytes() == b"a\r\n"
    assert differences(picture(place), history.expected(history.commits[1])) == []


def test_several_repositories_walk_side_by_side(tmp_path: Path, place: Path) -> None:
    trees = [{b"a": (FILE, b"%d" % n), b"d/%d" % (n % 3): (LINK, b"a"), b"same": (FILE, b"")} if n % 4 else {} for n in range(6)]
    histories = {name: History.of(tmp_path / name, trees) for name in ("api", "web")}
    source = source_of(tmp_path / "scratch", **{name: history.repository for name, history in histories.items()})
    into, chance = {"api": "api", "web": "web"}, random.Random(5)  # noqa: S311 - to be had again
    walk = [{name: chance.choice(history.commits) for name, history in histories.items()} for _ in range(12)]
    source.write(walk[0], place)
    for old, new in itertools.pairwise(walk):
        difference = source.difference(old, into, new)
        assert difference
        difference.apply(place)
        for name, history in histories.items():
            assert differences(picture(place / name), history.expected(new[name])) == []
    assert sorted(path.name for path in place.iterdir()) == ["api", "web"]


@pytest.mark.parametrize("into", [{"api": "elsewhere"}, {}, {"api": ".", "web": "web"}, None])
def test_repositories_that_had_other_places_are_written_whole(repo: Repository, scratch: Path, into: dict[str, str]) -> None:
    commits = {"api": repo.head}

    assert source_of(scratch, api=repo).difference(commits, into, commits) is None


def test_a_commit_that_is_not_there_any_more_is_no_ground_to_build_on(repo: Repository, scratch: Path) -> None:
    gone = {"api": "1234567890" * 4}

    assert source_of(scratch, api=repo).difference(gone, IN_PLACE, {"api": repo.head}) is None


@pytest.mark.parametrize("way", ["write", "difference", "restore"])
def test_a_submodule_is_refused_whichever_way(repo: Repository, scratch: Path, place: Path, way: str) -> None:
    source, old = source_of(scratch, api=repo), repo.head
    source.write({"api": old}, place)
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{repo.head},vendor/lib")
    repo.git("commit", "--quiet", "--message", "submodule")

    with pytest.raises(Refused, match=r"vendor/lib of repository api .* is a submodule") as refused:
        by(way, source, old, repo.head, place)

    assert refused.value.code is Code.REPOSITORY_INCOMPLETE


@pytest.mark.parametrize("way", ["write", "difference", "restore"])
def test_a_pointer_of_git_lfs_is_refused_whichever_way(repo: Repository, scratch: Path, place: Path, way: str) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'1' * 64}\nsize 12345\n"
    source, old = (
        source_of(scratch, api=repo),
        repo.commit({".gitattributes": "*.bin filter=lfs -text\n", "pointer.txt": pointer}),
    )
    source.write({"api": old}, place)

    with pytest.raises(Refused, match=r"^art/logo.bin of repository api .* is kept by Git LFS") as refused:
        by(way, source, old, repo.commit({"art/logo.bin": pointer}), place)

    assert refused.value.code is Code.REPOSITORY_INCOMPLETE
    assert refused.value.hint.endswith("--include=art/logo.bin")


def test_a_file_that_git_lfs_has_not_converted_is_written(repo: Repository, scratch: Path, place: Path) -> None:
    commit = repo.commit({".gitattributes": "*.bin filter=lfs -text\n", "logo.bin": "version" + "x" * 60})

    source_of(scratch, api=repo).write({"api": commit}, place)

    assert (place / "logo.bin").read_text() == "version" + "x" * 60


@pytest.fixture(params=["sha1", "sha256"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Repository:
    return Repository(tmp_path / "store", f"--object-format={request.param}")


@pytest.mark.parametrize("replaced", ["HEAD:sub/new", "HEAD:link", "HEAD:sub/new.bat"])
@pytest.mark.parametrize("way", ["difference", "restore"])
def test_a_replaced_object_is_found(store: Repository, scratch: Path, place: Path, replaced: str, way: str) -> None:
    old = store.commit({".gitattributes": "*.bat eol=crlf\n", "sub/same": "x\n"})
    (store.path / "link").symlink_to("sub")
    new = store.commit({"sub/new": "new\n", "sub/new.bat": "a\n"})
    source = source_of(scratch, api=store)
    source.write({"api": old}, place)
    replace_object(store, replaced, b"foreign\n")

    with pytest.raises(Failed, match="damaged or replaced") as failed:
        by(way, source, old, new, place)

    assert failed.value.code is Code.BUILD_FAILED


@pytest.mark.parametrize("replaced", ["HEAD:sub", "HEAD^{tree}"])
def test_a_replaced_directory_is_found(repo: Repository, scratch: Path, place: Path, replaced: str) -> None:
    old = {"api": repo.commit({"sub/a": "a\n"})}
    new = {"api": repo.commit({"sub/b": "b\n"})}
    source = source_of(scratch, api=repo)
    source.write(old, place)
    replace_object(repo, replaced, b"")

    with pytest.raises(Refused, match="damaged or replaced"):
        source.difference(old, IN_PLACE, new)
    with pytest.raises(Failed, match="damaged or replaced"):
        source.restore(new, place)


@pytest.mark.parametrize("name", ["..", "../precious", "sub/../../precious", ".", "/precious", "sub/file"])
def test_a_directory_that_names_what_lies_outside_is_refused_and_nothing_there_is_removed(
    repo: Repository, scratch: Path, tmp_path: Path, place: Path, name: str
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("x")
    good, evil = repo.head, commit_of_tree(repo, name)
    source = source_of(scratch, api=repo)
    source.write({"api": good}, place)
    before = picture(tmp_path / "precious")

    for old, new in ((evil, good), (good, evil)):
        with pytest.raises(Refused, match="is damaged"):
            source.difference({"api": old}, IN_PLACE, {"api": new})
    for way in (source.write, source.restore):
        with pytest.raises(Failed, match="is damaged"):
            way({"api": evil}, place)
    assert picture(tmp_path / "precious") == before
    assert (place / "app.py").exists()


@pytest.mark.parametrize("mode", [b"100644", b"100755", b"40000"])
@pytest.mark.parametrize("also", ["app.py", "other.py", "sub"])
def test_a_directory_that_has_a_name_twice_is_refused(
    store: Repository, scratch: Path, place: Path, mode: bytes, also: str
) -> None:
    """``also``: the content of the first; that of the second is new."""
    old = store.commit({"app.py": "print(1)\n", "other.py": "x", "sub/x": "x"})
    second = store.git("mktree", stdin="") if mode == b"40000" else store.git("hash-object", "-w", "--stdin", stdin="new")
    entries = [(b"100644" if "." in also else b"40000", store.git("rev-parse", f"HEAD:{also}")), (mode, second)]
    commit = commit_of_entries(store, *((mode, b"app.py", object_id) for mode, object_id in entries))
    source = source_of(scratch, api=store)
    source.write({"api": old}, place)

    with pytest.raises(Refused, match="is damaged"):
        source.difference({"api": old}, IN_PLACE, {"api": commit})
    with pytest.raises(Failed, match="is damaged"):
        source.restore({"api": commit}, place)


@pytest.mark.parametrize(("mode", "same_as"), [(b"100664", 0o644), (b"100600", 0o644), (b"100775", 0o755)])
def test_a_mode_that_old_programs_wrote_is_that_of_a_regular_file(
    repo: Repository, scratch: Path, place: Path, mode: bytes, same_as: int
) -> None:
    old = repo.head
    commit = commit_of_entries(repo, (mode, b"release.toml", repo.git("rev-parse", "HEAD:app.py")))
    source = source_of(scratch, api=repo)
    source.write({"api": old}, place)

    apply(source, old, commit, place)

    assert source.read({"api": commit}, "release.toml") == {"api": (place / "release.toml").read_text()}
    assert (place / "release.toml").stat().st_mode & ALL_MODES == same_as
    assert source.drift({"api": commit}, place) == {}
    source.restore({"api": commit}, place)
    assert (place / "release.toml").stat().st_mode & ALL_MODES == same_as


def test_an_entry_without_a_mode_is_refused(repo: Repository, scratch: Path) -> None:
    commit = commit_of_entries(repo, (b"0", b"app.py", repo.git("rev-parse", "HEAD:app.py")))

    with pytest.raises(Refused, match="is damaged"):
        source_of(scratch, api=repo).difference({"api": repo.head}, IN_PLACE, {"api": commit})


def test_an_id_that_looks_like_an_entry_is_no_name(repo: Repository, scratch: Path) -> None:
    object_id = repo.git("hash-object", "-w", "--stdin", stdin="2526951")
    assert b" a\0" in bytes.fromhex(object_id)
    commit = commit_of_entries(repo, (b"100644", b"a", repo.git("rev-parse", "HEAD:app.py")), (b"100644", b"b", object_id))

    assert source_of(scratch, api=repo).difference({"api": repo.head}, IN_PLACE, {"api": commit})


def test_names_that_end_alike_are_two_names(repo: Repository, scratch: Path, place: Path) -> None:
    old, new = repo.commit({"a": "1", "x a": "1"}), repo.commit({"a": "2", "x a": "1", "x x a": "1"})
    source = source_of(scratch, api=repo)
    source.write({"api": old}, place)

    apply(source, old, new, place)

    assert {path.name for path in place.iterdir()} == {"app.py", "a", "x a", "x x a"}


def commit_of_tree(repo: Repository, name: str) -> str:
    """Commit an empty directory of any name."""
    return commit_of_entries(repo, (b"40000", name.encode(), repo.git("mktree")))


def commit_of_entries(repo: Repository, *entries: tuple[bytes, bytes, str]) -> str:
    """Commit a tree as no program of git's would make it."""
    content = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(object_id) for mode, name, object_id in entries)
    (repo.path / ".git/tree").write_bytes(content)
    tree = repo.git("hash-object", "-t", "tree", "-w", "--literally", ".git/tree")
    return repo.git("commit-tree", "-m", "evil", tree)
