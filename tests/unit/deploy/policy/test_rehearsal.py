"""The process of a service that a rehearsal copies, and the rehearsals that the agent refuses."""

from __future__ import annotations

import pytest

from release_agent.deploy.policy.rehearsal import check, copied
from release_agent.errors import Code, Failed
from release_agent.health import Candidate
from support.configuration import configuration

SOCKET = "tcp://127.0.0.1:8080"
PROBED = '[[service.probe]]\nhttp = "http://127.0.0.1:8080/"\n'
OWN_PROBE = '[[service.rehearsal.probe]]\nexec = "true"\n'
WEB = Candidate("web", 1, of_release=True)
CRON = Candidate("cron", 1, of_release=False)


def refusal(rehearsal: str = "", probes: str = "", candidates: tuple[Candidate, ...] = (WEB,), socket: str = "") -> Failed | None:
    (service,) = configuration(f'[[service]]\nname = "web"\n{probes}[service.rehearsal]\n{rehearsal}').services
    assert service.rehearsal
    try:
        check(service, service.rehearsal, candidates, socket)
    except Failed as failed:
        return failed
    return None


@pytest.mark.parametrize(
    ("rehearsal", "probes", "socket"),
    [
        pytest.param("", "", "", id="a-worker-that-nobody-asks"),
        pytest.param("", '[[service.probe]]\nexec = "true"\n', "", id="a-probe-that-is-not-asked-of-the-copy"),
        pytest.param("", PROBED, SOCKET, id="a-socket-of-supervisord"),
        pytest.param('environment = { PORT = "{port}" }', PROBED, "", id="told-by-environment"),
        pytest.param('command = "web --port={port}"', PROBED, "", id="told-by-command"),
        pytest.param(OWN_PROBE, PROBED, "", id="probes-of-its-own"),
    ],
)
def test_a_rehearsal_that_can_pass_is_allowed(rehearsal: str, probes: str, socket: str) -> None:
    assert refusal(rehearsal, probes, socket=socket) is None


@pytest.mark.parametrize(
    "rehearsal",
    [
        "",
        'environment = { SOCKET = "{socket}" }',
        'command = "web --port=8080"',
        '[[service.rehearsal.probe]]\ntcp = "127.0.0.1:{port}"\n',
    ],
)
def test_a_copy_that_is_asked_at_a_port_of_which_nothing_tells_it_is_refused(rehearsal: str) -> None:
    refused = refusal(rehearsal, PROBED)

    assert refused
    assert refused.code is Code.SERVICE_REFUSED
    assert 'environment = { PORT = "{port}" }' in refused.hint


@pytest.mark.parametrize(("deadline", "allowed"), [("1s", False), ("1100ms", True)])
def test_a_deadline_that_ends_before_the_copy_counts_as_started_is_refused(deadline: str, *, allowed: bool) -> None:
    refused = refusal(f'deadline = "{deadline}"')

    assert (refused is None) is allowed
    assert allowed or (refused and refused.code is Code.SERVICE_REFUSED and "startsecs" in refused.message)


def test_a_program_that_runs_no_code_of_releases_is_never_copied() -> None:
    refused = refusal(candidates=(CRON,))

    assert refused
    assert refused.code is Code.SERVICE_REFUSED
    assert "does not name <root>/current" in refused.message


def test_the_first_process_of_the_program_is_copied() -> None:
    (service,) = configuration('[[service]]\nname = "web"\n[service.rehearsal]\nprogram = "web"\n').services
    assert service.rehearsal
    group = [CRON, Candidate("web_00", 1, of_release=True), Candidate("web_01", 1, of_release=True)]

    assert copied(service, service.rehearsal, group).name == "web_00"
