"""The shop's worker, which writes its version as a heartbeat twice per second.

``python3 worker.py check`` exits with 0 if the heartbeat is fresh and of this version.
"""

import sys
import time
from pathlib import Path

import pages

HEARTBEAT = Path(__file__).resolve().parent / "var" / "heartbeat"
FRESH = 2.0


def work() -> None:
    """Write the heartbeat forever."""
    fresh = HEARTBEAT.with_suffix(".new")
    while True:
        fresh.write_text(pages.VERSION, encoding="utf-8")
        fresh.replace(HEARTBEAT)
        time.sleep(0.5)


def check() -> str | None:
    """Return the problem, or None."""
    if not HEARTBEAT.exists() or time.time() - HEARTBEAT.stat().st_mtime > FRESH:
        return f"no heartbeat for {FRESH:g} s"
    version = HEARTBEAT.read_text(encoding="utf-8")
    return None if version == pages.VERSION else f"the heartbeat is that of {version}"


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        sys.exit(check())
    work()
