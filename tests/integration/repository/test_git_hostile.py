"""Repositories belong to others: the agent runs nothing that one of them configures."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Failed, Refused
from release_agent.model import Kind
from support.repositories import Repository, git, git_environment, source_of

if TYPE_CHECKING:
    from pathlib import Path

ANY = (Kind.TAG, Kind.BRANCH, Kind.COMMIT)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What every hostile program makes."""
    return tmp_path / "was-run"


def program(tmp_path: Path, marker: Path, name: str = "evil") -> str:
    """Write a program that leaves the marker."""
    path = tmp_path / name
    path.write_text(f"#!/bin/sh\ntouch {marker}\n")
    path.chmod(0o755)
    return str(path)


def everything(scratch: Path, repo: Repository, revision: str = "v1.0.0") -> Path:
    """Do all that the agent ever does with a repository."""
    source = source_of(scratch, api=repo)
    target = source.resolve(revision, ANY)
    source.tags()
    source.read(target.commits, "release.toml")
    source.size(target.commits)
    place = scratch / "release"
    place.mkdir()
    source.write(target.commits, place)
    source.drift(target.commits, place)
    (scratch / "signers").touch()
    with pytest.raises(Refused):
        source.verify_signatures(target, str(scratch / "signers"))
    return place


def provoke(place: Path, *arguments: str) -> None:
    """Run git as an unwary agent would."""
    subprocess.run(
        ["git", *arguments],
        cwd=place,
        env=git_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )


def test_its_fsmonitor_is_not_run(repo: Repository, scratch: Path, tmp_path: Path, marker: Path) -> None:
    repo.git("config", "core.fsmonitor", program(tmp_path, marker))
    provoke(repo.path, "status")
    assert marker.exists()
    marker.unlink()

    everything(scratch, repo)

    assert not marker.exists()


@pytest.mark.parametrize("kind", ["smudge", "process"])
def test_its_filters_are_not_run_and_the_file_is_as_it_was_committed(
    repo: Repository, scratch: Path, tmp_path: Path, marker: Path, kind: str
) -> None:
    repo.commit({".gitattributes": "* filter=evil\n", "secret.bin": "as committed"}, tag="v2.0.0")
    repo.git("config", f"filter.evil.{kind}", program(tmp_path, marker))
    repo.git("config", "filter.evil.clean", program(tmp_path, marker))
    repo.git("config", "filter.evil.required", "true")
    (repo.path / "secret.bin").unlink()
    provoke(repo.path, "checkout", "--", "secret.bin")
    assert marker.exists()
    marker.unlink()

    place = everything(scratch, repo, "v2.0.0")

    assert (place / "secret.bin").read_text() == "as committed"
    assert not marker.exists()


@pytest.mark.parametrize("where", ["configured", "its own"])
def test_its_hooks_are_not_run(repo: Repository, scratch: Path, tmp_path: Path, marker: Path, where: str) -> None:
    hooks = tmp_path / "hooks" if where == "configured" else repo.path / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "post-index-change", "reference-transaction", "post-merge", "fsmonitor-watchman"):
        program(hooks, marker, name)
    if where == "configured":
        repo.git("config", "core.hooksPath", str(hooks))
    provoke(repo.path, "checkout", "--force", "v1.0.0")
    assert marker.exists()
    marker.unlink()

    everything(scratch, repo)

    assert not marker.exists()


@pytest.mark.parametrize("signature", ["PGP SIGNATURE", "SSH SIGNATURE", "PGP MESSAGE", "SIGNED MESSAGE"])
def test_its_signature_program_is_not_run(repo: Repository, scratch: Path, tmp_path: Path, marker: Path, signature: str) -> None:
    for key in ("gpg.program", "gpg.openpgp.program", "gpg.ssh.program", "gpg.x509.program"):
        repo.git("config", key, program(tmp_path, marker))
    repo.git("config", "gpg.ssh.allowedSignersFile", "/dev/null")
    text = f"object {repo.head}\ntype commit\ntag v2.0.0\ntagger A <a@b> 1700000000 +0000\n\nx\n"
    text += f"-----BEGIN {signature}-----\nabcd\n-----END {signature}-----\n"
    repo.git("update-ref", "refs/tags/v2.0.0", repo.git("hash-object", "-t", "tag", "-w", "--stdin", stdin=text))
    provoke(repo.path, "verify-tag", "v2.0.0")
    assert marker.exists()
    marker.unlink()

    everything(scratch, repo, "v2.0.0")

    assert not marker.exists()


def test_its_attributes_do_not_count(repo: Repository, scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "attributes").write_text("*.py text eol=crlf\n")
    repo.git("config", "core.attributesFile", str(tmp_path / "attributes"))
    (repo.path / ".git/info").mkdir(exist_ok=True)
    (repo.path / ".git/info/attributes").write_text("*.py text eol=crlf\n")

    assert (everything(scratch, repo) / "app.py").read_bytes() == b"print('one')\n"


@pytest.mark.parametrize("setting", ["core.autocrlf true", "core.eol crlf", "core.symlinks false", "core.fileMode false"])
def test_its_configuration_does_not_change_what_is_written(repo: Repository, scratch: Path, setting: str) -> None:
    (repo.path / "link").symlink_to("app.py")
    repo.commit({".gitattributes": "*.txt text\n", "text.txt": "line\n"}, tag="v2.0.0")
    repo.git("config", *setting.split())

    place = everything(scratch, repo, "v2.0.0")

    assert (place / "text.txt").read_bytes() == b"line\n"
    assert (place / "link").is_symlink()
    assert source_of(scratch, api=repo).drift({"api": repo.head}, place) == {}


def test_its_ignored_files_count_as_drift(repo: Repository, scratch: Path) -> None:
    (repo.path / ".git/info").mkdir(exist_ok=True)
    (repo.path / ".git/info/exclude").write_text("*.evil\n")
    place = everything(scratch, repo)
    (place / "x.evil").touch()

    assert list(source_of(scratch, api=repo).drift({"api": repo.head}, place)) == ["x.evil"]


def test_its_replacement_worktree_is_not_touched(repo: Repository, scratch: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    repo.git("config", "core.worktree", str(elsewhere))

    everything(scratch, repo)

    assert list(elsewhere.iterdir()) == []


def test_a_partial_clone_fetches_nothing(repo: Repository, scratch: Path, tmp_path: Path, marker: Path) -> None:
    repo.git("config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", "--no-checkout", f"file://{repo.path}", "partial")
    partial = tmp_path / "partial"
    git(partial, "config", "remote.origin.uploadpack", program(tmp_path, marker))
    provoke(partial, "show", "v1.0.0:app.py")
    assert marker.exists()
    marker.unlink()

    source = source_of(scratch, api=partial)
    commits = source.resolve("v1.0.0", ANY).commits
    (scratch / "release").mkdir()
    with pytest.raises(Failed, match="repository api"):
        source.write(commits, scratch / "release")

    assert not marker.exists()
