"""A container starts with no live release, and no version can be deployed: the error of boot says what to fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.deploy.agent import Agent, boot_request
from release_agent.system.clock import SystemClock
from release_agent.wiring import Parts
from support.configuration import configuration
from support.signers import Signer
from support.supervisors import supervising

if TYPE_CHECKING:
    from release_agent.model import Record
    from support.repositories import Repository


def booted(repo: Repository, extra: str = "") -> tuple[Record, list[tuple[str, str]]]:
    """Return the record at the end of a boot, and every run that it made: revision and error code, oldest first."""
    app = f'[app]\nname = "api"\nenvironment = "test"\nroot = "{repo.path.parents[1]}/root"\n'
    repository = f'[[repository]]\nname = "api"\npath = "{repo.path}"\n'
    config = configuration(f'[consul]\nenabled = false\n[health]\nstable_for = "0s"\n{extra}', app=app, repository=repository)
    with supervising([]) as url:
        request = boot_request()
        with Parts(config, SystemClock(), {"SUPERVISOR_SERVER_URL": url}).locked(request) as context:
            record, healthy = Agent(context).boot(request)
            assert not healthy
            made = [(entry["revision"], entry["error"]["code"]) for entry in reversed(context.journal.history())]
    return record, made


def code_of(record: Record) -> str:
    assert record.error
    return record.error["code"]


def test_without_the_file_of_signers_boot_names_the_file_and_tries_no_older_version(repo: Repository) -> None:
    Signer(repo.path.parents[1], "ada").sign(repo, "v1.1.0")

    record, made = booted(repo, '[revision]\nsigned = true\nallowed_signers = "/nowhere/signers"\n')

    assert (record.revision, code_of(record)) == ("v1.1.0", "signers-missing")
    assert made == [("v1.1.0", "signers-missing")]


def test_without_the_file_of_signers_even_a_tag_that_is_not_signed_is_told_about_the_file(repo: Repository) -> None:
    record, _ = booted(repo, '[revision]\nsigned = true\nallowed_signers = "/nowhere/signers"\n')

    assert code_of(record) == "signers-missing"


def test_when_every_version_is_refused_boot_names_what_the_newest_one_needs(repo: Repository) -> None:
    place = repo.path.parents[1]
    ada = Signer(place, "ada")
    (place / "signers").write_text(ada.line)
    repo.commit({"release.toml": "[nonsense]\n"})
    ada.sign(repo, "v1.1.0")

    record, made = booted(repo, f'[revision]\nsigned = true\nallowed_signers = "{place}/signers"\n')

    assert made == [("v1.1.0", "release-toml-invalid"), ("v1.0.0", "tag-unsigned")]
    assert (record.revision, code_of(record)) == ("v1.1.0", "release-toml-invalid")


def test_of_versions_that_went_live_and_failed_boot_names_the_one_that_is_live(repo: Repository) -> None:
    for tag in ("v1.1.0", "v1.2.0"):
        repo.commit({"release.toml": "[hooks]\nafter_publish = [{ run = 'exit 3' }]\n"}, tag=tag)
    repo.git("tag", "--delete", "v1.0.0")

    record, made = booted(repo)

    assert made == [("v1.2.0", "nothing-behind"), ("v1.1.0", "nothing-behind")]
    assert record.revision == "v1.1.0"
