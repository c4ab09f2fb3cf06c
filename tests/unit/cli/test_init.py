"""`init` proposes a configuration for a container, and names the facts that it does not know."""

from __future__ import annotations

import configparser
import shlex
import sysconfig
import tomllib
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


def revision_of(*repositories: SeenRepository) -> dict[str, str]:
    """Return the proposed [revision]."""
    written = tomllib.loads(propose(replace(CONTAINER, repositories=repositories)).files[CONFIG])
    return dict(written.get("revision", {}))


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


def test_an_agent_in_a_directory_with_a_space_is_one_word_for_supervisord(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: "/opt/my agent's/bin")

    command = sections(seen(finds_agent=False))["program:boot"]["command"]

    assert shlex.split(command) == ["/opt/my agent's/bin/release-agent", "boot"]  # as supervisord splits it


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
    ("tags", "branches", "revision"),
    [
        (["v1.0.0", "1.0"], ["main"], {}),
        (["1.0.0"], ["main"], {"pattern": "[0-9]*"}),
        (["nightly"], ["main", "trunk"], {"follow": "branch", "branch": "main"}),
        (["v1.0.0-rc.1"], ["master"], {"follow": "branch", "branch": "master"}),
        ([], [], {}),
    ],
)
def test_the_source_of_a_bare_deploy_follows_from_the_tags(
    tags: list[str], branches: list[str], revision: dict[str, str]
) -> None:
    assert revision_of(SeenRepository("api", "/repos/api", tags, branches)) == revision


def test_pre_releases_alone_are_left_to_a_person() -> None:
    container = replace(CONTAINER, repositories=[SeenRepository("api", "/repos/api", ["1.0.0-rc.1"], ["main"])])

    assert 'to deploy pre-releases, set only prereleases = true and pattern = "[0-9]*" in [revision]' in unknown(container)


@pytest.mark.parametrize(
    ("of_web", "revision", "note"),
    [
        ((["v1.1.0", "v1.0.0"], []), {}, ""),
        ((["v1.0.0"], []), {}, "the version to deploy: web lacks the tag v1.1.0 -> fetch or make that tag there"),
        (
            (["v2.0.0"], ["trunk", "main"]),
            {"follow": "branch", "branch": "main"},
            "no version is in every repository, so the configuration follows the branch main",
        ),
        (
            ([], ["trunk"]),
            {},
            "no version is in every repository, and there is no branch main of each repository -> tag a commit",
        ),
    ],
)
def test_a_release_needs_one_name_in_every_repository(
    of_web: tuple[list[str], list[str]], revision: dict[str, str], note: str
) -> None:
    api = SeenRepository("api", "/repos/api", ["v1.1.0", "v1.0.0"], ["master", "main"])
    web = SeenRepository("web", "/repos/web", *of_web)

    assert revision_of(api, web) == revision
    open_points = unknown(replace(CONTAINER, repositories=[api, web]))
    assert note in open_points
    assert ("the version to deploy" in open_points) == bool(note)


@pytest.mark.parametrize(
    ("directory", "command", "is_named"),
    [
        ("/srv/api/current", "python3 run.py", False),
        ("/srv/api/current/api", "python3 run.py", True),
        ("/srv/api/current", "python3 api/run.py", True),
        ("", "gunicorn --chdir=/srv/api/current/web app:app", True),
        ("", "gunicorn --chdir=/srv/api/current app:app", False),
    ],
)
def test_a_section_has_to_name_one_of_several_repositories(directory: str, command: str, is_named: bool) -> None:
    several = [SeenRepository(name, f"/repos/{name}", ["v1.0.0"]) for name in ("api", "web")]
    container = seen(programs=[SeenProgram("shop", command, directory)])

    open_points = unknown(replace(container, repositories=several, root=Path("/srv/api")))

    assert ("the repository of shop" in open_points) != is_named
    assert "the repository of shop" not in unknown(replace(container, root=Path("/srv/api")))


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
