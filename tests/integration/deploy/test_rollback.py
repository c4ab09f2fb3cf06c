"""Rollbacks by command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.host import Host


def _deployed(host: Host, *revisions: str) -> list[str]:
    return [host.deploy(revision).json["release"] for revision in revisions]


def test_rollback_goes_back_to_what_was_live_before_and_again_further(host: Host) -> None:
    host.repository.release("v1.2.0")
    one, two, three = _deployed(host, "v1.0.0", "v1.1.0", "v1.2.0")

    first = host.agent("rollback", "--json")
    second = host.agent("rollback", "--json")
    third = host.agent("rollback", "--json")

    assert (first.code, first.json["outcome"], first.json["release"], first.json["previous"]) == (0, "deployed", two, three)
    assert (second.code, second.json["release"]) == (0, one)
    assert host.serves() == "v1.0.0"
    assert (third.code, third.json["outcome"], third.json["error"]["code"]) == (22, "no-target", "no-target")
    assert host.live() == one


def test_rollback_after_a_deployment_from_an_older_release_follows_the_journal(host: Host) -> None:
    host.repository.release("v1.2.0")
    one, _, three = _deployed(host, "v1.0.0", "v1.1.0", "v1.0.0")
    assert one == three
    (four,) = _deployed(host, "v1.2.0")

    back = [host.agent("rollback", "--json").json["release"] for _ in range(2)]

    assert back[0] == one
    assert host.history()[-1]["release"] == one
    assert back[1] != four


def test_failed_releases_are_skipped(host: Host) -> None:
    one, two = _deployed(host, "v1.0.0", "v1.1.0")
    host.repository.release("v1.2.0", "sick")
    assert host.deploy().code == 20

    assert host.agent("rollback", "--json").json["release"] == one
    assert host.live() != two


def test_named_release_is_taken_by_name_number_or_revision(host: Host) -> None:
    host.repository.release("v1.2.0")
    one, two, three = _deployed(host, "v1.0.0", "v1.1.0", "v1.2.0")

    assert host.agent("rollback", one, "--json").json["release"] == one
    assert host.agent("rollback", "3", "--json").json["release"] == three
    assert host.agent("rollback", "v1.1.0", "--json").json["release"] == two
    assert host.serves() == "v1.1.0"


def test_missing_or_failed_release_is_no_target(host: Host) -> None:
    live = _deployed(host, "v1.0.0")[0]
    host.repository.release("v1.2.0", "sick")
    failed = host.deploy().json["release"]

    missing = host.agent("rollback", "v9", "--json")
    sick = host.agent("rollback", failed, "--json")

    assert (missing.code, missing.json["error"]["code"]) == (22, "release-unknown")
    assert (sick.code, sick.json["error"]["code"]) == (22, "release-failed")
    assert host.live() == live


def test_empty_argument_is_an_unset_variable_and_rolls_nothing_back(host: Host) -> None:
    _, live = _deployed(host, "v1.0.0", "v1.1.0")

    ran = host.agent("rollback", "", "--json")

    assert (ran.code, ran.json["error"]["code"], ran.json["error"]["message"]) == (22, "release-unknown", "the release is empty")
    assert host.live() == live


@pytest.mark.parametrize("command", ["history", "verify"])
def test_empty_argument_names_nothing_to_look_at_either(host: Host, command: str) -> None:
    _deployed(host, "v1.0.0")

    ran = host.agent(command, "", "--json")

    assert (ran.code, ran.json["error"]["code"]) == (22, "release-unknown")


def test_nothing_was_ever_deployed(host: Host) -> None:
    ran = host.agent("rollback", "--json")

    assert (ran.code, ran.json["outcome"]) == (22, "no-target")


def test_rollback_whose_target_is_sick_returns_to_what_was_live(host: Host) -> None:
    one, two = _deployed(host, "v1.0.0", "v1.1.0")
    host.spoil(one, "behaviour", "crash")

    ran = host.agent("rollback", "--json")

    assert (ran.code, ran.json["outcome"], ran.json["release"]) == (20, "rolled-back", one)
    assert host.live() == two
    assert host.serves() == "v1.1.0"


def test_rollback_says_that_a_bare_deploy_takes_the_highest_version_again(host: Host) -> None:
    _deployed(host, "v1.0.0", "v1.1.0")

    ran = host.agent("rollback")

    assert "a bare deploy would take the highest version again" in ran.out
    assert "release-agent pin v1.0.0" in ran.out
    assert host.deploy().json["revision"] == "v1.1.0"


def test_rollback_runs_no_build_and_no_before_publish_hooks(host: Host) -> None:
    one, _ = _deployed(host, "v1.0.0", "v1.1.0")
    trace = host.path / "trace"
    lines = "\n".join(
        f'{stage} = [{{ run = "echo {stage} $RELEASE_ACTION >> {trace}" }}]'
        for stage in ("build", "before_publish", "after_publish", "after_deploy")
    )
    host.configure(f"[hooks]\n{lines}")

    assert host.agent("rollback", "--json").json["release"] == one
    assert trace.read_text().splitlines() == ["after_publish rollback", "after_deploy rollback"]


def test_previous_in_status_is_where_a_rollback_would_go(host: Host) -> None:
    host.repository.release("v1.2.0")
    one, two, _ = _deployed(host, "v1.0.0", "v1.1.0", "v1.2.0")

    before = host.status()["previous"]["release"]
    host.agent("rollback")
    after = host.status()

    assert before == two
    assert (after["current"]["release"], after["previous"]["release"]) == (two, one)
    about = {"app", "environment", "frozen", "failure"}
    assert set(after) == about | {"current", "previous", "services", "health", "health_why", "deployment"}
    assert set(after["current"]) == {"release", "number", "revision", "commits", "signers", "deployed_at", "by"}
    assert after["services"][0]["processes"][0].keys() == {"name", "state", "pid"}
    assert (after["health"], after["deployment"]) == ("passing", None)


def test_release_is_rolled_back_to_as_it_was_built_although_its_repository_has_another_name_and_place_now(host: Host) -> None:
    hook = f"[hooks]\nafter_publish = [{{ run = 'echo $RELEASE_COMMIT $PWD > {host.path}/hook' }}]\n"
    commit = host.repository.release("v1.2.0", **{"release.toml": hook})
    host.repository.release("v1.3.0")
    host.configure(service="", repository=f'[[repository]]\nname = "api"\npath = "{host.repository.path}"\ninto = "code"')
    (one,) = _deployed(host, "v1.2.0")
    host.configure(service="", repository=f'[[repository]]\nname = "app"\npath = "{host.repository.path}"\ninto = "moved"')
    _deployed(host, "v1.3.0")
    (host.path / "hook").unlink()

    back = host.agent("rollback", "--json")

    assert (back.code, back.json["release"]) == (0, one), back.err
    assert (host.path / "hook").read_text().split() == [commit, f"{host.root}/releases/{one}/code"]
    assert host.agent("boot").code == 0
