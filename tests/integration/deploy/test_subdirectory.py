"""A release contains one directory of a repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.repositories import WEB

if TYPE_CHECKING:
    from support.host import Host

PART = "services/api"
HEALTH = '[health]\ndeadline = "60s"\nstable_for = "100ms"\n'


def tagged(host: Host, tag: str, version: str = "", **others: str) -> str:
    """Commit a version of the service below PART, and other files beside it: ``a__b`` is ``a/b``."""
    service = {"web.py": WEB, "behaviour": "ok", "version": version or tag, "release.toml": HEALTH}
    files = {f"{PART}/{name}": text for name, text in service.items()}
    return host.repository.commit(files | {name.replace("__", "/"): text for name, text in others.items()}, tag=tag)


@pytest.fixture
def part(host: Host) -> Host:
    """A host whose service is one directory of a repository."""
    host.configure(repository=f'[[repository]]\nname = "api"\npath = "{host.repository.path}"\nsubdirectory = "{PART}"')
    return host


def test_the_release_has_that_directory_only_and_reads_its_release_toml(part: Host) -> None:
    tagged(part, "v2.0.0", services__web__index="", README="all of it", **{"release.toml": "this is not read"})

    ran = part.deploy("v2.0.0")

    assert (ran.code, part.serves()) == (0, "v2.0.0")
    assert sorted(path.name for path in (part.root / "current").iterdir()) == ["behaviour", "release.toml", "version", "web.py"]
    assert part.agent("verify").code == 0


def test_a_tag_that_does_not_change_the_directory_is_unchanged_and_names_its_own_commit(part: Host) -> None:
    tagged(part, "v2.0.0")
    first = part.deploy("v2.0.0").json
    _, pid = part.process()
    commit = tagged(part, "v2.1.0", version="v2.0.0", services__web__index="new")

    ran = part.deploy("v2.1.0")

    assert (ran.json["outcome"], ran.json["release"], ran.json["commits"]) == ("unchanged", first["release"], {"api": commit})
    assert part.process()[1] == pid
    assert part.status()["current"]["commits"] == {"api": commit}
    assert part.agent("verify").code == 0
    tagged(part, "v2.2.0", services__web__index="newer")
    assert part.deploy("v2.2.0").json["outcome"] == "deployed"


def test_what_build_hooks_saw_is_what_probes_expect_of_an_unchanged_part(part: Host) -> None:
    service = part.probed("10s") + '\n[[service.probe]]\nexec = "test $(cat built) = $RELEASE_COMMIT"'
    repository = f'[[repository]]\nname = "api"\npath = "{part.repository.path}"\nsubdirectory = "{PART}"'
    part.configure('[hooks]\nbuild = [{ run = "echo $RELEASE_COMMIT > built" }]', repository=repository, service=service)
    tagged(part, "v2.0.0")
    tagged(part, "v2.1.0", version="v2.0.0", services__web__index="new")

    outcomes = [part.deploy(tag).json["outcome"] for tag in ("v2.0.0", "v2.1.0", "v2.0.0")]

    assert outcomes == ["deployed", "unchanged", "unchanged"]


def test_attributes_above_that_change_make_another_release(part: Host) -> None:
    tagged(part, "v2.0.0")
    part.deploy("v2.0.0")
    tagged(part, "v2.1.0", version="v2.0.0", **{".gitattributes": "services/*/behaviour eol=crlf\n"})

    ran = part.deploy("v2.1.0", "--dry-run").json

    assert (ran["build"], ran["way"]) == (True, "whole")


def test_ignored_names_of_the_directories_above_are_no_drift(part: Host) -> None:
    ignored = {".gitignore": "*.pyc\n/services/*/tmp/\n", "services/.gitignore": "api/log\n"}
    tagged(part, "v2.0.0", **ignored)
    part.deploy("v2.0.0")
    live = part.root / "current"
    (live / "tmp").mkdir()
    for name in ("a.pyc", "tmp/x", "log"):
        (live / name).write_text("")

    assert part.agent("verify").code == 0
    (live / "foreign").write_text("")
    assert [one["path"] for one in part.agent("verify", "--json").json["drift"]] == ["foreign"]


def test_a_release_toml_that_is_a_link_to_one_of_another_directory_is_refused(part: Host) -> None:
    tagged(part, "v2.0.0", **{"services/release.toml": HEALTH})
    (part.repository.path / PART / "release.toml").unlink()
    (part.repository.path / PART / "release.toml").symlink_to("../release.toml")
    part.repository.commit(tag="v2.1.0")

    ran = part.deploy("v2.1.0")

    assert (ran.code, ran.json["error"]["code"]) == (12, "release-toml-invalid")
    assert "release.toml of repository api is a symlink" in ran.json["error"]["message"]


@pytest.mark.parametrize("there", [{}, {"services": "a file"}, {"services/api": "a file"}], ids=["nothing", "above", "a file"])
def test_a_tag_without_the_directory_is_refused(part: Host, there: dict[str, str]) -> None:
    part.repository.commit(there, tag="v1.9.0")

    ran = part.deploy("v1.9.0")

    assert (ran.code, ran.json["error"]["code"]) == (12, "subdirectory-missing")
    assert "has no directory services/api" in ran.json["error"]["message"]


def test_a_release_of_another_part_is_not_taken_for_this_one(part: Host) -> None:
    tagged(part, "v2.0.0", services__web__version="web")
    part.deploy("v2.0.0")
    part.config.write_text(part.config.read_text().replace(PART, "services/web"))

    verified = part.agent("verify", "--json")
    checked = part.deploy("v2.0.0", "--dry-run").json

    assert verified.json["error"]["code"] == "repository-incomplete"
    assert "has services/api of repository api, and the configuration takes services/web" in verified.json["error"]["message"]
    assert (checked["build"], checked["way"]) == (True, "whole")


def test_repository_that_only_the_release_or_only_the_configuration_has_is_no_other_part(host: Host) -> None:
    tagged(host, "v2.0.0", services__web__index="web")
    web = f'[[repository]]\nname = "web"\npath = "{host.repository.path}"\ninto = "web"\nsubdirectory = "services/web"\n'
    api = f'[[repository]]\nname = "api"\npath = "{host.repository.path}"\ninto = "api"\n'
    host.configure(repository=api + web, service="")
    both = host.agent("stage", "v2.0.0", "--json").json["release"]
    host.configure(repository=api, service="")
    removed = host.agent("verify", both, "--json").json

    one = host.agent("stage", "v1.0.0", "--json").json["release"]
    host.configure(repository=api + web, service="")
    added = host.agent("verify", one, "--json").json

    assert removed["error"]["message"] == "the release has repository web, which is no longer configured"
    assert added["drift"] == []


def test_the_changes_between_two_releases_are_those_of_the_directory(part: Host) -> None:
    tagged(part, "v2.0.0")
    part.deploy("v2.0.0")
    part.repository.commit({"README": "elsewhere"})
    tagged(part, "v2.1.0")

    changes = part.deploy("v2.1.0", "--dry-run").json["changes"]["api"]

    assert (changes["count"], changes["back"]) == (1, 0)
