"""``--gate``: a command on the operator's machine that decides after each wave whether the rollout continues."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from release_agent.text import last_lines
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from release_agent.rollout.model import Rollout

_TAIL = 64 * 1024  # kept bytes of the output, the size of a pipe
_LONGEST = 100_000  # bytes of a variable; the kernel's limit is 128 KiB


@dataclass(frozen=True)
class Judgement:
    """The end of the command: its exit code (negative: the number of a signal), and its last lines."""

    code: int
    output: str

    @property
    def goes_on(self) -> bool:
        """Return whether the next wave may start."""
        return self.code == os.EX_OK

    @property
    def asks_a_person(self) -> bool:
        """Return whether a person must decide."""
        return self.code == os.EX_TEMPFAIL

    def describe(self) -> str:
        """Describe the end of the command, with its last lines."""
        how = f"exited with {self.code}" if self.code >= 0 else f"was killed by signal {-self.code}"
        return f"the gate {how}" + (f": {self.output}" if self.output else "")


async def judge(command: str, rollout: Rollout, environ: Mapping[str, str] = os.environ) -> Judgement:
    """Run the command after the rollout's current wave; if cancelled, kill its process group."""
    with _GateOutput() as output:
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output.writing,
            stderr=output.writing,
            env={**environ, **_about(rollout)},
            start_new_session=True,
        )
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        return Judgement(code, "; ".join(last_lines(output.tail())))


class _GateOutput:
    """A pipe that is read without waiting for its end, because a child in the background may hold it open."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._tail = bytearray()

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._reading, self._read)
        return self

    def __exit__(self, *_error: object) -> None:
        asyncio.get_running_loop().remove_reader(self._reading)
        os.close(self._reading)
        os.close(self.writing)

    def tail(self) -> str:
        """Return the last output so far."""
        self._read()
        return self._tail.decode(errors="replace")

    def _read(self) -> None:
        with suppress(BlockingIOError):
            self._tail += os.read(self._reading, _TAIL)
            del self._tail[:-_TAIL]


def _about(rollout: Rollout) -> dict[str, str]:
    names = " ".join(host.name for host in rollout.waves[rollout.wave])
    return {
        Variable.ROLLOUT_ID: rollout.id,
        Variable.ROLLOUT_WAVE: str(rollout.wave + 1),
        Variable.ROLLOUT_HOSTS: names if len(names.encode()) <= _LONGEST else "",
        Variable.ROLLOUT_REVISION: rollout.revision,
    }
