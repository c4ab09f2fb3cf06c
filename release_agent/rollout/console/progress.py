"""The progress of a watched rollout; an event costs the same for any number of hosts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from release_agent.model import seconds_since
from release_agent.rollout.console import text
from release_agent.rollout.console.picture import TROUBLE, Row, allowed, clock, fitting
from release_agent.rollout.model import HostStage, Phase
from release_agent.rollout.policy.estimate import seconds_left
from release_agent.text import count_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from release_agent.rollout.model import Host, Rollout

_IN_FLIGHT = (HostStage.STARTING, HostStage.DEPLOYING, HostStage.REVERTING)
_CHANGED = (HostStage.DONE, HostStage.UNREACHABLE, HostStage.STARTING, HostStage.DEPLOYING)  # a failed one rolled itself back
_SHORT = 0.25  # part of the progress deadline; the picture counts down the last part


class Progress:
    """The progress of a rollout. It looks at all hosts once; after that an event costs the same for any number of them."""

    def __init__(
        self, rollout: Rollout, now: Callable[[], float], elapsed: float = 0.0, again: Callable[[str], str] = str
    ) -> None:
        """Start at the rollout's current state, ``elapsed`` seconds after its start; ``now``: a monotonic clock.

        ``again`` makes the command of a verb.
        """
        self.rollout = rollout
        self._now = now
        self._again = again
        self._progressed = now()
        self._began = now() - elapsed
        self._stages: dict[str, HostStage] = {}
        self._rows: dict[bool, dict[str, Row]] = {True: {}, False: {}}  # hosts in trouble, hosts in flight; the newest last
        self._step, self._step_began = ("", ""), now()
        self._away = self._heard = ""
        self._took = (0, 0.0)  # number of finished hosts during the watch, and the sum of their seconds
        self.counts: Counter[HostStage] = Counter()
        self._waves: list[Counter[HostStage]] = [Counter() for _ in rollout.waves]
        self._zones = [wave[0].zone if rollout.options.by_zone else "" for wave in rollout.waves]
        self._apps = [text.applications(rollout, wave) for wave in rollout.waves]
        self._whose = [text.whose(rollout, wave) for wave in rollout.waves]
        self.widest = max((len(self._named(host)) for host in rollout.hosts.values()), default=0)
        for host in rollout.hosts.values():
            self._note(host)

    def hear(self, event: str, host: Host | None, details: dict[str, object]) -> None:
        """Take note of one event."""
        if host:
            self._note(host)
        self._note_step()
        if event in ("record.away", "record.back"):
            self._away = flat(str(details["why"] or "no reason given")) if event == "record.away" else ""
            self._progressed = self._now()
        elif event == "order.heard":
            self._heard = f"{details['verb']}, ordered by {flat(str(details['who']))}"
        elif event in ("host.staged", f"rollout.{Phase.RUNNING}"):
            self._progressed = self._now()

    def look(self, rollout: Rollout) -> None:
        """Note the changes since the last look, if there are no events."""
        if rollout.phase is Phase.RUNNING and self.rollout.phase is not Phase.RUNNING:  # a pause or a wait for approval has ended
            self._progressed = self._now()
        self.rollout = rollout
        for host in rollout.hosts.values():
            if self._stages[host.name] is not host.stage:
                self._note(host)

    def _note_step(self) -> None:
        """Note when the current step started. The end of a step also restarts the progress deadline, see Gate."""
        step = (self.rollout.step, self.rollout.step_at)
        if self._step != step:
            if self._step[0]:
                self._progressed = self._now()
            self._step = step
            self._step_began = self._now() - seconds_since(self.rollout.step_at)

    def _note(self, host: Host) -> None:
        before = self._stages.get(host.name)
        for counts in (self.counts, *([self._waves[host.wave]] if host.wave >= 0 else [])):
            if before:
                counts[before] -= 1
            counts[host.stage] += 1
        self._stages[host.name] = host.stage
        flying, _ = self._rows[False].pop(host.name, None), self._rows[True].pop(host.name, None)
        if host.stage in (*_IN_FLIGHT, *TROUBLE):
            began = flying.began if flying and host.stage is HostStage.DEPLOYING else self._now()
            self._rows[host.stage in TROUBLE][host.name] = Row(self._named(host), host, host.stage, began)
        elif host.stage is HostStage.DONE and flying:
            hosts, seconds = self._took
            self._took = hosts + 1, seconds + self._now() - flying.began
        if host.stage is HostStage.DONE:
            self._progressed = self._now()

    def _named(self, host: Host) -> str:
        return flat(text.named(self.rollout, host))

    def rows(self, room: int) -> tuple[list[tuple[Row, str]], str]:
        """Return as many rows as fit, failures first, then the newest, and the number of the others."""
        failed, going, more = fitting(self._rows[True], self._rows[False], room, "in flight")
        said = [(row, flat(text.cause(row.host))) for row in failed]
        return [*said, *((row, self._countdown(row)) for row in going)], more

    def _countdown(self, row: Row) -> str:
        spent = self._now() - row.began
        return f"{flat(row.host.phase)}  {spent:.0f} s (limit {self.rollout.options.deadline:g} s)".lstrip()

    def notes(self) -> list[str]:
        """Describe the current step or wait, its reason, its remaining time, and the next step."""
        self._note_step()
        rollout = self.rollout
        notes = [f"the record does not answer, so no more hosts are started: {self._away}"] if self._away else []
        if rollout.phase is Phase.PAUSED:
            notes += [f"paused {flat(rollout.why)}; hosts in flight continue", f"to continue: {flat(self._again('resume'))}"]
        if rollout.phase is Phase.REVERTING:
            notes.append(f"rolling back the changed hosts: {flat(rollout.why)}")
        elif rollout.stopping:
            notes += [flat(text.step(rollout)), f"next: {self._way_back()}"]
        elif rollout.phase is Phase.WAITING:
            notes.append(f"waiting for approval; {self._behind()}")
        elif rollout.step == "bake":
            notes += self._watching()
        elif text.step(rollout):
            notes.append(text.step(rollout))
        elif rollout.phase is Phase.RUNNING and self._rows[False] and not self._away:
            notes += self._running_short()
        return [*notes, *([f"last heard: {self._heard}"] if self._heard else [])]

    def _watching(self) -> list[str]:
        left = self._step_began + self.rollout.options.bake - self._now()
        hosts = count_of(self.counts[HostStage.DONE], "host")
        return [f"watching the health of {hosts} for {left:.0f} s more; {self._behind()}"] if left > 0 else []

    def _running_short(self) -> list[str]:
        deadline = self.rollout.options.progress_deadline
        spent = self._now() - self._progressed
        left = deadline - spent
        says = f"no host became healthy for {spent:.0f} s; the rollout stops in {max(0.0, left):.0f} s"
        return [says] if left <= deadline * _SHORT else []

    def _behind(self) -> str:
        """Describe the step after this wave."""
        behind = self.rollout.wave + 1
        if behind >= len(self._waves):
            return "then the last look"
        return f"then wave {behind + 1}: {count_of(self._waves[behind].total(), 'host')}{self._whose[behind]}"

    def _way_back(self) -> str:
        flying = len(self._rows[False])
        first = f"{count_of(flying, 'host')} {'finishes' if flying == 1 else 'finish'}, then " if flying else ""
        changed = sum(self.counts[stage] for stage in _CHANGED)
        if self.rollout.options.revert and changed and not self.rollout.aborted:
            return f"{first}the changed hosts are rolled back: {count_of(changed, 'host')}"
        return f"{first}the rollout ends, and no host is rolled back"

    def below(self, width: int) -> list[str]:
        """Return the waves, except during a revert, which has none, and the numbers of hosts by stage."""
        waves = [] if self.rollout.phase is Phase.REVERTING else [self.waves(width)]
        return [*waves, self.counted()]

    def waves(self, width: int) -> str:
        """Return the waves on one line with the current one; if they do not fit, those around it."""
        return wave_map(self._wave, len(self._waves), self._current, width)

    def _wave(self, number: int) -> str:
        """Return the numbers of settled hosts of a wave, of its hosts, and of those in trouble."""
        counts = self._waves[number]
        lost = [f"{counts[stage]} {stage}" for stage in TROUBLE if counts[stage]]
        well = _settled(counts) - sum(counts[stage] for stage in TROUBLE)
        done = f"{well}/{counts.total()}" if number <= self.rollout.wave else str(counts.total())
        where = [flat(word) for word in (self._apps[number], self._zones[number]) if word]
        return " ".join([done, *where, *([f"({' and '.join(lost)})"] if lost else [])])

    @property
    def _current(self) -> int:
        return max(0, min(self.rollout.wave, len(self._waves) - 1))

    def summary(self) -> str:
        """Show the current wave, the time so far, and the estimate."""
        rollout = self.rollout
        how = "rolling back" if rollout.phase is Phase.REVERTING else f"wave {self._current + 1} of {len(self._waves)}"
        left = self._left()
        about = f", about {clock(left)} more" if left else ""
        return f"{how}  {clock(self._now() - self._began)} so far{about}"

    def counted(self) -> str:
        """Show the numbers of hosts by stage, and the budgets."""
        return ", ".join(
            f"{self.counts[stage]} {stage}{allowed(self.rollout.options, stage, self.total)}"
            for stage in HostStage
            if self.counts[stage]
        )

    def _left(self) -> float:
        """Return an estimate in seconds; 0 if there is none."""
        hosts, seconds = self._took
        if not hosts or self.rollout.stopping or self.rollout.phase is not Phase.RUNNING:
            return 0
        pending = [counts[HostStage.PENDING] for counts in self._waves[self.rollout.wave :]]
        flying = len(self._rows[False])
        return seconds_left(pending, flying, seconds / hosts, self.rollout.options) if any(pending) or flying else 0

    @property
    def settled(self) -> int:
        """The number of hosts that are probably finished."""
        return _settled(self.counts)

    @property
    def total(self) -> int:
        """The number of hosts."""
        return self.counts.total()


def _settled(counts: Counter[HostStage]) -> int:
    return counts.total() - sum(counts[stage] for stage in (HostStage.PENDING, *_IN_FLIGHT))


def wave_map(word: Callable[[int], str], count: int, current: int, width: int) -> str:
    """Return the waves on one line, each by its word; look only at those that fit around the current one."""
    if not count:
        return "waves: none"
    first, last, words = current, current + 1, [f"{word(current)} now"]
    while last < count or first:
        forwards = last < count
        wider = [*words, word(last)] if forwards else [word(first - 1), *words]
        start, end = (first, last + 1) if forwards else (first - 1, last)
        if len(_between(wider, start, count - end)) > width:
            break
        first, last, words = start, end, wider
    return _between(words, first, count - last)


def _between(words: Sequence[str], before: int, behind: int) -> str:
    return "waves: " + ", ".join([*(["…"] if before else []), *words, *(["…"] if behind else [])])


def flat(words: str) -> str:
    """Return a text on one line, without control characters."""
    return " ".join(text.one_line(words).split())
