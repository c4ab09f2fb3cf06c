"""Format ``status`` and ``history`` for a terminal, in columns with ages and colours; otherwise as text.py does."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from release_agent import text
from release_agent.errors import Exit
from release_agent.health import ALIVE, HealthState
from release_agent.model import exit_of
from release_agent.system.terminal import Cell, Style

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from release_agent.system.terminal import Terminal

_LABEL = len("deploying")
_WIDEST = 40  # columns of a name that somebody chose
_LONGEST_CAUSE = 500
_HEALTH = {HealthState.PASSING: Style.GREEN, HealthState.WARNING: Style.YELLOW}
_OUTCOME = dict.fromkeys((Exit.BUSY, Exit.REFUSED, Exit.CANCELLED, Exit.NO_TARGET), Style.YELLOW) | {Exit.OK: Style.GREEN}
_UNITS = {"d": 86400, "h": 3600, "min": 60, "s": 1}  # seconds


def status(body: dict[str, Any], problems: Iterable[str], maintenance: str, terminal: Terminal | None) -> str:
    """Return the live release and its health; without a terminal (for a file or a pipe) as text.status() does."""
    if terminal is None:
        return text.status(body, problems, maintenance)
    return "\n".join(_status(body, problems, maintenance, terminal))


def history(entries: Sequence[dict[str, Any]], limit: int, terminal: Terminal | None) -> str:
    """Return the deployments; without a terminal (for a file or a pipe) as text.history() does."""
    return (
        "\n".join(terminal.table([_entry(entry) for entry in entries])) if terminal and entries else text.history(entries, limit)
    )


def _status(body: dict[str, Any], problems: Iterable[str], maintenance: str, terminal: Terminal) -> Iterator[str]:
    health = _cell(body["health"], _HEALTH.get(body["health"], Style.RED))
    yield _row("app", f"{_words(body['app'])} ({_words(body['environment'])})")
    yield _row("health", terminal.shown(health))
    for problem in problems:
        for number, line in enumerate(text.plain(problem).split("\n")):
            yield _row("", f"{'  ' if number else '- '}{line}")
    if maintenance:
        yield _row("", f"in maintenance mode in Consul: {_words(maintenance)}")
    if failure := body.get("failure"):  # an older plugin does not send it
        yield _row("failed", _words(text.failed(failure)))
    yield from terminal.table([_live(name, body[name]) for name in ("current", "previous")])
    yield from terminal.table([cells for service in body["services"] for cells in _processes(service)])
    if frozen := body.get("frozen"):  # an older plugin does not send it
        by = f"by {_words(frozen['by'])}, " if frozen["by"] else ""
        until = f", ends {_age(frozen['until'])}" if frozen["until"] else ""
        yield _row("frozen", terminal.shown(_cell(frozen["why"], Style.YELLOW, _LONGEST_CAUSE)))
        yield _row("", f"{by}{_age(frozen['since'])}{until}")
    if running := body["deployment"]:
        yield _row("deploying", f"{_words(running['id'])} in phase {_words(running['phase'])}")


def _row(label: str, words: str) -> str:
    return f"{label:<{_LABEL}}  {words}"


def _live(label: str, there: Mapping[str, Any] | None) -> Sequence[Cell]:
    """Return the cells of the live release, or of the previous one."""
    if there is None:
        return (Cell(f"{label:<{_LABEL}}"), Cell("none"), *[Cell()] * 5)
    return (
        Cell(f"{label:<{_LABEL}}"),
        _cell(there["revision"], Style.BOLD),
        _cell(_age(there["deployed_at"])),
        _cell(f"by {by}" if (by := there.get("by")) else ""),
        _cell(text.commits(there), longest=_LONGEST_CAUSE),
        _cell(there["release"], Style.DIM),
        _cell(text.signed(there)),
    )


def _processes(service: Mapping[str, Any]) -> Iterator[Sequence[Cell]]:
    """Yield the cells of each process of a service."""
    label = Cell(f"{'service':<{_LABEL}}")
    if not service["processes"]:
        yield label, _cell(service["name"]), Cell("unknown", Style.RED), Cell("to supervisor")
    for process in service["processes"]:
        alone = process["name"] == service["name"]
        name = service["name"] if alone else f"{service['name']}:{process['name']}"
        pid = f"pid {process['pid']}" if process["pid"] else ""
        yield label, _cell(name), _cell(process["state"], _of_process(process["state"])), _cell(pid, Style.DIM)
        label = Cell(" " * _LABEL)


def _of_process(state: str) -> Style:
    if state == "RUNNING":
        return Style.GREEN
    return Style.YELLOW if state in ALIVE else Style.RED


def _entry(entry: Mapping[str, Any]) -> Sequence[Cell]:
    """Return the cells of one deployment: its outcome, age, revision, commits, person, signers, id and cause."""
    outcome = entry["outcome"]
    return (
        _cell(outcome, _OUTCOME.get(exit_of(outcome), Style.RED)) if outcome else Cell("open", Style.YELLOW),
        _cell(_age(entry["started_at"])),
        _cell(entry["revision"] or "-", Style.BOLD),
        _cell(text.commits(entry), longest=_LONGEST_CAUSE),
        _cell(f"{entry['action']} by {entry.get('by') or entry['trigger']}".strip()),
        _cell(text.signed(entry)),
        _cell(entry["id"], Style.DIM),
        _cell(text.cause(entry["error"]) if entry["error"] else "", longest=_LONGEST_CAUSE),
    )


def _cell(words: object, style: Style = Style.PLAIN, longest: int = _WIDEST) -> Cell:
    return Cell(text.one_line(str(words), _LONGEST_CAUSE), style).cut(longest)


def _words(words: object) -> str:
    return text.one_line(str(words))


def _age(moment: object) -> str:
    """Return the time since a moment, or until it; return any other text unchanged."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(str(moment))).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return _words(moment)
    unit, size = next(((unit, size) for unit, size in _UNITS.items() if abs(seconds) >= size), ("s", 1))
    return f"in {math.ceil(-seconds / size)} {unit}" if seconds < 0 else f"{int(seconds // size)} {unit} ago"
