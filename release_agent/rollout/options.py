"""The options of a rollout."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from release_agent.members import known_fields


@dataclass(frozen=True)
class Amount:
    """``3`` or ``25%``: a number of hosts, or a part of all."""

    number: int
    percent: bool = False

    def of(self, total: int) -> int:
        """Return the number of hosts for a total; a percentage is floored."""
        return total * self.number // 100 if self.percent else self.number

    def __str__(self) -> str:
        """Return the amount as text."""
        return f"{self.number}%" if self.percent else str(self.number)


@dataclass(frozen=True)
class Options:
    """The options of a rollout; durations in seconds."""

    waves: tuple[Amount, ...] = (Amount(1), Amount(25, percent=True), Amount(100, percent=True))
    parallel: int = 50
    bake: float = 30.0
    approve: bool = False
    max_failed: Amount = Amount(0)
    max_unreachable: Amount = Amount(0)
    deadline: float = 600.0
    progress_deadline: float = 900.0
    revert: bool = False
    by_zone: bool = False
    follow: bool = False
    gate: str = ""  # a command
    stage: bool = False
    despite_freeze: bool = False
    wait_for: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return what the record keeps."""
        amounts = {"max_failed": str(self.max_failed), "max_unreachable": str(self.max_unreachable)}
        return {**asdict(self), "waves": ",".join(map(str, self.waves)), **amounts}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Options:
        """Read what an older or a newer agent kept; a missing option has its default."""
        known = known_fields(cls, body)
        if "waves" in known:
            known["waves"] = tuple(amount(part) for part in known["waves"].split(","))
        for name in ("max_failed", "max_unreachable"):
            if name in known:
                known[name] = amount(known[name])
        return cls(**known)


def amount(text: str) -> Amount:
    """Read ``3`` or ``25%``; raises ValueError."""
    number = text.strip().removesuffix("%")
    if not number.isascii() or not number.isdigit():
        message = f"{text!r} must be a number or a percentage, such as 3 or 25%"
        raise ValueError(message)
    return Amount(int(number), percent=text.strip().endswith("%"))
