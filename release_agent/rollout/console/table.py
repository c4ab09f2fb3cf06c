"""Show a rollout on a terminal: hosts in flight, failed hosts, the current wait, and one line of progress."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import termios
import threading
import time
from contextlib import suppress
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from release_agent.model import seconds_since
from release_agent.rollout.console import text
from release_agent.rollout.console.lines import Lines
from release_agent.rollout.console.preflight import PreflightProgress
from release_agent.rollout.console.progress import Progress
from release_agent.rollout.model import HostStage
from release_agent.text import count_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.rollout.console.picture import Picture
    from release_agent.rollout.model import Host, Rollout
    from release_agent.rollout.options import Options
    from release_agent.rollout.preflight import Asking

_A_SECOND = 8  # refreshes
_COLOURS: dict[str, str] = {
    HostStage.FAILED: "red",
    HostStage.UNREACHABLE: "yellow",
    HostStage.STUCK: "bold red",
    HostStage.REVERTING: "magenta",
}


class Table(Lines):
    """The table. Events only change its data; a thread draws it, so that a blocked terminal does not delay the rollout."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """``now``: a monotonic clock, in seconds."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal may lack characters
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._now = now
        self._lock = threading.Lock()
        self._seen: Progress | None = None  # the progress of the rollout
        self._drawn: Picture | None = None  # the picture: of preflight, then of the rollout
        self._live: Live | None = None
        self._again: Callable[[str], str] = str

    def preflight(self, asking: Asking, options: Options) -> None:
        """Show the progress of preflight until end()."""
        self._drawn = PreflightProgress(asking, options, self._now)
        self._show()

    def begin(self, rollout: Rollout, again: Callable[[str], str]) -> None:
        """Print the id, which all other commands need; show the table if the terminal can move its cursor."""
        self._again = again
        self.say(text.opening(rollout))
        self._seen = self._drawn = Progress(rollout, self._now, again=again)
        self._show()

    def watch(self, rollout: Rollout, again: Callable[[str], str], *, running: bool) -> None:
        """Show the table of a rollout that runs elsewhere; print words if it has ended or the cursor cannot move."""
        if rollout.has_ended or not running or not self._console.is_interactive:
            self.end()
            super().watch(rollout, again, running=running)
        elif self._seen:
            with self._lock:
                self._seen.look(rollout)
        else:
            self.say(text.opening(rollout))
            self._seen = self._drawn = Progress(rollout, self._now, seconds_since(rollout.started_at), again)
            self._show()

    def tell(self, event: str, host: Host | None = None, **details: object) -> None:
        """Note an event for the table; without a table, print a line."""
        if self._seen:
            with self._lock:
                self._seen.hear(event, host, details)
        if event == "preflight.progress" and not self._live:
            self.say(text.preflight(**details))
        elif not (self._drawn and self._console.is_interactive):
            super().tell(event, host, **details)

    def end(self) -> None:
        """Remove the table, and show the cursor again; later output is words."""
        self._hide(transient=True)
        self._seen = self._drawn = None

    def say(self, what: str) -> None:
        """Print a text, failures in colour; when the terminal is gone, the rollout continues."""
        said = Text("\n".join(map(text.one_line, what.split("\n"))))
        said.highlight_regex(r"\b(failed|unreachable|stuck|stopped)\b", "red")
        said.highlight_regex(r"\b(completed|done)\b", "green")
        with suppress(OSError):
            self._console.print(said, soft_wrap=True)

    # The question

    async def ask(self, approved: asyncio.Event) -> bool | None:
        """Ask below the table; return None without an answer, and in the background, because a read would stop the process."""
        if approved.is_set() or not self._seen or _is_in_background():
            return await super().ask(approved)
        self._hide(transient=False)
        done, left = self._seen.counts[HostStage.DONE], self._seen.counts[HostStage.PENDING]
        revision = text.one_line(self._seen.rollout.revision)
        well = (
            f"{count_of(done, 'host')} runs {revision} and is healthy"
            if done == 1
            else f"{count_of(done, 'host')} run {revision} and are healthy"
        )
        goal = f"deploys to the other {left}" if left else "completes the rollout"
        self.say(f"y {goal}; anything else aborts, and every host stays as it is")
        self.say(f"(from elsewhere: {self._again('approve')})")
        question = f"Go on with the other {left}?" if left else "Complete the rollout?"
        answer = await self._answer(f"{well}. {question} [y/N] ", approved)
        self._show()
        return answer

    async def _answer(self, question: str, approved: asyncio.Event) -> bool | None:
        """Return the answer; None at the end of the input, because a closed terminal must not abort the rollout."""
        loop, descriptor, typed = asyncio.get_running_loop(), sys.stdin.fileno(), bytearray()
        line = loop.create_future()

        def read() -> None:
            part = b""
            with suppress(OSError):  # a terminal that is gone has no more to say
                part = os.read(descriptor, 1024)
            typed.extend(part)
            if not part or part.endswith(b"\n"):
                loop.remove_reader(descriptor)  # the next line is for others
                line.set_result(None)

        with suppress(termios.error):
            termios.tcflush(descriptor, termios.TCIFLUSH)  # drop the input from before the question
        with suppress(OSError):
            self._console.print(Text(question), end="", soft_wrap=True)
        elsewhere = asyncio.create_task(approved.wait())
        loop.add_reader(descriptor, read)
        try:
            await asyncio.wait((line, elsewhere), return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(descriptor)
            elsewhere.cancel()
            if not typed.endswith(b"\n"):
                with suppress(OSError):
                    self._console.line()
        if line.done():
            return bytes(typed).strip().lower() in (b"y", b"yes") if typed.endswith(b"\n") else None
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
            with suppress(OSError):  # the terminal is gone
                self._live.start()

    def _hide(self, *, transient: bool) -> None:
        live, self._live = self._live, None
        if live:
            live.transient = transient
            with suppress(OSError):  # the terminal is gone
                live.stop()

    def _picture(self) -> Group:
        seen, size = self._drawn, self._console.size
        if not seen:
            return Group()
        with self._lock:
            notes = [line for note in seen.notes() for line in wrap(note, size.width, max_lines=2, placeholder=" …")]
            # Five lines are for "and more", the waves, the counts, the summary, and the cursor.
            rows, more = seen.rows(max(1, size.height - len(notes) - 5))
            summary, settled, total = seen.summary(), seen.settled, seen.total
            below = [*([more] if more else []), *seen.below(size.width)]
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
        above = [Text(line, no_wrap=True, overflow="ellipsis", style="yellow") for line in notes]
        known = [Text(line, no_wrap=True, overflow="ellipsis") for line in below]
        return Group(*above, *([grid] if rows else []), *known, last)


def _is_in_background() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp()
    except OSError:  # it is not a terminal of this session
        return False
