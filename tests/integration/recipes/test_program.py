"""A plain program by the page's recipe is rehearsed on another port: a release that cannot start loses no request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.load import Load
from support.recipes import shown, supervisor_section
from support.repositories import WEB

if TYPE_CHECKING:
    from support.host import Host

SECTION = "A program with PORT"
SERVER = WEB.replace('os.environ["SICK_FILE"]', '"/nowhere"')


def release(host: Host, version: str, server: str = SERVER) -> None:
    files = {"server.py": server, "version": version, "behaviour": "ok", "release.toml": shown(host, SECTION, "toml")}
    host.repository.commit(files, tag=version)


@pytest.fixture
def running(cold_host: Host) -> Host:
    host = cold_host
    host.services = [supervisor_section(host, "program")]
    host.configure(service="", health='[health]\nstable_for = "1s"\n')
    release(host, "v1.0.0")
    host.start()
    ran = host.deploy()
    assert ran.code == 0, ran.err
    return host


def test_plain_program_is_deployed_and_rolled_back(running: Host) -> None:
    """Its restart loses requests, as the page says."""
    release(running, "v1.1.0")

    assert running.deploy().code == 0
    assert running.serves() == "v1.1.0"
    assert running.agent("rollback").code == 0
    assert running.serves() == "v1.0.0"


def test_plain_program_that_cannot_start_loses_no_request(running: Host) -> None:
    release(running, "v1.1.0", server="import no_such_module\n")
    process, load = running.process(), Load(running.port)

    with load.running():
        ran = running.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "rehearsal-failed"), ran.err
    assert running.process() == process
    assert load.lost == []
    assert set(load.answers) == {"v1.0.0"}
