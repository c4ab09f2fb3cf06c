"""The preflight finds problems before any host changes, over simulated hosts."""

from __future__ import annotations

import re
import socket
import threading
import xmlrpc.client
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from support.desk import Desk
from support.fleet import Fleet
from support.simulated_host import Manner, commit_of
from support.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from support.simulated_rollouts import SimulatedRollouts

OLD, NEW = "v1.0.0", "v1.1.0"


def test_host_that_is_down_is_found_before_anything_is_changed(fleet: SimulatedRollouts) -> None:
    fleet.hosts[2].manner = Manner.REFUSE
    fleet.write_fleet()

    refused = fleet.start()
    untouched = fleet.live()
    allowed = fleet.start("--max-unreachable", "1")

    assert refused.code == 40
    assert "no host was changed: host-3: Connection refused" in refused.json["error"]["message"]
    assert untouched == [OLD] * 5
    assert allowed.code == 42
    assert fleet.live() == [NEW, NEW, OLD, NEW, NEW]


def test_terminal_shows_who_is_in_trouble_and_who_is_waited_for(fleet: SimulatedRollouts) -> None:
    fleet.hosts[1].manner, fleet.hosts[3].manner = Manner.UNAUTHORISED, Manner.MUTE
    terminal = Terminal(command=fleet.start_command(revision=NEW)[:-1], columns=120, **fleet.environment)
    try:
        lines = terminal.see("4 of 5 hosts have reported their live release; then the changes of the revision", " 1 s")

        rows = [line.split(maxsplit=2) for line in lines if line.startswith("host-")]
        assert rows == [["host-2", "failed", "host-unauthorised: it wants another user or password"], ["host-4", "asked", "1 s"]]
        assert lines[-2] == "1 failed (0 allowed)"
        assert re.search(r"━ +preflight  0:0\d so far$", lines[-1])
    finally:
        terminal.abandon()


def test_terminal_shows_the_plan_in_place_of_preflight(fleet: SimulatedRollouts) -> None:
    fleet.hosts[1].check_seconds = 1.0
    command = [*fleet.start_command(revision=NEW)[:-1], "--dry-run"]
    terminal = Terminal(command=command, columns=120, **fleet.environment)
    try:
        terminal.see("4 of 5 hosts have reported the changes of the revision; then the plan", "host-2  asked")

        assert terminal.close()[0] == f"{NEW} for api (test), 5 hosts"
    finally:
        terminal.abandon()


FROZEN = {"why": "the database moves", "by": "ada", "since": "2026-11-22T22:00:00.000000Z", "until": ""}


def test_a_frozen_host_stops_a_rollout_before_anything_is_touched_and_is_deployed_to_if_that_is_asked(
    fleet: SimulatedRollouts,
) -> None:
    fleet.hosts[1].frozen = FROZEN

    refused = fleet.start()

    assert (refused.code, "frozen by ada" in refused.json["error"]["message"]) == (40, True)
    assert not any(host.switched for host in fleet.hosts)
    assert fleet.start("--despite-freeze").code == 0
    assert all(host.switched for host in fleet.hosts)


def test_hosts_wait_for_the_revision_before_anything_changes_if_that_is_asked(fleet: SimulatedRollouts) -> None:
    assert fleet.start("--wait-for", "2m").code == 0

    assert {host.waited_for for host in fleet.hosts} == {"120.000s"}


@pytest.mark.parametrize(
    ("setting", "value", "code", "why"),
    [
        ("agent_version", "9.0.0", "host-unfit", "its agent has version 9.0.0"),
        ("maintenance", True, "host-in-maintenance", "maintenance mode"),
    ],
)
def test_host_that_must_not_be_deployed_to_counts_as_failed_before_anything_is_touched(
    fleet: SimulatedRollouts, setting: str, value: object, code: str, why: str
) -> None:
    setattr(fleet.hosts[1], setting, value)

    refused = fleet.start()
    planned = fleet.start("--max-failed", "1", "--dry-run")

    assert refused.code == 40
    assert "host-2: " in refused.json["error"]["message"]
    assert why in refused.json["error"]["message"]
    assert planned.code == 0
    assert {host["name"]: host["code"] for host in planned.json["hosts"] if host["code"]} == {"host-2": code}
    assert [fleet.fired(number) for number in range(5)] == [[]] * 5


def test_user_and_password_of_the_command_line_come_before_those_of_fleet_toml(locked_fleet: SimulatedRollouts) -> None:
    fleet = locked_fleet
    outdated = fleet.path / "outdated"
    outdated.write_text("the password before\n")
    fleet.file.write_text(fleet.file.read_text().replace(str(fleet.password_file), str(outdated)).replace('"agent"', '"nobody"'))

    refused = fleet.start()
    started = fleet.start(*fleet.access)

    assert (refused.code, started.code) == (40, 0)
    assert fleet.live() == [NEW] * 3


def test_wrong_password_on_one_host_is_that_hosts_alone(locked_fleet: SimulatedRollouts) -> None:
    fleet = locked_fleet
    fleet.hosts[1].manner = Manner.UNAUTHORISED

    refused = fleet.start()
    done = fleet.start("--max-failed", "1")

    assert refused.code == 40
    assert "host-2: it wants another user or password" in refused.json["error"]["message"]
    assert done.code == 42
    assert fleet.live() == [NEW, OLD, NEW]
    assert "a secret of the fleet" not in refused.out + refused.err + done.out + done.err


def test_revision_that_is_not_the_same_everywhere_is_refused(fleet: SimulatedRollouts) -> None:
    fleet.hosts[4].commits |= {NEW: commit_of("moved")}

    done = fleet.start()

    assert done.code == 12
    assert done.json["error"]["code"] == "commits-differ"
    assert "on host-5" in done.json["error"]["message"]
    assert [fleet.fired(number) for number in range(5)] == [[]] * 5


def test_unknown_revision_is_refused_with_what_the_hosts_say(fleet: SimulatedRollouts) -> None:
    done = fleet.start(revision="v9.9.9")

    assert (done.code, done.json["error"]["code"]) == (12, "revision-unknown")
    assert "no tag, branch or commit v9.9.9" in done.json["error"]["message"]


def test_empty_revision_is_an_unset_variable_and_asks_no_host_for_its_newest(fleet: SimulatedRollouts) -> None:
    before = fleet.live()

    done = fleet.start(revision="")

    assert (done.code, done.json["error"]["message"]) == (12, "the revision is empty")
    assert fleet.live() == before


def test_one_host_under_two_addresses_is_refused_and_not_deployed_to_twice() -> None:
    real = Fleet(1)
    try:
        addresses = [f"127.0.0.1:{real.ports[0]}", f"localhost:{real.ports[0]}", f"[::ffff:127.0.0.1]:{real.ports[0]}"]
        done = real.rollout("start", NEW, *addresses, *real.access)

        assert (done.code, done.json["error"]["code"]) == (10, "inventory-invalid")
        assert all(f"{address} (http://{address})" in done.json["error"]["message"] for address in addresses)
        assert real.fired(0) == []
    finally:
        real.close()


def test_hosts_of_two_fleets_are_refused(fleet: SimulatedRollouts) -> None:
    fleet.hosts[3].app = "web"

    done = fleet.start()

    assert (done.code, done.json["error"]["code"]) == (12, "fleet-mixed")
    assert "web (test) on host-4" in done.json["error"]["message"]


def test_revision_that_one_application_of_a_system_does_not_have_is_refused(fleet: SimulatedRollouts) -> None:
    fleet.become_system()
    for host in fleet.hosts[:2]:
        host.commits = {OLD: commit_of(OLD)}

    done = fleet.start("--max-failed", "100%")

    assert (done.code, done.json["error"]["code"]) == (12, "revision-unknown")
    assert f"every host of web refuses {NEW}" in done.json["error"]["message"]
    assert fleet.live() == [OLD] * 5


def test_system_is_not_begun_while_nobody_of_one_of_its_applications_answers(fleet: SimulatedRollouts) -> None:
    for host in fleet.hosts[:2]:
        host.manner = Manner.REFUSE
    fleet.write_fleet()
    fleet.become_system()

    done = fleet.start("--max-unreachable", "100%")

    assert done.code == 40
    assert "no host of web is left to deploy to" in done.json["error"]["message"]
    assert fleet.live() == [OLD] * 5


def test_no_host_left_to_deploy_to_is_no_completed_rollout(fleet: SimulatedRollouts) -> None:
    for number, host in enumerate(fleet.hosts):
        fleet.hold(number)
        host.deploy(NEW, False, "command")  # a person's

    done = fleet.start("--max-failed", "100%")

    assert done.code == 40
    assert "no host is left to deploy to" in done.json["error"]["message"]
    assert "host-1: a deployment is running there" in done.json["error"]["message"]
    for number in range(5):
        fleet.let_go(number)
    assert fleet.live() == [NEW] * 5
    assert [fleet.fired(number) for number in range(5)] == [["command"]] * 5


@pytest.mark.parametrize(
    "answer",
    [b"220\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n" + xmlrpc.client.dumps((1,), methodresponse=True).encode()],
    ids=["no HTTP", "no status"],
)
def test_stranger_at_a_hosts_port_is_that_hosts_trouble_alone(fleet: SimulatedRollouts, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer_always, args=(server, answer), daemon=True).start()
        stranger = f"127.0.0.1:{server.getsockname()[1]}"
        hosts = [fleet.urls()[0].removeprefix("http://"), stranger]
        done = fleet.rollout("start", NEW, *hosts, "--dry-run", "--max-failed", "1", "--max-unreachable", "1")

    assert done.code == 0
    (odd,) = [host for host in done.json["hosts"] if host["name"] == stranger]
    assert odd["stage"] in ("failed", "unreachable")


def _answer_always(server: socket.socket, answer: bytes) -> None:
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--deadline", "0"),
        ("--waves", "0"),
        ("--waves", ""),
        ("--max-failed", "200%"),
        ("--max-failed", "-1"),
        ("--parallel", "0"),
        ("--bake", "soon"),
    ],
)
def test_option_that_makes_no_sense_is_refused_before_any_host_is_asked(tmp_path: Path, wrong: tuple[str, str]) -> None:
    done = Desk(tmp_path).run(["release-agent", "rollout", "start", NEW, "192.0.2.1", *wrong])

    assert (done.code, done.out) == (2, "")
    assert wrong[0] in done.err


def test_start_without_a_revision_is_wrong_usage(tmp_path: Path) -> None:
    done = Desk(tmp_path).rollout("start", "--fleet", "fleet.toml")

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("usage: release-agent rollout start ")
    assert done.err.endswith("release-agent rollout start: error: a revision is required, or --promote-from\n")


@pytest.mark.parametrize("wrong", [("--service", "api"), ("--tag", "canary"), ("--environment", "test"), ("--meta", "a=b")])
def test_filter_of_another_inventory_is_refused(tmp_path: Path, wrong: tuple[str, str]) -> None:
    done = Desk(tmp_path).rollout("start", NEW, "192.0.2.1", *wrong)

    assert (done.code, done.json["error"]["code"]) == (10, "inventory-invalid")
