"""Draw which release is live after a run, by its exit code."""

from __future__ import annotations

from svg import Picture

from release_agent.errors import Exit

_TITLE = "Which release is live after a run"
_DESCRIPTION = f"""If the new release was not published, the old release is live and unchanged. The exit codes are then
{Exit.MISCONFIGURED} if the configuration is wrong, {Exit.BUSY} if another run is active, {Exit.REFUSED} if the agent refused the
revision, {Exit.FAILED} if a step failed, {Exit.CANCELLED} if a signal stopped the run, and {Exit.NO_TARGET} if there is no
release to roll back to. If the new release was published and is healthy, it is live: {Exit.OK}. If it was not healthy, the old
release was published again. If the old one is healthy, it is live: {Exit.ROLLED_BACK}. Otherwise no healthy release is live:
{Exit.ROLLBACK_FAILED}. If the run did not end, the next boot or deploy finishes or undoes it: {Exit.ERROR}."""
_BEFORE = (
    (Exit.MISCONFIGURED, "the configuration is wrong"),
    (Exit.BUSY, "another run is at work"),
    (Exit.REFUSED, "the revision is refused"),
    (Exit.FAILED, "a step failed"),
    (Exit.CANCELLED, "a signal stopped the run"),
    (Exit.NO_TARGET, "nothing to roll back to"),
)


def draw() -> str:
    """Return the picture."""
    picture = Picture(302, _TITLE, _DESCRIPTION)
    picture.card("step", (20, 20, 230, 46), "Was it published?")
    picture.arrow((135, 66), (135, 111))
    picture.text(145, 92, "no", "label")
    picture.card("warn", (20, 112, 230, 170), "The old release is live", *(f"{code}  {why}" for code, why in _BEFORE))
    picture.arrow((250, 43), (299, 43))
    picture.text(262, 36, "yes", "label")
    picture.card("step", (300, 20, 200, 46), "Is it healthy?")
    picture.arrow((500, 43), (559, 43))
    picture.text(514, 36, "yes", "label")
    picture.card("good", (560, 20, 220, 46), f"{Exit.OK}  The new one is live")
    picture.arrow((400, 66), (400, 111))
    picture.text(410, 92, "no: it is rolled back", "label")
    picture.card("step", (300, 112, 200, 62), "Is the old release", "healthy again?")
    picture.arrow((500, 143), (559, 143))
    picture.text(514, 136, "yes", "label")
    picture.card("warn", (560, 120, 220, 46), f"{Exit.ROLLED_BACK}  The old one is live")
    picture.arrow((400, 174), (400, 219))
    picture.text(410, 200, "no", "label")
    picture.card("bad", (300, 220, 200, 62), f"{Exit.ROLLBACK_FAILED}  None is healthy", "the message names", "the live one")
    picture.card(
        "zone", (560, 220, 220, 62), f"{Exit.ERROR}  The run did not end", "the next boot or deploy", "finishes or undoes it"
    )
    return picture.svg()
