"""Structured logs on stderr: JSON, or readable text on a terminal. Events are named ``noun.past_participle``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

from release_agent.system.disk import read_regular
from release_agent.system.urls import Address
from release_agent.variables import URLS, Exposure, Variable

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping


_SHORTEST_SECRET = 4
LARGEST_SECRET = 1 << 16  # bytes of a file that holds one


class Log(Protocol):
    """Structured logging: an event and its values."""

    def info(self, event: str, **values: object) -> None:
        """Log an event."""

    def warning(self, event: str, **values: object) -> None:
        """Log an event that a person should know of."""


class Redactor:
    """Replaces the agent's own secrets in text."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """Read the secrets from the environment and from the files that it names."""
        found = [environ.get(variable, "") for variable in Variable if variable.exposure is Exposure.SECRET]
        for variable in [variable for variable in Variable if variable.exposure is Exposure.SECRET_FILE]:
            try:
                found.append(read_regular(Path(environ[variable]), LARGEST_SECRET).decode().strip())
            except (KeyError, OSError, UnicodeDecodeError):
                continue
        for variable in URLS:
            found += Address.of(environ.get(variable, "")).secrets()
        # Shorter ones would match parts of ordinary words.
        # The longest first: one may be a part of another.
        self._secrets = sorted({secret for secret in found if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text with ``[secret]`` instead of each secret."""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text

    def process(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Replace secrets in every value of a log event (a structlog processor)."""
        for name, value in event.items():
            if isinstance(value, str):
                event[name] = self(value)
        return event


class _Stream:
    """A stream that ignores a closed pipe: the deployment goes on if supervisord, its reader, was killed."""

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
    import structlog  # 120 ms, which commands that log nothing save

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
