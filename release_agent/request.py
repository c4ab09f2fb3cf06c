"""Write and read ``RELEASE_AGENT_REQUEST``: the request of supervisor's plugin to the program that it starts."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from release_agent.errors import Code, Failed, Misconfigured
from release_agent.model import Action, Request, Trigger
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = "deploy"  # supervisor's program that the plugin starts; its group also has the copy of a rehearsal
_CHECK = "check"  # stands in the place of the action


def no_program() -> Failed:
    """Make the error for a supervisor without the program."""
    message, hint = f"supervisor has no program {PROGRAM}", "include supervisor.d/deploy.conf and run `supervisorctl update`"
    return Failed(Code.SERVICE_UNKNOWN, message, hint=hint)


@dataclass(frozen=True)
class PluginRequest:
    """A run that supervisor's plugin starts; ``check``: only report what a deployment would do."""

    request: Request
    check: bool = False

    def to_environ(self) -> dict[str, str]:
        """Return the variable for the start of the program."""
        request = self.request
        named = {"release": request.release} if request.action is Action.ROLLBACK else {"revision": request.revision}
        action = _CHECK if self.check else str(request.action)
        body: dict[str, object] = {"id": request.id, "action": action, **named, "trigger": request.trigger}
        if request.force:
            body["force"] = True
        if request.expected:
            body["expected"] = request.expected
        if request.despite_freeze:
            body["despite_freeze"] = True
        if request.wait_for:
            body["wait_for"] = request.wait_for
        if request.by:
            body["by"] = request.by
        return {Variable.RELEASE_AGENT_REQUEST: json.dumps(body)}

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Self | None:
        """Read the variable, which outranks the command line; returns None if it is not set. Raises Misconfigured."""
        given = environ.get(Variable.RELEASE_AGENT_REQUEST)
        if not given:
            return None
        try:
            asked = json.loads(given)
            action = asked.get("action", Action.DEPLOY)
            request = Request(
                str(asked["id"]),
                Action.DEPLOY if action == _CHECK else Action(action),
                str(asked.get("revision") or ""),
                str(asked.get("release") or ""),
                force=bool(asked.get("force")),
                trigger=str(asked.get("trigger") or Trigger.RPC),
                expected=str(asked.get("expected") or ""),
                despite_freeze=bool(asked.get("despite_freeze")),
                wait_for=float(asked.get("wait_for") or 0.0),
                by=str(asked.get("by") or ""),
            )
            for text in (request.id, request.revision, request.release, request.trigger, request.expected, request.by):
                text.encode()  # a lone surrogate cannot be written to the journal
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise Misconfigured(
                Code.MISCONFIGURED,
                f"{Variable.RELEASE_AGENT_REQUEST} is not a request: {error}",
                hint="unset it: only supervisor's plugin sets it",
            ) from error
        return cls(request, action == _CHECK)
