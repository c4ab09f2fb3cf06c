"""Join the journal's records with the runs that still go on.

A run of the plugin has ended once its process is reaped, any other once it has released the lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from release_agent.errors import Code, NoTarget, error_of_exit, error_of_open_run
from release_agent.model import Record

if TYPE_CHECKING:
    from release_agent.plugin.answers import Answers
    from release_agent.plugin.runs import Started, StartedRuns


class RunRecords:
    """The records of runs, as clients get them."""

    def __init__(self, answers: Answers, runs: StartedRuns) -> None:
        self._answers = answers
        self._runs = runs

    def newest(self, most: int) -> list[dict[str, Any]]:
        """Return so many deployments of the journal, newest first."""
        with self._answers.journal() as journal:
            entries = journal.history(most)
        return self._as_running(*entries)

    def get(self, identity: str) -> dict[str, Any]:
        """Return the record of a run; raises NoTarget (release-unknown)."""
        with self._answers.journal() as journal:
            entry = journal.entry(identity)
            answered = None if entry else journal.answer_to(identity)
        if entry:
            return self._as_running(entry)[0]
        run = self._runs.get(identity)
        if answered and not (run and not run.is_over):
            return answered
        if run is None:
            raise NoTarget(Code.RELEASE_UNKNOWN, f"there is no deployment {identity}", hint="release.getHistory lists them")
        return self._unjournaled(run)

    def _unjournaled(self, run: Started) -> dict[str, Any]:
        """Make the record of a run that is not in the journal: the run has not come that far, or could not start."""
        record = Record.of(run.request)
        if run.is_over:
            error = self._answers.journal_failure(record.id) or error_of_exit(run.exit_code)
            record.outcome, record.error = error.outcome, error.to_json()
        return record.to_json()

    def _as_running(self, *entries: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the entries, with an outcome only if the run has ended for clients: hooks may run after the outcome is known.

        A run that was killed stays open in the journal until the next run, which nobody may start soon.
        """
        holder = self._answers.root.holder()  # read after the journal: a run without the lock has written its outcome
        return [self._entry(entry, is_holder=bool(holder and holder["id"] == entry["id"])) for entry in entries]

    def _entry(self, entry: dict[str, Any], *, is_holder: bool) -> dict[str, Any]:
        run = self._runs.get(entry["id"])
        if is_holder or (run and not run.is_over):
            return {**entry, "outcome": None, "error": None}
        if run and entry["outcome"] is None:
            left = error_of_open_run()
            return {**entry, "outcome": left.outcome, "error": entry["error"] or left.to_json()}
        return entry
