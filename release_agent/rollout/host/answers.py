"""Read the answers of one host's plugin."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from release_agent import __version__
from release_agent.config.sections import app_name, environment_name
from release_agent.errors import FAULTS, Busy, Cancelled, Code, Exit, Failed, Interrupted, Refused, RollbackFailed
from release_agent.health import ALIVE as PROCESS_ALIVE
from release_agent.health import HealthState
from release_agent.model import SUCCESSES, Freeze, Trigger
from release_agent.rollout.host.model import ArgumentsRefusedError, HostError, HostStatus
from release_agent.services.faults import FaultCode

if TYPE_CHECKING:
    import xmlrpc.client
    from collections.abc import Collection, Iterator

_BUSY = FAULTS + Exit.BUSY
_FAILED = FAULTS + Exit.FAILED
_NO_TARGET = FAULTS + Exit.NO_TARGET
_LONGEST_NAME, _LONGEST_REASON = 1000, 500  # characters; they must fit into the record
_TROUBLE = (FaultCode.SHUTDOWN_STATE, FaultCode.SPAWN_ERROR)
_DID_NOTHING = ((Cancelled.outcome, Code.INTERRUPTED), (Failed.outcome, Code.JOURNAL_BROKEN))  # besides Busy
_WENT_LIVE = (*SUCCESSES, RollbackFailed.outcome)
_OPEN = ((Interrupted.outcome, Code.INTERRUPTED), (Interrupted.outcome, Code.BUG))


@contextmanager
def understood() -> Iterator[None]:
    """Raise HostError if the block cannot read an answer, because the answer is not from a plugin."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise HostError(Code.HOST_UNFIT, f"its answer is not from a release agent: {error!r:.80}") from error


def status_of(answer: Any) -> HostStatus:
    """Read what release.getStatus answers; raises HostError, also for an agent of another major version."""
    with understood():
        _check_version(str(answer.get("agent_version", "")))
        current = answer.get("current") or {}
        health, why = _health(answer)
        return HostStatus(
            app=app_name(answer["app"]),
            environment=environment_name(answer["environment"]),
            release=checked_name(current.get("release")),
            revision=checked_name(current.get("revision")),
            commits=dict(current.get("commits", {})),
            health=health,
            why=why,
            busy=bool(answer.get("deployment")),
            maintenance=bool(answer.get("maintenance")),
            instance=str(answer.get("instance", "")),
            since=str(current.get("deployed_at") or ""),
            frozen=Freeze.from_json(answer["frozen"]).describe() if answer.get("frozen") else "",
        )


def checked_name(given: Any) -> str | None:
    """Return the name of a release, a revision, a deployment or an outcome; raises TypeError for what cannot be one."""
    if given is None or (isinstance(given, str) and len(given) <= _LONGEST_NAME):
        return given
    message = f"{given!r:.40} is not a name"
    raise TypeError(message)


def _health(answer: Any) -> tuple[str, str]:
    """Return the last known health of the host and its reason, or critical if a process is not alive now.

    Without a monitor, the last known health is that of the last run.
    """
    processes = [process for service in answer.get("services", ()) for process in service["processes"]]
    down = [f"{process['name']} is {process['state']}" for process in processes if process["state"] not in PROCESS_ALIVE]
    if down:
        return HealthState.CRITICAL, ", ".join(down)[:_LONGEST_REASON]
    return str(answer.get("health", HealthState.CRITICAL)), str(answer.get("health_why", ""))[:_LONGEST_REASON]


def brought_by(history: Any, release: str, rollout: str, boots_since: str | None) -> bool | None:
    """Return whether a rollout made a release live; None if the history does not go back to the run that did.

    A boot that started after ``boots_since`` counts as the rollout; None: no boot does. Only the newest run that replaced
    another release by this one counts.
    """
    with understood():
        made = (e for e in history if e.get("release") == release != e.get("previous") and _may_have_gone_live(e))
        newest = next(made, None)
        if newest is None:
            return None
        trigger = newest.get("trigger")
        follows = trigger == Trigger.BOOT and boots_since is not None and newest["started_at"] > boots_since
        return bool(trigger == rollout or follows)


def _may_have_gone_live(entry: dict[str, Any]) -> bool:
    """Return whether a run published its release, or was killed or ended by a bug and may have; the live release shows which."""
    outcome = entry.get("outcome")
    return outcome is None or outcome in _WENT_LIVE or (outcome, (entry.get("error") or {}).get("code")) in _OPEN


def did_nothing(record: dict[str, Any]) -> bool:
    """Return whether a run ended before it changed anything, by no fault of the release."""
    with understood():
        code = (record.get("error") or {}).get("code")
        return record["outcome"] == Busy.outcome or (record["outcome"], code) in _DID_NOTHING


def require_success(record: dict[str, Any], commits: dict[str, str] | None = None) -> None:
    """Raise HostError unless a deployment ended well, and with the given commits."""
    require_outcome(record, SUCCESSES, commits)


def require_outcome(record: dict[str, Any], outcomes: Collection[str], commits: dict[str, str] | None) -> None:
    """Raise HostError unless a run ended with one of these outcomes, and with the given commits."""
    if record["outcome"] not in outcomes:
        raise failure(record)
    if commits is not None and record.get("commits") != commits:
        raise HostError(Code.COMMITS_DIFFER, "it deployed other commits than preflight saw: the revision has moved since")


def failure(record: dict[str, Any]) -> HostError:
    """Make the error for a run with an unwanted outcome."""
    with understood():
        error = record.get("error") or {}
        why = f"{record['outcome']}: {error.get('message', 'without a reason')}"
        return HostError(error.get("code", record["outcome"]), why, refused=record["outcome"] == Refused.outcome)


def error_of(fault: xmlrpc.client.Fault, method: str) -> HostError:
    """Make the error for a fault that the plugin's method returned."""
    if fault.faultCode == FaultCode.UNKNOWN_METHOD:
        return HostError(Code.HOST_UNFIT, "its supervisord has no [rpcinterface:release]: include supervisor.d/plugin.conf")
    if fault.faultCode in (_BUSY, FaultCode.ALREADY_STARTED):
        return HostError(Code.HOST_BUSY, fault.faultString, passing=True)
    if fault.faultCode == FaultCode.INCORRECT_PARAMETERS:
        return ArgumentsRefusedError(Code.HOST_UNFIT, fault.faultString)
    if fault.faultCode == _NO_TARGET:
        return HostError(Code.RELEASE_UNKNOWN, fault.faultString)
    if _is_trouble(fault, method):
        return HostError(Code.HOST_UNREACHABLE, fault.faultString, unreachable=True, passing=True)
    return HostError(Code.HOST_UNFIT, fault.faultString)


def _is_trouble(fault: xmlrpc.client.Fault, method: str) -> bool:
    """Return whether the host could not answer just now, because its supervisord restarts or its journal is in use."""
    return fault.faultCode in _TROUBLE or (fault.faultCode == _FAILED and method.startswith("release.get"))


def _check_version(version: str) -> None:
    """Raise HostError for another major version, whose answers may have another meaning."""
    if version.split(".", maxsplit=1)[0] != __version__.split(".")[0]:
        raise HostError(
            Code.HOST_UNFIT,
            f"its agent has version {version or 'unknown'}, and this one {__version__}: the major versions differ",
        )
