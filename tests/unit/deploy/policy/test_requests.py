"""Which services can lose requests in a deployment, and what would change that."""

from __future__ import annotations

import pytest

from release_agent.deploy.policy.requests import Loss, outlook
from support.configuration import configuration

SOCKET = "tcp://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("restart", "processes", "socket", "loss", "hint"),
    [
        ("none", 1, "", Loss.NO, ""),
        ("signal:HUP", 1, "", Loss.DEPENDS, "[service.rehearsal]"),
        ("restart", 1, SOCKET, Loss.NO, "[service.rehearsal]"),
        ("restart", 1, "", Loss.YES, "[fcgi-program]"),
        ("restart", 3, "", Loss.YES, 'restart = "rolling"'),
        ("restart", 1, None, Loss.YES, "plugin.conf"),
        ("rolling", 2, SOCKET, Loss.NO, "[service.rehearsal]"),
        ("rolling", 1, SOCKET, Loss.NO, "[service.rehearsal]"),
        ("rolling", 2, "", Loss.DEPENDS, "tcp_migrate_req=1"),
    ],
)
def test_what_a_deployment_means_for_requests(restart: str, processes: int, socket: str | None, loss: Loss, hint: str) -> None:
    (service,) = configuration(f'[[service]]\nname = "web"\nrestart = "{restart}"\n').services

    told = outlook(service, processes, socket, migrates=False)

    assert (told.loses_requests, told.rehearses) == (loss, False)
    assert hint in told.hint
    assert told.why


def test_a_service_that_rehearses_needs_no_hint_to_do_so() -> None:
    (service,) = configuration('[[service]]\nname = "web"\n[service.rehearsal]\n').services

    told = outlook(service, 1, SOCKET, migrates=False)

    assert (told.rehearses, told.hint) == (True, "")


def test_a_kernel_that_migrates_requests_needs_no_setting() -> None:
    (service,) = configuration('[[service]]\nname = "web"\nrestart = "rolling"\n').services

    told = outlook(service, 2, "", migrates=True)

    assert "tcp_migrate_req" not in told.hint
    assert "tcp_migrate_req is 1" in told.why


@pytest.mark.parametrize("socket", [SOCKET, ""])
@pytest.mark.parametrize(
    ("settings", "processes", "told"),
    [
        pytest.param('[[service.probe]]\nhttp = "http://h/"\n', 2, True, id="at-a-shared-port"),
        pytest.param('[[service.probe]]\nhttp = "http://h/"\nexpect = "hello"\n', 2, True, id="both-give-the-answer"),
        pytest.param('[[service.probe]]\nhttp = "http://h/"\nexpect = "at {commit}"\n', 2, False, id="only-the-new-one-gives-it"),
        pytest.param('[[service.probe]]\ntcp = "h:80{process_num}"\n', 2, False, id="of-each-process"),
        pytest.param(
            '[[service.probe]]\ntcp = "h:1"\n[[service.probe]]\nexec = "ask {process_name}"\n', 2, False, id="one-of-two"
        ),
        pytest.param('[[service.probe]]\ntcp = "h:1"\n[service.rehearsal]\n', 2, False, id="rehearsed"),
        pytest.param('[[service.probe]]\ntcp = "h:1"\n', 1, False, id="the-only-process"),
    ],
)
def test_a_rolling_service_whose_old_processes_may_answer_its_probe(
    socket: str,
    settings: str,
    processes: int,
    told: bool,
) -> None:
    (service,) = configuration(f'[[service]]\nname = "web"\nrestart = "rolling"\n{settings}').services

    seen = outlook(service, processes, socket, migrates=True)

    assert ("an old process may answer" in seen.why) is told
    assert ('expect = "{revision}"' in seen.hint) is told
    assert seen.loses_requests is Loss.DEPENDS or not told
