"""scripts/trigger starts a deployment with only curl, and exits with the deployment's own exit code."""

from __future__ import annotations

import http.server
import os
import re
import signal
import subprocess
import threading
import xmlrpc.client
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


def begin(fleet: Fleet, *revision: str, password: str = PASSWORD, path: str = "/RPC2", **more: str) -> subprocess.Popen[str]:
    environment = clean_environment() | {"PATH": os.environ["PATH"], "RPC_USER": f"{USER}:{password}"} | more
    command = [SCRIPT, f"http://127.0.0.1:{fleet.ports[0]}{path}", *revision]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(run: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = run.communicate(timeout=300)
    return run.returncode, said


def trigger(fleet: Fleet, revision: str, password: str = PASSWORD) -> tuple[int, str]:
    return end(begin(fleet, revision, password=password))


def run_alone(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    passed = clean_environment() | {"PATH": os.environ["PATH"]} | environment
    return subprocess.run([SCRIPT, *arguments], env=passed, capture_output=True, text=True, check=False, timeout=300)


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
    [
        ("v9.9.9", 12, "no tag, branch or commit v9.9.9"),
        ("a b", 12, "'a b' is not the name of a tag"),
        ("</string>&amp;", 12, "no tag, branch or commit </string>&amp; in"),
        ("-f", 12, "'-f' is not the name of a tag"),
        ("", 2, "the revision is empty"),
    ],
)
def test_what_is_no_revision_there_is_refused(fleet: Fleet, revision: str, code: int, says: str) -> None:
    ended, said = trigger(fleet, revision)

    assert (ended, says in said) == (code, True), said


def test_tag_of_one_package_among_several_is_a_revision(fleet: Fleet) -> None:
    fleet.release("@shop/api@1.5.0")

    code, said = trigger(fleet, "@shop/api@1.5.0")

    assert (code, said.startswith("deployed: @shop/api@1.5.0 as 0")) == (0, True), said


def test_host_without_a_revision_deploys_its_own(fleet: Fleet) -> None:
    fleet.release("v1.6.0")

    code, said = end(begin(fleet))

    assert (code, said.startswith("deployed: v1.6.0 as 0")) == (0, True), said


def test_page_of_supervisord_is_no_answer_and_the_job_ends(fleet: Fleet) -> None:
    code, said = end(begin(fleet, "v1.1.0", path="/"))

    assert (code, said) == (1, "scripts/trigger: the answer is not from release-agent; the URL must end with /RPC2\n")


def test_job_without_a_user_is_not_asked_for_a_password(fleet: Fleet) -> None:
    code, said = end(begin(fleet, "v1.1.0", RPC_USER=""))

    assert (code, said.startswith("curl: (22)"), "401" in said) == (1, True, True), said


@pytest.mark.parametrize("status", [200, 302])
def test_job_ends_when_a_proxy_answers_in_place_of_the_host(status: int) -> None:
    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            begins = b"release.deploy" in self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200 if begins else status)
            self.end_headers()
            self.wfile.write(xmlrpc.client.dumps(({"id": "one"},), methodresponse=True).encode() if begins else b"<p>Sorry</p>")

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = run_alone(f"http://127.0.0.1:{server.server_port}/RPC2", "v1", TRIGGER_PATIENCE="2")
    finally:
        server.shutdown()
        server.server_close()

    assert (done.returncode, done.stderr) == (1, "scripts/trigger: the host does not say how deployment one ended\n")


def test_repository_with_the_name_of_a_member_is_not_taken_for_it(fleet: Fleet) -> None:
    """The commits and the signers of a record are named by the repositories."""
    repository = fleet.repositories["api"].path
    fleet.release("v1.7.0")
    named = "".join(
        f'[[repository]]\nname = "{name}"\npath = "{repository}"\ninto = "{name}"\n'
        for name in ("id", "outcome", "release", "message")
    )
    fleet.configure(0, repository=named, service="")

    code, said = trigger(fleet, "v1.7.0")
    fleet.configure(0)

    assert (code, re.fullmatch(r"deployed: v1\.7\.0 as 0\S+\n", said) is not None) == (0, True), said


def test_user_without_a_password_is_wrong_usage() -> None:
    done = run_alone("http://127.0.0.1:1/RPC2", "v1", RPC_USER="agent")

    assert (done.returncode, done.stderr) == (2, "scripts/trigger: RPC_USER must be USER:PASSWORD\n")


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
