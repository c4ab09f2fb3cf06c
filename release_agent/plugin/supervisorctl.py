"""``supervisorctl release …``: start a deployment and follow it to its end."""

from __future__ import annotations

import time
import xmlrpc.client
from typing import TYPE_CHECKING, Any

from supervisor.supervisorctl import ControllerPluginBase, LSBInitExitStatuses

from release_agent import text
from release_agent.errors import FAULTS, Exit
from release_agent.model import Record, Trigger, exit_of

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL = 0.1  # seconds
_TRIES = 100  # polls
_JOURNAL = FAULTS + Exit.FAILED  # the journal cannot be read
_TRIGGER = Trigger.SUPERVISORCTL.value  # XML-RPC carries no subclass of str
_USAGE = """\
release deploy [REVISION]    make a revision live, or what [revision] says
release rollback [RELEASE]   go back to the release before, or to the named one
release status               what is live and how it was last found
release history [N]          what was done"""


def make_controller(controller: Any, **_settings: str) -> ReleaseController:
    """Make the plugin of ``[ctlplugin:release]``; supervisorctl calls this."""
    return ReleaseController(controller)


class ReleaseController(ControllerPluginBase):  # type: ignore[misc]
    """The command ``release``, which exits with the deployment's exit code."""

    name = "release"

    def do_release(self, argument: str) -> None:
        """Run ``release VERB [ARGUMENT]``."""
        verb, _, rest = argument.strip().partition(" ")
        verbs: dict[str, Callable[[Any, str], int]] = {
            "deploy": lambda release, name: self._follow(release, release.deploy(name, False, _TRIGGER)),
            "rollback": lambda release, name: self._follow(release, release.rollback(name, False, _TRIGGER)),
            "status": self._status,
            "history": self._history,
        }
        if verb not in verbs:
            self.help_release()
            self.ctl.exitstatus = LSBInitExitStatuses.INVALID_ARGS
            return
        if not self.ctl.upcheck():
            return
        try:
            self.ctl.exitstatus = verbs[verb](self.ctl.get_server_proxy("release"), rest.strip())
        except xmlrpc.client.Fault as fault:
            self.ctl.output(f"release: {fault.faultString}")
            self.ctl.exitstatus = fault.faultCode - FAULTS if fault.faultCode > FAULTS else LSBInitExitStatuses.GENERIC
        except KeyboardInterrupt:
            self.ctl.output("it goes on without you: `supervisorctl release status` shows how far it is")
            self.ctl.exitstatus = LSBInitExitStatuses.GENERIC

    def help_release(self) -> None:
        """Print the usage."""
        self.ctl.output(_USAGE)

    def _follow(self, release: Any, record: dict[str, Any]) -> int:
        """Print each phase when it has ended, and the outcome; returns the exit code."""
        told = 0
        while True:
            for phase in record["phases"][told:]:
                self.ctl.output(f"{phase['name']:<10}{phase['seconds']:8.2f} s")
            told = max(told, len(record["phases"]))
            if "outcome" in record:
                self.ctl.output(text.record(Record.from_json(record)))
                return exit_of(record["outcome"])
            time.sleep(_POLL)
            record = _asked(release, record["id"])

    def _status(self, release: Any, _argument: str) -> int:
        body = {"current": None, "previous": None, "deployment": None, **release.getStatus()}
        maintenance = "`release-agent status` has the reason" if body.get("maintenance") else ""
        self.ctl.output(text.status(body, (), maintenance))
        return 0

    def _history(self, release: Any, argument: str) -> int:
        limit = int(argument) if argument.isdecimal() else 20
        entries = [{**Record.from_json(entry).to_json(), **entry} for entry in release.getHistory(limit)]
        self.ctl.output(text.history(entries, lambda _id: ""))
        return 0


def _asked(release: Any, identity: str) -> Any:
    """Return a deployment, after at most _TRIES tries while the journal is being written."""
    for _ in range(_TRIES):
        try:
            return release.getDeployment(identity)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _JOURNAL:
                raise
        time.sleep(_POLL)
    return release.getDeployment(identity)
