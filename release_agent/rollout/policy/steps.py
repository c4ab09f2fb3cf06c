"""Decide the next step of a rollout, step by step, until its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.errors import Exit
from release_agent.rollout.model import ASKED, HostStage, Phase
from release_agent.rollout.policy.budgets import too_many_lost
from release_agent.rollout.policy.verdict import asked_at_the_end
from release_agent.rollout.policy.waves import in_turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.rollout.model import Host, Rollout

IN_FLIGHT = (HostStage.STARTING, HostStage.DEPLOYING)
_CHANGED = (HostStage.DONE, HostStage.FAILED, HostStage.UNREACHABLE)  # a failed host may also be changed


@dataclass(frozen=True)
class Stop:
    """The reason why no more hosts start; ``aborted``: a person ordered it."""

    why: str
    aborted: bool = False


@dataclass(frozen=True)
class Situation:
    """The facts of the operator besides the rollout itself."""

    stop: Stop | None = None
    paused: bool = False
    entered: bool = False  # whether this run has started the current wave
    baked: bool = False  # whether it has watched the hosts after that wave
    passed: bool = False  # whether the gate has let that wave pass
    verified: bool = False  # whether it has asked every host at the end
    put_back: bool = False  # whether it has tried to roll back every host


@dataclass(frozen=True)
class FollowLeftover:
    """Follow hosts that an earlier operator abandoned, before any other step."""

    hosts: Sequence[Host]


@dataclass(frozen=True)
class StageFirst:
    """Let hosts build and rehearse the revision without publishing it."""

    hosts: Sequence[Host]


@dataclass(frozen=True)
class EnterWave:
    """Start a wave; its number counts from 0."""

    wave: int


@dataclass(frozen=True)
class Deploy:
    """Deploy to hosts side by side."""

    hosts: Sequence[Host]


@dataclass(frozen=True)
class Bake:
    """Watch the hosts that are done for some seconds."""

    hosts: Sequence[Host]
    seconds: float


@dataclass(frozen=True)
class RunGate:
    """Let a command on this machine judge the current wave."""

    command: str


@dataclass(frozen=True)
class Verify:
    """Ask hosts for their live release before the rollout counts as completed."""

    hosts: Sequence[Host]


@dataclass(frozen=True)
class WaitWhilePaused:
    """Wait until somebody resumes, aborts, or something stops the rollout."""


@dataclass(frozen=True)
class AskApproval:
    """Ask a person for approval."""


@dataclass(frozen=True)
class PutBack:
    """Roll back every host that the rollout changed."""

    why: str


@dataclass(frozen=True)
class Finish:
    """End the rollout."""

    phase: Phase
    exit: Exit
    why: str = ""

    @property
    def is_success(self) -> bool:
        """Return whether the rollout ends as completed or partial."""
        return self.phase in (Phase.COMPLETED, Phase.PARTIAL)


Step = (
    FollowLeftover | StageFirst | EnterWave | Deploy | Bake | RunGate | Verify | WaitWhilePaused | AskApproval | PutBack | Finish
)


def next_step(rollout: Rollout, situation: Situation) -> Step:
    """Return what to do next; the last step is always Finish."""
    if rollout.reverting:
        return _after_revert(rollout) if situation.put_back else PutBack(rollout.reverting)
    leftover = rollout.at(*IN_FLIGHT)
    if leftover:
        return FollowLeftover(leftover)
    lost = too_many_lost(rollout)
    stop = situation.stop or (Stop(lost) if lost else None)
    if stop:
        return _stopped(rollout, stop)
    if not rollout.waves:
        return _complete(rollout, situation)
    if not situation.entered:
        return WaitWhilePaused() if situation.paused else _begin(rollout)
    return _in_wave(rollout, situation)


def _begin(rollout: Rollout) -> Step:
    if rollout.is_staging:
        return StageFirst(rollout.at(HostStage.PENDING))
    return EnterWave(rollout.wave)


def _in_wave(rollout: Rollout, situation: Situation) -> Step:
    options, waves = rollout.options, rollout.waves
    for hosts in in_turn(waves[rollout.wave]):
        pending = [host for host in hosts if host.stage is HostStage.PENDING]
        if pending:
            return Deploy(pending)
    if options.bake and not situation.baked:
        return Bake(rollout.at(HostStage.DONE), options.bake)
    if situation.paused:
        return WaitWhilePaused()
    asked = rollout.asked == rollout.wave
    if options.gate and not (situation.passed or asked):
        return RunGate(options.gate)
    is_last = rollout.wave + 1 == len(waves)
    needs_approval = asked or (options.approve and rollout.wave == 0 and not is_last)
    if needs_approval and not rollout.approved:
        return AskApproval()
    return _complete(rollout, situation) if is_last else EnterWave(rollout.wave + 1)


def _stopped(rollout: Rollout, stop: Stop) -> Step:
    if stop.aborted:
        return Finish(Phase.ABORTED, Exit.FLEET_FAILED, stop.why)
    if rollout.options.revert and rollout.at(*_CHANGED) and not rollout.is_staging:
        return PutBack(stop.why)
    return Finish(Phase.FAILED, Exit.FLEET_FAILED, stop.why)


def _complete(rollout: Rollout, situation: Situation) -> Step:
    if situation.paused:
        return WaitWhilePaused()
    if not situation.verified:
        return Verify(asked_at_the_end(rollout))
    if rollout.at(HostStage.FAILED, HostStage.UNREACHABLE):
        return Finish(Phase.PARTIAL, Exit.FLEET_PARTIAL)
    return Finish(Phase.COMPLETED, Exit.OK)


def _after_revert(rollout: Rollout) -> Finish:
    why = rollout.reverting
    if rollout.at(HostStage.STUCK):
        return Finish(Phase.FAILED, Exit.FLEET_FAILED, f"not all hosts could be rolled back ({why})")
    return Finish(Phase.REVERTED, Exit.OK if why == ASKED else Exit.FLEET_REVERTED, why)


def left_as(rollout: Rollout, stop: Stop | None) -> Phase:
    """Return the phase of a rollout without an operator; an acknowledged abort stays one."""
    return Phase.ABORTED if stop and stop.aborted and not rollout.reverting else Phase.INTERRUPTED
