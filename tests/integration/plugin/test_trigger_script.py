"""scripts/trigger starts a deployment with only curl, and exits with the deployment's own exit code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import ENDINGS
from release_agent.model import SUCCESSES, exit_of
from support.environment import PROJECT, clean_environment
from support.fleet import PASSWORD, USER, Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = PROJECT / "scripts" / "trigger"


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    made = Fleet(1)
    yield made
    made.close()


def begin(fleet: Fleet, revision: str, password: str = PASSWORD, **more: str) -> subprocess.Popen[str]:
    environment = clean_environment() | {"PATH": os.environ["PATH"], "RPC_USER": f"{USER}:{password}"} | more
    command = [SCRIPT, f"http://127.0.0.1:{fleet.ports[0]}/RPC2", revision]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(run: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = run.communicate(timeout=300)
    return run.returncode, said


def trigger(fleet: Fleet, revision: str, password: str = PASSWORD) -> tuple[int, str]:
    return end(begin(fleet, revision, password))


def test_revision_is_deployed_and_a_second_time_it_is_live_already(fleet: Fleet) -> None:
    assert trigger(fleet, "v1.1.0")[0] == 0
    assert fleet.live() == ["v1.1.0"]
    code, said = trigger(fleet, "v1.1.0")
    assert (code, said.startswith("unchanged: v1.1.0 as 0")) == (0, True), said


def test_job_fails_with_the_deployments_own_code_and_says_why(fleet: Fleet) -> None:
    fleet.release("v1.2.0")
    fleet.refuse(0, "v1.2.0")

    code, said = trigger(fleet, "v1.2.0")

    assert (code, said.startswith("rolled-back: v1.2.0"), "after_deploy" in said) == (20, True, True), said


@pytest.mark.parametrize(
    ("revision", "code", "says"),
    [("v9.9.9", 12, "v9.9.9"), ("a b", 12, "no revision"), ("</string>", 12, "no revision"), ("-f", 12, "-f")],
)
def test_what_is_no_revision_there_is_refused(fleet: Fleet, revision: str, code: int, says: str) -> None:
    ended, said = trigger(fleet, revision)

    assert (ended, says in said) == (code, True), said


@pytest.mark.parametrize("password", ["wrong", 'a "quoted\\" one'])
def test_wrong_password_is_no_code_of_a_deployment(fleet: Fleet, password: str) -> None:
    code, said = trigger(fleet, "v1.1.0", password)

    assert (code, "401" in said) == (1, True), said


def test_host_that_is_not_there_is_no_code_of_a_deployment() -> None:
    nowhere = subprocess.run([SCRIPT, "http://127.0.0.1:1/RPC2", "v1"], capture_output=True, text=True, check=False)

    assert (nowhere.returncode, "127.0.0.1" in nowhere.stderr) == (1, True)


def test_what_a_hook_said_is_shown_as_it_is(fleet: Fleet) -> None:
    fleet.release("v1.3.0")
    fleet.configure(
        0,
        r"""[hooks]
build = [{ run = 'printf %s "one \033[2J \c two"; exit 3' }]""",
    )

    code, said = trigger(fleet, "v1.3.0")

    assert (code, r"| one \033[2J \c two" in said) == (13, True), said


def test_job_ends_when_the_host_has_forgotten_the_deployment(fleet: Fleet) -> None:
    fleet.release("v1.4.0")
    fleet.hold(0)
    run = begin(fleet, "v1.4.0", TRIGGER_PATIENCE="20")
    fleet.held(0)
    host = fleet.hosts[0]
    host.stop(signal.SIGKILL)
    (host.root / ".release-agent" / "state.db").unlink()
    host.start()

    code, said = end(run)

    assert (code, "there is no deployment" in said) == (1, True), said


def test_script_knows_the_exit_code_of_each_outcome() -> None:
    known = {
        name: int(code)
        for names, code in re.findall(r"^([a-z| -]+)\) exit (\d+) ;;$", SCRIPT.read_text(), re.MULTILINE)
        for name in names.split(" | ")
    }

    ours = {kind.outcome for kind in ENDINGS} | {str(one) for one in SUCCESSES}
    assert known == {outcome: int(exit_of(outcome)) for outcome in known}
    # No deployment ends with the others.
    assert ours - known.keys() <= {"no-target", "stopped", "locked", "error"}, ours - known.keys()
