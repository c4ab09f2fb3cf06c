"""Draw the way of a release through the container, and the effect of a failed step or a killed run."""

from __future__ import annotations

from svg import Picture

from release_agent.errors import Exit

_WIDE, _GAP, _LEFT = 84, 14, 15
_TOP, _HIGH = 76, 84
_STEPS = (
    ("plain", "/repos", "git tags,", "mounted", "read-only"),
    ("plain", "Build", "files of the", "commit in", "releases/"),
    ("plain", "Hooks", "your builds,", "tests,", "migrations"),
    ("plain", "Rehearsal", "a copy has", "to answer", "first"),
    ("step", "current", "the swap:", "one rename", "of a link"),
    ("plain", "Restart", "supervisord", "restarts the", "services"),
    ("plain", "Probes", "the new", "code must", "answer"),
    ("good", "Deployed", f"exit {Exit.OK}", "history,", "Consul"),
)
_TITLE = "The way of a release through the container"
_DESCRIPTION = f"""A deployment takes a tag from the read-only repositories, builds its files in releases, runs hooks and
rehearses a copy of the service. If one of these steps fails, the run ends with exit {Exit.FAILED}. The old release keeps
running unchanged, and a migration that ran stays. Then one rename swaps the link current. supervisord restarts the services, and
probes check the new code. If it is healthy, the release is deployed (exit {Exit.OK}), and history and Consul show it.
Otherwise the old release is published again, restarted and proved healthy (exit {Exit.ROLLED_BACK}). If
the old release is not healthy either, the exit is {Exit.ROLLBACK_FAILED}. If the run is killed before the swap, the next boot or
deploy undoes it. If it is killed after the swap, the next boot or deploy finishes it or rolls back."""


def _x(step: int) -> float:
    return _LEFT + step * (_WIDE + _GAP)


def draw() -> str:
    """Return the picture."""
    picture = Picture(402, _TITLE, _DESCRIPTION)
    before, after = _x(4) - _GAP - _x(0), _x(8) - _GAP - _x(5)
    from_swap = _x(8) - _GAP - _x(4)
    picture.text(_x(0), 30, "$ supervisorctl start deploy", "mono")
    picture.zone(_x(0) - 7, 44, before + 14, 124)
    picture.zone(_x(5) - 7, 44, after + 14, 124)
    picture.text(_x(0) + before / 2, 64, "The old release is live, and stays as it is", "label", room=before)
    picture.text(_x(5) + after / 2, 64, "The new release must prove itself", "label", room=after)
    picture.steps(_STEPS, _LEFT, _TOP, (_WIDE, _HIGH), _GAP)
    _failures(picture, before, from_swap)
    picture.text(_x(0), 309, "If the run is killed, or the machine goes down", "label")
    picture.card("zone", (_x(0), 318, before, 44), "The next boot or deploy undoes it")
    picture.card("zone", (_x(4), 318, from_swap, 44), "The next boot or deploy finishes it", "or rolls back")
    picture.text(400, 388, "At any moment, current names one complete release.", "label", room=700)
    return picture.svg()


def _failures(picture: Picture, before: float, from_swap: float) -> None:
    """Draw what happens if a step fails."""
    top, high, last = 212, 70, 128
    back = from_swap - last - _GAP
    picture.text(_x(0), 202, "If a step fails", "label")
    picture.arrow((_x(0) + before / 2, 168), (_x(0) + before / 2, top - 1))
    picture.card(
        "warn",
        (_x(0), top, before, high),
        f"Exit {Exit.FAILED}: the old release runs on",
        "no process was restarted; a migration that ran stays",
        f"({Exit.REFUSED} if the revision is refused, {Exit.CANCELLED} if you cancel the run)",
    )
    picture.arrow((_x(5) + 40, 168), (_x(5) + 40, top - 1))
    picture.arrow((_x(4) + _WIDE / 2, top), (_x(4) + _WIDE / 2, _TOP + _HIGH + 1))
    picture.card(
        "warn",
        (_x(4), top, back, high),
        f"Exit {Exit.ROLLED_BACK}: rolled back",
        "the old release is published again,",
        "restarted, and proved healthy",
    )
    picture.arrow((_x(4) + back, top + high / 2), (_x(4) + back + _GAP - 1, top + high / 2))
    picture.card(
        "bad",
        (_x(4) + back + _GAP, top, last, high),
        f"Exit {Exit.ROLLBACK_FAILED}",
        "that is not",
        "healthy either",
    )
