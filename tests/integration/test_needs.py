"""Machines that do not allow everything: what does not run is said, and in CI it is an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PROBE = "test_a_mount_inside_is_not_taken_for_removed"


def run_without(capability: str, *, ci: str) -> subprocess.CompletedProcess[str]:
    """Run a test that mounts on a machine without a capability."""
    pytest_of = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return subprocess.run(
        ["setpriv", f"--bounding-set=-{capability}", *pytest_of, str(TESTS / "unit" / "system" / "test_disk.py"), "-k", PROBE],
        cwd=TESTS.parent, env={**os.environ, "CI": ci}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_on_a_machine_without_mounts_what_needs_them_is_skipped_and_said_at_the_start() -> None:
    ran = run_without("sys_admin", ci="")

    (first,) = [line for line in ran.stdout.partition("collected")[0].splitlines() if line.startswith("NOT RUN: ")]
    assert "no mounts" in first
    assert "docker run --privileged" in first
    assert (ran.returncode, "1 skipped" in ran.stdout) == (0, True)


def test_in_ci_what_cannot_run_is_an_error() -> None:
    ran = run_without("sys_admin", ci="true")

    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert "CI is true, and not everything can run" in ran.stderr


@pytest.mark.needs("mount")
def test_on_a_machine_without_immutable_files_the_others_run() -> None:
    ran = run_without("linux_immutable", ci="")

    assert "no immutable files" in ran.stdout
    assert ("1 passed" in ran.stdout, "1 skipped" in ran.stdout) == (True, False)
