"""`init` proposes a configuration for a container, and names the facts that it does not know."""

from __future__ import annotations

import configparser
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from release_agent.cli.init.propose import propose
from release_agent.cli.init.seen import Deployer, SeenContainer, SeenProgram, SeenRepository, SeenSupervisor, root_of

CONFIG = Path("/etc/release-agent.toml")
SUPERVISOR = SeenSupervisor(
    "unix:///run/supervisor.sock", file="/etc/supervisord.conf", include=(Path("/etc/supervisor/conf.d/*.conf"),)
)
CONTAINER = SeenContainer(
    SUPERVISOR,
    Deployer("release", "release", "/home/release"),
    Path("/srv/app"),
    [SeenRepository("api", "/repos/api", ["v1.0.0"])],
    CONFIG,
)


def seen(**changed: Any) -> SeenContainer:
    """Return the container with another supervisord."""
    return replace(CONTAINER, supervisor=replace(SUPERVISOR, **changed))


def sections(container: SeenContainer) -> configparser.RawConfigParser:
    """Return the sections that are proposed."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    for path, text in propose(container).files.items():
        if path != container.config:
            parser.read_string(text)
    return parser


def unknown(container: SeenContainer) -> str:
    return "\n".join(f"{note.what} -> {note.do}" for note in propose(container).notes)


def test_all_sections_run_as_the_user_that_deploys() -> None:
    found = sections(replace(CONTAINER, deployer=Deployer("ship", "crew", "/ship")))

    assert found.sections() == ["program:deploy", "program:boot", "eventlistener:monitor", "rpcinterface:release"]
    for section in found.sections()[:3]:
        assert (found[section]["user"], found[section]["environment"]) == ("ship", 'HOME="/ship",USER="ship",LOGNAME="ship"')


def test_sections_that_are_there_are_not_proposed() -> None:
    own = frozenset({"program:deploy", "program:boot", "program:monitor"})

    assert sections(seen(own=own)).sections() == ["rpcinterface:release"]


def test_a_plugin_that_supervisord_could_not_load_is_not_proposed() -> None:
    # supervisord would not start any more.
    container = seen(can_load=False)

    assert "rpcinterface:release" not in sections(container).sections()
    assert "install release-agent into the Python of supervisord" in unknown(container)


@pytest.mark.parametrize(
    ("idle", "has_socket", "can_load", "step"),
    [
        (False, True, True, "update"),
        (True, True, True, "reload"),
        (False, False, True, "reload"),
        (True, True, False, "update"),  # a restart would bring nothing
    ],
)
def test_supervisord_starts_again_if_it_must_or_if_that_stops_nothing(
    idle: bool, has_socket: bool, can_load: bool, step: str
) -> None:
    deployer = Deployer("release", "release", "/", has_socket=has_socket)

    steps = propose(replace(seen(is_idle=idle, can_load=can_load), deployer=deployer)).steps

    assert [command for command, _ in steps] == [f"supervisorctl {step}", "release-agent doctor", "supervisorctl start deploy"]


def test_a_closed_socket_is_opened_for_the_group_of_the_user() -> None:
    found = sections(replace(CONTAINER, deployer=Deployer("release", "crew", "/", has_socket=False)))

    assert dict(found["unix_http_server"]) == {"chown": "root:crew", "chmod": "0770"}


def test_a_supervisord_that_is_not_roots_changes_no_user() -> None:
    container = replace(
        seen(user="app"), deployer=Deployer("app", "app", "/home/app", has_socket=False), root=Path("/home/app/root")
    )

    found = sections(container)

    assert "unix_http_server" not in found
    assert not any("user" in found[section] for section in found.sections())
    assert "set chown and chmod in [unix_http_server]" in unknown(container)


def test_an_agent_that_supervisord_does_not_find_is_named_by_its_path() -> None:
    command = sections(seen(finds_agent=False))["program:deploy"]["command"]

    assert command.startswith("/")
    assert command.endswith("/release-agent deploy")


@pytest.mark.parametrize("environment", [{}, {"RELEASE_AGENT_CONFIG": "/other.toml"}])
def test_a_configuration_in_another_place_is_named_to_each_program(environment: dict[str, str]) -> None:
    found = sections(replace(seen(environment=environment), config=Path("/opt/100%/agent.toml")))

    assert 'RELEASE_AGENT_CONFIG="/opt/100%%/agent.toml"' in found["program:boot"]["environment"]
    assert found["rpcinterface:release"]["config"] == "/opt/100%%/agent.toml"


def test_a_configuration_that_supervisord_passes_on_is_not_named_again() -> None:
    container = replace(seen(environment={"RELEASE_AGENT_CONFIG": "/opt/agent.toml"}), config=Path("/opt/agent.toml"))

    assert "RELEASE_AGENT_CONFIG" not in sections(container)["program:boot"]["environment"]


@pytest.mark.parametrize(
    ("include", "written"),
    [
        (["/etc/a.conf", "/etc/*/x.conf", "/etc/supervisord.d/*.ini"], "/etc/supervisord.d/release-agent-deploy.ini"),
        (["/etc/supervisor.d/*"], "/etc/supervisor.d/release-agent-deploy.conf"),
        (["/etc/a.conf"], "/etc/supervisor.d/release-agent-deploy.conf"),
        ([], "/etc/supervisor.d/release-agent-deploy.conf"),
    ],
)
def test_sections_go_where_include_reads_a_whole_directory(include: list[str], written: str) -> None:
    assert Path(written) in propose(seen(include=[Path(pattern) for pattern in include])).files


def test_no_release_brings_programs_before_a_person_says_as_whom() -> None:
    assert list(sections(CONTAINER)["rpcinterface:release"]) == ["supervisor.rpcinterface_factory"]


def test_a_password_of_supervisor_is_left_to_a_person() -> None:
    assert "SUPERVISOR_PASSWORD" in unknown(seen(url="http://127.0.0.1:9001", has_login=True))


def test_a_program_with_a_name_of_the_agents_is_named() -> None:
    assert "whether the program deploy is the agent's" in unknown(seen(taken=["deploy"]))


def test_the_name_of_several_repositories_is_a_guess_and_that_of_one_is_its_own() -> None:
    several = [SeenRepository(name, f"/repos/{name}", ["v1.0.0"]) for name in ("api", "site")]
    container = replace(CONTAINER, repositories=several, root=Path("/srv/shop"))

    assert "the name of the application: the configuration says shop -> if it is another, edit [app] name" in unknown(container)
    assert "the name of the application" not in unknown(CONTAINER)


@pytest.mark.parametrize(
    ("tags", "branch", "revision"),
    [
        (["v1.0.0", "1.0"], "main", None),
        (["1.0.0"], "main", {"pattern": "[0-9]*"}),
        (["nightly"], "main", {"follow": "branch", "branch": "main"}),
        ([], "", None),
    ],
)
def test_what_a_bare_deploy_takes_follows_from_the_tags(tags: list[str], branch: str, revision: dict[str, str] | None) -> None:
    import tomllib

    container = replace(CONTAINER, repositories=[SeenRepository("api", "/repos/api", tags, branch)])

    assert tomllib.loads(propose(container).files[CONFIG]).get("revision") == revision


@pytest.mark.parametrize(
    ("directory", "command", "root"),
    [
        ("/srv/shop/current", "web", "/srv/shop"),
        ("/srv/shop/current/api", "web", "/srv/shop"),
        ("", "nginx -p /tmp -c /srv/shop/current/nginx.conf", "/srv/shop"),
        ("/srv/shop/currently", "web", "/srv/app"),
        ("/app", "web", "/srv/app"),
    ],
)
def test_the_root_directory_is_the_one_that_a_program_runs_from(directory: str, command: str, root: str) -> None:
    assert root_of([SeenProgram("web", command, directory)]) == root
