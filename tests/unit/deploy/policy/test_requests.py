"""The services that can lose requests in a deployment, and the changes that prevent it."""

from __future__ import annotations

import pytest

from release_agent.deploy.policy.requests import Loss, outlook
from support.configuration import configuration

SOCKET = "tcp://127.0.0.1:8080"
TOLD_APART = '[[service.probe]]\nhttp = "http://127.0.0.1:8080/"\nexpect = "{revision}"\n'


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
    (service,) = configuration(f'[[service]]\nname = "web"\nrestart = "{restart}"\n{TOLD_APART}').services

    told = outlook(service, processes, socket, migrates=False)

    assert (told.loses_requests, told.rehearses) == (loss, False)
    assert hint in told.hint
    assert told.why
    assert told.warns is (loss is not Loss.NO)


@pytest.mark.parametrize("socket", ["", None])
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("restart", ["restart", "rolling", "signal:HUP"])
@pytest.mark.parametrize("settings", ["", "[service.rehearsal]\n", '[[service.probe]]\nexec = "./alive"\n[service.rehearsal]\n'])
def test_a_worker_that_nothing_asks_for_requests_is_no_warning(
    restart: str, processes: int, socket: str | None, settings: str
) -> None:
    (service,) = configuration(f'[[service]]\nname = "worker"\nrestart = "{restart}"\n{settings}').services

    told = outlook(service, processes, socket, migrates=False)

    assert (told.loses_requests, told.warns) == (Loss.DEPENDS, False)
    assert told.why == "it has no http or tcp probe, so it may serve no requests"
    assert "fcgi-program" not in told.hint


def test_a_probe_of_the_rehearsal_says_that_a_service_serves_requests() -> None:
    asked = '[service.rehearsal]\ncommand = "serve {port}"\n[[service.rehearsal.probe]]\nhttp = "http://127.0.0.1:{port}/"\n'
    (service,) = configuration(f'[[service]]\nname = "web"\n{asked}').services

    told = outlook(service, 1, "", migrates=False)

    assert (told.loses_requests, told.warns) == (Loss.YES, True)


def test_a_service_that_rehearses_needs_no_hint_to_do_so() -> None:
    (service,) = configuration('[[service]]\nname = "web"\n[service.rehearsal]\n').services

    told = outlook(service, 1, SOCKET, migrates=False)

    assert (told.rehearses, told.hint) == (True, "")


def test_a_kernel_that_migrates_requests_needs_no_setting() -> None:
    (service,) = configuration(f'[[service]]\nname = "web"\nrestart = "rolling"\n{TOLD_APART}').services

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
