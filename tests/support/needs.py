"""Find out once, at the start, by trials, whether the machine allows what some tests need besides root."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from support.privileges import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 60  # seconds for any of the programs


def lacking() -> list[str]:
    """Return the needs that this machine does not allow."""
    return [need for need, is_allowed in _PROBES.items() if not is_allowed()]


def sentence(needs: list[str]) -> str:
    """Return the line that says which tests do not run, and how to run them."""
    what = " and no ".join(_NAMES[need] for need in needs)
    return (
        f"NOT RUN: this machine allows no {what}: the tests marked needs({', '.join(needs)}) are skipped; "
        "`docker run --privileged` runs all"
    )


def _mount() -> bool:
    with tempfile.TemporaryDirectory() as place:
        return _does("mount", "-t", "tmpfs", "none", place) and _does("umount", place)


def _immutable() -> bool:
    with tempfile.NamedTemporaryFile() as file:
        return _does("chattr", "+i", file.name) and _does("chattr", "-i", file.name)


def _ptrace() -> bool:
    """Trace a process that is not strace's child, as the tests do."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        status = Path(f"/proc/{process.pid}/status")
        try:
            tracer = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-p", str(process.pid)], stderr=subprocess.DEVNULL)
        except OSError:
            tracer = None
        while tracer and tracer.poll() is None and f"TracerPid:\t{tracer.pid}\n" not in status.read_text():
            continue
        assert process.stdin
        process.stdin.close()  # this also ends the tracer
        return tracer is not None and tracer.wait(_LONGEST) == 0


def _inspect() -> bool:
    """Read the working directory of another user's process, as the agent does before it prunes."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=NOBODY, group=NOBODY, extra_groups=[]) as process:
        assert process.stdin
        try:
            return bool(Path(f"/proc/{process.pid}/cwd").readlink())
        except OSError:
            return False
        finally:
            process.stdin.close()


def _does(*command: str) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True, timeout=_LONGEST).returncode == 0
    except OSError:
        return False


_PROBES: dict[str, Callable[[], bool]] = {"mount": _mount, "immutable": _immutable, "ptrace": _ptrace, "inspect": _inspect}
_NAMES = {
    "mount": "mounts",
    "immutable": "immutable files (chattr +i)",
    "ptrace": "tracing (strace)",
    "inspect": "look into other users' processes",
}
