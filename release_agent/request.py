"""``RELEASE_AGENT_REQUEST``: what the plugin asks the one-shot program to do."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.errors import Code, Misconfigured
from release_agent.model import Action, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

# What the plugin hands to the one-shot, as JSON, and the action that is answered instead of done.
REQUEST_VARIABLE = "RELEASE_AGENT_REQUEST"
CHECK = "check"


@dataclass(frozen=True)
class Asked:
    """What supervisor's plugin asked for; ``check``: to be answered, not done."""

    request: Request
    check: bool


def asked_from_outside(environ: Mapping[str, str] = os.environ) -> Asked | None:
    """Read RELEASE_AGENT_REQUEST, which outranks the command line; raises Misconfigured."""
    given = environ.get(REQUEST_VARIABLE)
    if not given:
        return None
    try:
        asked = json.loads(given)
        action = asked.get("action", Action.DEPLOY)
        request = Request(
            str(asked["id"]),
            Action.DEPLOY if action == CHECK else Action(action),
            str(asked.get("revision") or ""),
            str(asked.get("release") or ""),
            force=bool(asked.get("force")),
            trigger=str(asked.get("trigger") or "rpc"),
        )
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Misconfigured(
            Code.MISCONFIGURED, f"{REQUEST_VARIABLE} is not a request: {error}", hint="it is set by supervisor's plugin alone"
        ) from error
    return Asked(request, action == CHECK)
