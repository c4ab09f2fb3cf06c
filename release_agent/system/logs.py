"""Write structured logs to stderr: JSON, or readable text on a terminal. Events have names like ``noun.past_participle``."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import stat
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from release_agent.system.disk import read_regular
from release_agent.system.terminal import takes_colours
from release_agent.system.urls import Address
from release_agent.variables import URLS, Exposure, Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping


_SHORTEST_SECRET = 4
LARGEST_SECRET = 1 << 16  # bytes of a file with a secret
# The kernel writes up to this size into a pipe atomically, also beside other writers.
_LONGEST_LINE = select.PIPE_BUF
_CUT = "…"
# Some readers treat these as the end of a line, and terminals as commands. They occur only inside JSON strings.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029]")


class Log(Protocol):
    """Structured logging: an event and its values."""

    def info(self, event: str, **values: object) -> None:
        """Log an event."""

    def warning(self, event: str, **values: object) -> None:
        """Log an event that a person should see."""


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
        # Shorter secrets would match parts of ordinary words.
        # The longest first: a secret may be a part of another one.
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


class RunLog:
    """A log that adds the app and the deployment to each line."""

    def __init__(self, log: Log, app: str) -> None:
        """``log``: the log that gets the lines."""
        self._log = log
        self._values = {"app": app}
        self._listeners: list[Callable[[Mapping[str, object]], None]] = []

    def info(self, event: str, **values: object) -> None:
        """Log an event."""
        self._log.info(event, **self._with(event, values))

    def warning(self, event: str, **values: object) -> None:
        """Log an event that a person should see."""
        self._log.warning(event, **self._with(event, values))

    def tell(self, event: str, **values: object) -> None:
        """Pass an event to the listeners without logging it."""
        self._with(event, values)

    @contextmanager
    def of(self, identity: str) -> Iterator[None]:
        """Add the id of a deployment to every line of a block."""
        before, self._values = self._values, {**self._values, "id": identity}
        try:
            yield
        finally:
            self._values = before

    def pass_on(self, listener: Callable[[Mapping[str, object]], None]) -> None:
        """Also pass every event to ``listener`` from now on."""
        self._listeners.append(listener)

    def _with(self, event: str, values: dict[str, object]) -> dict[str, object]:
        told = {**self._values, **values}
        for listener in self._listeners:
            listener({"event": event, **told})
        return told


class _Stream:
    """Writes each line by one write(2), so that lines of several processes are not mixed.

    A closed pipe is ignored, so that the deployment continues if its reader, supervisord, was killed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._descriptor: int | None = None
        with suppress(OSError, ValueError):  # it is not a file of the kernel, or closed
            self._descriptor = stream.fileno()
            _append(self._descriptor)

    def info(self, line: str) -> None:
        """Write a line."""
        with suppress(OSError, ValueError):
            if self._descriptor is None:
                self._stream.write(f"{line}\n")
                return
            data = f"{line}\n".encode(errors="backslashreplace")
            while data:
                data = data[os.write(self._descriptor, data) :]

    warning = info


def _append(descriptor: int) -> None:
    """Make every write go to the end of a regular file, also beside another writing process."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_APPEND)


def _one_line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    """Return an event as JSON that fits into one write; its longest values are cut (a structlog processor)."""
    line = _json(event)
    while (excess := _size(line) + 1 - _LONGEST_LINE) > 0:
        name = max(event, key=lambda name: _size(_json(event[name])))
        text = event[name] if isinstance(event[name], str) else _json(event[name])
        size = _size(_json(text))
        # At least one character less each time.
        kept = min(len(text) * max(0, size - excess - len(_CUT.encode())) // size, len(text) - 2)
        event[name] = text[: max(0, kept)] + _CUT
        line = _json(event)
    return line


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _size(text: str) -> int:
    return len(text.encode(errors="backslashreplace"))


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Hide a package from imports, unless it is already imported."""
    if package in sys.modules:
        yield
        return
    # As the documentation of sys.modules describes.
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


def make_log(redact: Redactor, stream: TextIO | None = None) -> Log:
    """Make a logger: each line goes to the stream by one write(2)."""
    # 50 ms, which commands without a log save.
    with _without("rich"):  # another 40 ms; structlog draws tracebacks with it, and no log has any
        import structlog

    out = stream or sys.stderr
    readable = out.isatty()
    renderer: Any = structlog.dev.ConsoleRenderer(colors=takes_colours()) if readable else _one_line
    log: Log = structlog.wrap_logger(
        _Stream(out),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if readable else "iso", utc=not readable),
            redact.process,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
    return log
