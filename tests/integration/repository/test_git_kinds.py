"""All kinds of repositories that containers have: bare, borrowed, packed, foreign, broken."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import git as _loaded_before_privileges_are_dropped  # noqa: F401
import pytest

from release_agent.errors import Code, Refused, ReleaseError
from release_agent.model import Kind
from support.privileges import unprivileged
from support.repositories import Repository, git, git_environment, listing, source_of

ANY = (Kind.TAG, Kind.BRANCH, Kind.COMMIT)
STRANGER = 12345


def release(scratch: Path, repository: Path, revision: str = "v1.0.0") -> dict[str, str]:
    """Resolve and write a revision; return the files' contents."""
    source = source_of(scratch, api=repository)
    place = scratch / "release"
    place.mkdir()
    source.write(source.resolve(revision, ANY).commits, place)
    return {str(path.relative_to(place)): path.read_text() for path in place.rglob("*") if path.is_file()}


def unreadable(scratch: Path, repository: Path) -> Refused:
    with pytest.raises(Refused) as refused:
        source_of(scratch, api=repository).resolve("v1.0.0", ANY)
    assert refused.value.code is Code.REPOSITORY_UNREADABLE
    assert f"repository api at {repository} cannot be read" in refused.value.message
    return refused.value


def test_a_checkout(repo: Repository, scratch: Path) -> None:
    assert release(scratch, repo.path) == {"app.py": "print('one')\n"}


def test_a_bare_repository(repo: Repository, tmp_path: Path, scratch: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(repo.path), "bare.git")

    assert release(scratch, tmp_path / "bare.git") == {"app.py": "print('one')\n"}


def test_the_git_directory_itself(repo: Repository, scratch: Path) -> None:
    assert release(scratch, repo.path / ".git") == {"app.py": "print('one')\n"}


def test_a_linked_worktree(repo: Repository, tmp_path: Path, scratch: Path) -> None:
    repo.git("worktree", "add", "--quiet", "-b", "other", str(tmp_path / "linked"))

    assert release(scratch, tmp_path / "linked", "other") == {"app.py": "print('one')\n"}


def test_a_repository_that_borrows_its_objects(repo: Repository, tmp_path: Path, scratch: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--shared", str(repo.path), "borrower")
    assert (tmp_path / "borrower/.git/objects/info/alternates").exists()

    assert release(scratch, tmp_path / "borrower") == {"app.py": "print('one')\n"}


def test_a_repository_that_borrows_by_a_relative_path(repo: Repository, tmp_path: Path, scratch: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--shared", str(repo.path), "borrower")
    alternates = tmp_path / "borrower/.git/objects/info/alternates"
    alternates.write_text(os.path.relpath(repo.path / ".git/objects", tmp_path / "borrower/.git/objects") + "\n")

    assert release(scratch, tmp_path / "borrower") == {"app.py": "print('one')\n"}


def test_packed_references_and_objects(repo: Repository, scratch: Path) -> None:
    repo.git("tag", "--annotate", "--message=x", "v2.0.0")
    repo.git("gc", "--quiet")
    assert not (repo.path / ".git/refs/tags/v2.0.0").exists()

    assert release(scratch, repo.path, "v2.0.0") == {"app.py": "print('one')\n"}


def test_a_loose_reference_outranks_a_packed_one(repo: Repository, scratch: Path) -> None:
    repo.git("pack-refs", "--all")
    repo.commit({"app.py": "two"})
    repo.git("tag", "--force", "v1.0.0")

    assert release(scratch, repo.path) == {"app.py": "two"}


def test_a_shallow_clone(repo: Repository, tmp_path: Path, scratch: Path) -> None:
    repo.commit({"app.py": "two"}, tag="v2.0.0")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repo.path}", "shallow")

    assert release(scratch, tmp_path / "shallow", "v2.0.0") == {"app.py": "two"}


def test_a_repository_of_sha256_objects(tmp_path: Path, scratch: Path) -> None:
    modern = Repository(tmp_path / "modern", "--object-format=sha256")
    commit = modern.commit({"app.py": "x"}, tag="v1.0.0")
    assert len(commit) == 64

    assert release(scratch, modern.path, commit) == {"app.py": "x"}
    assert source_of(scratch, api=modern).resolve("v1.0.0", ANY).commits == {"api": commit}


def test_replaced_objects_do_not_change_what_a_tag_names(repo: Repository, scratch: Path) -> None:
    repo.git("replace", repo.head, repo.commit({"app.py": "replaced"}))
    replaced = git(repo.path, "show", "v1.0.0:app.py")
    assert replaced == "replaced"

    assert release(scratch, repo.path) == {"app.py": "print('one')\n"}


def test_another_users_repository_works_and_the_machines_configuration_stays_as_it_was(
    repo: Repository, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    if os.geteuid() == 0:
        for path in (repo.path, *repo.path.rglob("*")):
            os.chown(path, STRANGER, STRANGER)
        refused = subprocess.run(
            ["git", "-C", repo.path, "log"], env=git_environment(), capture_output=True, text=True, check=False
        )
        assert "dubious ownership" in refused.stderr
    system = Path("/etc/gitconfig")
    before = system.read_bytes() if system.exists() else None

    assert release(scratch, repo.path) == {"app.py": "print('one')\n"}

    assert (system.read_bytes() if system.exists() else None) == before
    assert list(home.iterdir()) == []


def test_the_configuration_of_the_agents_own_user_does_not_count(
    repo: Repository, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text("[core]\n\tautocrlf = true\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "template").mkdir()

    assert release(scratch, repo.path) == {"app.py": "print('one')\n"}


def test_a_missing_repository_is_refused_with_its_path(tmp_path: Path, scratch: Path) -> None:
    unreadable(scratch, tmp_path / "nowhere")


def test_a_directory_that_is_no_repository_is_refused(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "plain").mkdir()

    assert "not a git repository" in unreadable(scratch, tmp_path / "plain").message


def test_a_directory_inside_a_repository_is_not_taken_for_it(repo: Repository, scratch: Path) -> None:
    (repo.path / "inner").mkdir()

    assert "not a git repository" in unreadable(scratch, repo.path / "inner").message


def test_a_repository_inside_anothers_directory_is_not_mistaken_for_the_outer_one(repo: Repository, scratch: Path) -> None:
    inner = Repository(repo.path / "inner")
    inner.commit({"inner.py": "x"}, tag="v1.0.0")

    assert release(scratch, inner.path) == {"inner.py": "x"}


@pytest.mark.parametrize("broken", ["HEAD", "objects", "refs"])
def test_a_repository_that_lacks_a_part_is_refused(repo: Repository, scratch: Path, broken: str) -> None:
    part = repo.path / ".git" / broken
    part.rename(repo.path / "elsewhere")

    unreadable(scratch, repo.path)


def test_broken_packed_references_are_refused(repo: Repository, scratch: Path) -> None:
    repo.git("pack-refs", "--all")
    (repo.path / ".git/packed-refs").write_text("no reference at all\n")

    unreadable(scratch, repo.path)


def test_a_repository_without_its_objects_has_no_commit_to_deploy(repo: Repository, scratch: Path) -> None:
    shutil.rmtree(repo.path / ".git/objects")
    (repo.path / ".git/objects").mkdir()

    with pytest.raises(Refused):
        source_of(scratch, api=repo).resolve("v1.0.0", ANY)


def test_a_file_that_is_broken_fails_the_build_and_is_named(repo: Repository, scratch: Path) -> None:
    blob = repo.git("rev-parse", "HEAD:app.py")
    loose = repo.path / ".git/objects" / blob[:2] / blob[2:]
    loose.chmod(0o644)
    loose.write_bytes(b"no object")

    with pytest.raises(ReleaseError) as failed:
        release(scratch, repo.path)

    assert failed.value.code in (Code.BUILD_FAILED, Code.REPOSITORY_UNREADABLE)
    assert "repository api" in failed.value.message


def test_nothing_in_a_repository_is_changed_by_reading_it(repo: Repository, scratch: Path) -> None:
    repo.commit({"release.toml": "x", ".gitignore": "*.log\n"}, tag="v2.0.0")
    repo.git("tag", "--annotate", "--message=x", "v3.0.0")
    (repo.path / "app.py").write_text("not committed")
    before = listing(repo.path)

    source = source_of(scratch, api=repo)
    commits = source.resolve("v3.0.0", ANY).commits
    source.read(commits, "release.toml")
    source.size(commits)
    (scratch / "release").mkdir()
    source.write(commits, scratch / "release")
    (scratch / "release/app.py").write_text("drifted")
    assert source.drift(commits, scratch / "release")
    with pytest.raises(Refused):
        source.verify_signatures(source.resolve("v3.0.0", ANY), "/etc/allowed_signers")
    source.close()

    assert listing(repo.path) == before


def test_a_repository_that_may_only_be_read_is_enough(open_place: Path) -> None:
    repo = Repository(open_place / "repo")
    repo.commit({"app.py": "x"}, tag="v1.0.0")
    (open_place / "scratch").mkdir()
    (open_place / "scratch").chmod(0o777)

    with unprivileged():
        with pytest.raises(PermissionError):
            (repo.path / ".git/index.lock").touch()
        assert release(open_place / "scratch", repo.path) == {"app.py": "x"}


def test_a_repository_that_may_not_be_read_is_refused(open_place: Path) -> None:
    repo = Repository(open_place / "repo")
    repo.commit({"app.py": "x"}, tag="v1.0.0")
    (repo.path / ".git").chmod(0o700 if os.geteuid() == 0 else 0)
    (open_place / "scratch").mkdir()
    (open_place / "scratch").chmod(0o777)

    with unprivileged():
        unreadable(open_place / "scratch", repo.path)
    (repo.path / ".git").chmod(0o700)
