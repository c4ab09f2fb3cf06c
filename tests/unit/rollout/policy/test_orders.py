from __future__ import annotations

from release_agent.rollout.model import Order
from release_agent.rollout.policy.orders import in_rank, overruled_by_resume


def _given(*verbs: str) -> list[Order]:
    return [Order(verb, "ada") for verb in verbs]


def test_abort_outranks_whatever_waits_and_the_others_stay_in_their_order() -> None:
    assert [order.verb for order in in_rank(_given("pause", "approve", "abort", "resume"))] == [
        *("abort", "pause", "approve", "resume"),
    ]


def test_who_resumes_overrules_a_pause_but_neither_an_approval_nor_an_abort() -> None:
    assert [order.verb for order in overruled_by_resume(_given("pause", "approve", "abort", "resume"))] == ["pause", "resume"]
