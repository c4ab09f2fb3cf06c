"""The plugin inside supervisord: ``[rpcinterface:release]`` and ``[ctlplugin:release]``.

It starts the program ``deploy`` and answers from the journal. Nothing in here
blocks, nothing of supervisor is patched, and nothing that goes wrong in here
can end supervisord. It imports the standard library and supervisor alone.
"""

from __future__ import annotations

import functools
import json
import traceback
import xmlrpc.client
from typing import TYPE_CHECKING, Any

from supervisor.http import NOT_DONE_YET
from supervisor.process import getProcessStateDescription
from supervisor.rpcinterface import SupervisorNamespaceRPCInterface
from supervisor.states import RUNNING_STATES, SupervisorStates
from supervisor.xmlrpc import Faults, RPCError

from release_agent import config
from release_agent.answers import Answers
from release_agent.awaited import Awaited, Started
from release_agent.controller import make_controller
from release_agent.errors import Code, Failed, NoTarget, ReleaseError, error_of_exit
from release_agent.lock import busy
from release_agent.model import Action, Process, Record, new_id
from release_agent.revision import check_revision

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["make_controller", "make_rpcinterface"]

REQUEST_VARIABLE = "RELEASE_AGENT_REQUEST"
CHECK = "check"
# A fault's number is the exit code of the same refusal, above supervisor's own numbers.
FAULTS = 100
_PROGRAM = "deploy"
_ATTRIBUTE = "release_agent_runs"
_MOST_HISTORY = 1000
# A turn of supervisord's loop; the answer itself is woken by the run's end.
_DELAY = 0.01


def make_rpcinterface(supervisord: Any, **settings: str) -> ReleaseRPCInterface:  # noqa: ANN401 - supervisor has no types
    """Make what answers ``release.*``; supervisor calls it once for every HTTP server, and again on reload.

    ``config``, in the section: the agent's configuration, found as the commands find it where it is not given.
    """
    runs = getattr(supervisord, _ATTRIBUTE, None)
    if runs is None:
        runs = Awaited()
        setattr(supervisord, _ATTRIBUTE, runs)
    return ReleaseRPCInterface(supervisord, runs, settings.get("config"))


def _answering(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method answer or fault, whatever happens in it; what it answers lacks what is None."""

    @functools.wraps(method)
    def answer(self: ReleaseRPCInterface, *arguments: Any) -> Any:  # noqa: ANN401 - XML-RPC
        try:
            self._refuse_while_stopping()
            answered = method(self, *arguments)
            return answered if callable(answered) else sendable(answered)
        except RPCError:
            raise
        except ReleaseError as error:
            raise _fault(error) from error
        except TypeError as error:
            raise RPCError(Faults.INCORRECT_PARAMETERS, str(error)) from error
        except Exception as error:
            self._log(traceback.format_exc())
            raise RPCError(Faults.FAILED, f"a bug in the release plugin: {error}") from error

    return answer


class ReleaseRPCInterface:
    """``release.*``: every public method is one of the RPC."""

    def __init__(self, supervisord: Any, runs: Awaited, path: str | None) -> None:  # noqa: ANN401 - supervisor has no types
        """Keep whom to ask; the configuration is read at each call, so that a bad one is told and can be mended."""
        self._supervisord = supervisord
        self._runs = runs
        self._path = path

    @_answering
    def deploy(self, revision: str = "", wait: bool = False, trigger: str = "rpc") -> Any:  # noqa: ANN401, FBT001, FBT002 - XML-RPC
        """Deploy a revision, or what [revision] says.

        @param string revision  A tag, a branch or a full commit id; empty: what [revision] says
        @param boolean wait     Answer when it has ended
        @param string trigger   What fired it, for the history
        @return struct result   The deployment's record, so far
        """
        return self._run({"action": str(Action.DEPLOY), "revision": _checked(revision), "trigger": str(trigger)}, wait=wait)

    @_answering
    def rollback(self, release: str = "", wait: bool = False, trigger: str = "rpc") -> Any:  # noqa: ANN401, FBT001, FBT002 - XML-RPC
        """Go back to the release before, or to the named one.

        @param string release  A release's name, number or revision; empty: the one before
        @param boolean wait    Answer when it has ended
        @param string trigger  What fired it, for the history
        @return struct result  The deployment's record, so far
        """
        return self._run({"action": str(Action.ROLLBACK), "release": _checked(release), "trigger": str(trigger)}, wait=wait)

    @_answering
    def check(self, revision: str = "", wait: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - XML-RPC
        """Say what a deployment would do: commits, what would be built, free space. Not in the history.

        @param string revision  A tag, a branch or a full commit id; empty: what [revision] says
        @param boolean wait     Answer when it is known
        @return struct result   The answer, or its id so far
        """
        return self._run({"action": CHECK, "revision": _checked(revision), "trigger": "rpc"}, wait=wait)

    @_answering
    def getStatus(self) -> Any:  # noqa: ANN401, N802 - XML-RPC, in supervisor's own style
        """Tell what is live, its services, and how it was last found.

        @return struct result  As `release-agent status --json`, with health_at, agent_version and maintenance
        """
        return self._answers().status(self._processes_of)

    @_answering
    def getDeployment(self, id: str) -> Any:  # noqa: A002, ANN401, N802 - XML-RPC, in supervisor's own style
        """Tell of one deployment; it has an outcome once its process is gone.

        @param string id       The deployment's id
        @return struct result  Its record
        """
        return self._record(str(id))

    @_answering
    def getHistory(self, limit: int = 20) -> Any:  # noqa: ANN401, N802 - XML-RPC, in supervisor's own style
        """Tell what was done, newest first.

        @param int limit      How many at the most
        @return array result  Records, each with trigger and started_at
        """
        most = max(0, min(int(limit), _MOST_HISTORY))
        return [self._as_running(entry) for entry in self._answers().journal().history(most)]

    # Starting

    def _run(self, request: dict[str, str], *, wait: bool) -> Any:  # noqa: ANN401 - a struct, or what is called until it is known
        identity = new_id()
        self._start({"id": identity, **request})
        if not wait:
            return self._record(identity)
        return self._deferred(identity)

    def _start(self, request: dict[str, str]) -> None:
        answers = self._answers()
        name, process = self._program()
        holder = answers.root.holder()
        if holder or process.get_state() in RUNNING_STATES:
            raise busy(holder)
        kept = process.config.environment
        process.config.environment = {**(kept or {}), REQUEST_VARIABLE: json.dumps(request)}
        try:
            SupervisorNamespaceRPCInterface(self._supervisord).startProcess(name, False)  # noqa: FBT003 - XML-RPC's
        finally:
            # At once: `reread` would see a changed program.
            process.config.environment = kept
        self._runs.add(request["id"], process, request.get("revision", ""))

    def _program(self) -> tuple[str, Any]:
        for group_name, group in self._supervisord.process_groups.items():
            if _PROGRAM in group.processes:
                return f"{group_name}:{_PROGRAM}", group.processes[_PROGRAM]
        raise Failed(
            Code.SERVICE_UNKNOWN,
            f"supervisor has no program {_PROGRAM}",
            hint="include supervisor.d/deploy.conf and `supervisorctl update`",
        )

    def _deferred(self, identity: str) -> Callable[[], Any]:
        def answer() -> Any:  # noqa: ANN401 - XML-RPC
            try:
                run = self._runs.get(identity)
                return NOT_DONE_YET if run and not run.is_over else sendable(self._record(identity))
            except ReleaseError as error:
                raise _fault(error) from error

        # A plain function with an attribute: supervisor answers anything else as it is.
        answer.delay = _DELAY  # type: ignore[attr-defined]
        return answer

    # Answering

    def _answers(self) -> Answers:
        return Answers(config.load(self._path))

    def _record(self, identity: str) -> dict[str, Any]:
        journal = self._answers().journal()
        entry = journal.entry(identity)
        if entry:
            return self._as_running(entry)
        run = self._runs.get(identity)
        answered = journal.answer_to(identity)
        if answered and not (run and not run.is_over):
            return answered
        if run is None:
            raise NoTarget(Code.RELEASE_UNKNOWN, f"there is no deployment {identity}", hint="release.getHistory lists them")
        return _unjournaled(identity, run)

    def _as_running(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A deployment has ended, over RPC, only when its process is reaped."""
        run = self._runs.get(entry["id"])
        if run and not run.is_over:
            return {**entry, "outcome": None, "error": None}
        return entry

    def _processes_of(self, group_name: str) -> list[Process]:
        group = self._supervisord.process_groups.get(group_name)
        processes = sorted(group.processes.values()) if group else []
        return [Process(p.config.name, getProcessStateDescription(p.get_state()), p.pid) for p in processes]

    def _refuse_while_stopping(self) -> None:
        if self._supervisord.options.mood < SupervisorStates.RUNNING:
            raise RPCError(Faults.SHUTDOWN_STATE)

    def _log(self, text: str) -> None:
        self._supervisord.options.logger.error("release plugin: %(text)s", text=text)


def sendable(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the value as XML-RPC can carry it: without None, large numbers as doubles; else it were an HTTP 500."""
    if isinstance(value, dict):
        return {key: sendable(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [sendable(member) for member in value]
    return float(value) if isinstance(value, int) and value > xmlrpc.client.MAXINT else value


def _checked(name: str) -> str:
    return check_revision(str(name)) if name else ""


def _fault(error: ReleaseError) -> RPCError:
    fault = RPCError(FAULTS + error.exit_code)
    # Without supervisor's own "UNKNOWN: " before it.
    fault.text = error.message
    return fault


def _unjournaled(identity: str, run: Started) -> dict[str, Any]:
    """A run of which the journal knows nothing: it has not come that far, or could not begin."""
    record = Record(identity, revision=run.revision or None)
    if run.is_over:
        error = error_of_exit(run.exit_code)
        record.outcome, record.error = error.outcome, error.to_json()
    return record.to_json()
