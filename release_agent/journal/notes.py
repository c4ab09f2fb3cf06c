"""The notes in ``state.db`` besides the deployments: the pin, a freeze, the last health, maintenance, answers, reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from release_agent.journal.database import Database
from release_agent.model import Freeze, timestamp

if TYPE_CHECKING:
    from release_agent.health import Health

_PIN, _FREEZE, _HEALTH, _MAINTENANCE, _TAKEN_BACK = "pin", "freeze", "health", "maintenance", "taken-back"
_KEPT_ANSWERS = 20


class Notes(Database):
    """Reads and writes the notes of a journal."""

    # The revision of ``follow = "pin"``

    def pin(self, revision: str | None) -> None:
        """Set the revision of ``follow = "pin"``; None: remove it."""
        if revision is None:
            self.write("DELETE FROM setting WHERE name = ?", (_PIN,))
        else:
            self._set(_PIN, revision)

    def pinned(self) -> str | None:
        """Return the revision that pin() set."""
        return self._get(_PIN)

    # The freeze of deployments

    def freeze(self, frozen: Freeze | None) -> None:
        """Keep a freeze, instead of an earlier one; None: end it."""
        if frozen is None:
            self.write("DELETE FROM setting WHERE name = ?", (_FREEZE,))
        else:
            self._set(_FREEZE, json.dumps(frozen.to_json()))

    def frozen(self) -> Freeze | None:
        """Return the freeze, None if there is none or it has ended."""
        kept = self._get(_FREEZE)
        with self.understanding():
            frozen = Freeze.from_json(json.loads(kept)) if kept is not None else None
        return None if frozen is None or frozen.is_over else frozen

    # The health of the live release

    def found(self, health: Health) -> None:
        """Keep the latest verdict on the live release, and its time."""
        self._set(_HEALTH, json.dumps({"health": health.state, "problems": health.why, "at": timestamp()}))

    def last_found(self) -> dict[str, str] | None:
        """Return ``{"health", "problems", "at"}`` as found() kept it."""
        kept = self._get(_HEALTH)
        with self.understanding():
            return None if kept is None else dict(json.loads(kept))

    def maintained(self, reason: str) -> None:
        """Keep the reason of this host's maintenance mode in Consul; empty: no maintenance mode."""
        self._set(_MAINTENANCE, reason)

    def maintenance(self) -> str:
        """Return the reason that maintained() kept."""
        return self._get(_MAINTENANCE) or ""

    def take_back(self, release: str, published_at: str | None) -> None:
        """Keep the publication for which the monitor fired a rollback."""
        self._set(_TAKEN_BACK, json.dumps([release, published_at]))

    def is_taken_back(self, release: str, published_at: str | None) -> bool:
        """Return whether this is the publication that take_back() last kept."""
        return self._get(_TAKEN_BACK) == json.dumps([release, published_at])

    # Answers of checks

    def answer(self, request: str, body: dict[str, Any]) -> None:
        """Keep the answer of a check for its client. It is not part of the history; only the last 20 stay."""
        self.write("INSERT INTO answer (id, body) VALUES (?,?)", (request, json.dumps(body)))
        self.write("DELETE FROM answer WHERE seq <= (SELECT max(seq) FROM answer) - ?", (_KEPT_ANSWERS,))

    def answer_to(self, request: str) -> dict[str, Any] | None:
        """Return the answer of a check; None if it is gone."""
        rows = self.read("SELECT body FROM answer WHERE id = ?", (request,))
        with self.understanding():
            return dict(json.loads(rows[0][0])) if rows else None

    # Reports for Consul

    def keep_report(self, body: dict[str, Any]) -> None:
        """Keep a report until it is sent."""
        self.write("INSERT INTO report (body) VALUES (?)", (json.dumps(body),))

    def forget_report(self, seq: int) -> None:
        """Remove a sent report."""
        self.write("DELETE FROM report WHERE seq = ?", (seq,))

    def reports(self) -> list[tuple[int, dict[str, Any]]]:
        """Return the unsent reports with their numbers, oldest first."""
        with self.understanding():
            return [(seq, json.loads(body)) for seq, body in self.read("SELECT seq, body FROM report ORDER BY seq")]

    def _set(self, name: str, value: str) -> None:
        self.write("INSERT OR REPLACE INTO setting (name, value) VALUES (?,?)", (name, value))

    def _get(self, name: str) -> str | None:
        rows = self.read("SELECT value FROM setting WHERE name = ?", (name,))
        return rows[0][0] if rows else None
