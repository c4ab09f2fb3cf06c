"""Run a real PostgreSQL with a database, at a socket in a directory."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support.privileges import NOBODY
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

_USER = "notes"
_FAST = ["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=trust", f"--username={_USER}"]


@contextmanager
def postgresql(place: Path) -> Iterator[dict[str, str]]:
    """Run PostgreSQL in a directory that every user may write to; yields the variables of its clients."""
    # Debian installs one directory per version.
    *_, programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    # PostgreSQL refuses to run as root.
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": place, "stdout": subprocess.DEVNULL}
    subprocess.run([programs / "initdb", *_FAST, place / "data"], check=True, **user)
    command = [programs / "postgres", "-D", place / "data", "-k", place, "-c", "listen_addresses=", "-c", "fsync=off"]
    with (place / "log").open("wb") as log, subprocess.Popen(command, stderr=log, **user) as server:
        try:
            variables = {"PGHOST": str(place), "PGUSER": _USER, "PGDATABASE": "postgres"}
            answers = [programs / "pg_isready", "--quiet"]
            eventually(lambda: subprocess.run(answers, env=variables, check=False).returncode == 0, "PostgreSQL answers")
            yield variables
        finally:
            server.terminate()
