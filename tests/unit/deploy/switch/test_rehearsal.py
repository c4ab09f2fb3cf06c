"""The agent probes the copy of a process with the values of the process itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from release_agent.config.blueprint import Blueprint
from release_agent.deploy.run import Run
from release_agent.deploy.switch.rehearsal import probes_of, rehearse
from release_agent.health import Candidate, Process, Rehearsed
from release_agent.model import Request
from support.clocks import FakeClock
from support.configuration import configuration
from support.contexts import context
from support.roots import release

THERE = Rehearsed(Process("deploy", "release-rehearsal", "STARTING", 0), 4711, "/run/copy/socket")


@pytest.mark.parametrize(
    ("probe", "asked"),
    [
        ('http = "http://web:8080/health?a=b"', "http://127.0.0.1:4711/health?a=b"),
        ('http = "http://127.0.0.1:81{process_num}/health"', "http://127.0.0.1:4711/health"),
        ('http = "http://127.0.0.1:8080/{process_name}/{process_num}"', "http://127.0.0.1:4711/web_00/00"),
        ('tcp = "127.0.0.1:81{process_num}"', "127.0.0.1:4711"),
    ],
)
def test_a_copy_is_asked_as_the_process_that_it_is_a_copy_of(probe: str, asked: str) -> None:
    (service,) = configuration(f'[[service]]\nname = "web"\n[[service.probe]]\n{probe}\n[service.rehearsal]\n').services
    assert service.rehearsal

    (moved,) = probes_of(service, service.rehearsal, THERE, "web_00")

    assert (moved.http or moved.tcp) == asked


def test_a_command_of_the_service_is_not_asked_of_its_copy() -> None:
    (service,) = configuration('[[service]]\nname = "web"\n[[service.probe]]\nexec = "true"\n[service.rehearsal]\n').services
    assert service.rehearsal

    assert probes_of(service, service.rehearsal, THERE, "web_00") == []


class Nowhere:
    """A store of directories that are not there."""

    def directory(self, name: str) -> Path:
        return Path(name)


class SlowToStop:
    """A plugin whose copy of a program that supervisor does not know yet needs 30 s to stop."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.gone_at: float | None = 0.0

    def candidates(self, _service: str, _release: str) -> list[Candidate]:
        return [Candidate("web", 1, of_release=True, stopwaitsecs=60)]

    def rehearse(self, _release: str, _service: str) -> Rehearsed:
        self.gone_at = None
        return THERE

    def end_rehearsal(self) -> bool:
        if self.gone_at is None:
            self.gone_at = self._clock.spent + 30.0
        return self._clock.spent >= self.gone_at

    def releases_in_use(self, _service: str) -> dict[str, list[int]]:
        return {}


class Running:
    """A supervisor in which the copy runs; it knows no other program."""

    def look(self, process: Process) -> Process:
        return replace(process, state="RUNNING", pid=7)

    def stop_seconds(self, _service: str) -> float:
        return 0.0


class Well:
    """Probes that pass."""

    def probe(self, *_: object) -> list[str]:
        return []


def test_a_copy_of_a_program_that_comes_with_its_release_is_waited_for_until_its_own_stop_has_ended() -> None:
    config = configuration('[[service]]\nname = "web"\n[service.rehearsal]\n')
    clock = FakeClock()
    plugin = SlowToStop(clock)
    parts = context(config=config, clock=clock, store=Nowhere(), services=Running(), plugin=plugin, examiner=Well())
    run = Run(parts, Request("d-1"), journaled=False)

    rehearse(run, release(1), Blueprint(config.shared, config.hooks, config.services, config.health))

    assert plugin.gone_at
    assert clock.spent >= plugin.gone_at
