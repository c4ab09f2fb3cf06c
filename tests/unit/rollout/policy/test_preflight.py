from __future__ import annotations

from dataclasses import replace

import pytest

from release_agent.errors import Code, FleetStopped, Refused
from release_agent.rollout.host.model import HostError, HostStatus
from release_agent.rollout.model import Host, HostStage
from release_agent.rollout.policy.preflight import (
    environment_of,
    nobody_left,
    note_status,
    refuse_if_all_refuse,
    same_commits,
    skip_up_to_date,
    usual_changes,
)


def host(name: str, **settings: object) -> Host:
    return Host(name, "", **settings)  # type: ignore[arg-type]


def status(app: str = "api", environment: str = "test", health: str = "passing", **settings: bool) -> HostStatus:
    return HostStatus(app, environment, "000001-aaaaaaaaaaaa", "v1", {"api": "a" * 40}, health, **settings)


@pytest.mark.parametrize(("health", "unwell"), [("passing", False), ("warning", True), ("critical", True)])
def test_what_is_live_is_noted_and_whether_it_is_well(health: str, unwell: bool) -> None:
    noted = host("host-1")

    note_status(noted, status(health=health))

    assert (noted.before, noted.before_revision, noted.unwell) == ("000001-aaaaaaaaaaaa", "v1", unwell)


@pytest.mark.parametrize(("setting", "code"), [("busy", Code.HOST_BUSY), ("maintenance", Code.HOST_IN_MAINTENANCE)])
def test_host_that_must_not_be_deployed_to_is_an_error_of_its_own_and_noted_all_the_same(setting: str, code: Code) -> None:
    noted = host("host-1")

    with pytest.raises(HostError) as refused:
        note_status(noted, status(**{setting: True}))

    assert (refused.value.code, noted.before) == (code, "000001-aaaaaaaaaaaa")


def test_a_frozen_host_has_failed_unless_the_rollout_goes_on_in_spite_of_it() -> None:
    frozen = replace(status(), frozen="by ada: the database moves")

    with pytest.raises(HostError, match="frozen by ada: the database moves") as refused:
        note_status(host("host-1"), frozen)
    note_status(host("host-1"), frozen, despite_freeze=True)

    assert refused.value.code == Code.FROZEN


def test_all_hosts_are_of_one_fleet() -> None:
    hosts = [host("host-1"), host("host-2")]

    assert environment_of(hosts, {"host-1": status(), "host-2": status()}) == "test"
    assert [one.app for one in hosts] == ["api", "api"]
    with pytest.raises(Refused, match=r"api \(test\) on host-1, host-3; web \(test\) on host-2") as refused:
        environment_of([*hosts, host("host-3")], {"host-1": status(), "host-2": status("web"), "host-3": status()})
    assert refused.value.code is Code.FLEET_MIXED


@pytest.mark.parametrize(
    ("services", "apps", "environments", "why"),
    [
        (("api", ""), ("api", "web"), ("test", "test"), "several applications, and host-1 has no service in the inventory: "),
        (("s", "s"), ("api", "web"), ("test", "test"), "the hosts of service s are of several applications: "),
        (("api", "web"), ("api", "web"), ("test", "production"), "the hosts are of several environments: "),
    ],
)
def test_applications_that_the_inventory_does_not_tell_apart_are_refused(
    services: tuple[str, str], apps: tuple[str, str], environments: tuple[str, str], why: str
) -> None:
    hosts = [host(f"host-{number}", service=service) for number, service in enumerate(services)]
    statuses = {one.name: status(app, environment) for one, app, environment in zip(hosts, apps, environments, strict=True)}

    with pytest.raises(Refused, match=why) as refused:
        environment_of(hosts, statuses)
    assert refused.value.code is Code.FLEET_MIXED


def test_host_without_an_answer_is_of_its_services_application() -> None:
    hosts = [host("a", service="api"), host("b", service="web"), host("c", service="web"), host("d", service="db")]

    assert environment_of(hosts, {"a": status(), "b": status("front")}) == "test"

    assert [one.app for one in hosts] == ["api", "front", "front", ""]


def test_more_applications_than_can_be_locked_together_are_refused() -> None:
    hosts = [host(f"host-{number}", service=f"s{number}") for number in range(33)]

    with pytest.raises(Refused, match="of 33 applications, and a rollout has at most 32"):
        environment_of(hosts, {one.name: status(one.service) for one in hosts})


def test_no_answer_from_any_host_is_said_with_the_first_ones_reason() -> None:
    with pytest.raises(FleetStopped, match="none of 2 hosts gives a valid answer: host-1: Connection refused"):
        environment_of([host("host-1", why="Connection refused"), host("host-2")], {})


@pytest.mark.parametrize(
    ("stages", "refusing", "refused"),
    [
        ("..", "", False),
        ("..", "1", False),
        ("..", "12", True),
        (".U", "1", True),  # the other cannot be reached
        (".F", "1", False),  # the other has another error
        ("UU", "", False),
    ],
)
def test_revision_is_refused_only_if_every_host_that_is_reached_refuses_it(stages: str, refusing: str, refused: bool) -> None:
    letters = {".": HostStage.FAILED, "U": HostStage.UNREACHABLE, "F": HostStage.FAILED}
    hosts = [host(f"host-{number}", app="api", stage=letters[letter]) for number, letter in enumerate(stages, 1)]
    refusals = {f"host-{number}": HostError("revision-unknown", "no tag v9", refused=True) for number in refusing}

    if not refused:
        refuse_if_all_refuse(hosts, "v9", refusals)
        return
    with pytest.raises(Refused, match="every host of api refuses v9: no tag v9") as error:
        refuse_if_all_refuse(hosts, "v9", refusals)
    assert error.value.code is Code.REVISION_UNKNOWN


def test_code_of_a_newer_agent_is_read_as_an_unknown_revision() -> None:
    with pytest.raises(Refused) as error:
        refuse_if_all_refuse([host("host-1")], "v9", {"host-1": HostError("of-a-newer-agent", "no", refused=True)})

    assert error.value.code is Code.REVISION_UNKNOWN


def test_revision_must_be_the_same_commits_on_every_host() -> None:
    one, other = {"api": "a" * 40}, {"api": "b" * 40}

    hosts = [host(f"host-{number}") for number in (1, 2, 3)]
    assert same_commits(hosts, {"host-1": {"commits": one}, "host-2": {"commits": one}}) == one
    assert same_commits(hosts[:2], {"host-1": {"commits": one}, "host-2": {"commits": one}, "host-3": {"commits": other}}) == one
    assert same_commits(hosts, {}) == {}
    with pytest.raises(Refused, match="api aaaaaaaaaaaa on host-1, host-3; api bbbbbbbbbbbb on host-2") as refused:
        same_commits(hosts, {"host-1": {"commits": one}, "host-2": {"commits": other}, "host-3": {"commits": one}})
    assert refused.value.code is Code.COMMITS_DIFFER


def test_changes_shown_are_those_on_the_release_that_most_hosts_run() -> None:
    hosts = [host("host-1", before="x"), host("host-2", before="y"), host("host-3", before="y"), host("host-4", before="x")]
    answers = {name: {"changes": {"api": name}} for name in ("host-1", "host-2", "host-3")}

    assert usual_changes(hosts, answers) == {"api": "host-2"}
    assert usual_changes(hosts, {}) == {}


def test_healthy_hosts_that_run_it_already_are_skipped() -> None:
    hosts = [host("host-1"), host("host-2", unwell=True), host("host-3"), host("host-4")]

    skip_up_to_date(hosts, {"host-1": {"live": True}, "host-2": {"live": True}, "host-3": {"live": False}}, "v2")

    assert [one.stage for one in hosts] == [HostStage.SKIPPED, *[HostStage.PENDING] * 3]
    assert hosts[0].why == "already runs v2, and is healthy"


def test_application_without_a_host_to_deploy_to_is_named() -> None:
    lost = HostStage.UNREACHABLE
    hosts = [host("a", app="api"), host("b", app="api", stage=lost), host("c", app="web", stage=HostStage.SKIPPED)]

    assert nobody_left(hosts) == ""
    assert nobody_left([host("b", app="api", stage=lost)]) == "no host is left to deploy to"
    assert nobody_left([*hosts, host("d", app="db", stage=HostStage.FAILED)]) == "no host of db is left to deploy to"
    unknown = host("e", service="db", stage=lost)  # no host of its service has answered
    assert nobody_left([*hosts, unknown]) == "no host of db is left to deploy to"
    namesake = host("f", service="api", stage=lost)  # of another application than api, whose hosts have another service
    assert nobody_left([*hosts, namesake]) == "no host of api is left to deploy to"
