from __future__ import annotations

import os
import resource
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Exit, Refused
from release_agent.model import Kind
from support.repositories import Repository, source_of

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.model import Target
    from release_agent.repository.source import GitSource

ANY = (Kind.TAG, Kind.BRANCH, Kind.COMMIT)


def resolve(scratch: Path, repo: Repository, revision: str, kinds: tuple[Kind, ...] = ANY) -> Target:
    return source_of(scratch, api=repo).resolve(revision, kinds)


def refusal(source: GitSource, revision: str, kinds: tuple[Kind, ...] = ANY) -> Refused:
    with pytest.raises(Refused) as refused:
        source.resolve(revision, kinds)
    assert refused.value.exit_code is Exit.REFUSED
    return refused.value


@pytest.fixture
def web(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repos" / "web")
    made.commit({"index.html": "one"}, tag="v1.0.0")
    return made


def test_a_tag_names_its_commit(repo: Repository, scratch: Path) -> None:
    found = resolve(scratch, repo, "v1.0.0")

    assert (found.revision, found.kind, found.commits) == ("v1.0.0", Kind.TAG, {"api": repo.head})


def test_an_annotated_tag_is_peeled_to_its_commit(repo: Repository, scratch: Path) -> None:
    repo.git("tag", "--annotate", "--message=two", "v2.0.0")
    repo.git("tag", "--annotate", "--message=a tag of a tag", "v2.0.0-again", "v2.0.0")

    assert resolve(scratch, repo, "v2.0.0").commits == {"api": repo.head}
    assert resolve(scratch, repo, "v2.0.0-again").commits == {"api": repo.head}


def test_a_branch_names_its_tip(repo: Repository, scratch: Path) -> None:
    tip = repo.commit({"app.py": "two"})

    assert resolve(scratch, repo, "main") == resolve(scratch, repo, "main", (Kind.BRANCH,))
    assert resolve(scratch, repo, "main").kind is Kind.BRANCH
    assert resolve(scratch, repo, "main").commits == {"api": tip}


def test_a_remotes_branch_is_written_with_its_remote(repo: Repository, scratch: Path) -> None:
    repo.git("update-ref", "refs/remotes/origin/main", repo.head)
    repo.commit({"app.py": "two"})

    assert resolve(scratch, repo, "origin/main").commits == {"api": repo.git("rev-parse", "v1.0.0")}


def test_a_branch_of_ones_own_hides_a_remotes_namesake(repo: Repository, scratch: Path) -> None:
    repo.git("update-ref", "refs/remotes/origin/main", repo.head)
    repo.git("update-ref", "refs/heads/origin/main", repo.commit())

    assert resolve(scratch, repo, "origin/main").commits == {"api": repo.head}


def test_a_full_commit_id_needs_no_reference(repo: Repository, scratch: Path) -> None:
    lost = repo.commit({"app.py": "lost"})
    repo.git("reset", "--quiet", "--hard", "v1.0.0")

    found = resolve(scratch, repo, lost)

    assert (found.kind, found.commits) == (Kind.COMMIT, {"api": lost})


@pytest.mark.parametrize("change", [lambda commit: commit[:12], lambda commit: commit.upper(), lambda commit: "0" * len(commit)])
def test_a_commit_id_that_is_short_shouted_or_unknown_is_refused(repo: Repository, scratch: Path, change: object) -> None:
    assert callable(change)

    assert refusal(source_of(scratch, api=repo), change(repo.head)).code is Code.REVISION_UNKNOWN


def test_a_tag_outranks_a_branch_of_the_same_name(repo: Repository, scratch: Path) -> None:
    tagged = repo.head
    repo.git("branch", "v1.0.0", repo.commit())

    assert resolve(scratch, repo, "v1.0.0").commits == {"api": tagged}


def test_a_name_like_a_commit_id_is_a_tag_first(repo: Repository, scratch: Path) -> None:
    first, second = repo.head, repo.commit()
    repo.git("update-ref", f"refs/tags/{second}", first)

    assert resolve(scratch, repo, second).commits == {"api": first}


def test_only_the_kinds_that_are_asked_for_count(repo: Repository, scratch: Path) -> None:
    error = refusal(source_of(scratch, api=repo), "main", (Kind.TAG,))

    assert error.code is Code.REVISION_UNKNOWN
    assert error.message == f"no tag main in repository api ({repo.path})"


def test_an_unknown_revision_is_answered_with_what_there_is(repo: Repository, scratch: Path) -> None:
    repo.git("tag", "v1.1.0")

    error = refusal(source_of(scratch, api=repo), "v9.9.9")

    assert "no tag, branch or commit v9.9.9 in repository api" in error.message
    assert "v1.0.0, v1.1.0" in error.hint


def test_a_repository_without_tags_says_so(tmp_path: Path, scratch: Path) -> None:
    empty = Repository(tmp_path / "empty")

    assert "no tags" in refusal(source_of(scratch, api=empty), "v1.0.0").hint


@pytest.mark.parametrize("revision", ["HEAD", "refs/tags/v1.0.0", "tags/v1.0.0", "heads/main", "FETCH_HEAD"])
def test_gits_own_shorthands_are_no_revisions(repo: Repository, scratch: Path, revision: str) -> None:
    assert refusal(source_of(scratch, api=repo), revision).code is Code.REVISION_UNKNOWN


def test_one_commit_of_each_repository(repo: Repository, web: Repository, scratch: Path) -> None:
    assert source_of(scratch, api=repo, web=web).resolve("v1.0.0", ANY).commits == {"api": repo.head, "web": web.head}


def test_a_tag_missing_in_one_of_two_repositories_names_that_one(repo: Repository, web: Repository, scratch: Path) -> None:
    repo.git("tag", "v1.1.0")

    error = refusal(source_of(scratch, api=repo, web=web), "v1.1.0")

    assert error.code is Code.REPOSITORY_INCOMPLETE
    assert f"tag v1.1.0 is missing in repository web ({web.path})" in error.message
    assert "api" not in error.message


def test_a_branch_in_the_one_makes_up_for_no_tag_in_the_other(repo: Repository, web: Repository, scratch: Path) -> None:
    repo.git("tag", "next")
    web.git("branch", "next")

    assert refusal(source_of(scratch, api=repo, web=web), "next").code is Code.REPOSITORY_INCOMPLETE


def test_tags_are_those_of_all_repositories(repo: Repository, web: Repository, scratch: Path) -> None:
    repo.git("tag", "v1.1.0")
    web.git("tag", "nested/v2")

    assert source_of(scratch, api=repo, web=web).tags() == {"v1.0.0", "v1.1.0", "nested/v2"}


def test_a_source_is_closed_also_without_a_descriptor_to_list_its_views(repo: Repository, scratch: Path) -> None:
    source = source_of(scratch, api=repo)
    source.resolve("v1.0.0", ANY)
    taken = []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    with suppress(OSError):
        while True:
            taken.append(os.open(scratch, os.O_RDONLY))
    os.close(taken.pop())
    try:
        source.close()
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_tag_with_a_name_that_is_too_long_is_none_that_counts(repo: Repository, scratch: Path) -> None:
    repo.git("tag", "v2.0.0." + "1" * 200)

    assert source_of(scratch, api=repo).tags() == {"v1.0.0"}


@pytest.mark.parametrize(
    "revision",
    [
        *("", " ", "v1 ", " v1", "v 1", "v1\n", "v1\nv2", "\x00", "v1\x07", "\x1b[31m", "v1\x7f", "v1\udcff"),
        *("-x", "--upload-pack=x", "--exec=touch x", "../..", "a..b", "..", ".", "@", "a@{1}", "@{u}", "v1^{}", "v1~1", "a:b"),
        *("v?", "v*", "v[1]", "a\\b", "x.lock", "x.lock/y", "/a", "a/", "a//b", ".a", "a/.b", "a.", "v" * 201),
    ],
)
def test_a_hostile_name_is_refused_before_git_hears_of_it(tmp_path: Path, scratch: Path, revision: str) -> None:
    # No repository is there: to ask one would be another refusal.
    assert refusal(source_of(scratch, api=tmp_path / "nowhere"), revision).code is Code.REVISION_INVALID


@pytest.mark.parametrize(
    "tag", ["v1.0.0-rc.1+build.7", "release/2024-01", "ünïcode-✓", "a-b_c=d,e'f\"g;h&i$j", "x.locked", "a@b", "v" * 200]
)
def test_an_unusual_name_that_git_allows_is_allowed(repo: Repository, scratch: Path, tag: str) -> None:
    repo.git("tag", tag)

    assert resolve(scratch, repo, tag).commits == {"api": repo.head}


@pytest.mark.parametrize("ending", ["\x85", "\u2028x", "\u2029x"])
def test_a_name_with_an_unusual_line_break_takes_no_other_names_place(repo: Repository, scratch: Path, ending: str) -> None:
    main = repo.head
    repo.git("switch", "--quiet", "--create", "other")
    repo.commit({"app.py": "other"})
    repo.git("branch", f"main{ending}")
    for tag in ("v1.0.0", "v9.9.9"):
        repo.git("tag", f"{tag}{ending}")
    source = source_of(scratch, api=repo)

    assert source.resolve("v1.0.0", (Kind.TAG,)).commits == {"api": main}
    assert source.resolve("main", (Kind.BRANCH,)).commits == {"api": main}
    assert "v9.9.9" not in source.tags()
    assert refusal(source, "v9.9.9").code is Code.REVISION_UNKNOWN


@pytest.mark.parametrize("character", ["\x0c", "\x85", "\u2028"])
def test_a_repository_is_read_whatever_its_path_has(template: Repository, scratch: Path, tmp_path: Path, character: str) -> None:
    repo = Repository.copied(template, tmp_path / f"a{character}b" / "api")

    assert resolve(scratch, repo, "v1.0.0").commits == {"api": repo.head}


@pytest.mark.parametrize("what", ["blob", "tree"])
def test_a_tag_of_something_else_than_a_commit_is_refused(repo: Repository, scratch: Path, what: str) -> None:
    repo.git("tag", "v2.0.0", repo.git("rev-parse", {"blob": "HEAD:app.py", "tree": "HEAD^{tree}"}[what]))

    error = refusal(source_of(scratch, api=repo), "v2.0.0")

    assert error.code is Code.REVISION_NOT_A_COMMIT
    assert "v2.0.0 in repository api" in error.message


def test_the_id_of_a_file_is_no_revision(repo: Repository, scratch: Path) -> None:
    blob = repo.git("rev-parse", "HEAD:app.py")

    assert refusal(source_of(scratch, api=repo), blob).code is Code.REVISION_NOT_A_COMMIT


def test_a_tag_whose_commit_was_never_fetched_is_refused(repo: Repository, scratch: Path) -> None:
    (repo.path / ".git/refs/tags/v2.0.0").write_text("1" * 40 + "\n")

    assert refusal(source_of(scratch, api=repo), "v2.0.0").code is Code.REVISION_NOT_A_COMMIT


def test_what_a_commit_takes_on_disk_is_counted_in_whole_blocks(repo: Repository, web: Repository, scratch: Path) -> None:
    repo.commit({"big": b"x" * 4097, "empty": b"", "small": b"x"}, tag="v2")
    web.git("tag", "v2")
    source = source_of(scratch, api=repo, web=web)

    # app.py, big (two blocks), small; and index.html
    assert source.size(source.resolve("v2", ANY).commits) == (5 * 4096, 5)
