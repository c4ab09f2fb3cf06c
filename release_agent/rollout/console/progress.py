"""What is known of a rollout while it is watched; to hear of an event costs the same, however many hosts there are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from release_agent.rollout.console import text
from release_agent.rollout.model import HostStage, Phase
from release_agent.text import count_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.rollout.model import Host, Rollout

_IN_FLIGHT = (HostStage.STARTING, HostStage.DEPLOYING, HostStage.REVERTING)
_TROUBLE = (HostStage.FAILED, HostStage.UNREACHABLE, HostStage.STUCK)
_DOING = {
    "staging.started": "hosts stage the revision, and none publishes it yet ({hosts})",
    "gate.started": "the gate judges wave {wave}",
    "verification.started": "the last look: hosts are asked what is live ({hosts})",
}
_SHORT = 0.25  # of the progress deadline: from then on it is counted down


@dataclass(frozen=True)
class Row:
    """One host as a row: its name, its stage, what to say of it, and since when."""

    name: str
    stage: HostStage
    what: str
    began: float


class Progress:
    """What is known of a rollout. All hosts are looked at once; after that an event costs the same for any number of them."""

    def __init__(self, rollout: Rollout, now: Callable[[], float]) -> None:
        """Begin where the rollout is; ``now`` is a clock that only goes forward."""
        self.rollout = rollout
        self._now = now
        self._began = self._progressed = now()
        self._stages: dict[str, HostStage] = {}
        self._rows: dict[bool, dict[str, Row]] = {True: {}, False: {}}  # in trouble, in flight; the newest last
        self._waves = max((host.wave for host in rollout.hosts.values()), default=-1) + 1
        self._bake = (0.0, 0)  # until when, how many hosts
        self._away = self._heard = self._doing = ""
        self.counts: Counter[HostStage] = Counter()
        self.widest = max((len(flat(name)) for name in rollout.hosts), default=0)
        for host in rollout.hosts.values():
            self._note(host)

    def hear(self, event: str, host: Host | None, details: dict[str, object]) -> None:
        """Take note of one event."""
        if host:
            self._note(host)
        if event == "bake.started":
            self._bake = (self._now() + float(str(details["seconds"])), int(str(details["hosts"])))
        elif event in ("record.away", "record.back"):
            self._away = flat(str(details["why"] or "no reason given")) if event == "record.away" else ""
        elif event in _DOING:
            self._doing = _DOING[event].format(**details)
        elif event in ("gate.finished", "wave.started", "approval.awaited") or event.startswith(("rollout.", "revert.")):
            self._doing = ""
        elif event == "order.heard":
            self._heard = f"{details['verb']}, ordered by {flat(str(details['who']))}"
        # What the progress deadline is begun anew by; see Gate.
        if (event == "host.finished" and host and host.stage is HostStage.DONE) or event == f"rollout.{Phase.RUNNING}":
            self._progressed = self._now()

    def _note(self, host: Host) -> None:
        if host.name in self._stages:
            self.counts[self._stages[host.name]] -= 1
        self.counts[host.stage] += 1
        self._stages[host.name] = host.stage
        flying, _ = self._rows[False].pop(host.name, None), self._rows[True].pop(host.name, None)
        if host.stage in (*_IN_FLIGHT, *_TROUBLE):
            began = flying.began if flying and host.stage is HostStage.DEPLOYING else self._now()
            what = f"{host.code}: {host.why}" if host.stage in _TROUBLE else host.deployment or ""
            self._rows[host.stage in _TROUBLE][host.name] = Row(flat(host.name), host.stage, flat(what), began)

    def rows(self, room: int) -> tuple[list[tuple[Row, str]], str]:
        """Return as many rows as there is room for, the newest first, failures before all; and how many more there are."""
        flying, troubled = self._rows[False], self._rows[True]
        most = max(room - len(flying), room // 2)  # however many failed, what goes on is seen
        failed = list(islice(reversed(troubled.values()), most))
        going = list(islice(reversed(flying.values()), room - len(failed)))
        hidden = [(len(flying) - len(going), "in flight"), (len(troubled) - len(failed), "in trouble")]
        more = " and ".join(f"{count} more {what}" for count, what in hidden if count)
        return [*((row, row.what) for row in failed), *((row, self._countdown(row)) for row in going)], more and f"… and {more}"

    def _countdown(self, row: Row) -> str:
        spent = self._now() - row.began
        return f"{spent:.0f} s, {max(0.0, self.rollout.options.deadline - spent):.0f} s left  {row.what}".rstrip()

    def notes(self) -> list[str]:
        """Say what the rollout waits for, and for how long yet."""
        rollout, now = self.rollout, self._now()
        until, hosts = self._bake
        notes = [f"what keeps the record is away, no further host is begun: {self._away}"] if self._away else []
        if rollout.phase is Phase.PAUSED:
            notes.append(f"paused {flat(rollout.why)}; what is in flight goes on; release-agent rollout resume {rollout.id}")
        if rollout.phase is Phase.WAITING:
            notes.append("waiting for approval")
        elif rollout.phase is not Phase.REVERTING and now < until:
            notes.append(f"watching {count_of(hosts, 'host')} for {until - now:.0f} s more")
        elif rollout.phase is Phase.RUNNING and self._rows[False]:
            deadline = rollout.options.progress_deadline
            left = deadline - (now - max(self._progressed, until))
            if left <= deadline * _SHORT:
                notes.append(f"no host became healthy for {deadline - left:.0f} s; it stops in {max(0.0, left):.0f} s")
        notes += [self._doing] if self._doing else []
        return [*notes, *([f"last heard: {self._heard}"] if self._heard else [])]

    def summary(self) -> str:
        """Say how far it is."""
        rollout, (minutes, seconds) = self.rollout, divmod(int(self._now() - self._began), 60)
        wave = min(rollout.wave + 1, self._waves)
        how = "putting back what was changed" if rollout.phase is Phase.REVERTING else f"wave {wave} of {self._waves}"
        return f"{how}  {minutes}:{seconds:02}  " + ", ".join(f"{self.counts[s]} {s}" for s in HostStage if self.counts[s])

    @property
    def settled(self) -> int:
        """How many hosts nothing more is to be done for, as it looks."""
        return self.counts.total() - sum(self.counts[stage] for stage in (HostStage.PENDING, *_IN_FLIGHT))


def flat(words: str) -> str:
    """Return it in one line, without what would move a cursor."""
    return " ".join(text.one_line(words).split())
