from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Refused
from release_agent.model import Kind
from support.repositories import Repository, source_of

if TYPE_CHECKING:
    from pathlib import Path

FILE = "release.toml"


def read(scratch: Path, revision: str = "main", /, **repositories: Repository) -> dict[str, str]:
    source = source_of(scratch, **repositories)
    return source.read(source.resolve(revision, (Kind.TAG, Kind.BRANCH)).commits, FILE)


def test_a_file_is_read_as_the_revision_has_it(repo: Repository, scratch: Path) -> None:
    repo.commit({FILE: "one\n"}, tag="v2")
    repo.commit({FILE: "two\n"})
    (repo.path / FILE).write_text("not committed\n")

    assert read(scratch, "v2", api=repo) == {"api": "one\n"}
    assert read(scratch, "main", api=repo) == {"api": "two\n"}


def test_a_repository_without_the_file_is_left_out(repo: Repository, tmp_path: Path, scratch: Path) -> None:
    web = Repository(tmp_path / "web")
    web.commit({FILE: "web", "deeper/release.toml": "deeper"})

    assert read(scratch, api=repo, web=web) == {"web": "web"}


@pytest.mark.parametrize("kind", ["symlink out of it", "symlink to a file of it", "directory", "submodule"])
def test_a_name_that_is_no_regular_file_is_the_revisions_fault(repo: Repository, scratch: Path, kind: str) -> None:
    """Without its services, a release would count as healthy, and the services would be stopped."""
    match kind:
        case "symlink out of it":
            (repo.path / FILE).symlink_to("/etc/passwd")
        case "symlink to a file of it":
            (repo.path / FILE).symlink_to("app.py")
        case "directory":
            (repo.path / FILE).mkdir()
            (repo.path / FILE / "x").touch()
        case "submodule":
            repo.git("update-index", "--add", "--cacheinfo", f"160000,{repo.head},{FILE}")
            repo.git("commit", "--quiet", "--message", "a submodule")
    if kind != "submodule":
        repo.commit()

    with pytest.raises(Refused, match=f"release.toml of repository api is a {kind.partition(' ')[0]}") as refused:
        read(scratch, api=repo)

    assert refused.value.code is Code.RELEASE_TOML_INVALID


def test_an_executable_file_is_a_file(repo: Repository, scratch: Path) -> None:
    repo.commit({FILE: "x"})
    (repo.path / FILE).chmod(0o755)
    repo.commit()

    assert read(scratch, api=repo) == {"api": "x"}


def test_views_are_removed_when_the_source_is_closed(repo: Repository, scratch: Path) -> None:
    source = source_of(scratch, api=repo)
    source.read(source.resolve("v1.0.0", (Kind.TAG,)).commits, FILE)
    assert [view.name[:9] for view in scratch.iterdir()] == ["view-api-"]

    source.close()

    assert list(scratch.iterdir()) == []


def test_views_are_not_removed_through_a_link_that_a_hook_put_into_the_place_of_their_directory(
    repo: Repository, tmp_path: Path, scratch: Path
) -> None:
    source = source_of(scratch, api=repo)
    source.read(source.resolve("v1.0.0", (Kind.TAG,)).commits, FILE)
    precious = tmp_path / "elsewhere" / "view-precious"
    precious.mkdir(parents=True)
    scratch.rename(tmp_path / "aside")
    scratch.symlink_to(tmp_path / "elsewhere")
    source.close()
    assert precious.exists()

    scratch.unlink()
    (tmp_path / "elsewhere").rename(scratch)
    source.close()

    assert (scratch / "view-precious").exists()


def test_file_that_is_larger_than_any_text_is_the_revisions_fault(repo: Repository, scratch: Path) -> None:
    repo.commit({FILE: "#" * (5 << 20)})

    with pytest.raises(Refused, match=r"release\.toml of repository api has 5242880 bytes") as refused:
        read(scratch, api=repo)

    assert refused.value.code is Code.RELEASE_TOML_INVALID


def test_what_lies_between_two_releases_is_told_by_repository(repo: Repository, tmp_path: Path, scratch: Path) -> None:
    web = Repository(tmp_path / "web")
    same = web.commit({"a": "1"})
    old = repo.commit({"a": "1"}, tag="one")
    repo.commit({"a": "2"})
    repo.git("commit", "--quiet", "--amend", "--message=two\u2028lines")
    new = repo.commit({"a": "3"}, tag="three")
    source = source_of(scratch, api=repo, web=web)

    assert source.changes({"api": old, "web": same}, {"api": new, "web": same}) == {
        "api": {"count": 2, "back": 0, "subjects": ["three", "two\u2028lines"]}
    }
    assert source.changes({"api": new}, {"api": old}) == {"api": {"count": 0, "back": 2, "subjects": []}}


def test_history_that_is_not_there_is_no_reason_to_refuse(repo: Repository, tmp_path: Path, scratch: Path) -> None:
    old = repo.commit({"a": "1"})
    repo.commit({"a": "2"})
    new = repo.commit({"a": "3"})
    shallow = Repository(tmp_path / "clone")
    shallow.git("fetch", "--quiet", "--depth=1", f"file://{repo.path}", "main")
    source = source_of(scratch, api=shallow)

    assert source.changes({"api": old}, {"api": new}) == {}
