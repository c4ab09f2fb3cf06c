"""A freeze refuses some runs, and lets others pass."""

from __future__ import annotations

import pytest

from release_agent.deploy.policy.freeze import refuse_if_frozen
from release_agent.errors import Code, Refused
from release_agent.model import Action, Freeze, Request

FROZEN = Freeze("the database moves", "ada", "2026-11-22T22:00:00.000000Z", "2026-11-23T00:00:00.000000Z")


@pytest.mark.parametrize(
    "trigger", ["command", "supervisor", "supervisorctl", "rpc", "poll", "watch", "rollout-1", "rollout-1-revert"]
)
def test_a_deployment_that_somebody_asks_for_is_refused_with_who_why_and_until_when(trigger: str) -> None:
    with pytest.raises(Refused) as refused:
        refuse_if_frozen(lambda: FROZEN, Request("d-1", trigger=trigger))

    assert refused.value.code is Code.FROZEN
    assert refused.value.message == (
        "deployments are frozen by ada since 2026-11-22T22:00:00Z, until 2026-11-23T00:00:00Z: the database moves"
    )
    assert "unfreeze" in refused.value.hint
    assert "--despite-freeze" in refused.value.hint


@pytest.mark.parametrize("trigger", ["command", "rpc", "supervisorctl"])
def test_a_rollback_that_somebody_asks_for_is_refused(trigger: str) -> None:
    with pytest.raises(Refused, match="frozen"):
        refuse_if_frozen(lambda: FROZEN, Request("d-1", Action.ROLLBACK, trigger=trigger))


@pytest.mark.parametrize(
    "wanted",
    [
        Request("d-1", trigger="boot"),
        Request("d-1", Action.ROLLBACK, trigger="watch"),
        Request("d-1", Action.ROLLBACK, trigger="rollout-20261122T222046Z-c4d7aa-revert"),
        Request("d-1", despite_freeze=True),
    ],
    ids=["boot", "watch", "revert of a rollout", "asked to go on"],
)
def test_what_keeps_a_host_serving_is_never_refused(wanted: Request) -> None:
    refuse_if_frozen(lambda: FROZEN, wanted)


def test_a_host_that_is_not_frozen_refuses_nothing() -> None:
    refuse_if_frozen(lambda: None, Request("d-1"))
