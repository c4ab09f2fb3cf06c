"""Join the journal's records with the runs that supervisord started: a run has ended once its process is reaped."""

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
        return [self._as_running(entry) for entry in entries]

    def get(self, identity: str) -> dict[str, Any]:
        """Return the record of a run; raises NoTarget (release-unknown)."""
        with self._answers.journal() as journal:
            entry = journal.entry(identity)
            answered = None if entry else journal.answer_to(identity)
        if entry:
            return self._as_running(entry)
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

    def _as_running(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Return the entry with an outcome if its process is reaped, and only then: the run has ended for clients.

        A run that was killed stays open in the journal until the next run, which nobody may start soon.
        """
        run = self._runs.get(entry["id"])
        if run and not run.is_over:
            return {**entry, "outcome": None, "error": None}
        if run and entry["outcome"] is None:
            left = error_of_open_run()
            return {**entry, "outcome": left.outcome, "error": entry["error"] or left.to_json()}
        return entry
