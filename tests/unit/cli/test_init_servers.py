"""`init` recognises each server that "Deploy without losing a request" has a recipe for, and proposes that recipe."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from release_agent.cli.init import configuration
from release_agent.cli.init.look import pairs
from release_agent.cli.init.seen import Deployer, SeenContainer, SeenProgram, SeenRepository, SeenSupervisor
from release_agent.cli.init.servers import address_of, recognise
from release_agent.config import load
from support.environment import PROJECT
from support.markdown import page

PAGE = page("docs/guides/without-losing-a-request.md")
EXAMPLES = PROJECT / "supervisor.d" / "examples"
# By the file: the anchor of its recipe, as the table on the page has it.
ANCHORS = {Path(file).name: anchor for anchor, file in (re.findall(r"\]\(([^)]+)\)", f"{row[0]}{row[1]}") for row in PAGE.rows())}
# The recipe is not whole in release-agent.toml alone: a script of its own, a command of its own, jobs that must not be taken.
PARTLY = {"haproxy.conf", "php-fpm.conf", "worker.conf"}


def program(file: str) -> SeenProgram:
    """Return the first program of an example as it is seen in a container."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    parser.read(EXAMPLES / file)
    section = parser[parser.sections()[0]]
    return SeenProgram(
        section.name.partition(":")[2],
        section["command"],
        directory=section.get("directory", ""),
        socket=section.get("socket", ""),
        environment=pairs(section["environment"]),
    )


def proposed(*programs: SeenProgram, **supervisor: Any) -> dict[str, Any]:
    """Return what `init` would write into release-agent.toml, where the plugin works."""
    seen = SeenSupervisor("unix:///run/supervisor.sock", programs=programs, **{"has_plugin": True, **supervisor})
    deployer = Deployer("release", "release", "/home/release")
    repositories = [SeenRepository("api", "/repos/api", ["v1.0.0"])]
    container = SeenContainer(seen, deployer, Path("/srv/app"), repositories, Path("/etc/release-agent.toml"))
    written = tomllib.loads(configuration.text_of(container))
    problems: list[Any] = []
    load.parse(written, problems)
    assert [str(problem) for problem in problems] == []
    return written


@pytest.mark.parametrize("file", ANCHORS)
def test_each_example_is_recognised(file: str) -> None:
    assert recognise(program(file)).page == f"docs/guides/without-losing-a-request.md{ANCHORS[file]}"


@pytest.mark.parametrize("file", sorted(set(ANCHORS) - PARTLY))
def test_restart_and_rehearsal_are_those_of_the_recipe(file: str) -> None:
    titles = {f"#{re.sub('[^a-z0-9 -]', '', title.lower()).replace(' ', '-')}": title for title in PAGE.headings()}
    (text,) = PAGE.section(titles[ANCHORS[file]]).examples("toml")
    (recipe,) = tomllib.loads(text)["service"]

    (service,) = proposed(program(file))["service"]

    assert {key: service.get(key) for key in ("name", "restart", "rehearsal")} == {
        key: recipe.get(key) for key in ("name", "restart", "rehearsal")
    }


def test_the_copy_of_a_worker_is_left_to_a_person() -> None:
    assert proposed(program("worker.conf"))["service"] == [{"name": "worker"}]


def test_gunicorn_with_a_control_socket_is_not_rehearsed() -> None:
    bare = SeenProgram("web", "gunicorn --bind fd://0 app:app", "/srv/app/current", socket="tcp://0.0.0.0:8080")

    assert "rehearsal" not in proposed(bare)["service"][0]


def test_a_copy_that_would_listen_at_the_live_port_is_not_rehearsed() -> None:
    bare = SeenProgram("web", "uvicorn --port 8000 app:app", "/srv/app/current")

    assert proposed(bare)["service"] == [{"name": "web", "probe": [{"tcp": "127.0.0.1:8000"}]}]


def test_without_the_plugin_nothing_is_rehearsed() -> None:
    assert "rehearsal" not in proposed(program("node.conf"), has_plugin=False)["service"][0]


def test_a_program_that_does_not_run_from_the_release_is_no_service() -> None:
    assert "service" not in proposed(SeenProgram("web", "gunicorn app:app", "/app"))


@pytest.mark.parametrize(
    ("command", "directory"),
    [
        ("gunicorn --chdir /srv/app/current app:app", "/srv/app/current"),
        ("nginx -c /srv/app/current/nginx.conf", "/srv/app/current"),
        ("/srv/app/current/.venv/bin/gunicorn --chdir /srv/app/current app:app", ""),
        ("/srv/app/current/.venv/bin/python -m gunicorn --chdir /srv/app/current app:app", ""),
        ("/srv/app/current/bin/nginx -c /srv/app/current/nginx.conf", ""),
    ],
)
def test_a_server_that_stays_in_its_release_when_it_reloads_is_restarted(command: str, directory: str) -> None:
    assert "restart" not in proposed(SeenProgram("web", command, directory))["service"][0]


def test_a_server_whose_directory_is_in_no_release_may_reload() -> None:
    nginx = SeenProgram("web", "nginx -c /srv/app/current/nginx.conf", "/var/lib/nginx")

    assert proposed(nginx)["service"][0]["restart"] == "signal:HUP"


@pytest.mark.parametrize(
    ("command", "address"),
    [
        ("gunicorn --bind 0.0.0.0:8000 app:app", "127.0.0.1:8000"),
        ("gunicorn -b :8000 app:app", "127.0.0.1:8000"),
        ("gunicorn -b 10.0.0.5:8000 app:app", "10.0.0.5:8000"),
        ("uvicorn --port=8000 app:app", "127.0.0.1:8000"),
        ("uvicorn --host 10.0.0.5 --port 8000 app:app", "10.0.0.5:8000"),
        ("gunicorn --bind [::]:8000 app:app", "127.0.0.1:8000"),
        ("gunicorn --bind fd://0 app:app", ""),
        ("php -S 0.0.0.0:8080", "127.0.0.1:8080"),
        ("uwsgi --http :9090 --wsgi-file app.py", "127.0.0.1:9090"),
        ("worker --pool 8000", ""),
        ("worker --group-b 8000", ""),
    ],
)
def test_the_address_is_read_from_the_command(command: str, address: str) -> None:
    assert address_of(SeenProgram("web", command)) == address


def test_the_address_of_a_held_socket_is_that_of_the_socket() -> None:
    assert address_of(SeenProgram("web", "node server.js", socket="tcp://10.0.0.5:8080")) == "10.0.0.5:8080"


@pytest.mark.parametrize(
    ("command", "environment", "title"),
    [
        ("npm start", {}, "Node"),
        ("php -S 0.0.0.0:8080", {}, "A program with PORT"),
        ("uwsgi --http :9090", {}, "A program with PORT"),
        ("./server", {"PORT": "%(ENV_UNKNOWN)s"}, "A program with PORT"),
        ("./server", {}, "A queue worker"),
    ],
)
def test_a_program_that_listens_is_no_queue_worker(command: str, environment: dict[str, str], title: str) -> None:
    assert recognise(SeenProgram("web", command, environment=environment)).title == title
