"""The environment of hooks and exec probes."""

from __future__ import annotations

from pathlib import Path

from release_agent.deploy.environment import Occasion, Place, environment
from release_agent.model import Action
from release_agent.variables import WITHHELD
from support.configuration import configuration
from support.roots import release

APP = '[app]\nname = "api"\nenvironment = "test"\nhost = "blue"\nroot = "/srv/api"\n'
TWO = '[[repository]]\nname = "api"\npath = "/r/a"\ninto = "api"\n[[repository]]\nname = "web-ui"\npath = "/r/w"\ninto = "web"\n'
CONFIG = configuration(app=APP, repository=TWO)
WHAT = release(42)
OCCASION = Occasion("d-1", Action.ROLLBACK, "000041-aaaaaaaaaaaa", by="ada")
PUBLISHED = Path("/srv/api/releases") / WHAT.name


def test_a_hook_sees_what_is_done_to_what_and_where() -> None:
    place = Place(Path("/srv/api/.release-agent/incoming"), PUBLISHED, "web")

    seen = environment(CONFIG, {"PATH": "/bin", "LANG": "C"}, WHAT, OCCASION, place)

    assert seen == {
        "PATH": "/bin",
        "LANG": "C",
        "RELEASE_ACTION": "rollback",
        "RELEASE_ID": "d-1",
        "RELEASE_BY": "ada",
        "RELEASE_APP": "api",
        "RELEASE_ENVIRONMENT": "test",
        "RELEASE_HOST": "blue",
        "RELEASE_NAME": WHAT.name,
        "RELEASE_NUMBER": "42",
        "RELEASE_REVISION": "v42.0.0",
        "RELEASE_COMMIT": "",
        "RELEASE_COMMIT_API": WHAT.commits["api"],
        "RELEASE_PREVIOUS": "000041-aaaaaaaaaaaa",
        "RELEASE_ROOT": "/srv/api",
        "RELEASE_SHARED": "/srv/api/shared",
        "RELEASE_DIRECTORY": "/srv/api/.release-agent/incoming",
        "RELEASE_PATH": str(PUBLISHED),
    }


def test_a_repositorys_hook_sees_its_own_commit() -> None:
    seen = environment(CONFIG, {}, WHAT, OCCASION, Place(PUBLISHED, PUBLISHED, "api"))

    assert seen["RELEASE_COMMIT"] == WHAT.commits["api"]


def test_the_first_deployment_has_no_previous_release() -> None:
    assert environment(CONFIG, {}, WHAT, Occasion("d-1"), Place(PUBLISHED, PUBLISHED))["RELEASE_PREVIOUS"] == ""


def test_a_hook_does_not_see_the_agents_secrets() -> None:
    secrets = dict.fromkeys(WITHHELD, "hunter2")

    seen = environment(CONFIG, secrets, WHAT, OCCASION, Place(PUBLISHED, PUBLISHED))

    assert not WITHHELD & set(seen)
    assert "hunter2" not in seen.values()


def test_a_hook_sees_urls_without_the_credentials_in_them() -> None:
    urls = {"SUPERVISOR_SERVER_URL": "http://bob:hunter2@host:9001", "CONSUL_HTTP_ADDR": "bob:hunter2@consul:8500"}

    seen = environment(CONFIG, urls, WHAT, OCCASION, Place(PUBLISHED, PUBLISHED))

    assert (seen["SUPERVISOR_SERVER_URL"], seen["CONSUL_HTTP_ADDR"]) == ("http://host:9001", "consul:8500")
