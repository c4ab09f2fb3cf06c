"""The agent gives up early a release that does not stay up, and shows its last output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.sabotage import let_in

if TYPE_CHECKING:
    from support.host import Host

# As gunicorn with an ImportError: it lives a little longer than startsecs, and never becomes FATAL.
LATE = """\
import sys, time
print("starting up", flush=True)
time.sleep(1.2)
sys.exit("ModuleNotFoundError: No module named 'late'")
"""
LOGS = {
    "in a file": "",
    "in the container's log": (
        "stdout_logfile=/dev/fd/1\nstdout_logfile_maxbytes=0\nstderr_logfile=/dev/fd/2\nstderr_logfile_maxbytes=0\n"
        "stdout_events_enabled=true\nstderr_events_enabled=true\n"
    ),
    "in one file with stdout": "redirect_stderr=true\n",
}


@pytest.fixture(params=LOGS)
def logging_host(cold_host: Host, request: pytest.FixtureRequest) -> Host:
    """A host whose service logs in one of the usual ways."""
    cold_host.services = [cold_host.service("web") + LOGS[request.param]]
    cold_host.start()
    cold_host.repository.release("v1.1.0")
    return cold_host


def test_release_that_crashes_a_little_later_each_time_is_rolled_back_with_its_last_words(logging_host: Host) -> None:
    host = logging_host
    host.deploy()
    host.repository.release("v1.2.0", **{"web.py": LATE})

    ran = host.deploy()

    error = ran.json["error"]
    assert (ran.code, error["code"]) == (20, "crash-looping")
    assert "web is " in error["message"]
    assert ", started at least 3 times in " in error["message"]
    assert "web ended with exit status 1\n" in error["message"]
    assert "ModuleNotFoundError: No module named 'late'" in error["output"].splitlines()[-2:]  # it may have been started again
    assert "last output of web:\n  " in error["message"]
    assert host.history()[0]["error"]["output"] == error["output"]
    assert host.serves() == "v1.1.0"


def test_program_that_ends_before_supervisor_has_answered_to_its_start_is_rolled_back_with_its_last_words(
    cold_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = cold_host
    let_in(host, monkeypatch)
    host.start()
    host.repository.release("v1.1.0")
    assert host.deploy().code == 0
    host.repository.release("v1.2.0", **{"web.py": "import no_such_module\n"})
    host.rpc.saboteur.outruns("web")

    ran = host.deploy()

    error = ran.json["error"]
    assert (ran.code, error["code"]) == (20, "crash-looping")
    assert "No module named 'no_such_module'" in error["output"]
    assert host.serves() == "v1.1.0"


def test_program_that_supervisor_leaves_ended_is_given_up_long_before_the_deadline(cold_host: Host) -> None:
    host = cold_host
    host.services = [host.service("web").replace("startsecs=1", "startsecs=0") + "autorestart=false\n"]
    host.configure(health='[health]\ndeadline = "10m"\nstable_for = "100ms"')
    host.start()
    host.repository.release("v1.1.0")
    assert host.deploy().code == 0
    host.repository.release("v1.2.0", **{"web.py": "import no_such_module\n"})

    ran = host.deploy()

    error = ran.json["error"]
    assert (ran.code, error["code"]) == (20, "crash-looping")
    assert "does not stay up: web is EXITED" in error["message"]
    assert "No module named 'no_such_module'" in error["output"]
    assert host.serves() == "v1.1.0"


def test_words_of_the_release_before_are_not_among_the_last_words(host: Host) -> None:
    host.repository.release("v1.2.0", **{"web.py": "import sys\nsys.exit('the first failure')\n"})
    host.deploy()
    host.repository.release("v1.3.0", **{"web.py": "import sys\nsys.exit('the second failure')\n"})

    ran = host.deploy()

    assert ran.json["error"]["output"].splitlines()[-1] == "the second failure"
    assert "the first failure" not in ran.out


def test_release_that_says_nothing_has_no_last_words(host: Host) -> None:
    host.deploy("v1.1.0")
    host.repository.release("v1.2.0", "crash")

    ran = host.deploy()

    assert ran.json["error"]["code"] == "crash-looping"
    assert "output" not in ran.json["error"]
    assert "last output" not in ran.json["error"]["message"]
    assert "web ended with exit status 3" in ran.json["error"]["message"]


def test_secret_in_last_words_is_not_shown(host: Host) -> None:
    host.deploy("v1.1.0")
    said = "import sys\nsys.exit('cannot connect with s3cret-s3cret')\n"
    host.repository.release("v1.2.0", **{"web.py": said})

    ran = host.deploy(CONSUL_HTTP_TOKEN="s3cret-s3cret")

    assert "cannot connect with" in ran.json["error"]["output"]
    assert "s3cret-s3cret" not in ran.out + ran.err
