from __future__ import annotations

import pytest

from release_agent.config.blueprint import HOOK_STAGES, combine
from release_agent.deploy.policy.sharing import runs_commands
from support.configuration import configuration

SERVICE = '[[service]]\nname = "web"\n'


@pytest.mark.parametrize("stage", HOOK_STAGES)
def test_release_with_a_hook_runs_commands(stage: str) -> None:
    assert runs_commands(combine(configuration(), {"api": f'[hooks]\n{stage} = [{{ run = "make" }}]\n'}))


@pytest.mark.parametrize(
    "command",
    [
        'before_stop = "leave"',
        'after_start = "join"',
        '[[service.probe]]\nexec = "./ready"',
        '[service.rehearsal]\n[[service.rehearsal.probe]]\nexec = "./ready"',
    ],
)
def test_release_whose_service_has_a_command_runs_commands(command: str) -> None:
    assert runs_commands(combine(configuration(), {"api": f"{SERVICE}{command}\n"}))


def test_release_without_commands_runs_none() -> None:
    probe = '[[service.probe]]\nhttp = "http://127.0.0.1/"\n'
    rehearsal = '[service.rehearsal]\n[[service.rehearsal.probe]]\ntcp = "127.0.0.1:{port}"\n'

    assert not runs_commands(combine(configuration(), {"api": SERVICE + probe + rehearsal}))
