"""The plugin inside supervisord: ``[rpcinterface:release]`` and ``[ctlplugin:release]``.

It starts the program ``deploy`` and answers from the journal. It never blocks,
patches nothing of supervisor, and no error in it can end supervisord. It
imports no other package than supervisor.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from supervisor.http import NOT_DONE_YET
from supervisor.process import getProcessStateDescription
from supervisor.states import RUNNING_STATES, SupervisorStates
from supervisor.xmlrpc import Faults, RPCError

from release_agent.config import load
from release_agent.errors import Code, Failed
from release_agent.health import Process
from release_agent.model import Action, Record, Request, Trigger, new_id
from release_agent.plugin import rehearsal
from release_agent.plugin.answers import Answers
from release_agent.plugin.programs.brought import BroughtPrograms, ProgramsPlace, told
from release_agent.plugin.records import RunRecords
from release_agent.plugin.rehearsal import CopyKeeper
from release_agent.plugin.runs import StartedRuns
from release_agent.plugin.sockets import HeldSockets
from release_agent.plugin.starting import deploy_program, start
from release_agent.plugin.wire import (
    NO_ASCII,
    boolean_of,
    count_of,
    duration_of,
    faulting,
    moment_of,
    name_of,
    person_of,
    program_files_of,
    revision_of,
    sendable,
    trigger_of,
)
from release_agent.plugin.words import LastWords
from release_agent.request import PluginRequest
from release_agent.store.lock import busy

if TYPE_CHECKING:
    from collections.abc import Callable


_T = TypeVar("_T")
_ATTRIBUTE = "release_agent_{}"
_MOST_HISTORY = 1000
# Seconds until supervisord may try a deferred answer again; the end of the run wakes supervisord.
_DELAY = 0.01


def make_rpcinterface(supervisord: Any, /, **settings: str) -> ReleaseRPCInterface:
    """Make the interface ``release.*``; supervisor calls this for each of its HTTP servers, and again on reload.

    Supervisord would end if this function raised, so it reads no file. Keys of the section: ``config``, the path of the
    agent's configuration (default: as for the commands); ``programs``, the file for the programs of releases;
    ``program_users``, their allowed users.
    """
    with contextlib.suppress(Exception):
        _words_of(supervisord)  # it gets the output of programs from the start
    return ReleaseRPCInterface(supervisord, settings.get("config"), ProgramsPlace.of(settings))


def _answering(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method always answer or raise a fault; its answer omits members that are None."""
    signature = inspect.signature(method)
    shape = _shape(method.__name__, signature)

    @functools.wraps(method)
    def answer(self: ReleaseRPCInterface, *arguments: Any) -> Any:
        with faulting(self._log):
            self._refuse_while_stopping()
            try:
                signature.bind(self, *arguments)
            except TypeError as error:
                raise RPCError(Faults.INCORRECT_PARAMETERS, f"{shape}: {error}") from error
            answered = method(self, *arguments)
            return answered if callable(answered) else sendable(answered)

    return answer


def _shape(name: str, signature: inspect.Signature) -> str:
    """Return the signature of a method, as in docs/reference/http-api.md: ``release.getHistory(limit=20)``."""
    _self, *parameters = signature.parameters.values()
    words = [each.name if each.default is each.empty else f"{each.name}={json.dumps(each.default)}" for each in parameters]
    return f"release.{name}({', '.join(words)})"


class ReleaseRPCInterface:
    """``release.*``: every public method is a method of the RPC."""

    def __init__(self, supervisord: Any, path: str | None, place: ProgramsPlace) -> None:
        """``path``: of the configuration; each call reads it, so that an error in it is a fault and can be fixed.

        ``place``: for the programs of releases.
        """
        self._place = place
        self._supervisord = supervisord
        self._path = path

    @_answering
    def deploy(  # noqa: PLR0913, PLR0917 - XML-RPC has no names for arguments, and older clients send the first ones
        self,
        revision: str,
        wait: bool = False,
        trigger: str = Trigger.RPC,
        force: bool = False,
        expected: str = "",
        by: str = "",
        despite_freeze: bool = False,
        wait_for: str = "",
    ) -> Any:
        """Deploy a revision, or the one of [revision].

        @param string revision  A tag, a branch or a full commit id; empty: as [revision] says
        @param boolean wait     Answer when the run has ended
        @param string trigger   The trigger of the run, for the history
        @param boolean force    Build and restart even if the revision is live
        @param string expected  The release that must be live, or "none"; empty: any. Refused (overtaken) if another one is
        @param string by        The requesting person, for the history; empty: the user of the RPC, if it has only one
        @param boolean despite_freeze  Go on even if deployments are frozen
        @param string wait_for  How long to wait until the repositories have the revision, such as 2m
        @return struct result   The deployment's record, so far
        """
        request = Request(
            new_id(),
            revision=revision_of(revision),
            force=boolean_of(force, "force"),
            trigger=trigger_of(trigger),
            expected=name_of(expected),
            despite_freeze=boolean_of(despite_freeze, "despite_freeze"),
            wait_for=duration_of(wait_for, "wait_for"),
            by=self._asked_by(by),
        )
        return self._run(request, wait=boolean_of(wait, "wait"))

    @_answering
    def stage(self, revision: str, wait: bool = False, trigger: str = Trigger.RPC, by: str = "", wait_for: str = "") -> Any:
        """Build and rehearse a revision, or the one of [revision], for a later deployment; publish nothing.

        @param string revision  A tag, a branch or a full commit id; empty: as [revision] says
        @param boolean wait     Answer when the run has ended
        @param string trigger   The trigger of the run, for the history
        @param string by        As for release.deploy
        @param string wait_for  As for release.deploy
        @return struct result   The run's record, so far
        """
        request = Request(
            new_id(),
            Action.STAGE,
            revision_of(revision),
            trigger=trigger_of(trigger),
            wait_for=duration_of(wait_for, "wait_for"),
            by=self._asked_by(by),
        )
        return self._run(request, wait=boolean_of(wait, "wait"))

    @_answering
    def rollback(  # noqa: PLR0913, PLR0917 - as deploy
        self,
        release: str,
        wait: bool = False,
        trigger: str = Trigger.RPC,
        by: str = "",
        despite_freeze: bool = False,
        expected: str = "",
    ) -> Any:
        """Roll back to the release that was live before, or to the named one.

        @param string release  A release's name, number or revision; empty: the one before
        @param boolean wait    Answer when the run has ended
        @param string trigger  The trigger of the run, for the history
        @param string by       As for release.deploy
        @param boolean despite_freeze  Go on even if deployments are frozen
        @param string expected  As for release.deploy
        @return struct result  The deployment's record, so far
        """
        request = Request(
            new_id(),
            Action.ROLLBACK,
            release=revision_of(release),
            trigger=trigger_of(trigger),
            expected=name_of(expected),
            despite_freeze=boolean_of(despite_freeze, "despite_freeze"),
            by=self._asked_by(by),
        )
        return self._run(request, wait=boolean_of(wait, "wait"))

    @_answering
    def check(
        self, revision: str, wait: bool = False, force: bool = False, despite_freeze: bool = False, wait_for: str = ""
    ) -> Any:
        """Return what a deployment would do: commits, the release, free space. It takes the lock, and is not in the history.

        @param string revision  A tag, a branch or a full commit id; empty: as [revision] says
        @param boolean wait     Answer when the check has ended
        @param boolean force    As for release.deploy
        @param boolean despite_freeze  As for release.deploy
        @param string wait_for  As for release.deploy
        @return struct result   The answer, or its id so far
        """
        request = Request(
            new_id(),
            revision=revision_of(revision),
            force=boolean_of(force, "force"),
            trigger=Trigger.RPC,
            despite_freeze=boolean_of(despite_freeze, "despite_freeze"),
            wait_for=duration_of(wait_for, "wait_for"),
        )
        return self._run(request, check=True, wait=boolean_of(wait, "wait"))

    @_answering
    def getStatus(self) -> Any:
        """Return the live release, its services and its last known health.

        @return struct result  As `release-agent status --json`, with health_at, agent_version, follow, maintenance and instance
        """
        return {**self._answers().status(self._processes_of), "instance": _shared(self._supervisord, "instance", _instance)}

    @_answering
    def getDeployment(self, id: str) -> Any:
        """Return one deployment; it has an outcome once its process has ended.

        @param string id       The deployment's id
        @return struct result  Its record
        """
        wanted = name_of(id)
        return self._records().get(wanted)

    @_answering
    def getOutput(self, id: str, after: int = 0) -> Any:
        """Return the output of a deployment's hooks so far, up to 64 KiB of it at once.

        @param string id       The deployment's id
        @param int after       `next` of the previous answer
        @return struct result  events and next
        """
        wanted, beyond = name_of(id), count_of(after, "after")
        said = self._answers().output(wanted, beyond)
        if not said["next"]:
            self._records().get(wanted)  # raises NoTarget for an unknown id
        return said

    @_answering
    def getHistory(self, limit: int = 20) -> Any:
        """Return the deployments, newest first.

        @param int limit      The largest number of records
        @return array result  Records, each with trigger and started_at
        """
        most = min(count_of(limit, "limit"), _MOST_HISTORY)
        return self._records().newest(most)

    @_answering
    def getLastWords(self, service: str, since: float) -> Any:
        """Return the last output of a service's processes: up to 20 lines of stderr, or of stdout without any.

        @param string service  The supervisor group; release-rehearsal: the copy of a rehearsal
        @param double since    Only processes started since this time, in seconds since 1970
        @return struct result  lines, and end: the last unexpected end of a process
        """
        name, began = name_of(service), moment_of(since, "since")
        processes = self._processes_or_copy(name)
        words = _words_of(self._supervisord)
        return {"lines": words.of(name, processes, began), "end": words.end_of(name, processes, began)}

    @_answering
    def getReleasesInUse(self, service: str) -> Any:
        """Return which releases a service's processes, their children included, work in, run or have mapped.

        Orphaned children count if they accept connections at an address of the processes.

        @param string service  The supervisor group; release-rehearsal: the copy of a rehearsal
        @return struct result  Pids by the release's name; an empty name has those that may not be inspected
        """
        name = name_of(service)
        pids = [process.pid for process in self._processes_or_copy(name).values() if process.pid]
        return self._answers().releases_in_use(name, pids)

    @_answering
    def getSocket(self, service: str) -> Any:
        """Return the socket that supervisord holds for a service.

        @param string service  The supervisor group
        @return string result  The socket of an fcgi-program, such as tcp://127.0.0.1:8080; empty if there is none
        """
        manager = getattr(self._group(name_of(service)), "socket_manager", None)
        return str(manager.config().url) if manager else ""

    @_answering
    def holdSocket(self, service: str) -> Any:
        """Hold the listening socket of an fcgi-program while the deployment with the lock replaces its processes.

        @param string service   The supervisor group
        @return boolean result  False if the group has no socket of supervisord's
        """
        name, run = name_of(service), self._deploying()
        return self._sockets().hold(name, self._group(name), run["pid"])

    @_answering
    def letGoSocket(self, service: str) -> Any:
        """Release a held socket.

        @param string service   The supervisor group
        @return boolean result  True
        """
        self._sockets().let_go(name_of(service))
        return True

    @_answering
    def checkPrograms(self, files: Any) -> Any:
        """Check programs that a release would bring, without changes; return their problems and their groups.

        @param array files     Of each file: its path in the release, and its text
        @return struct result  problems, and groups: of each its name, its socket, its processes and the smallest program's count
        """
        current = str(self._answers().root.link)
        checked = self._brought().check(self._supervisord, self._place, program_files_of(files), current)
        problems = [str(problem) for problem in checked.problems]
        return {"problems": problems, "groups": [] if problems else told(checked.groups, current)}

    @_answering
    def updatePrograms(self) -> Any:
        """Make supervisord read the programs of the live release.

        @return struct result  Names of groups: added, changed and removed, to renew; others, of the container, that
                               differ from its configuration
        """
        answers = self._answers()
        live = answers.root.current() or answers.root.unnoted()
        if live is None:  # no group came with a release, or the release is unknown
            return {"added": [], "changed": [], "removed": [], "others": []}
        files = answers.blueprint(live).programs
        return self._brought().update(self._supervisord, self._place, files, str(answers.root.link))

    @_answering
    def renewGroup(self, group: str) -> Any:
        """Remove a stopped group that a release brought, and add it again if the live release has it.

        @param string group    The supervisor group
        @return boolean result True
        """
        self._brought().renew(self._supervisord, self._place, name_of(group))
        return True

    @_answering
    def getCandidates(self, service: str, release: str = "") -> Any:
        """Return the processes that a rehearsal may copy, in supervisor's order.

        @param string service  The supervisor group
        @param string release  The release that may bring the service; empty: supervisor's own group
        @return array result   Of each: name, startsecs, stopwaitsecs, and of_release, whether its section names <root>/current
        """
        group = self._group_of(name_of(release), name_of(service))
        return [asdict(candidate) for candidate in rehearsal.candidates(group, str(self._answers().root.link))]

    @_answering
    def rehearse(self, release: str, service: str) -> Any:
        """Start a copy of one process of a service from a release, for the deployment that holds the lock.

        @param string release  The release's name
        @param string service  A service with [service.rehearsal]
        @return struct result  process: its name in supervisor's calls; port and socket: its address
        """
        answers, name = self._answers(), name_of(service)
        run = self._deploying()
        wanted, directory = answers.service_of(name_of(release), name)
        original = self._group_of(name_of(release), name)
        stage = rehearsal.RehearsedRelease(str(answers.root.link), directory, run["pid"], str(run.get("id", "")))
        own_name, _ = deploy_program(self._supervisord)
        group_name = own_name.rpartition(":")[0]
        place = self._copies().prepare(self._group(group_name), original, wanted, stage)
        process, copied = f"{group_name}:{rehearsal.NAME}", self._copies().processes[rehearsal.NAME]
        try:
            start(self._supervisord, process, copied)
        except RPCError as refused:
            # For SPAWN_ERROR supervisor gives only the name of the process, without the cause.
            why = copied.spawnerr or refused.text
            raise Failed(Code.SERVICE_REFUSED, f"the copy was not started: {why}", hint="check supervisord's log") from refused
        return {"process": process, **place}

    @_answering
    def endRehearsal(self) -> Any:
        """Stop the copy of a rehearsal, and remove it; call this until it answers true.

        @return boolean result  Whether the copy is gone
        """
        return self._copies().end()

    # Starting

    def _run(self, request: Request, *, wait: bool, check: bool = False) -> Any:
        self._start(PluginRequest(request, check))
        # This reads no files, which could fail: the run has started, and the client needs its id to follow it.
        return self._deferred(request.id) if wait else Record.of(request).to_json()

    def _asked_by(self, named: Any) -> str:
        return person_of(named, self._supervisord.options.server_configs)

    def _start(self, wanted: PluginRequest) -> None:
        answers, runs = self._answers(), self._runs_of_supervisord()
        name, process = deploy_program(self._supervisord)
        holder = answers.root.holder()
        # A stopping process has a pid: supervisor would not start it, but would answer that it did.
        if holder or process.pid or process.get_state() in RUNNING_STATES:
            running = runs.running()  # it may not have taken the lock yet
            raise busy(holder or (running.holder if running else None), process.pid)
        kept = process.config.environment
        process.config.environment = {**(kept or {}), **wanted.to_environ()}
        try:
            start(self._supervisord, name, process)
        finally:
            # Do this now, because `reread` would report a changed program.
            process.config.environment = kept
        runs.add(wanted.request, process)

    def _deferred(self, identity: str) -> Callable[[], Any]:
        def answer() -> Any:
            with faulting(self._log, NO_ASCII):
                run = self._runs_of_supervisord().get(identity)
                if run and not run.is_over:
                    return NOT_DONE_YET
                return sendable(self._records().get(identity), NO_ASCII)

        # Supervisor defers only a plain function; it would send any other object as the answer.
        answer.delay = _DELAY  # type: ignore[attr-defined]
        return answer

    def _group(self, name: str) -> Any:
        group = self._supervisord.process_groups.get(name)
        if group is None:
            raise RPCError(Faults.BAD_NAME, name)
        return group

    def _group_of(self, release: str, name: str) -> Any:
        """Return the group that a release brings, or supervisor's group."""
        answers = self._answers()
        built = answers.root.get(release) if release else None
        files = answers.blueprint(built).programs if built else ()
        brought = self._brought().group(self._supervisord, self._place, files, str(answers.root.link), name)
        return brought or self._group(name)

    def _processes_or_copy(self, name: str) -> dict[str, Any]:
        """Return the processes of a group by name; the copy of a rehearsal has its own name."""
        if name == rehearsal.NAME:
            return self._copies().processes
        processes: dict[str, Any] = self._group(name).processes
        return processes

    def _deploying(self) -> dict[str, Any]:
        """Return the run that holds the lock, with its pid; raises Failed if there is none."""
        holder = self._answers().root.holder()
        if holder is None:
            message = "only a deployment that holds the lock can call this"
            raise Failed(Code.SERVICE_REFUSED, message, hint="start a deployment: release.deploy")
        return holder

    def _sockets(self) -> HeldSockets:
        return _shared(self._supervisord, "sockets", HeldSockets)

    def _brought(self) -> BroughtPrograms:
        return _shared(self._supervisord, "brought", BroughtPrograms)

    def _copies(self) -> CopyKeeper:
        return _shared(self._supervisord, "copies", CopyKeeper)

    def _runs_of_supervisord(self) -> StartedRuns:
        return _shared(self._supervisord, "runs", StartedRuns)

    # Answering

    def _answers(self) -> Answers:
        return Answers(load.load(self._path))

    def _records(self) -> RunRecords:
        return RunRecords(self._answers(), self._runs_of_supervisord())

    def _processes_of(self, group_name: str) -> list[Process]:
        group = self._supervisord.process_groups.get(group_name)
        processes = sorted(group.processes.values()) if group else []
        return [Process(group_name, p.config.name, getProcessStateDescription(p.get_state()), p.pid) for p in processes]

    def _refuse_while_stopping(self) -> None:
        if self._supervisord.options.mood < SupervisorStates.RUNNING:
            raise RPCError(Faults.SHUTDOWN_STATE)

    def _log(self, text: str) -> None:
        self._supervisord.options.logger.error("release plugin: %(text)s", text=text)


def _instance() -> str:
    """Return a new id of a supervisord, by which clients find out that several addresses are one supervisord."""
    return os.urandom(16).hex()


def _words_of(supervisord: Any) -> LastWords:
    return _shared(supervisord, "words", lambda: LastWords(supervisord.options.logger))


def _shared(supervisord: Any, name: str, make: Callable[[], _T]) -> _T:
    """Return an object of a supervisord; all of its interfaces, one per HTTP server, share it."""
    attribute = _ATTRIBUTE.format(name)
    shared: _T | None = getattr(supervisord, attribute, None)
    if shared is None:
        shared = make()
        setattr(supervisord, attribute, shared)
    return shared
