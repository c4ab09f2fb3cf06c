"""Journal runs one after the other as the agent does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.model import Action, Kind, Outcome, Record, Request, Stage

if TYPE_CHECKING:
    from release_agent.journal.journal import StateDatabase

NOON = "2024-01-01T12:00:00.000000Z"


class Runs:
    """Journals runs one after the other as the agent does."""

    def __init__(self, journal: StateDatabase) -> None:
        self.journal = journal
        self.count = 0

    def begin(self, release: str, action: Action = Action.DEPLOY, stage: Stage = Stage.PREPARING) -> Record:
        """Open a run, and bring it to a stage; its commits come from the release's name."""
        self.count += 1
        request = Request(f"d-{self.count}", action, revision=f"v{release}")
        self.journal.begin(request, NOON)
        record = Record(request.id, None, release, f"v{release}", {"api": f"commit of {release}"})
        if stage is not Stage.PREPARING:
            self.journal.stage(stage, record)
        return record

    def end(self, record: Record, outcome: str, kind: Kind = Kind.TAG) -> Record:
        record.outcome = outcome
        self.journal.end(record, kind)
        return record

    def deploy(self, release: str, outcome: str = Outcome.DEPLOYED, kind: Kind = Kind.TAG, previous: str | None = None) -> Record:
        record = self.begin(release, stage=Stage.PUBLISHING)
        record.previous = previous
        return self.end(record, outcome, kind)

    def roll_back(self, release: str, outcome: str = Outcome.DEPLOYED) -> Record:
        return self.end(self.begin(release, Action.ROLLBACK, Stage.PUBLISHING), outcome)
