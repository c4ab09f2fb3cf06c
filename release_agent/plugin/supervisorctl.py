"""``supervisorctl release …``: start a deployment and follow it to its end."""

from __future__ import annotations

import http.client
import os
import sys
import time
import xmlrpc.client
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from supervisor.supervisorctl import ControllerPluginBase, LSBInitExitStatuses
from supervisor.xmlrpc import Faults

from release_agent import glance, text
from release_agent.errors import FAULTS, Exit
from release_agent.model import Record, Trigger, exit_of
from release_agent.store.output import PHASE_FINISHED
from release_agent.system.terminal import Terminal
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_POLL = 0.1  # seconds
_LONGEST_NUMBER = 20  # digits of a limit that are read
_TRIES = 100  # polls
_JOURNAL = FAULTS + Exit.FAILED  # the journal cannot be read
_TRIGGER = Trigger.SUPERVISORCTL.value  # XML-RPC carries no subclass of str
_WAS_CHECKED = "checked"  # the outcome of a check
_DRY_RUN, _FORCE, _DESPITE_FREEZE, _WAIT_FOR, _BY = "--dry-run", "--force", "--despite-freeze", "--wait-for", "--by"
_FLAGS = {_DRY_RUN, _FORCE, _DESPITE_FREEZE}
_OPTIONS = {
    "deploy": {_DRY_RUN, _FORCE, _DESPITE_FREEZE, _WAIT_FOR, _BY},
    "stage": {_WAIT_FOR, _BY},
    "rollback": {_DESPITE_FREEZE, _BY},
}
_USAGE = """\
release deploy [REVISION]    make a revision live, or the one of [revision]
        --dry-run            show what a deployment would do; change nothing
        --force              build and restart even if the revision is live
        --wait-for=TIME      wait at most this long until the repositories have the revision; also for stage
        --despite-freeze     go on even if deployments are frozen; also for rollback
        --by=NAME            record this name as the person who requests the run; also for stage and rollback
release stage [REVISION]     build and rehearse a revision; publish nothing
release rollback [RELEASE]   roll back to the previous release, or to the named one
release status               show the live release and its last known health
release history [N]          show the newest N deployments"""


def make_controller(controller: Any, **_settings: str) -> ReleaseController:
    """Make the plugin of ``[ctlplugin:release]``; supervisorctl calls this."""
    for other in controller.options.plugins:
        # supervisorctl asks every plugin for help, and each prints "No help" about the commands of the others.
        other.help_release = _say_nothing
    return ReleaseController(controller)


def _say_nothing() -> None:
    """Leave the help on ``release`` to its own plugin."""


class _GoneError(Exception):
    """supervisord has gone; ``run``: the id of the followed run, empty if unknown."""

    run = ""

    def __str__(self) -> str:
        """Return the message, with the command that shows the end of the run."""
        told = f"history {self.run}` shows how this run ended" if self.run else "history` shows all runs"
        return f"release: supervisord has gone ({self.__cause__}); when it runs again, `release-agent {told}"


class _Plugin:
    """The plugin inside supervisord; a failed connection means that supervisord has gone, unlike a closed stdout."""

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            try:
                return getattr(self._proxy, method)(*arguments)
            except (OSError, http.client.HTTPException) as error:
                raise _GoneError from error

        return call


class _Wanted(NamedTuple):
    """The arguments after the verb: a revision, a release or a number, and options."""

    name: str
    force: bool
    by: str
    despite_freeze: bool
    wait_for: str


class ReleaseController(ControllerPluginBase):  # type: ignore[misc]
    """The command ``release``, which exits with the deployment's exit code."""

    name = "release"

    def do_release(self, argument: str) -> None:
        """Run ``release VERB [ARGUMENT] [OPTION ...]``."""
        verb, *words = _words(argument, self.ctl.options.args) or [""]
        names = [word for word in words if not word.startswith("-")]
        given = [word.partition("=") for word in words if word.startswith("-")]
        options = {name: value if has_value else None for name, has_value, value in given}
        # An empty argument is an unset variable of a script, and supervisorctl loses it when it joins the arguments.
        if not all(word.strip() for word in self.ctl.options.args):
            self.ctl.output(f"release {verb}: an argument is empty; leave it out")
            self.ctl.exitstatus = LSBInitExitStatuses.INVALID_ARGS
        elif not _is_usage(verb, options, names):
            self.help_release()
            self.ctl.exitstatus = LSBInitExitStatuses.INVALID_ARGS
        elif self.ctl.upcheck():
            self._run(verb, options, "".join(names))

    def _run(self, verb: str, options: Mapping[str, str | None], name: str) -> None:
        by = text.person(options.get(_BY) or os.environ.get(Variable.SUDO_USER, ""))
        wanted = _Wanted(name, _FORCE in options, by, _DESPITE_FREEZE in options, options.get(_WAIT_FOR) or "")
        verbs: dict[str, Callable[[Any, _Wanted], int]] = {
            "deploy": self._check if _DRY_RUN in options else self._deploy,
            "stage": self._stage,
            "rollback": self._rollback,
            "status": self._status,
            "history": self._history,
        }
        try:
            self.ctl.exitstatus = verbs[verb](_Plugin(self.ctl.get_server_proxy("release")), wanted)
        except xmlrpc.client.Fault as fault:
            self.ctl.output(f"release: {fault.faultString}")
            self.ctl.exitstatus = fault.faultCode - FAULTS if fault.faultCode > FAULTS else LSBInitExitStatuses.GENERIC
        except _GoneError as gone:
            self.ctl.output(str(gone))
            self.ctl.exitstatus = LSBInitExitStatuses.GENERIC
        except KeyboardInterrupt:
            self.ctl.output("the run continues: `supervisorctl release status` shows its phase")
            self.ctl.exitstatus = LSBInitExitStatuses.GENERIC

    def do_help(self, topic: str) -> None:
        """Print help on ``release``, or list it; leave the commands of other plugins to them."""
        if topic.strip() in ("", "release"):
            super().do_help(topic.strip())

    def help_release(self) -> None:
        """Print the usage."""
        self.ctl.output(_USAGE)

    def _deploy(self, release: Any, wanted: _Wanted) -> int:
        def begin(by: str) -> Any:
            more = _given(wanted.force, "", by, wanted.despite_freeze, wanted.wait_for)
            return release.deploy(wanted.name, False, _TRIGGER, *more)

        return exit_of(self._follow(release, _begun(begin, wanted.by)).outcome)

    def _stage(self, release: Any, wanted: _Wanted) -> int:
        def begin(by: str) -> Any:
            return release.stage(wanted.name, False, _TRIGGER, *_given(by, wanted.wait_for))

        return exit_of(self._follow(release, _begun(begin, wanted.by), looks=False).outcome)

    def _rollback(self, release: Any, wanted: _Wanted) -> int:
        def begin(by: str) -> Any:
            return release.rollback(wanted.name, False, _TRIGGER, *_given(by, wanted.despite_freeze))

        record = self._follow(release, _begun(begin, wanted.by))
        if not record.error:
            with suppress(xmlrpc.client.Fault, _GoneError):  # the rollback has ended well
                follow = release.getStatus().get("follow")  # an older plugin does not send it
                if follow:
                    self.ctl.output(text.what_comes_next(follow, record))
        return exit_of(record.outcome)

    def _follow(self, release: Any, record: dict[str, Any], *, looks: bool = True) -> Record:
        """Print the progress of the run and its outcome; returns its record. Raises _GoneError, with its id.

        ``looks``: whether the run looks at a live release that it does not change.
        """
        try:
            return self._followed(release, record, looks=looks)
        except _GoneError as gone:
            gone.run = record["id"]
            raise

    def _followed(self, release: Any, record: dict[str, Any], *, looks: bool) -> Record:
        told: dict[str, float] = {}
        heard = 0
        while True:
            heard = self._progress(release, record["id"], heard, told)
            if "outcome" in record:
                self._rest(record["phases"], told)
                ended = Record.from_json(record)
                self.ctl.output(text.record(ended, looked=looks))
                return ended
            time.sleep(_POLL)
            record = _asked(release, record["id"])

    def _progress(self, release: Any, identity: str, heard: int, told: dict[str, float]) -> int:
        """Print the events of hooks and phases beyond ``heard``, put the phases into ``told``; returns the new ``heard``."""
        while True:
            try:
                said = release.getOutput(identity, heard)
            except xmlrpc.client.Fault:  # an older plugin lacks the method; the record has the important facts
                return heard
            for event in said["events"]:
                self.ctl.output(text.progress(event))
                if event["event"] == PHASE_FINISHED:
                    told[event["phase"]] = event["seconds"]
            if said["next"] == heard:
                return heard
            heard = said["next"]

    def _rest(self, phases: list[dict[str, Any]], told: dict[str, float]) -> None:
        """Print the phases without an event, as from an older plugin or after a full disk."""
        for phase in phases:
            if told.get(phase["name"]) != phase["seconds"]:
                self.ctl.output(text.phase(phase["name"], phase["seconds"]))

    def _check(self, release: Any, wanted: _Wanted) -> int:
        """Print what a deployment would do; returns the exit code."""
        body = release.check(wanted.name, False, *_given(wanted.force, wanted.despite_freeze, wanted.wait_for))
        while "outcome" not in body:
            time.sleep(_POLL)
            body = _asked(release, body["id"])
        if body["outcome"] != _WAS_CHECKED:
            self.ctl.output(text.record(Record.from_json(body)))
            return exit_of(body["outcome"])
        self.ctl.output(text.check(body))
        return Exit.OK

    def _status(self, release: Any, _wanted: _Wanted) -> int:
        body = {"current": None, "previous": None, "deployment": None, **release.getStatus()}
        maintenance = "`release-agent status` has the reason" if body.get("maintenance") else ""
        self.ctl.output(glance.status(body, (), maintenance, Terminal.of(sys.stdout)))
        return 0

    def _history(self, release: Any, wanted: _Wanted) -> int:
        limit = min(int(wanted.name[:_LONGEST_NUMBER]), xmlrpc.client.MAXINT) if wanted.name else 20
        # A supervisord that started before an upgrade has an older plugin, which sends no action.
        entries = [{**Record.from_json(entry).to_json(), "action": "", **entry} for entry in release.getHistory(limit)]
        self.ctl.output(glance.history(entries, limit, Terminal.of(sys.stdout)))
        return 0


def _words(argument: str, args: Sequence[str]) -> list[str]:
    """Return the words after ``release``; ``args``: the shell's words, which supervisorctl joins into ``argument``."""
    if not args:
        return argument.split()
    return [word for arg in args[1:] for word in ([arg] if arg.startswith("-") else arg.split())]


def _begun(begin: Callable[[str], Any], by: str) -> Any:
    """Start a run; leave out the person if supervisord still has an older plugin, which refuses one."""
    try:
        return begin(by)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode != Faults.INCORRECT_PARAMETERS or not by:
            raise
    return begin("")


def _given(*optional: Any) -> list[Any]:
    """Return arguments without the unset ones at the end, which an older plugin may not know."""
    most = max((place for place, value in enumerate(optional, 1) if value), default=0)
    return list(optional[:most])


def _is_usage(verb: str, options: Mapping[str, str | None], names: list[str]) -> bool:
    """Return whether the words agree with _USAGE; ``options``: None for one without ``=``."""
    if any((value is None) != (name in _FLAGS) for name, value in options.items()) or options.get(_WAIT_FOR) == "":
        return False  # --force=no would force, and --by NAME would deploy NAME
    known = _OPTIONS.get(verb, set())
    most = {"deploy": 1, "stage": 1, "rollback": 1, "status": 0, "history": 1}.get(verb, -1)
    return len(names) <= most and options.keys() <= known and (verb != "history" or all(map(str.isdecimal, names)))


def _asked(release: Any, identity: str) -> Any:
    """Return a deployment; try again, at most _TRIES times, while the journal cannot be read."""
    for _ in range(_TRIES):
        try:
            return release.getDeployment(identity)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _JOURNAL:
                raise
        time.sleep(_POLL)
    return release.getDeployment(identity)
