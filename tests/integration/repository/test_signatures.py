"""Signed tags, with keys from ssh-keygen."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Refused
from release_agent.model import Kind, Target
from support.privileges import unprivileged
from support.repositories import Repository, source_of
from support.signers import Signer

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.repository.source import GitSource

PGP = "-----BEGIN PGP SIGNATURE-----\n\niQEzBAABCAAdFiEE\n-----END PGP SIGNATURE-----\n"


@pytest.fixture
def ada(tmp_path: Path) -> Signer:
    """An allowed signer."""
    return Signer(tmp_path, "ada")


@pytest.fixture
def eve(tmp_path: Path) -> Signer:
    """A signer whom nobody allows."""
    return Signer(tmp_path, "eve")


@pytest.fixture
def allowed(tmp_path: Path, ada: Signer) -> str:
    """The file that allows Ada."""
    file = tmp_path / "allowed_signers"
    file.write_text(ada.line)
    return str(file)


def verify(source: GitSource, tag: str, allowed: str) -> Target:
    target = source.resolve(tag, (Kind.TAG,))
    source.verify_signatures(target, allowed)
    return target


def refusal(scratch: Path, repo: Repository, tag: str, allowed: str) -> Refused:
    with pytest.raises(Refused) as refused:
        verify(source_of(scratch, api=repo), tag, allowed)
    assert "repository api" in refused.value.message or refused.value.code is Code.SIGNERS_MISSING
    return refused.value


def forge(repo: Repository, tag: str, text: str) -> None:
    """Put any text into the repository as a tag's object."""
    repo.git("update-ref", f"refs/tags/{tag}", repo.git("hash-object", "-t", "tag", "-w", "--literally", "--stdin", stdin=text))


def test_a_tag_signed_by_an_allowed_signer_passes(repo: Repository, scratch: Path, ada: Signer, allowed: str) -> None:
    ada.sign(repo, "v1.4")

    assert verify(source_of(scratch, api=repo), "v1.4", allowed).commits == {"api": repo.head}


def test_the_signer_of_each_repositorys_tag_is_named_as_the_list_of_signers_names_them(
    repo: Repository, scratch: Path, ada: Signer, eve: Signer, tmp_path: Path
) -> None:
    (tmp_path / "both").write_text(ada.line + eve.line.replace("eve@example.org", '"Eve Adams <eve@example.org>"'))
    web = Repository(tmp_path / "web")
    web.commit({"index.html": "x"})
    ada.sign(repo, "v1.4")
    eve.sign(web, "v1.4")
    source = source_of(scratch, api=repo, web=web)

    signers = source.verify_signatures(source.resolve("v1.4", (Kind.TAG,)), str(tmp_path / "both"))

    assert signers == {"api": "ada@example.org", "web": "Eve Adams <eve@example.org>"}


def test_a_git_that_ends_well_and_names_no_signer_lets_nothing_pass(
    repo: Repository, scratch: Path, ada: Signer, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path = repo.path.parents[1]
    ada.sign(repo, "v1.4")
    git = shutil.which("git")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text(f'#!/bin/sh\ncase "$*" in *verify-tag*) exit 0;; esac\nexec {git} "$@"\n')
    (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    assert refusal(scratch, repo, "v1.4", allowed).code is Code.SIGNATURE_BAD


def test_a_tag_signed_by_somebody_else_is_refused(repo: Repository, scratch: Path, eve: Signer, allowed: str) -> None:
    eve.sign(repo, "v1.4")

    error = refusal(scratch, repo, "v1.4", allowed)

    assert error.code is Code.SIGNATURE_BAD
    assert "not signed by an allowed signer" in error.message


def test_several_signers_may_be_allowed(repo: Repository, scratch: Path, ada: Signer, eve: Signer, tmp_path: Path) -> None:
    (tmp_path / "both").write_text(ada.line + eve.line)
    ada.sign(repo, "v1.4")
    eve.sign(repo, "v1.5")
    source = source_of(scratch, api=repo)

    assert verify(source, "v1.4", str(tmp_path / "both"))
    assert verify(source, "v1.5", str(tmp_path / "both"))


def test_the_repositorys_own_signers_do_not_count(
    repo: Repository, scratch: Path, eve: Signer, allowed: str, tmp_path: Path
) -> None:
    (tmp_path / "its-own").write_text(eve.line)
    repo.git("config", "gpg.ssh.allowedSignersFile", str(tmp_path / "its-own"))
    eve.sign(repo, "v1.4")

    assert refusal(scratch, repo, "v1.4", allowed).code is Code.SIGNATURE_BAD


def test_an_annotated_tag_without_signature_is_refused(repo: Repository, scratch: Path, allowed: str) -> None:
    repo.git("tag", "--annotate", "--message=x", "v1.4")

    assert refusal(scratch, repo, "v1.4", allowed).code is Code.TAG_UNSIGNED


def test_a_lightweight_tag_is_refused(repo: Repository, scratch: Path, allowed: str) -> None:
    repo.git("tag", "v1.4")

    error = refusal(scratch, repo, "v1.4", allowed)

    assert error.code is Code.TAG_UNSIGNED
    assert "tag v1.4 in repository api is not signed" in error.message


def test_a_signed_tag_under_another_tags_name_is_refused(repo: Repository, scratch: Path, ada: Signer, allowed: str) -> None:
    repo.git("update-ref", "refs/tags/v1.4", ada.sign(repo, "v1.3"))

    error = refusal(scratch, repo, "v1.4", allowed)

    assert error.code is Code.SIGNATURE_BAD
    assert "the tag object of v1.4 in repository api was signed as v1.3" in error.message


def test_a_tag_whose_name_only_begins_like_the_signed_one_is_refused(
    repo: Repository, scratch: Path, ada: Signer, allowed: str
) -> None:
    repo.git("update-ref", "refs/tags/v1.4", ada.sign(repo, "v1.4-rc.1"))

    assert refusal(scratch, repo, "v1.4", allowed).code is Code.SIGNATURE_BAD


def test_a_tag_that_was_moved_to_another_commit_after_it_was_signed_is_refused(
    repo: Repository, scratch: Path, ada: Signer, allowed: str
) -> None:
    ada.sign(repo, "v1.4")
    repo.git("update-ref", "refs/tags/v1.4", repo.commit({"app.py": "evil"}))

    assert refusal(scratch, repo, "v1.4", allowed).code is Code.TAG_UNSIGNED


def test_a_signature_pasted_under_another_commit_is_refused(repo: Repository, scratch: Path, ada: Signer, allowed: str) -> None:
    signed = repo.git("cat-file", "tag", ada.sign(repo, "v1.4")) + "\n"
    good = repo.head
    forge(repo, "v1.4", signed.replace(good, repo.commit({"app.py": "evil"})))

    assert refusal(scratch, repo, "v1.4", allowed).code is Code.SIGNATURE_BAD


def loose(repo: Repository, object_id: str) -> Path:
    place = repo.path / ".git/objects" / object_id[:2] / object_id[2:]
    place.chmod(0o644)
    return place


def test_a_forged_tag_in_whose_place_a_signed_one_is_put_for_the_check_is_refused(
    repo: Repository, scratch: Path, ada: Signer, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = ada.sign(repo, "v1.4")
    signed, right = repo.git("cat-file", "tag", tag) + "\n", loose(repo, tag).read_bytes()
    forge(repo, "v1.4", signed.replace(repo.head, repo.commit({"app.py": "evil"})))
    forged = loose(repo, repo.git("rev-parse", "v1.4"))
    (scratch / "right").write_bytes(right)
    wrapper = scratch / "bin/git"
    wrapper.parent.mkdir()
    put = f'case "$*" in *verify-tag*) cp {scratch}/right {forged} ;; esac'
    wrapper.write_text(f'#!/bin/sh\n{put}\nexec {shutil.which("git")} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(wrapper.parent), prepend=os.pathsep)

    assert refusal(scratch, repo, "v1.4", allowed).code is Code.SIGNATURE_BAD
    assert forged.read_bytes() == right


def test_a_name_in_the_message_is_not_the_tags_name(repo: Repository, scratch: Path, ada: Signer, allowed: str) -> None:
    how = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={ada.key}"]
    repo.git(*how, "tag", "--sign", "--message", "notes\n\ntag v1.4\n", "v1.3")
    repo.git("update-ref", "refs/tags/v1.4", repo.git("rev-parse", "refs/tags/v1.3"))

    assert refusal(scratch, repo, "v1.4", allowed).code is Code.SIGNATURE_BAD


def test_a_pgp_signature_is_no_ssh_signature(repo: Repository, scratch: Path, allowed: str) -> None:
    forge(repo, "v1.4", f"object {repo.head}\ntype commit\ntag v1.4\ntagger A <a@b> 1700000000 +0000\n\nx\n{PGP}")

    error = refusal(scratch, repo, "v1.4", allowed)

    assert error.code is Code.TAG_UNSIGNED
    assert "has no SSH signature" in error.message


def test_a_pgp_signature_after_the_words_of_an_ssh_signature_is_refused(repo: Repository, scratch: Path, allowed: str) -> None:
    words = "-----BEGIN SSH SIGNATURE-----\nabcd\n-----END SSH SIGNATURE-----\n"
    forge(repo, "v1.4", f"object {repo.head}\ntype commit\ntag v1.4\ntagger A <a@b> 1700000000 +0000\n\n{words}{PGP}")

    assert refusal(scratch, repo, "v1.4", allowed).code is Code.SIGNATURE_BAD


def test_a_garbled_signature_is_refused(repo: Repository, scratch: Path, ada: Signer, allowed: str) -> None:
    lines = repo.git("cat-file", "tag", ada.sign(repo, "v1.4")).splitlines()
    lines[-3] = lines[-3][::-1]
    forge(repo, "v1.4", "\n".join(lines) + "\n")

    assert refusal(scratch, repo, "v1.4", allowed).code is Code.SIGNATURE_BAD


@pytest.mark.parametrize("kind", ["missing", "a directory's child"])
def test_a_missing_file_of_signers_is_told_apart_from_a_bad_signature(
    repo: Repository, scratch: Path, ada: Signer, tmp_path: Path, kind: str
) -> None:
    ada.sign(repo, "v1.4")
    path = {"missing": tmp_path / "nowhere", "a directory's child": ada.key / "x"}[kind]

    error = refusal(scratch, repo, "v1.4", str(path))

    assert error.code is Code.SIGNERS_MISSING
    assert str(path) in error.message


def test_an_empty_file_of_signers_allows_nobody(repo: Repository, scratch: Path, ada: Signer, tmp_path: Path) -> None:
    ada.sign(repo, "v1.4")
    (tmp_path / "empty").touch()

    assert refusal(scratch, repo, "v1.4", str(tmp_path / "empty")).code is Code.SIGNATURE_BAD


@pytest.mark.parametrize("revision", ["main", "HEAD^{commit}"])
def test_only_tags_are_signed(repo: Repository, scratch: Path, allowed: str, revision: str) -> None:
    kind = Kind.BRANCH if revision == "main" else Kind.COMMIT
    name = revision if kind is Kind.BRANCH else repo.head
    source = source_of(scratch, api=repo)

    with pytest.raises(Refused) as refused:
        source.verify_signatures(source.resolve(name, (kind,)), allowed)

    assert refused.value.code is Code.TAG_UNSIGNED
    assert f"is a {kind}; only signed tags are deployed here" in refused.value.message


def test_the_tag_must_be_signed_in_every_repository(
    repo: Repository, scratch: Path, ada: Signer, allowed: str, tmp_path: Path
) -> None:
    web = Repository(tmp_path / "web")
    web.commit({"index.html": "x"}, tag="v1.4")
    ada.sign(repo, "v1.4")

    with pytest.raises(Refused, match=r"tag v1\.4 in repository web is not signed"):
        verify(source_of(scratch, api=repo, web=web), "v1.4", allowed)


def test_a_signed_tag_of_a_sha256_repository_passes(scratch: Path, ada: Signer, allowed: str, tmp_path: Path) -> None:
    modern = Repository(tmp_path / "modern", "--object-format=sha256")
    modern.commit({"app.py": "x"})
    ada.sign(modern, "v1.4")

    assert verify(source_of(scratch, api=modern), "v1.4", allowed).commits == {"api": modern.head}


def test_a_key_that_was_revoked_no_longer_counts(
    repo: Repository, scratch: Path, ada: Signer, eve: Signer, tmp_path: Path
) -> None:
    (tmp_path / "both").write_text(ada.line + eve.line)
    revoked = tmp_path / "revoked"
    revoked.write_text(eve.key.with_suffix(".pub").read_text())
    ada.sign(repo, "v1.4")
    eve.sign(repo, "v1.5")
    source = source_of(scratch, api=repo)
    kept, lost = (source.resolve(tag, (Kind.TAG,)) for tag in ("v1.4", "v1.5"))

    source.verify_signatures(kept, str(tmp_path / "both"), str(revoked))
    source.verify_signatures(lost, str(tmp_path / "both"))
    with pytest.raises(Refused) as refused:
        source.verify_signatures(lost, str(tmp_path / "both"), str(revoked))

    assert refused.value.code is Code.SIGNATURE_BAD


def test_revoked_keys_that_cannot_be_read_let_nothing_pass(repo: Repository, scratch: Path, ada: Signer, allowed: str) -> None:
    os.mkfifo(scratch / "fifo")
    ada.sign(repo, "v1.4")
    source = source_of(scratch, api=repo)
    target = source.resolve("v1.4", (Kind.TAG,))

    for name in ("nothing", "fifo"):
        with pytest.raises(Refused) as refused:
            source.verify_signatures(target, allowed, str(scratch / name))
        assert refused.value.code is Code.SIGNERS_MISSING


def test_a_list_of_signers_in_a_directory_that_may_not_be_entered_lets_nothing_pass(open_place: Path) -> None:
    repo = Repository(open_place / "api")
    repo.commit({"app.py": "x"}, tag="v1.0.0")
    (open_place / "closed").mkdir(mode=0o700)
    (open_place / "closed/signers").touch()

    with unprivileged():
        error = refusal(open_place / "scratch", repo, "v1.0.0", str(open_place / "closed/signers"))

    assert error.code is Code.SIGNERS_MISSING
