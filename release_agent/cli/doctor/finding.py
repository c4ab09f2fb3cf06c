"""A finding: the result of one check, and its fix."""

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
    """The result of one check: ``level`` is ok, warning or fault; ``hint`` is the fix."""

    check: str
    level: str
    message: str
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        """Return ``{"check", "level", "message", "hint"}``."""
        return asdict(self)


def fault(check: str, error: ReleaseError, edit: str = "") -> Finding:
    """Make a fault of an error; ``edit``: a better fix than the error's hint, if one is known."""
    return Finding(check, FAULT, error.message, edit or error.hint)


def looked(check: str, found: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings of a check; a file that the check may not read is a fault."""
    try:
        yield from found
    except ReleaseError as error:
        yield fault(check, error)
    except OSError as error:
        message = f"{error.filename or check} cannot be examined: {error.strerror}"
        yield Finding(check, FAULT, message, "let the deploying user read it and enter the directories above it")


def findings(found: Sequence[Finding]) -> str:
    """Return the findings for a person: each on its own line, followed by its fix."""
    lines = []
    for finding in found:
        lines.append(f"{finding.level:<8}{finding.check}: {plain(finding.message)}")
        if finding.hint:
            lines.append(f"        -> {plain(finding.hint)}")
    faults = sum(finding.level == FAULT for finding in found)
    lines.append(f"{faults} fault{'' if faults == 1 else 's'}" if faults else "no faults")
    return "\n".join(lines)
