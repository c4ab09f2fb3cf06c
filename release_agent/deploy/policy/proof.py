"""Prove that a release is healthy, by many looks in a row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from release_agent.errors import SERVICE_LOG_HINT, Code, Unhealthy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from release_agent.config.sections import HealthSettings
    from release_agent.health import Look, Process
    from release_agent.system.clock import Clock


_INTERVAL = 0.2
_MOST_STARTS = 3
# Seconds. Supervisor starts an ended process again within a second (supervisor/process.py, transition), or never.
_LEFT_ENDED = 3.0
_OLD_CODE_HINT = (
    "let the service change to <root>/current when it reloads (for gunicorn: --chdir <root>/current, and no directory= "
    'in its section), or use restart = "restart"; if a child has outlived its parent: stopasgroup=true and killasgroup=true'
)


class Decision(Enum):
    """The decision after a look: look again, accept the release, or give it up."""

    LOOK_AGAIN = auto()
    HEALTHY = auto()
    GIVEN_UP = auto()


@dataclass(frozen=True)
class Proof:
    """The result of the looks so far: the start of the healthy time, and its processes. Times are the clock's seconds.

    ``starts``: all pids of each process so far, by its full name. ``ended``: the first look that saw a process
    EXITED, by its full name and the time of its end.
    """

    began: float
    since: float | None = None
    pids: frozenset[int] = frozenset()
    starts: Mapping[str, frozenset[int]] = field(default_factory=dict)
    ended: Mapping[tuple[str, int], float] = field(default_factory=dict)

    def after(self, look: Look, now: float) -> Proof:
        """Count one more look. A process that was replaced, or a probe that failed once, starts the count again."""
        seen = {p.full_name: self.starts.get(p.full_name, frozenset()) | ({p.pid} if p.pid else set()) for p in look.processes}
        ends = [(p.full_name, p.ended_at) for p in look.processes if p.state == "EXITED"]
        counted = replace(self, starts=seen, ended={end: self.ended.get(end, now) for end in ends})
        if not look.well:
            return replace(counted, since=None)
        if self.since is None or look.pids != self.pids:
            return replace(counted, since=now, pids=look.pids)
        return counted

    def crashing(self, look: Look, now: float) -> list[Process]:
        """Return the processes that supervisor has given up, has restarted repeatedly, or does not start again."""
        return [p for p in look.processes if p.hopeless or self._restarted(p) or self._left_ended(p, now)]

    def _restarted(self, process: Process) -> bool:
        return len(self.starts.get(process.full_name, ())) >= _MOST_STARTS

    def _left_ended(self, process: Process, now: float) -> bool:
        return now - self.ended.get((process.full_name, process.ended_at), now) >= _LEFT_ENDED

    def decide(self, look: Look, health: HealthSettings, now: float) -> Decision:
        """Decide after a look that is already counted.

        All services must become healthy within ``deadline`` and stay healthy for ``stable_for``.
        If supervisor has given up a process, restarts it repeatedly, or leaves it ended for ``_LEFT_ENDED`` seconds, give
        up the release early.
        """
        if self.crashing(look, now):
            return Decision.GIVEN_UP
        if self.since is not None and self.since - self.began <= health.deadline:
            return Decision.HEALTHY if now - self.since >= health.stable_for else Decision.LOOK_AGAIN
        if now - self.began >= health.deadline:
            return Decision.GIVEN_UP
        return Decision.LOOK_AGAIN


def prove(look: Callable[[], Look], health: HealthSettings, clock: Clock) -> None:
    """Return once all services have been healthy for ``stable_for`` seconds; raises Unhealthy if the release is given up."""
    proof = Proof(clock.now())
    while True:
        seen = look()
        now = clock.now()
        proof = proof.after(seen, now)
        decision = proof.decide(seen, health, now)
        if decision is Decision.HEALTHY:
            return
        if decision is Decision.GIVEN_UP:
            raise _crash_looping(proof, seen, now) if proof.crashing(seen, now) else _unhealthy(seen, health)
        clock.sleep(_INTERVAL)


def _crash_looping(proof: Proof, look: Look, now: float) -> Unhealthy:
    crashing = proof.crashing(look, now)
    told = "; ".join(_crashed(process, len(proof.starts[process.full_name]), now - proof.began) for process in crashing)
    services = list(dict.fromkeys(process.service for process in crashing))
    return Unhealthy(Code.CRASH_LOOPING, f"does not stay up: {told}", hint=SERVICE_LOG_HINT, services=services)


def _crashed(process: Process, starts: int, seconds: float) -> str:
    state = f"is {process.state}" + (f" ({process.why})" if process.why else "")
    # Supervisor may also have started the process between two looks.
    return f"{process.short_name} {state}" + (f", started at least {_times(starts)} in {seconds:.0f} s" if starts else "")


def _unhealthy(look: Look, health: HealthSettings) -> Unhealthy:
    wrong = "; ".join(look.problems) or f"never healthy for {health.stable_for:g} s in a row"
    sick = [name for name, service in look.services.items() if not service.well]
    message = f"not healthy within {health.deadline:g} s: {wrong}"
    outdated = any(service.outdated for service in look.services.values())
    code, hint = (Code.OLD_CODE_RUNNING, _OLD_CODE_HINT) if outdated else (Code.UNHEALTHY, SERVICE_LOG_HINT)
    return Unhealthy(code, message, hint=hint, services=sick or list(look.services))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
