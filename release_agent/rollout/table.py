"""A rollout on a terminal: what is in flight, what failed, what it waits for, and one line of how far it is."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import termios
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from release_agent.rollout import text
from release_agent.rollout.console import Lines
from release_agent.rollout.model import Phase, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.rollout.model import Host, Rollout

_A_SECOND = 8  # refreshes
_IN_FLIGHT = (Stage.STARTING, Stage.DEPLOYING, Stage.REVERTING)
_TROUBLE = (Stage.FAILED, Stage.UNREACHABLE, Stage.STUCK)
_COLOURS = {Stage.FAILED: "red", Stage.UNREACHABLE: "yellow", Stage.STUCK: "bold red", Stage.REVERTING: "magenta"}
_SHORT = 0.25  # of the progress deadline: from then on it is counted down


@dataclass(frozen=True)
class _Row:
    name: str
    stage: Stage
    what: str
    began: float


class Seen:
    """What is known of a rollout. All hosts are looked at once; after that an event costs the same for any number of them."""

    def __init__(self, rollout: Rollout, now: Callable[[], float]) -> None:
        """Begin where the rollout is; ``now`` is a clock that only goes forward."""
        self.rollout = rollout
        self._now = now
        self._began = self._progressed = now()
        self._stages: dict[str, Stage] = {}
        self._rows: dict[bool, dict[str, _Row]] = {True: {}, False: {}}  # in trouble, in flight; the newest last
        self._waves = max((host.wave for host in rollout.hosts.values()), default=-1) + 1
        self._bake = (0.0, 0)  # until when, how many hosts
        self._away = self._heard = ""
        self.counts: Counter[Stage] = Counter()
        self.widest = max((len(_flat(name)) for name in rollout.hosts), default=0)
        for host in rollout.hosts.values():
            self._note(host)

    def hear(self, event: str, host: Host | None, details: dict[str, object]) -> None:
        """Take note of one event."""
        if host:
            self._note(host)
        if event == "bake.started":
            self._bake = (self._now() + float(str(details["seconds"])), int(str(details["hosts"])))
        elif event in ("record.away", "record.back"):
            self._away = _flat(str(details["why"] or "no reason given")) if event == "record.away" else ""
        elif event == "order.heard":
            self._heard = f"{details['verb']}, ordered by {_flat(str(details['who']))}"
        # What the progress deadline is begun anew by; see Gate.
        if (event == "host.finished" and host and host.stage is Stage.DONE) or event == f"rollout.{Phase.RUNNING}":
            self._progressed = self._now()

    def _note(self, host: Host) -> None:
        if host.name in self._stages:
            self.counts[self._stages[host.name]] -= 1
        self.counts[host.stage] += 1
        self._stages[host.name] = host.stage
        flying, _ = self._rows[False].pop(host.name, None), self._rows[True].pop(host.name, None)
        if host.stage in (*_IN_FLIGHT, *_TROUBLE):
            began = flying.began if flying and host.stage is Stage.DEPLOYING else self._now()
            what = f"{host.code}: {host.why}" if host.stage in _TROUBLE else host.deployment or ""
            self._rows[host.stage in _TROUBLE][host.name] = _Row(_flat(host.name), host.stage, _flat(what), began)

    def rows(self, room: int) -> tuple[list[tuple[_Row, str]], str]:
        """Return as many rows as there is room for, the newest first, failures before all; and how many more there are."""
        flying, troubled = self._rows[False], self._rows[True]
        most = max(room - len(flying), room // 2)  # however many failed, what goes on is seen
        failed = list(islice(reversed(troubled.values()), most))
        going = list(islice(reversed(flying.values()), room - len(failed)))
        hidden = [(len(flying) - len(going), "in flight"), (len(troubled) - len(failed), "in trouble")]
        more = " and ".join(f"{count} more {what}" for count, what in hidden if count)
        return [*((row, row.what) for row in failed), *((row, self._countdown(row)) for row in going)], more and f"… and {more}"

    def _countdown(self, row: _Row) -> str:
        spent = self._now() - row.began
        return f"{spent:.0f} s, {max(0.0, self.rollout.options.deadline - spent):.0f} s left  {row.what}".rstrip()

    def notes(self) -> list[str]:
        """Say what the rollout waits for, and for how long yet."""
        rollout, now = self.rollout, self._now()
        until, hosts = self._bake
        notes = [f"what keeps the record is away, no further host is begun: {self._away}"] if self._away else []
        if rollout.phase is Phase.PAUSED:
            notes.append(f"paused {_flat(rollout.why)}; what is in flight goes on; release-agent rollout resume {rollout.id}")
        if rollout.phase is Phase.WAITING:
            notes.append("waiting for approval")
        elif rollout.phase is not Phase.REVERTING and now < until:
            notes.append(f"watching {_hosts(hosts)} for {until - now:.0f} s more")
        elif rollout.phase is Phase.RUNNING and self._rows[False]:
            deadline = rollout.options.progress_deadline
            left = deadline - (now - max(self._progressed, until))
            if left <= deadline * _SHORT:
                notes.append(f"no host became healthy for {deadline - left:.0f} s; it stops in {max(0.0, left):.0f} s")
        return [*notes, *([f"last heard: {self._heard}"] if self._heard else [])]

    def summary(self) -> str:
        """Say how far it is."""
        rollout, (minutes, seconds) = self.rollout, divmod(int(self._now() - self._began), 60)
        wave = min(rollout.wave + 1, self._waves)
        how = "putting back what was changed" if rollout.phase is Phase.REVERTING else f"wave {wave} of {self._waves}"
        return f"{how}  {minutes}:{seconds:02}  " + ", ".join(f"{self.counts[s]} {s}" for s in Stage if self.counts[s])

    @property
    def settled(self) -> int:
        """How many hosts nothing more is to be done for, as it looks."""
        return self.counts.total() - sum(self.counts[stage] for stage in (Stage.PENDING, *_IN_FLIGHT))


class Table(Lines):
    """The table. Events only change what is known; a thread draws it, so that a terminal that stands still holds up nothing."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Nothing is shown yet."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal need not know every character
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._now = now
        self._lock = threading.Lock()
        self._seen: Seen | None = None
        self._live: Live | None = None

    def begin(self, rollout: Rollout) -> None:
        """Say its id, who has it can do everything else; and show the table, where the terminal can move its cursor."""
        self.say(text.headline(rollout))
        self._seen = Seen(rollout, self._now)
        self._show()

    def tell(self, event: str, host: Host | None = None, **details: object) -> None:
        """Take note; the table shows it soon. Without a table it is a line."""
        if self._seen:
            with self._lock:
                self._seen.hear(event, host, details)
        if not (self._seen and self._console.is_interactive):
            super().tell(event, host, **details)

    def end(self) -> None:
        """Take the table away, and give the cursor back; what is left to say is said in words."""
        with suppress(OSError):  # the terminal is gone, and nobody sees it
            self._hide(transient=True)
        self._seen = None

    def say(self, what: str) -> None:
        """Print it, what failed in colour."""
        said = Text("\n".join(map(text.plain, what.split("\n"))))
        said.highlight_regex(r"\b(failed|unreachable|stuck|stopped)\b", "red")
        said.highlight_regex(r"\b(completed|done)\b", "green")
        self._console.print(said, soft_wrap=True)

    # The question

    async def ask(self, approved: asyncio.Event) -> bool | None:
        """Ask below the table; in the background there is nobody to ask, and to read would stop the process."""
        if approved.is_set() or not self._seen or _is_in_background():
            return await super().ask(approved)
        self._hide(transient=False)
        done, left = self._seen.counts[Stage.DONE], self._seen.counts[Stage.PENDING]
        revision = text.plain(self._seen.rollout.revision)
        well = f"{_hosts(done)} runs {revision} and is well" if done == 1 else f"{_hosts(done)} run {revision} and are well"
        self.say(f"(from elsewhere: release-agent rollout approve {self._seen.rollout.id})")
        answer = await self._answer(f"{well}. Go on with the other {left}? [y/N] ", approved)
        self._show()
        return answer

    async def _answer(self, question: str, approved: asyncio.Event) -> bool:
        loop, descriptor, typed = asyncio.get_running_loop(), sys.stdin.fileno(), bytearray()
        line = loop.create_future()

        def read() -> None:
            part = b""
            with suppress(OSError):  # a terminal that is gone has no more to say
                part = os.read(descriptor, 1024)
            typed.extend(part)
            if (not part or part.endswith(b"\n")) and not line.done():
                line.set_result(None)

        with suppress(termios.error):
            termios.tcflush(descriptor, termios.TCIFLUSH)  # what was typed before the question is no answer to it
        self._console.print(Text(question), end="", soft_wrap=True)
        elsewhere = asyncio.create_task(approved.wait())
        loop.add_reader(descriptor, read)
        try:
            await asyncio.wait((line, elsewhere), return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(descriptor)
            elsewhere.cancel()
            if not typed.endswith(b"\n"):
                self._console.line()
        if line.done():
            return bytes(typed).strip().lower() in (b"y", b"yes")
        self.say("answered from elsewhere")
        return True

    # The picture

    def _show(self) -> None:
        if self._console.is_interactive:
            self._live = Live(
                console=self._console,
                get_renderable=self._picture,
                refresh_per_second=_A_SECOND,
                vertical_overflow="crop",
            )
            self._live.start()

    def _hide(self, *, transient: bool) -> None:
        live, self._live = self._live, None
        if live:
            live.transient = transient
            live.stop()

    def _picture(self) -> Group:
        seen, size = self._seen, self._console.size
        if not seen:
            return Group()
        with self._lock:
            notes = seen.notes()
            rows, more = seen.rows(max(1, size.height - len(notes) - 3))  # less the summary, "and more" and the cursor's line
            summary, settled, total = seen.summary(), seen.settled, seen.counts.total()
        grid = Grid.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(no_wrap=True, overflow="ellipsis", width=max(1, min(seen.widest, size.width // 3)))
        grid.add_column(no_wrap=True, overflow="ellipsis")
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for row, what in rows:
            grid.add_row(Text(row.name), Text(row.stage, style=_COLOURS.get(row.stage, "cyan")), Text(what))
        last = Grid.grid(padding=(0, 2, 0, 0))
        last.add_column()
        last.add_column(no_wrap=True, overflow="ellipsis")
        last.add_row(ProgressBar(total=max(1, total), completed=settled, width=min(20, size.width // 8)), Text(summary))
        lines = [Text(line, no_wrap=True, overflow="ellipsis", style="yellow") for line in (*([more] if more else []), *notes)]
        return Group(*([grid] if rows else []), *lines, last)


def _flat(words: str) -> str:
    """Return it in one line, without what would move a cursor."""
    return " ".join(text.plain(words).split())


def _hosts(count: int) -> str:
    return f"{count} host" if count == 1 else f"{count} hosts"


def _is_in_background() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp()
    except OSError:  # it is no terminal of this session
        return False
