"""Draw the phases of a deployment from left to right: hooks above, exit codes below, and what a killed run leaves."""

from __future__ import annotations

from svg import Picture

from release_agent.errors import Exit

_WIDE, _GAP, _LEFT = 98, 12, 17
_TOP, _HIGH = 124, 66
_PHASES = (
    ("plain", "resolve", "commits of", "the revision"),
    ("plain", "plan", "checks before", "any change"),
    ("plain", "build", "files, links", "to shared/"),
    ("plain", "sync", "all durable,", "in releases/"),
    ("plain", "rehearse", "a copy has", "to answer"),
    ("step", "publish", "current is", "swapped"),
    ("plain", "restart", "services, one", "by one"),
    ("plain", "health", "all healthy", "and stable"),
    ("plain", "report", "history", "and Consul"),
    ("plain", "prune", "surplus", "releases go"),
)
# A hook: the phase after it, its height in the picture, and its name.
_HOOKS = (
    (3, 0, "build"),
    (4, 1, "before_publish"),
    (6, 0, "after_publish"),
    (7, 1, "before_stop, after_start"),
    (8, 0, "after_deploy"),
    (9, 1, "after_failure"),
)
# The first and the last phase, and the effect of a failure there.
_FAILS = (
    (
        "warn",
        0,
        4,
        f"Exit {Exit.REFUSED} or {Exit.FAILED} ({Exit.CANCELLED}: cancelled)",
        "the old release runs on; a migration that ran stays",
    ),
    ("warn", 5, 7, f"Exit {Exit.ROLLED_BACK}: rolled back", f"{Exit.ROLLBACK_FAILED}: not healthy either"),
    ("good", 8, 9, f"Exit {Exit.OK}: deployed", "whatever fails here"),
)
# The first and the last phase, what a run killed there leaves, and what the next run does.
_KILLED = (
    (0, 1, ("an open line", "in the journal"), ("ends it as", "cancelled")),
    (2, 3, ("a directory, or a release", "that was never live"), ("removes it",)),
    (4, 4, ("the same,", "and a copy"), ("removes", "both")),
    (5, 5, ("old or new", "is live"), ("undoes or", "finishes it")),
    (6, 7, ("the new release live,", "old processes perhaps"), ("restarts all, proves;", "or rolls back")),
    (8, 8, ("a report", "not sent"), ("sends it",)),
    (9, 9, ("a directory in", "incoming/"), ("removes it",)),
)
_TITLE = "The timeline of a deployment"
_DESCRIPTION = f"""The phases of a deployment are resolve, plan, build, sync, rehearse, publish, restart, health, report and
prune. Hooks run between them: build after the phase build, before_publish after sync, after_publish after the swap
of current, before_stop and after_start around the restart of each process, after_deploy when all are healthy, and
after_failure at the end of a run that failed. A failure before publish ends with exit {Exit.REFUSED} or
{Exit.FAILED}. The old release keeps running, and a migration that ran stays. After a failure from publish to
after_deploy the agent rolls back (exit {Exit.ROLLED_BACK}), or ends with {Exit.ROLLBACK_FAILED} if the previous
release is not healthy either. If a run is killed in resolve or plan, it leaves an open line in the journal, and
the next run ends this line as cancelled. In build or sync it leaves a directory, or a release that was never
live, and the next run removes it. In rehearse it also leaves a copy, which the plugin removes. In publish either
the old release is live or the new one, and the next run undoes or finishes the publication. In restart or health
the new release is live. The next run runs the hooks after_publish again, restarts all services and proves them,
or rolls back. In report it leaves a report that the next run sends. In prune it leaves a directory that the next
run removes."""


def _x(phase: int) -> float:
    return _LEFT + phase * (_WIDE + _GAP)


def _span(first: int, last: int) -> tuple[float, float]:
    """Return the start of phases, and their width together."""
    return _x(first), _x(last) + _WIDE - _x(first)


def draw() -> str:
    """Return the picture."""
    picture = Picture(456, _TITLE, _DESCRIPTION, width=1122)
    picture.text(_x(0), 28, "Hooks", "label")
    for phase, row, name in _HOOKS:
        middle, wide, top = _x(phase) - _GAP / 2, 8 * len(name) + 16, 16 + 40 * row
        picture.card("zone", (middle - wide / 2, top, wide, 26), name)
        picture.arrow((middle, top + 27), (middle, _TOP + _HIGH / 2 - 6))
    picture.steps(_PHASES, _LEFT, _TOP, (_WIDE, _HIGH), _GAP)
    picture.text(_x(0), 216, "If a step fails", "label")
    for look, first, last, head, line in _FAILS:
        left, wide = _span(first, last)
        picture.card(look, (left, 226, wide, 50), head, line)
    picture.text(_x(0), 302, "If the run is killed there, this is left", "label")
    picture.text(_x(0), 374, "The next boot or deploy", "label")
    for first, last, leaves, does in _KILLED:
        left, wide = _span(first, last)
        picture.words("plain", (left, 312, wide, 44), *leaves)
        picture.words("zone", (left, 384, wide, 44), *does)
    return picture.svg()
