"""The signer of the live release: in the record, the history and the status, after a deployment, a rollback and a repair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent import status, text
from release_agent.deploy.agent import Agent
from release_agent.deploy.check import check
from release_agent.model import Action, Request
from release_agent.system.clock import SystemClock
from release_agent.wiring import Parts
from support.configuration import configuration
from support.signers import Signer
from support.supervisors import supervising

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.repositories import Repository

ADA, EVE = {"api": "ada@example.org"}, {"api": "eve@example.org"}


@pytest.fixture
def parts(repo: Repository) -> Iterator[Parts]:
    """A container that deploys signed tags only; Ada signed v1.1.0, Eve v1.2.0."""
    place = repo.path.parents[1]
    signers = {name: Signer(place, name) for name in ("ada", "eve")}
    (place / "signers").write_text("".join(signer.line for signer in signers.values()))
    for tag, name in (("v1.1.0", "ada"), ("v1.2.0", "eve")):
        repo.commit({"version": tag})
        signers[name].sign(repo, tag)
    app = f'[app]\nname = "api"\nenvironment = "test"\nroot = "{place}/root"\n'
    repository = f'[[repository]]\nname = "api"\npath = "{repo.path}"\n'
    extra = f'[health]\nstable_for = "0s"\n[revision]\nsigned = true\nallowed_signers = "{place}/signers"\n'
    with supervising([]) as url:
        yield Parts(
            configuration(f"{extra}[consul]\nenabled = false\n", app=app, repository=repository),
            SystemClock(),
            {"SUPERVISOR_SERVER_URL": url},
        )


def deploy(parts: Parts, revision: str) -> dict[str, str]:
    """Deploy a revision, and return who signed it, as its record has it."""
    request = Request(f"d-{revision}", revision=revision)
    with parts.locked(request) as context:
        record = Agent(context).deploy(request)
    assert not record.error
    return record.signers


def test_the_record_of_a_deployment_and_the_history_name_the_signer(parts: Parts) -> None:
    assert (deploy(parts, "v1.1.0"), deploy(parts, "v1.2.0")) == (ADA, EVE)

    with parts.journal() as journal:
        entries = journal.history()
        lines = text.history(entries).splitlines()
    assert [entry["signers"] for entry in entries] == [EVE, ADA]
    assert ["signed by eve@example.org" in lines[0], "signed by ada@example.org" in lines[1]] == [True, True]
    assert "signed by eve@example.org" in text.deployment({**entries[0], "hooks": []})


def test_the_release_keeps_its_signer_so_that_status_and_a_rollback_name_them(parts: Parts) -> None:
    deploy(parts, "v1.1.0")
    deploy(parts, "v1.2.0")
    back = Request("d-back", Action.ROLLBACK)

    with parts.locked(back) as context:
        assert Agent(context).roll_back(back).signers == ADA

    with parts.looking() as context, parts.journal() as journal:
        body, _ = status.status(context, journal, None, dict)
    assert body["current"]["signers"] == ADA
    assert "signed by ada@example.org" in text.status(body, (), "")


def test_a_dry_run_names_the_signer(parts: Parts) -> None:
    with parts.looking() as context:
        record, body = check(context, Request("d-1", revision="v1.1.0"))

    assert (record.signers, body["signers"]) == (ADA, ADA)
    assert "signed by ada@example.org" in text.check(body)


def test_a_repaired_journal_still_names_the_signer(parts: Parts) -> None:
    deploy(parts, "v1.1.0")
    parts.root().database.unlink()

    with parts.locked(Request("d-2")) as context:
        assert [entry["signers"] for entry in context.journal.history()] == [ADA]


def test_a_run_that_was_killed_keeps_its_signer_when_it_is_recovered(parts: Parts) -> None:
    deploy(parts, "v1.1.0")
    with parts.locked(Request("d-2")) as context:
        context.journal.write("UPDATE deployment SET outcome = NULL, stage = 'publishing'", ())

    deploy(parts, "v1.2.0")

    with parts.journal() as journal:
        assert [(entry["id"], entry["signers"]) for entry in journal.history()] == [("d-v1.2.0", EVE), ("d-v1.1.0", ADA)]
