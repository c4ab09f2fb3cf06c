from __future__ import annotations

import os
import socket
from signal import Signals
from typing import TYPE_CHECKING

import pytest

from release_agent.config import load
from release_agent.config.sections import Restart, RestartKind
from release_agent.errors import Code, Exit, Misconfigured
from support.configuration import APP, MINIMAL, REPOSITORY, configuration, problems_of, write

if TYPE_CHECKING:
    from pathlib import Path

FIVE_MISTAKES = """\
[app]
name = "my app"
environment = "production"
root = "srv/api"
[[repository]]
name = "api"
pth = "/repos/api"
[health]
deadline = "soon"
"""


def refusal(path: str | None, environ: dict[str, str] | None = None) -> Misconfigured:
    with pytest.raises(Misconfigured) as refused:
        load.load(path, environ or {})
    return refused.value


def test_five_mistakes_are_reported_together_with_their_paths(tmp_path: Path) -> None:
    file = write(tmp_path / "agent.toml", FIVE_MISTAKES)

    error = refusal(file)

    assert error.code is Code.MISCONFIGURED
    assert error.exit_code is Exit.MISCONFIGURED
    assert error.message.splitlines() == [
        f"5 problems in {file}:",
        "  app.name: must be letters, digits and hyphens: it becomes a DNS name, not 'my app'",
        "  app.root: must be an absolute path, not 'srv/api'",
        '  repository[0].pth: is not a key here; did you mean "path"?',
        "  repository[0].path: is missing: mount point of a checkout or a bare repository",
        """  health.deadline: must be a duration such as "500ms", "2s", "5m" or "1h", not 'soon'""",
    ]


def test_a_single_mistake_is_one_problem(tmp_path: Path) -> None:
    assert refusal(write(tmp_path / "agent.toml", MINIMAL + "[consol]\n")).message.startswith("1 problem in ")


def test_the_least_a_file_must_say_is_enough(tmp_path: Path) -> None:
    found = load.load(write(tmp_path / "agent.toml", MINIMAL), {})

    assert (found.app.name, found.app.root, found.app.keep) == ("api", "/srv/api", 5)
    assert (found.revision.follow, found.revision.pattern, found.revision.branch) == ("tag", "v*", "main")
    assert (found.revision.prereleases, found.revision.signed, found.revision.poll) == (False, False, None)
    assert (found.health.deadline, found.health.stable_for) == (60.0, 3.0)
    assert (found.consul.enabled, found.consul.prefix, found.consul.ttl, found.consul.deregister_after) == (
        *(True, "release-agent", 30.0, 600.0),
    )
    assert found.repositories[0].into == "."


def test_hooks_services_and_probes_are_read_in_order() -> None:
    found = configuration(
        '[hooks]\nbuild = [{ run = "make", timeout = "5m" }, { run = "make test" }]\n'
        '[[service]]\nname = "web"\n[[service.probe]]\nhttp = "http://127.0.0.1/"\n[[service.probe]]\nexec = "./ready"\n'
        '[[service]]\nname = "worker"\nrestart = "signal:HUP"\n'
    )

    assert [(hook.run, hook.timeout) for hook in found.hooks.build] == [("make", 300.0), ("make test", 600.0)]
    assert [(service.name, str(service.restart)) for service in found.services] == [("web", "restart"), ("worker", "signal:HUP")]
    assert [(probe.http, probe.command) for probe in found.services[0].probes] == [("http://127.0.0.1/", ""), ("", "./ready")]
    assert found.own == {"app", "repository", "hooks", "service"}


@pytest.mark.parametrize(
    ("written", "restart"),
    [
        ("restart", Restart(RestartKind.RESTART)),
        ("none", Restart(RestartKind.NONE)),
        ("signal:HUP", Restart(RestartKind.SIGNAL, Signals.SIGHUP)),
        ("signal:USR2", Restart(RestartKind.SIGNAL, Signals.SIGUSR2)),
    ],
)
def test_a_way_to_restart_is_read_and_told_as_it_was_written(written: str, restart: Restart) -> None:
    (service,) = configuration(f'[[service]]\nname = "web"\nrestart = "{written}"\n').services

    assert (service.restart, str(service.restart)) == (restart, written)


def test_the_argument_outranks_the_variable(tmp_path: Path) -> None:
    named = write(tmp_path / "named.toml", MINIMAL.replace('"api"', '"named"'))
    variable = write(tmp_path / "variable.toml", MINIMAL.replace('"api"', '"variable"'))

    assert load.load(named, {"RELEASE_AGENT_CONFIG": variable}).app.name == "named"
    assert load.load(None, {"RELEASE_AGENT_CONFIG": variable}).app.name == "variable"


@pytest.mark.parametrize("environ", [{}, {"RELEASE_AGENT_CONFIG": ""}])
def test_without_argument_and_variable_the_file_in_etc_is_read(environ: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match=r"cannot read /etc/release-agent\.toml"):
        load.load(None, environ)


@pytest.mark.parametrize(
    ("own", "environ", "host"),
    [
        ('host = "blue"\n', {"RELEASE_AGENT_HOST": "green"}, "blue"),
        ("", {"RELEASE_AGENT_HOST": "green"}, "green"),
        ("", {}, socket.gethostname()),
        ('host = ""\n', {"RELEASE_AGENT_HOST": ""}, socket.gethostname()),
    ],
)
def test_the_host_is_what_the_file_says_then_the_variable_then_the_machine(own: str, environ: dict[str, str], host: str) -> None:
    assert configuration(app=APP + own, environ=environ).app.host == host


def test_a_host_that_the_variable_names_is_read_like_one_of_the_file(tmp_path: Path) -> None:
    error = refusal(write(tmp_path / "agent.toml", MINIMAL), {"RELEASE_AGENT_HOST": "blue/../green"})

    assert "app.host: must be a host name" in error.message
    assert "'blue/../green' of RELEASE_AGENT_HOST" in error.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    error = refusal(str(tmp_path / "nowhere.toml"))

    assert f"{tmp_path}/nowhere.toml: No such file" in error.message
    assert "--config or RELEASE_AGENT_CONFIG" in error.hint


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert "directory" in refusal(str(tmp_path)).message


@pytest.mark.parametrize("content", [b"[app\n", b"name: api\n", b"[app]\n[app]\n", b"\xff\xfe[app]\n"])
def test_what_is_not_toml_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "agent.toml").write_bytes(content)

    assert "agent.toml is not TOML: " in refusal(str(tmp_path / "agent.toml")).message


def test_an_empty_file_lacks_a_repository() -> None:
    assert [problem.split(":")[0] for problem in problems_of("")] == ["app.name", "app.environment", "app.root", "repository"]


def test_a_repository_alone_fills_the_release_and_may_lie_deeper() -> None:
    assert configuration(repository=REPOSITORY + 'into = "src/"\n').repositories[0].into == "src"


def test_a_pipe_in_the_configurations_place_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "agent.toml")

    assert "it is not a regular file" in refusal(str(tmp_path / "agent.toml")).message


def test_a_configuration_without_end_is_refused() -> None:
    assert "it is not a regular file" in refusal("/dev/zero").message


def test_a_huge_configuration_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "agent.toml").open("wb") as file:
        file.truncate(1 << 31)

    assert "it is larger than 1048576 bytes" in refusal(str(tmp_path / "agent.toml")).message


def test_an_umask_is_read_as_octal() -> None:
    hooks = [f'{{ run = "make", umask = "{umask}" }}' for umask in ("002", "0027", "")]

    assert [hook.umask for hook in configuration(f"[hooks]\nbuild = [{', '.join(hooks)}]\n").hooks.build] == [0o002, 0o027, None]
