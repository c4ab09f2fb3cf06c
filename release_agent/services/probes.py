"""Probe services by http, tcp and exec. Each probe returns None, or the problem."""

from __future__ import annotations

import queue
import re
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.config.sections import RELEASE_PLACEHOLDERS
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from release_agent.config.sections import Probe

    Answers = queue.SimpleQueue[str | None]

_MARGIN = 0.5
_LARGEST_BODY = 1 << 20  # bytes of an answer that are searched


class Patience:
    """Waiting for answers, in real time."""

    def now(self) -> float:
        """Return seconds from an arbitrary start."""
        return time.monotonic()

    def take(self, answers: Answers, seconds: float) -> str | None:
        """Return the next answer; raises queue.Empty after ``seconds``."""
        return answers.get(timeout=seconds)


class Prober:
    """Runs probes side by side; ``run_command`` runs exec probes like hooks."""

    def __init__(
        self, run_command: Callable[[str, float, Path, Mapping[str, str]], str | None], patience: Patience | None = None
    ) -> None:
        """``run_command(command, timeout, directory, environment)`` returns the problem, or None."""
        self._run_command = run_command
        self._patience = patience or Patience()

    def run(self, probes: Sequence[Probe], directory: Path, environment: Mapping[str, str]) -> list[str | None]:
        """Return one answer per probe, in order; no probe takes much longer than its time-out.

        The library's own time-out starts again with each byte of a slow answer.
        So each probe has its own thread, and a late thread is abandoned.
        """
        began = self._patience.now()
        answers = [self._start(probe, directory, environment) for probe in probes]
        return [self._await(answer, probe, began) for answer, probe in zip(answers, probes, strict=True)]

    def _start(self, probe: Probe, directory: Path, environment: Mapping[str, str]) -> Answers:
        answer: Answers = queue.SimpleQueue()

        def ask() -> None:
            try:
                answer.put(self._ask(probe, directory, environment))
            except Exception as error:  # noqa: BLE001 - any error of a probe is its answer
                answer.put(f"{describe(probe)}: {type(error).__name__}: {error}")

        try:
            threading.Thread(target=ask, daemon=True).start()
        except RuntimeError as error:  # no process or no memory is free; the next look may succeed
            answer.put(f"{describe(probe)}: could not run: {error}")
        return answer

    def _ask(self, probe: Probe, directory: Path, environment: Mapping[str, str]) -> str | None:
        if probe.http:
            wrong = _http(probe, environment)
        elif probe.tcp:
            wrong = _tcp(probe)
        else:
            wrong = self._run_command(probe.command, probe.timeout, directory / probe.cwd, environment)
        return f"{describe(probe)}: {wrong}" if wrong else None

    def _await(self, answer: Answers, probe: Probe, began: float) -> str | None:
        """Return an answer, or a time-out message; the probe's time also runs during the wait for other probes."""
        # An exec probe ends its own process group in time; add the time for that.
        margin = 2 * _MARGIN if probe.command else _MARGIN
        try:
            return self._patience.take(answer, max(0.0, began + probe.timeout + margin - self._patience.now()))
        except queue.Empty:
            return f"{describe(probe)}: no answer within {probe.timeout:g} s"


def describe(probe: Probe) -> str:
    """Describe a probe for a person."""
    return probe.http or (f"tcp {probe.tcp}" if probe.tcp else f"exec `{probe.command}`")


def expected(expect: str, environment: Mapping[str, str]) -> tuple[str, re.Pattern[bytes]]:
    """Return what an answer must contain, and the pattern that finds it.

    ``{revision}``, ``{commit}`` and ``{release}`` stand for those of the release, and match only as whole words: v1.2.0 is
    not in ``v1.2.0-rc.1``.
    """
    variables = (Variable.RELEASE_REVISION, Variable.RELEASE_COMMIT, Variable.RELEASE_NAME)
    values = {key: environment.get(variable, "") for key, variable in zip(RELEASE_PLACEHOLDERS, variables, strict=True)}
    parts = re.split("(" + "|".join(map(re.escape, values)) + ")", expect)
    text = "".join(values.get(part, part) for part in parts)
    pattern = b"".join(_whole(values[part]) if part in values else re.escape(part.encode()) for part in parts)
    return text, re.compile(pattern)


def _whole(value: str) -> bytes:
    return rb"(?<![\w+-])(?<!\w\.)" + re.escape(value.encode()) + rb"(?![\w+-]|\.\w)"


def _http(probe: Probe, environment: Mapping[str, str]) -> str | None:
    import requests  # 100 ms, which a run without http probes saves

    text, pattern = expected(probe.expect, {**environment, Variable.RELEASE_COMMIT: probe.commit})
    authorities = environment.get(Variable.SSL_CERT_FILE)
    if authorities and probe.http.startswith("https:") and not Path(authorities).exists():
        return f"there is no file {authorities}, which SSL_CERT_FILE names"
    with requests.Session() as session:
        session.trust_env = False  # HTTP_PROXY must not apply to loopback
        session.verify = authorities or True
        try:
            # The body is read only for `expect`: otherwise only the status counts.
            with session.get(probe.http, timeout=probe.timeout, allow_redirects=False, stream=True) as response:
                status = response.status_code
                body = response.raw.read(_LARGEST_BODY, decode_content=True) if text else b""
        except requests.Timeout:
            return f"no answer within {probe.timeout:g} s"
        except requests.exceptions.SSLError as error:
            return _tls_problem(error)
        except requests.ConnectionError:
            return "no connection"
    if status != probe.status:
        return f"answered {status}, not {probe.status}"
    return None if pattern.search(body) else f"the answer does not contain {text!r}"


def _tls_problem(error: Exception) -> str:
    import ssl  # requests has imported it

    from release_agent.system.tls import tls_error

    cause = tls_error(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message.rstrip('.')}"
    return f"TLS failed: {(cause.reason if cause else None) or cause or error}"


def _tcp(probe: Probe) -> str | None:
    host, _, port = probe.tcp.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=probe.timeout).close()
    except TimeoutError:
        return f"no answer within {probe.timeout:g} s"
    except OSError as error:
        return f"no connection: {error.strerror or error}"
    return None
