"""A finding: one thing that was checked, and how to fix it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from release_agent.errors import ReleaseError
from release_agent.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

OK, WARNING, FAULT = "ok", "warning", "fault"


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: ``level`` is ok, warning or fault; the hint says how to fix it."""

    check: str
    level: str
    message: str
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        """Return ``{"check", "level", "message", "hint"}``."""
        return asdict(self)


def fault(check: str, error: ReleaseError, edit: str = "") -> Finding:
    """Make a fault of an error; ``edit``: what fixes it, if that is known better than the error knows it."""
    return Finding(check, FAULT, error.message, edit or error.hint)


def looked(check: str, found: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings of a check; what it may not even look at is a fault of it."""
    try:
        yield from found
    except ReleaseError as error:
        yield fault(check, error)
    except OSError as error:
        message = f"{error.filename or check} cannot be looked at: {error.strerror}"
        yield Finding(check, FAULT, message, "let the user that deploys enter the directories above it, and read it")


def findings(found: Sequence[Finding]) -> str:
    """Return the findings for a person: each on its own line, followed by how to fix it."""
    lines = []
    for finding in found:
        lines.append(f"{finding.level:<8}{finding.check}: {plain(finding.message)}")
        if finding.hint:
            lines.append(f"        -> {plain(finding.hint)}")
    faults = sum(finding.level == FAULT for finding in found)
    lines.append(f"{faults} fault{'' if faults == 1 else 's'}" if faults else "no faults")
    return "\n".join(lines)
