"""Structured logs on stderr: JSON, or something to read on a terminal. Events are ``noun.past_participle``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

from release_agent.variables import Exposure, Variable

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping


_SHORTEST_SECRET = 4


class Log(Protocol):
    """Structured logging: an event and what belongs to it."""

    def info(self, event: str, **values: object) -> None:
        """Log what happened."""

    def warning(self, event: str, **values: object) -> None:
        """Log what a person should know."""


class Redactor:
    """Replaces the agent's own secrets wherever they turn up in text."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """Read them from the environment, and from the files it names."""
        found = [environ.get(variable, "") for variable in Variable if variable.exposure is Exposure.SECRET]
        for variable in [variable for variable in Variable if variable.exposure is Exposure.SECRET_FILE]:
            try:
                found.append(Path(environ[variable]).read_text(encoding="utf-8").strip())
            except (KeyError, OSError, UnicodeDecodeError):
                continue
        # Shorter ones would blacken words that are none.
        self._secrets = [secret for secret in found if len(secret) >= _SHORTEST_SECRET]

    def __call__(self, text: str) -> str:
        """Return the text without them."""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text

    def process(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Do so for every value of a log event (a structlog processor)."""
        for name, value in event.items():
            if isinstance(value, str):
                event[name] = self(value)
        return event


class _Stream:
    """A stream whose reader may have gone: supervisord killed with 9 closes it, and the deployment goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except (OSError, ValueError):
            return

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


def make_log(redact: Redactor, stream: TextIO | None = None) -> Log:
    """Make the logger of a run."""
    import structlog  # 120 ms that reading commands need not pay

    out = stream or sys.stderr
    readable = out.isatty()
    renderer: Any = structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer()
    log: Log = structlog.wrap_logger(
        structlog.PrintLogger(cast("TextIO", _Stream(out))),  # it only writes and flushes
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if readable else "iso", utc=not readable),
            redact.process,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
    return log
