"""Machines that do not allow everything: pytest names the tests that do not run, and in CI that is an error."""

from __future__ import annotations

import os
import shutil
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


@pytest.mark.parametrize("code", [0, 1])
def test_on_a_machine_without_mounts_scripts_test_ends_with_the_exit_code_of_the_tests(tmp_path: Path, code: int) -> None:
    script = tmp_path / "scripts/test"
    script.parent.mkdir()
    shutil.copy(TESTS.parent / "scripts/test", script)
    installed = (".venv/needs", ".venv/installed")  # newer than what they are made from
    programs = {"scripts/get-consul": 0, ".venv/bin/python": 0, ".venv/bin/pytest": code}
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "release_agent", "man", "supervisor.d", *installed, *programs):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {programs.get(name)}\n")
        (tmp_path / name).chmod(0o755)

    ran = subprocess.run(["setpriv", "--bounding-set=-sys_admin", script], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr) == (code, "")
