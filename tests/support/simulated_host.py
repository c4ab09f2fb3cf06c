"""Simulate the answers of a host with the plugin, without a process, a repository or a disk.

tests/contract checks that it keeps the same promises as a real host. So a fleet of these may replace a real one.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import threading
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from xmlrpc.client import Fault

from supervisor.xmlrpc import Faults

from release_agent import __version__
from release_agent.errors import FAULTS, Code, Failed, NoTarget, Refused, ReleaseError, RollbackFailed, RolledBack
from release_agent.model import (
    NOTHING_LIVE,
    ROLLOUT,
    Kind,
    Outcome,
    Record,
    Release,
    State,
    find_release,
    new_id,
    release_name,
    timestamp,
)
from release_agent.plugin.wire import sendable
from release_agent.repository.revision import check_revision
from release_agent.status import of_release
from release_agent.store.lock import busy

if TYPE_CHECKING:
    from collections.abc import Callable

_REPOSITORY = "api"
DEPLOY, STAGE, ROLLBACK, CHECK = "deploy", "stage", "rollback", "check"
_KEPT_ANSWERS = 20
_WHOLE = (State.HEALTHY, State.STAGED)
_MOST_HISTORY = 1000
_CHECK_PHASES = ("resolve", "plan")
_ROLLBACK_PHASES = ("plan", "publish", "restart", "health", "report", "prune")
_PHASES = ("resolve", "plan", "build", "sync", "publish", "restart", "health", "report", "prune")
_PHASE = 0.004  # seconds of a phase without a wait
_SIZE, _FILES, _FREE = 12288, 3, 84_516_958_208.0


def commit_of(revision: str) -> str:
    """Return the commit that a revision names by default."""
    return hashlib.sha1(revision.encode(), usedforsecurity=False).hexdigest()


COMMITS = {revision: commit_of(revision) for revision in ("v1.0.0", "v1.1.0", "v2.0.0")}


class Manner(StrEnum):
    """A host's way to answer a call."""

    ANSWER = "as it should"
    MUTE = "accepts the connection and says nothing"
    HEAD_ALONE = "says the head of an answer, and nothing more"
    HALF_A_BODY = "says half of an answer, and nothing more"
    LOSE = "does what it was asked, and closes the connection without an answer"
    RESET = "resets the connection as soon as it is there"
    REFUSE = "does not listen at all; to be set before anybody asks for its URL"
    UNAUTHORISED = "wants another password"


@dataclass
class Run:
    """A run of the program ``deploy``; ``ending``: its record from the moment ``over`` on."""

    action: str
    trigger: str
    ending: Record
    release: Release | None = None  # the release that it publishes
    body: dict[str, Any] = field(default_factory=dict)  # the answer, for a check
    began: float = field(default_factory=time.monotonic)
    started_at: str = field(default_factory=timestamp)
    since: float = field(default_factory=time.time)
    known: float = 0.0  # the moment from which it is in the journal
    published: float = 0.0  # the moment from which its release is live
    over: float = 0.0  # the moment from which it has ended

    def so_far(self) -> Record:
        """Return the record of the run while it runs."""
        ending = self.ending
        phases = dict(list(ending.phases.items())[:6])
        return Record(
            ending.id, None, ending.release, ending.revision, ending.commits, ending.previous, phases=phases, by=ending.by
        )


def _answering(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method answer or fault like the plugin's methods."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def answer(self: SimulatedHost, *arguments: Any) -> Any:
        try:
            signature.bind(self, *arguments)
        except TypeError as error:
            raise Fault(Faults.INCORRECT_PARAMETERS, f"INCORRECT_PARAMETERS: {error}") from error
        with self.lock:
            try:
                return method(self, *arguments)
            except ReleaseError as error:
                raise Fault(FAULTS + error.exit_code, error.message) from error

    return answer


@dataclass
class SimulatedHost:
    """One host. A test may set everything except ``name`` at any time; durations are in seconds."""

    name: str
    live: str | None = "v1.0.0"  # the revision that it runs at the start
    app: str = "api"
    environment: str = "test"
    commits: dict[str, str] = field(default_factory=lambda: COMMITS)  # the commit of each revision, the newest last
    manner: Manner = Manner.ANSWER
    manners: dict[str, Manner] = field(default_factory=dict)  # by method, such as release.deploy
    seconds: float = 0.0  # of a deployment
    stage_seconds: float | None = None  # of a stage; None: as for a deployment
    check_seconds: float = 0.0
    start_up: float = 0.0  # seconds until a run is in the history
    fails: dict[str, str] = field(default_factory=dict)  # unhealthy revisions, with the action that finds out: DEPLOY or ROLLBACK
    health: str = "passing"  # the last known health
    health_why: str = ""  # its reason
    health_after: str = "passing"  # the health after a deployment
    maintenance: bool = False
    frozen: dict[str, str] | None = None
    waited_for: str = ""  # the last ``wait_for`` of a call
    agent_version: str = __version__
    instance: str = field(default_factory=lambda: os.urandom(16).hex())  # of its supervisord

    @property
    def switched(self) -> list[float]:
        """The times of publications, by time.monotonic()."""
        return [run.published for run in self._history if run.action == DEPLOY and run.release]

    def __post_init__(self) -> None:
        """Make the live release at the start."""
        self.lock = threading.RLock()
        self._health_at: str | None = None
        self._releases: dict[str, Release] = {}
        self._line: list[str] = []  # the line of rollbacks; the live release is the last one
        self._current: Release | None = None
        self._history: list[Run] = []
        self._answers: dict[str, dict[str, Any]] = {}
        self._running: Run | None = None
        if self.live is None:
            self.health = "critical"
            return
        commits = {_REPOSITORY: self.commits[self.live]}
        fingerprint = _fingerprint(commits)
        self._current = Release(
            *(release_name(1, fingerprint), self.live, Kind.TAG, commits, fingerprint, State.HEALTHY, timestamp()),
            published_at=timestamp(),
        )
        self._releases[self._current.name] = self._current
        self._line.append(self._current.name)
        self._health_at = timestamp()

    # Used by tests

    @property
    def revision(self) -> str | None:
        """Return the live revision."""
        with self.lock:
            current = self._published()
            return current.revision if current else None

    @property
    def triggers(self) -> list[str]:
        """Return the trigger of each run in the history, oldest first."""
        with self.lock:
            return [run.trigger for run in self._history]

    def runs(self, revision: str) -> None:
        """Start again with another live revision."""
        self.live = revision
        self.__post_init__()

    def let_go(self) -> None:
        """End the current run now."""
        with self.lock:
            if self._running:
                self._running.known = self._running.published = self._running.over = time.monotonic()

    # Methods of the RPC

    def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Return the answer of a call, or the Run that the call waits for; raises Fault."""
        namespace, _, name = method.partition(".")
        if namespace != "release" or name not in _METHODS:
            raise Fault(Faults.UNKNOWN_METHOD, "UNKNOWN_METHOD")
        return getattr(self, name)(*arguments)

    @_answering
    def deploy(  # noqa: PLR0913, PLR0917 - as the plugin has it
        self,
        revision: str = "",
        wait: bool = False,
        trigger: str = "rpc",
        force: bool = False,
        expected: str = "",
        by: str = "",
        despite_freeze: bool = False,
    ) -> Any:
        """Deploy a revision."""
        assert not force, "nobody builds here"
        assert despite_freeze or not self.frozen, "preflight sees a freeze"
        named = check_revision(revision) if revision else ""
        return self._begun(lambda record: self._deployment(named, record, trigger, expected), named, by, wait=wait)

    @_answering
    def stage(self, revision: str = "", wait: bool = False, trigger: str = "rpc", by: str = "") -> Any:
        """Build a revision, and publish nothing."""
        named = check_revision(revision) if revision else ""
        return self._begun(lambda record: self._staging(named, record, trigger), named, by, wait=wait)

    @_answering
    def rollback(  # noqa: PLR0913, PLR0917 - as the plugin has it
        self,
        release: str = "",
        wait: bool = False,
        trigger: str = "rpc",
        by: str = "",
        despite_freeze: bool = False,
        expected: str = "",
    ) -> Any:
        """Roll back."""
        assert despite_freeze or not self.frozen or trigger.startswith(ROLLOUT), "a freeze refuses only people"
        named = check_revision(str(release)) if release else ""
        return self._begun(lambda record: self._rollback(named, record, trigger, expected), "", by, wait=wait)

    @_answering
    def check(
        self, revision: str = "", wait: bool = False, force: bool = False, despite_freeze: bool = False, wait_for: str = ""
    ) -> Any:
        """Return what a deployment would do."""
        assert not force, "nobody builds here"
        assert despite_freeze or not self.frozen, "preflight sees a freeze"
        self.waited_for = wait_for
        named = check_revision(revision) if revision else ""
        return self._begun(lambda record: self._check(named, record), named, wait=wait)

    @_answering
    def getStatus(self) -> dict[str, Any]:
        """Return the status."""
        running, current = self._settled(), self._published()
        locked = running is not None and time.monotonic() >= running.known
        phase = "health" if running and running.action != CHECK else None
        before = self._behind(current) if current else None
        service = {"name": "web", "state": "RUNNING" if current else "STOPPED", "pid": 4711 if current else 0}
        status: dict[str, Any] = sendable(
            {
                "app": self.app,
                "environment": self.environment,
                "current": of_release(current),
                "previous": of_release(before),
                "services": [{"name": "web", "processes": [service]}],
                "health": self.health,
                "health_why": self.health_why,
                "health_at": self._health_at,
                "deployment": {"id": running.ending.id, "phase": phase} if running and locked else None,
                "agent_version": self.agent_version,
                "follow": "tag",
                "maintenance": self.maintenance,
                "frozen": self.frozen,
                "instance": self.instance,
            }
        )
        return status

    @_answering
    def getDeployment(self, id: str) -> dict[str, Any]:
        """Return the record of one run."""
        return self.record(id)

    @_answering
    def getHistory(self, limit: int = 20) -> list[dict[str, Any]]:
        """Return the history."""
        self._settled()
        if not isinstance(limit, int):
            raise Fault(Faults.INCORRECT_PARAMETERS, "INCORRECT_PARAMETERS: limit has to be a number")
        now, most = time.monotonic(), max(0, min(limit, _MOST_HISTORY))
        return [self._entry(run) for run in reversed([run for run in self._history if now >= run.known][-most:] if most else [])]

    def record(self, identity: str) -> dict[str, Any]:
        """Return the answer of getDeployment."""
        with self.lock:
            running = self._settled()
            if running and running.ending.id == identity and (running.action == CHECK or time.monotonic() < running.known):
                return _sent(Record(identity, revision=running.ending.revision))
            for run in reversed(self._history):
                if run.ending.id == identity:
                    return self._entry(run)
            if identity in self._answers:
                return self._answers[identity]
            message = f"there is no deployment {identity}"
            raise NoTarget(Code.RELEASE_UNKNOWN, message, hint="release.getHistory lists them")

    def is_over(self, run: Run) -> bool:
        """Return whether the run has ended."""
        with self.lock:
            return self._settled() is not run

    # Runs

    def _begun(self, prepared: Callable[[Record], Run], asked: str, by: str = "", *, wait: bool) -> Any:
        running = self._settled()
        if running:
            what = {"action": running.action, "revision": running.ending.revision or ""}
            raise busy({"id": running.ending.id, "pid": os.getpid(), "since": running.since, **what})
        record = Record(new_id(), revision=asked or None, previous=self._current.name if self._current else None, by=by)
        begun = _sent(Record(record.id, revision=record.revision, by=by))
        run = self._running = prepared(record)
        if run.action != CHECK:
            self._history.append(run)
        return run if wait else begun

    def _timed(self, run: Run, seconds: float) -> Run:
        run.known = run.began + self.start_up
        run.over = run.known + seconds
        run.published = run.known + seconds / 2
        return run

    def _deployment(self, revision: str, record: Record, trigger: str, expected: str) -> Run:
        try:
            _refuse_if_overtaken(record, expected)
        except ReleaseError as error:
            return self._timed(self._refused(DEPLOY, trigger, record, error, "report"), 0.0)
        try:
            release, kept = self._planned(revision, record)
        except ReleaseError as error:
            return self._timed(self._refused(DEPLOY, trigger, record, error, "resolve", "report"), 0.0)
        if kept and self._current and release.name == self._current.name and self.health == "passing":
            record.outcome = Outcome.UNCHANGED
            return self._timed(self._ran(DEPLOY, trigger, record, release, ("resolve", "plan", "health", "report", "prune")), 0.0)
        self._decide(DEPLOY, record, release)
        return self._timed(self._ran(DEPLOY, trigger, record, release, _PHASES), self.seconds)

    def _staging(self, revision: str, record: Record, trigger: str) -> Run:
        try:
            release, _ = self._planned(revision, record)
            if self.fails.get(release.revision) == STAGE:
                raise Failed(Code.REHEARSAL_FAILED, f"{release.name} ({release.revision}) failed its rehearsal")
        except ReleaseError as error:
            return self._timed(self._refused(STAGE, trigger, record, error, "resolve", "report"), 0.0)
        seconds = self.seconds if self.stage_seconds is None else self.stage_seconds
        live = record.release == record.previous
        record.outcome = Outcome.UNCHANGED if live else Outcome.STAGED
        if not live and release.name not in self._releases:
            self._releases[release.name] = replace(release, state=State.STAGED)
        return self._timed(self._ran(STAGE, trigger, record, None, ("resolve", "plan", "build", "sync", "report")), seconds)

    def _rollback(self, named: str, record: Record, trigger: str, expected: str) -> Run:
        try:
            _refuse_if_overtaken(record, expected)
            release = self._target(named)
        except ReleaseError as error:
            return self._timed(self._refused(ROLLBACK, trigger, record, error, "plan", "report"), 0.0)
        record.release, record.revision, record.commits = release.name, release.revision, release.commits
        if record.release == record.previous and self.health == "passing":
            record.outcome = Outcome.UNCHANGED
            return self._timed(self._ran(ROLLBACK, trigger, record, release, ("plan", "report", "prune")), 0.0)
        self._decide(ROLLBACK, record, release)
        return self._timed(self._ran(ROLLBACK, trigger, record, release, _ROLLBACK_PHASES), self.seconds)

    def _check(self, revision: str, record: Record) -> Run:
        try:
            release, kept = self._planned(revision, record)
        except ReleaseError as error:
            return self._timed(self._refused(CHECK, "rpc", record, error, "resolve"), self.check_seconds)
        live = self._current
        needed = (0, 0) if kept else (_SIZE, _FILES)
        other = live is not None and live.commits != release.commits
        record.phases = dict.fromkeys(_CHECK_PHASES, _PHASE)
        body = {
            "outcome": "checked",
            "build": not kept,
            "way": "kept" if kept else "whole",
            "live": bool(live and live.name == release.name),
            "needed_bytes": needed[0],
            "files": needed[1],
            "free_bytes": _FREE,  # a double, because XML-RPC has no integers of this size
            "may_go": [],
            "services": [],
            "changes": {_REPOSITORY: {"count": 1, "back": 0, "subjects": [release.revision]}} if other else {},
        }
        return self._timed(Run(CHECK, "rpc", record, body=body), self.check_seconds)

    def _planned(self, revision: str, record: Record) -> tuple[Release, bool]:
        """Return the release of a request, and whether it already exists; raises Refused."""
        named = revision or list(self.commits)[-1]
        commit = named if named in self.commits.values() else self.commits.get(named)
        if commit is None:
            raise Refused(
                Code.REVISION_UNKNOWN,
                f"no tag, branch or commit {named} in repository {_REPOSITORY} (/repos/{_REPOSITORY})",
                hint=f"existing tags: {', '.join(self.commits)}; fetch the repository",
            )
        record.revision, record.commits = named, {_REPOSITORY: commit}
        fingerprint = _fingerprint(record.commits)
        healthy = [r for r in self._releases.values() if r.fingerprint == fingerprint and r.state in _WHOLE]
        live = self._current
        kept = live if live and live.fingerprint == fingerprint else next(reversed(healthy), None)
        if kept:
            release = replace(kept, revision=named)
        else:
            number = max((r.number for r in self._releases.values()), default=0) + 1
            name = release_name(number, fingerprint)
            release = Release(name, named, Kind.TAG, record.commits, fingerprint, State.BUILT, timestamp(), record.previous)
        record.release = release.name
        return release, kept is not None

    def _target(self, named: str) -> Release:
        if not named:
            target = self._behind(self._current) if self._current else None
            if target:
                return target
            live = self._current
            message = f"there is no healthy release before {live.name} ({live.revision})" if live else "no release is live"
            raise NoTarget(Code.NO_TARGET, message, hint="deploy a revision instead")
        found = find_release(sorted(self._releases.values(), key=lambda release: release.number), named)
        hint = "`release-agent releases` lists the kept releases"
        if found is None:
            raise NoTarget(Code.RELEASE_UNKNOWN, f"there is no release {named!r}", hint=hint)
        if found.state is not State.HEALTHY:
            raise NoTarget(Code.RELEASE_FAILED, f"{found.name} ({found.revision}) failed", hint=hint)
        return found

    def _decide(self, action: str, record: Record, release: Release) -> None:
        """Decide the end of a run."""
        if self.fails.get(release.revision) != action:
            record.outcome = Outcome.UNCHANGED if record.release == record.previous else Outcome.DEPLOYED
            return
        before = self._releases.get(record.previous or "")
        failed = (
            f"{release.name} ({release.revision}) failed: not healthy within 30 s: http://127.0.0.1:80/: answered 500, not 200"
        )
        error: ReleaseError
        if before and before.name != release.name:
            back = f"{before.name} ({before.revision}) is live again and healthy"
            error = RolledBack(Code.UNHEALTHY, f"{failed}\n{back}", hint="see what it said: the container's log")
        else:
            error = RollbackFailed(Code.NOTHING_BEHIND, f"{failed}\nthere is no healthy release before it", hint="deploy another")
        record.outcome, record.error = error.outcome, error.to_json()

    def _refused(self, action: str, trigger: str, record: Record, error: ReleaseError, *phases: str) -> Run:
        record.outcome, record.error = error.outcome, error.to_json()
        return self._ran(action, trigger, record, None, phases)

    def _ran(self, action: str, trigger: str, record: Record, release: Release | None, phases: tuple[str, ...]) -> Run:
        record.phases = dict.fromkeys(phases, _PHASE)
        return Run(action, trigger, record, release)

    # The live release

    def _settled(self) -> Run | None:
        """Return the current run, after ended runs were noted."""
        run = self._running
        if run is None or time.monotonic() < run.over:
            return run
        self._running = None
        if run.action == CHECK:
            self._answers[run.ending.id] = {**_sent(run.ending), **run.body}
            for oldest in list(self._answers)[:-_KEPT_ANSWERS]:
                del self._answers[oldest]
            return None
        run.ending.seconds = run.over - run.began
        if run.release:
            self._take(run, run.release)
        return None

    def _take(self, run: Run, release: Release) -> None:
        well = run.ending.error is None
        if not well:
            self._releases[release.name] = replace(release, state=State.FAILED)
            if run.ending.outcome == RollbackFailed.outcome:
                self._current, self.health = self._releases[release.name], "critical"
            return
        changed = run.ending.release != run.ending.previous
        published = run.started_at if changed else release.published_at
        self._current = replace(release, state=State.HEALTHY, published_at=published)
        self._releases[release.name] = self._current
        if run.action == ROLLBACK and release.name in self._line:
            del self._line[len(self._line) - self._line[::-1].index(release.name) :]
        elif not self._line or self._line[-1] != release.name:
            self._line.append(release.name)
        self.health, self._health_at = self.health_after, timestamp()

    def _published(self) -> Release | None:
        running = self._settled()
        if running and running.release and time.monotonic() >= running.published:
            return replace(running.release, published_at=running.started_at)
        return self._current

    def _behind(self, live: Release) -> Release | None:
        line = self._line
        here = len(line) - line[::-1].index(live.name) - 1 if live.name in line else len(line)
        found = (self._releases[name] for name in reversed(line[:here]) if name != live.name)
        return next((release for release in found if release.state is State.HEALTHY), None)

    def _entry(self, run: Run) -> dict[str, Any]:
        record = run.so_far() if run is self._running else run.ending
        return {**_sent(record), "action": run.action, "trigger": run.trigger, "started_at": run.started_at}


_METHODS = ("deploy", "stage", "rollback", "check", "getStatus", "getDeployment", "getHistory")


def _refuse_if_overtaken(record: Record, expected: str) -> None:
    live = record.previous or NOTHING_LIVE
    if expected not in ("", live):
        raise Refused(Code.OVERTAKEN, f"{live} is live, not {expected}")


def _fingerprint(commits: dict[str, str]) -> str:
    return hashlib.sha256(repr(sorted(commits.items())).encode()).hexdigest()


def _sent(record: Record) -> dict[str, Any]:
    sent: dict[str, Any] = sendable(record.to_json())
    return sent
