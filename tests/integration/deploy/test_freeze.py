"""A freeze refuses deployments."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from support.waiting import eventually

if TYPE_CHECKING:
    from support.host import Host


@pytest.fixture
def frozen(host: Host) -> Host:
    """A host on v1.1.0, with v1.0.0 behind, whose deployments are frozen."""
    host.deploy("v1.0.0")
    host.deploy("v1.1.0")
    host.repository.release("v1.2.0")
    assert host.agent("freeze", "the database moves", "--until", "2h", "--by", "ada").code == 0
    return host


def test_who_deploys_to_a_frozen_host_is_refused_and_told_why(frozen: Host) -> None:
    ran = frozen.deploy("v1.2.0")
    checked = frozen.deploy("v1.2.0", "--dry-run")
    back = frozen.agent("rollback", "--json")
    asked = frozen.rpc.release.deploy("v1.2.0", True)

    assert (ran.code, ran.json["outcome"], ran.json["error"]["code"]) == (12, "refused", "frozen")
    assert "by ada" in ran.json["error"]["message"]
    assert "the database moves" in ran.json["error"]["message"]
    assert [one.json["error"]["code"] for one in (checked, back)] == ["frozen", "frozen"]
    assert asked["error"]["code"] == "frozen"
    assert frozen.serves() == "v1.1.0"
    assert [entry["outcome"] for entry in frozen.history()][:3] == ["refused"] * 3


def test_a_freeze_is_seen_and_can_be_gone_against_and_ended(frozen: Host) -> None:
    assert frozen.status()["frozen"]["why"] == "the database moves"
    assert "frozen    by ada since" in frozen.agent("status").out
    assert "warning freeze: deployments are frozen by ada" in frozen.agent("doctor").out
    assert frozen.rpc.release.getStatus()["frozen"]["by"] == "ada"

    assert frozen.deploy("v1.2.0", "--despite-freeze").code == 0
    assert frozen.rpc.release.rollback("", True, "rpc", "", True)["outcome"] == "deployed"
    assert frozen.supervisorctl("release", "deploy", "--despite-freeze", "v1.2.0").code == 0
    assert frozen.supervisorctl("release", "rollback").code == 12

    assert frozen.agent("unfreeze").code == 0

    assert frozen.status()["frozen"] is None
    assert frozen.agent("rollback").code == 0


def test_a_frozen_host_serves_after_a_restart_and_goes_back_by_itself(frozen: Host) -> None:
    frozen.stop()
    frozen.start(boot=True)
    eventually(lambda: frozen.process("boot")[0] == "EXITED", "boot ended")
    assert frozen.serves() == "v1.1.0"

    frozen.repository.release("v1.3.0", "sick")
    ran = frozen.deploy("v1.3.0", "--despite-freeze")

    assert (ran.code, frozen.serves()) == (20, "v1.1.0")


def test_a_freeze_ends_by_itself(host: Host) -> None:
    assert host.agent("freeze", "for a moment", "--until", "1ms").code == 0

    assert host.deploy().code == 0
    assert host.status()["frozen"] is None


def test_a_release_is_staged_on_a_frozen_host(frozen: Host) -> None:
    assert frozen.agent("stage", "v1.2.0", "--json").json["outcome"] == "staged"


def test_a_freeze_that_cannot_be_read_keeps_no_host_from_serving_and_can_be_ended(frozen: Host) -> None:
    with closing(sqlite3.connect(frozen.root / ".release-agent/state.db")) as journal, journal:
        journal.execute("UPDATE setting SET value = '[]' WHERE name = 'freeze'")
    asked = frozen.deploy("v1.2.0")
    frozen.root.joinpath("current").unlink()

    assert asked.json["error"]["code"] == "journal-broken"
    assert frozen.agent("boot").code == 0
    assert frozen.agent("unfreeze").out == "deployments are not frozen any more\n"
    assert frozen.deploy("v1.1.0").code == 0
