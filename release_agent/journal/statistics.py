"""Sums over all runs in the journal, for metrics."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.journal.database import Database


def totals(journal: Database) -> list[tuple[str, str, str, int]]:
    """Return the number of finished runs by action, outcome and trigger."""
    return journal.read("SELECT action, outcome, trigger, count(*) FROM deployment WHERE outcome IS NOT NULL GROUP BY 1, 2, 3")


def phase_times(journal: Database, bounds: Sequence[float]) -> list[tuple[str, float, list[int]]]:
    """Return each phase's total seconds, and its counts up to each bound (seconds) and in total."""
    seconds = "json_extract(phase.value, '$.seconds')"
    within = "".join(f", total({seconds} <= {float(bound)})" for bound in bounds)
    rows = journal.read(
        f"SELECT json_extract(phase.value, '$.name'), sum({seconds}) {within}, count(*)"  # noqa: S608 - numbers
        " FROM deployment, json_each(record, '$.phases') AS phase WHERE outcome IS NOT NULL GROUP BY 1"
    )
    return [(name, total, [int(count) for count in counts]) for name, total, *counts in rows]


def last_ended(journal: Database) -> float | None:
    """Return the end of the newest finished run in seconds since 1970; raises Failed (journal-broken)."""
    rows = journal.read(
        "SELECT started_at, json_extract(record, '$.seconds') FROM deployment WHERE outcome IS NOT NULL ORDER BY seq DESC LIMIT 1"
    )
    with journal.understanding():
        return datetime.fromisoformat(rows[0][0]).timestamp() + float(rows[0][1] or 0) if rows else None
