"""Decide whether somebody else has deployed since a run was planned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.errors import Code, Refused
from release_agent.model import NOTHING_LIVE

if TYPE_CHECKING:
    from release_agent.model import Request


def refuse_if_overtaken(request: Request, live: str | None) -> None:
    """Raise Refused (overtaken) if the live release, given by its name, is not the one that the request expects."""
    name = live or NOTHING_LIVE
    if request.expected not in ("", name):
        raise Refused(
            Code.OVERTAKEN,
            f"{name} is live, not {request.expected}, which was live when this run was planned",
            hint="somebody else has deployed: look at `release-agent history`, and plan again",
        )
