"""Draw a rollout: its waves, the reasons to end it, and the hosts after that."""

from __future__ import annotations

from svg import Picture

from release_agent.errors import Exit

_WIDE, _GAP, _LEFT = 98, 14, 15
_TOP, _HIGH = 76, 84
_STEPS = (
    ("plain", "Preflight", "asks all hosts", "and shows", "the plan"),
    ("plain", "Wave 1", "one host,", "then a bake", "of 30 s"),
    ("step", "Approval", "a person", "(--approve),", "or a --gate"),
    ("plain", "Wave 2", "25 % of all,", "then a bake", "of 30 s"),
    ("plain", "Wave 3", "all others,", "then a bake", "of 30 s"),
    ("plain", "Last look", "is it live and", "healthy on", "all hosts?"),
    ("good", "Completed", f"exit {Exit.OK}", "all hosts", "were asked"),
)
_TITLE = "A rollout across a fleet"
_DESCRIPTION = f"""Preflight asks all hosts, takes the lock and shows the plan. If too many hosts have faults, the exit is
{Exit.FLEET_FAILED} and no host was changed. Then the hosts deploy in waves: one host, a quarter of the hosts, all the others.
After each wave there is a bake, during which all hosts must stay healthy. After the first wave a person or a gate may decide.
Without an approval the exit is {Exit.AWAITS_APPROVAL}. A last look asks the hosts, and the rollout completes with exit {Exit.OK}.
A host whose deployment fails rolls itself back. If more hosts fail than allowed, the rollout stops with exit
{Exit.FLEET_FAILED}. With --revert, each changed host rolls back to its previous release, and the exit is
{Exit.FLEET_REVERTED}. If fewer hosts failed, the others take the revision, and the exit is {Exit.FLEET_PARTIAL}. If the
operator's machine fails, rollout resume continues, and no host deploys twice."""


def _x(step: int) -> float:
    return _LEFT + step * (_WIDE + _GAP)


def _across(first: int, last: int) -> float:
    return _x(last + 1) - _GAP - _x(first)


def draw() -> str:
    """Return the picture."""
    picture = Picture(402, _TITLE, _DESCRIPTION)
    waves = _across(1, 4)
    picture.text(_x(0), 30, "$ release-agent rollout start v1.4.2 --fleet fleet.toml --approve --revert", "mono")
    picture.zone(_x(1) - 7, 44, waves + 14, 124)
    picture.text(_x(1) + waves / 2, 64, "Each host deploys, and rolls itself back if it fails", "label", room=waves)
    picture.steps(_STEPS, _LEFT, _TOP, (_WIDE, _HIGH), _GAP)
    _failures(picture)
    picture.text(_x(0), 309, "If the operator's machine goes down, or nobody is there", "label")
    resumed = "the record says how far each host is: none deploys twice"
    picture.card("zone", (_x(0), 318, _across(0, 3), 64), "rollout resume goes on", resumed)
    waits = f"Exit {Exit.AWAITS_APPROVAL}: waits for approval"
    picture.card("zone", (_x(4), 318, _across(4, 6), 64), waits, "rollout approve, then rollout resume")
    return picture.svg()


def _failures(picture: Picture) -> None:
    """Draw what happens if hosts fail."""
    top, high = 212, 70
    picture.text(_x(0), 202, "If hosts fail", "label")
    for place, begin in ((_x(0) + 80, _TOP + _HIGH), (_x(2) + _WIDE / 2, 168), (_x(5) + _WIDE / 2, _TOP + _HIGH)):
        picture.arrow((place, begin), (place, top - 1))
    half = _across(1, 2)
    picture.card("warn", (_x(0), top, _WIDE, high), f"Exit {Exit.FLEET_FAILED}", "nothing was", "changed")
    stopped = "too many failed: no further", "host starts, none reverts"
    picture.card("bad", (_x(1), top, half, high), f"Exit {Exit.FLEET_FAILED}: stopped", *stopped)
    picture.arrow((_x(1) + half, top + high / 2), (_x(3) - 1, top + high / 2))
    reverted = "--revert: each rolls back", "to its previous release"
    picture.card("warn", (_x(3), top, half, high), f"Exit {Exit.FLEET_REVERTED}: reverted", *reverted)
    within = "the others took it, those", "that failed are named"
    picture.card("warn", (_x(5), top, half, high), f"Exit {Exit.FLEET_PARTIAL}: within budget", *within)
