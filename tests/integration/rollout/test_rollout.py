"""Rollouts over five real hosts, each a supervisord with the plugin."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import xmlrpc.client
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.environment import BIN
from support.fleet import Fleet, Operator
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD, NEW = "v1.0.0", "v1.1.0"


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Five hosts that run v1.0.0; the record is a file of the operator."""
    made = Fleet()
    yield made
    made.close()


@pytest.fixture
def three() -> Iterator[Fleet]:
    """Three hosts that run v1.0.0, for what takes many rollouts."""
    made = Fleet(3)
    yield made
    made.close()


def _stages(fleet: Fleet, identity: str) -> dict[str, str]:
    return {host["name"]: host["stage"] for host in fleet.rollout("status", identity).json["hosts"]}


def test_all_hosts_well_take_the_revision_wave_after_wave(fleet: Fleet) -> None:
    operator = fleet.begin()

    assert operator.end() == 0
    assert fleet.serve() == [NEW] * 5
    assert [event["hosts"] for event in operator.events("wave.started")] == [1, 1, 3]
    assert all(fleet.fired(number) == [operator.id] for number in range(5))
    (listed,) = fleet.rollout("list").json
    assert (listed["id"], listed["phase"], listed["revision"]) == (operator.id, "completed", NEW)
    assert set(_stages(fleet, operator.id).values()) == {"done"}


def test_hosts_already_there_are_skipped_and_those_not_well_come_first(fleet: Fleet) -> None:
    fleet.hosts[0].deploy(NEW)
    (fleet.hosts[3].path / "sick").touch()
    fleet.hosts[3].supervisorctl("stop", "web")
    fleet.hosts[3].deploy(OLD)  # found not well, and noted
    (fleet.hosts[3].path / "sick").unlink()

    planned = fleet.start("--dry-run").json
    done = fleet.start()

    assert planned["waves"] == [["host-4"], ["host-2"], ["host-3", "host-5"]]
    skipped = next(host for host in planned["hosts"] if host["name"] == "host-1")
    assert (skipped["stage"], skipped["why"]) == ("skipped", f"runs {NEW} already, and is well")
    assert planned["changes"]["api"]["count"] == 1
    assert (done.code, fleet.serve()) == (0, [NEW] * 5)
    assert fleet.fired(0) == ["command"]


def test_canary_that_fails_stops_everything_whatever_the_budget(fleet: Fleet) -> None:
    fleet.refuse(0)

    done = fleet.start("--max-failed", "3")

    assert done.code == 40
    assert fleet.serve() == [OLD] * 5
    assert [fleet.fired(number) for number in range(1, 5)] == [[]] * 4
    assert done.json["why"] == "no host of wave 1 took it, or stayed well"
    assert {host["host"]: host["code"] for host in done.json["hosts"] if host["stage"] == "failed"} == {"host-1": "hook-failed"}


def test_one_more_than_the_budget_stops_it(fleet: Fleet) -> None:
    fleet.refuse(1)
    fleet.refuse(2)

    stopped = fleet.start("--waves", "1,2,1", "--max-failed", "1", "--max-unreachable", "5")

    assert (stopped.code, stopped.json["phase"]) == (40, "failed")
    assert stopped.json["why"] == "2 of 5 hosts failed, and --max-failed allows 1"
    assert fleet.serve() == [NEW, OLD, OLD, OLD, OLD]


def test_budget_that_is_exactly_met_lets_it_go_on_and_who_failed_is_named(fleet: Fleet) -> None:
    fleet.refuse(2)

    done = fleet.start("--waves", "2,100%", "--max-failed", "20%")

    assert done.code == 42
    assert fleet.serve() == [NEW, NEW, OLD, NEW, NEW]
    assert done.json["phase"] == "partial"
    (failed,) = [host for host in done.json["hosts"] if host["stage"] == "failed"]
    assert (failed["host"], failed["code"]) == ("host-3", "hook-failed")
    assert "rolled-back" in failed["why"]


def test_host_that_is_down_is_found_before_anything_is_changed(fleet: Fleet) -> None:
    fleet.hosts[2].stop(signal.SIGKILL)

    refused = fleet.start()
    allowed = fleet.start("--max-unreachable", "1")

    assert refused.code == 40
    assert "nothing was changed: host-3: Connection refused" in refused.json["error"]["message"]
    assert allowed.code == 42
    assert [fleet.hosts[number].serves() for number in (0, 1, 3, 4)] == [NEW] * 4


def test_host_that_hangs_after_accepting_hides_no_other_host(fleet: Fleet) -> None:
    fleet.configure(2, f"[hooks]\nbefore_publish = [{{ run = '{fleet.hosts[2].gate('held')}' }}]")
    operator = fleet.begin("--waves", "100%", "--deadline", "8s", "--max-unreachable", "1")
    fleet.hosts[2].reached("held")
    supervisord = fleet.hosts[2].supervisord
    assert supervisord
    supervisord.send_signal(signal.SIGSTOP)

    assert operator.end() == 42
    assert [fleet.hosts[number].serves() for number in (0, 1, 3, 4)] == [NEW] * 4
    assert operator.events("rollout.ended")[0]["hosts"][2]["code"] == "host-unreachable"
    supervisord.send_signal(signal.SIGCONT)
    fleet.hosts[2].open("held")


def test_host_that_is_late_has_failed_and_goes_on_by_itself(fleet: Fleet) -> None:
    fleet.configure(0, f"[hooks]\nbefore_publish = [{{ run = '{fleet.hosts[0].gate('held')}' }}]")

    done = fleet.start("--deadline", "2s")

    assert done.code == 40
    assert done.json["hosts"][0]["code"] == "host-late"
    fleet.hosts[0].open("held")
    eventually(lambda: fleet.hosts[0].serves() == NEW, "it goes on by itself")


def test_wrong_password_on_one_host_is_that_hosts_alone(fleet: Fleet) -> None:
    configuration = fleet.hosts[1].path / "supervisord.conf"
    configuration.write_text(configuration.read_text().replace("a secret of the fleet", "another"))
    fleet.hosts[1].reload()

    refused = fleet.start()
    done = fleet.start("--max-failed", "1")

    assert refused.code == 40
    assert "host-2: it wants another user or password" in refused.json["error"]["message"]
    assert done.code == 42
    assert [fleet.hosts[number].serves() for number in (0, 2, 3, 4)] == [NEW] * 4
    assert "a secret of the fleet" not in refused.out + refused.err + done.out + done.err


def test_revision_that_is_not_the_same_everywhere_is_refused(fleet: Fleet) -> None:
    other = fleet.hosts[4]
    subprocess.run(["cp", "-a", fleet.repository.path, other.path / "other"], check=True)
    fleet.configure(4, repository=f'[[repository]]\nname = "api"\npath = "{other.path}/other"')
    fleet.repository.git("tag", "--delete", NEW)
    fleet.repository.release(NEW, extra="moved")

    done = fleet.start()

    assert done.code == 12
    assert done.json["error"]["code"] == "commits-differ"
    assert "on host-5" in done.json["error"]["message"]
    assert [fleet.fired(number) for number in range(5)] == [[]] * 5


def test_unknown_revision_is_refused_with_what_the_hosts_say(fleet: Fleet) -> None:
    done = fleet.start(revision="v9.9.9")

    assert (done.code, done.json["error"]["code"]) == (12, "revision-unknown")


def test_hosts_of_two_fleets_are_refused(fleet: Fleet) -> None:
    fleet.configure(3, app=f'[app]\nname = "web"\nenvironment = "test"\nroot = "{fleet.hosts[3].root}"')

    done = fleet.start()

    assert (done.code, done.json["error"]["code"]) == (12, "fleet-mixed")
    assert "web (test) on host-4" in done.json["error"]["message"]


def test_what_was_changed_is_put_back_at_once_where_that_was_asked_for(fleet: Fleet) -> None:
    fleet.hosts[1].deploy(NEW)  # its own way: there is nothing to change, and nothing to put back
    fleet.refuse(3)

    done = fleet.start("--waves", "1,3", "--revert")

    assert done.code == 41
    assert fleet.serve() == [OLD, NEW, OLD, OLD, OLD]
    assert done.json["phase"] == "reverted"
    assert fleet.fired(0) == [done.json["id"], f"{done.json['id']}-revert"]
    assert fleet.fired(1) == ["command"]
    # It went back by itself.
    assert fleet.fired(3) == [done.json["id"]]


def test_revert_names_the_host_that_could_not_be_put_back(fleet: Fleet) -> None:
    operator = fleet.begin()
    assert operator.end() == 0
    fleet.hosts[2].stop(signal.SIGKILL)

    done = fleet.rollout("revert", operator.id)

    assert done.code == 40
    assert [fleet.hosts[number].serves() for number in (0, 1, 3, 4)] == [OLD] * 4
    assert _stages(fleet, operator.id) == {f"host-{n}": "stuck" if n == 3 else "reverted" for n in range(1, 6)}
    assert fleet.rollout("revert", "rollout-unknown").code == 22


def test_reverting_a_completed_rollout_takes_every_host_to_its_own_release(fleet: Fleet) -> None:
    fleet.repository.release("v0.9.0")
    fleet.hosts[2].deploy("v0.9.0")
    operator = fleet.begin()
    operator.end()

    assert fleet.rollout("revert", operator.id).code == 0
    assert fleet.serve() == [OLD, OLD, "v0.9.0", OLD, OLD]


def test_revert_waits_for_what_is_being_deployed(fleet: Fleet) -> None:
    fleet.configure(0, f"[hooks]\nbefore_publish = [{{ run = '{fleet.hosts[0].gate('held')}' }}]")
    operator = fleet.begin()
    fleet.hosts[0].reached("held")
    operator.send(signal.SIGKILL)

    reverting = Operator(fleet, fleet.command("revert", operator.id))
    reverting.seen("revert.started")
    fleet.hosts[0].open("held")

    assert reverting.end() == 0
    assert fleet.serve() == [OLD] * 5
    assert fleet.fired(0) == [operator.id, f"{operator.id}-revert"]


def test_paused_rollout_begins_no_host_until_it_is_resumed(fleet: Fleet) -> None:
    fleet.configure(0, f"[hooks]\nbefore_publish = [{{ run = '{fleet.hosts[0].gate('held')}' }}]")
    operator = fleet.begin()
    fleet.hosts[0].reached("held")
    assert fleet.rollout("pause", operator.id).code == 0
    operator.seen("rollout.paused")
    fleet.hosts[0].open("held")
    operator.seen("host.finished", host="host-1", stage="done")

    status = fleet.rollout("status", operator.id).json
    assert (status["running"], status["phase"]) == (True, "paused")
    assert fleet.rollout("resume", operator.id).code == 0
    assert operator.end() == 0
    assert [event["event"] for event in operator.events() if event["event"] in ("rollout.paused", "rollout.running")] == [
        *("rollout.paused", "rollout.running"),
    ]
    assert fleet.serve() == [NEW] * 5


def test_status_that_is_watched_is_told_at_each_change_until_the_end(fleet: Fleet) -> None:
    fleet.configure(0, f"[hooks]\nbefore_publish = [{{ run = '{fleet.hosts[0].gate('held')}' }}]")
    operator = fleet.begin()
    fleet.hosts[0].reached("held")
    watching = Operator(fleet, fleet.command("status", operator.id, "--watch"))
    eventually(watching.events, "it is told")
    fleet.hosts[0].open("held")

    assert (operator.end(), watching.end()) == (0, 0)
    told = watching.events()
    assert (told[0]["phase"], told[-1]["phase"]) == ("running", "completed")
    assert all(one != other for one, other in pairwise(told))


def test_rollout_that_waits_for_approval_ends_with_43_and_goes_on_once_it_is_had(fleet: Fleet) -> None:
    operator = fleet.begin("--approve")

    assert operator.end() == 43
    assert fleet.serve() == [NEW, OLD, OLD, OLD, OLD]
    assert fleet.rollout("status", operator.id).json["phase"] == "waiting"
    assert fleet.rollout("resume", operator.id).code == 43
    assert fleet.rollout("approve", operator.id).code == 0
    assert fleet.rollout("resume", operator.id).code == 0
    assert fleet.serve() == [NEW] * 5


def test_aborted_rollout_leaves_hosts_as_they_are(fleet: Fleet) -> None:
    fleet.configure(0, f"[hooks]\nbefore_publish = [{{ run = '{fleet.hosts[0].gate('held')}' }}]")
    operator = fleet.begin("--revert")
    fleet.hosts[0].reached("held")
    assert fleet.rollout("abort", operator.id).code == 0
    operator.seen("order.heard", verb="abort")
    fleet.hosts[0].open("held")

    assert operator.end() == 40
    assert fleet.serve() == [NEW, OLD, OLD, OLD, OLD]
    assert fleet.rollout("status", operator.id).json["phase"] == "aborted"
    assert fleet.rollout("resume", operator.id).code == 22


def test_second_operator_is_refused_and_told_who_runs_what_since_when(fleet: Fleet) -> None:
    fleet.configure(0, f"[hooks]\nbefore_publish = [{{ run = '{fleet.hosts[0].gate('held')}' }}]")
    operator = fleet.begin()
    fleet.hosts[0].reached("held")

    second = fleet.start("--max-failed", "1")
    fleet.hosts[0].open("held")

    assert second.code == 44
    assert operator.id in second.json["error"]["message"]
    assert f" {NEW} " in second.json["error"]["message"]
    assert operator.end() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_operator_who_is_stopped_leaves_hosts_as_they_are_and_says_how_to_go_on(fleet: Fleet, number: signal.Signals) -> None:
    fleet.configure(1, f"[hooks]\nbefore_publish = [{{ run = '{fleet.hosts[1].gate('held')}' }}]")
    operator = fleet.begin()
    fleet.hosts[1].reached("held")

    assert operator.send(number) == 14

    (ended,) = operator.events("rollout.ended")
    assert ended["resume"].startswith(f"release-agent rollout resume {operator.id}")
    assert fleet.rollout("status", operator.id).json["phase"] == "interrupted"
    fleet.hosts[1].open("held")
    assert fleet.rollout("resume", operator.id).code == 0
    assert fleet.serve() == [NEW] * 5
    assert [fleet.fired(n) for n in range(5)] == [[operator.id]] * 5


def test_revert_that_was_interrupted_goes_on_backwards(fleet: Fleet) -> None:
    fleet.refuse(3)
    fleet.configure(
        0, f"[hooks]\nafter_publish = [{{ run = 'test $RELEASE_ACTION = deploy || ({fleet.hosts[0].gate('held')})' }}]"
    )
    operator = fleet.begin("--waves", "1,3", "--revert")
    fleet.hosts[0].reached("held")
    assert operator.send(signal.SIGINT) == 14
    assert fleet.rollout("pause", operator.id).code == 22
    fleet.hosts[0].open("held")

    assert fleet.rollout("resume", operator.id).code == 41
    assert fleet.serve() == [OLD] * 5
    assert fleet.rollout("status", operator.id).json["phase"] == "reverted"


def test_revert_of_a_completed_rollout_that_was_interrupted_goes_on_backwards(three: Fleet) -> None:
    operator = three.begin()
    assert operator.end() == 0
    three.configure(0, f"[hooks]\nafter_publish = [{{ run = '{three.hosts[0].gate('held')}' }}]")
    reverting = Operator(three, three.command("revert", operator.id))
    three.hosts[0].reached("held")

    assert reverting.send(signal.SIGINT) == 14
    assert three.rollout("status", operator.id).json["phase"] == "interrupted"
    three.hosts[0].open("held")

    assert three.rollout("resume", operator.id).code == 0
    assert three.serve() == [OLD] * 3


def test_host_that_still_deploys_after_its_deadline_is_not_said_to_be_put_back(three: Fleet) -> None:
    three.configure(0, f"[hooks]\nbefore_publish = [{{ run = '{three.hosts[0].gate('held')}' }}]")

    done = three.start("--waves", "100%", "--deadline", "7s", "--revert")

    assert done.code == 40
    stages = {host["host"]: (host["stage"], host["code"]) for host in done.json["hosts"]}
    assert stages["host-1"] == ("stuck", "host-late")
    three.hosts[0].open("held")
    eventually(lambda: three.hosts[0].serves() == NEW, "it goes on by itself")
    three.configure(0)
    assert three.rollout("revert", done.json["id"]).code == 0
    assert three.serve() == [OLD] * 3


def test_revert_leaves_alone_what_a_person_deployed_on_a_host_that_was_not_there(three: Fleet) -> None:
    three.hosts[2].deploy(NEW)
    supervisord = three.hosts[2].supervisord
    assert supervisord
    supervisord.send_signal(signal.SIGSTOP)
    operator = three.begin("--max-unreachable", "1")
    assert operator.end() == 42
    supervisord.send_signal(signal.SIGCONT)

    assert three.rollout("revert", operator.id).code == 0
    assert three.serve() == [OLD, OLD, NEW]


def test_revert_leaves_alone_what_a_later_rollout_brought(three: Fleet) -> None:
    three.refuse(2)
    first = three.begin("--waves", "100%", "--max-failed", "1")
    assert first.end() == 42
    three.repository.release("v1.2.0")
    assert three.start(revision="v1.2.0").code == 0

    done = three.rollout("revert", first.id)

    assert done.code == 40
    assert three.serve() == ["v1.2.0"] * 3
    ended = {host["host"]: (host["stage"], host["code"]) for host in done.json["hosts"]}
    assert ended["host-1"] == ("stuck", "host-moved-on")
    assert ended["host-3"] == ("failed", "hook-failed")


def test_revision_that_was_moved_while_a_rollout_waited_is_not_taken_for_the_same(three: Fleet) -> None:
    operator = three.begin("--approve")
    assert operator.end() == 43
    three.repository.git("tag", "--delete", NEW)
    three.repository.release(NEW, extra="moved")
    three.rollout("approve", operator.id)

    done = three.rollout("resume", operator.id)

    assert done.code == 40
    assert [host["code"] for host in done.json["hosts"]] == ["", "commits-differ", ""]


def test_no_host_left_to_deploy_to_is_no_completed_rollout(three: Fleet) -> None:
    for number in range(3):
        three.configure(number, f"[hooks]\nbefore_publish = [{{ run = '{three.hosts[number].gate('held')}' }}]")
    running = [host.begin("deploy", NEW) for host in three.hosts]
    for host in three.hosts:
        host.reached("held")

    done = three.start("--max-failed", "100%")
    for host in three.hosts:
        host.open("held")

    assert done.code == 40
    assert "no host is left to deploy to" in done.json["error"]["message"]
    assert "host-1: a deployment is running there" in done.json["error"]["message"]
    assert [run.wait(60) for run in running] == [0, 0, 0]


def test_rollout_is_not_gone_on_with_by_another_password_and_knows_its_own(three: Fleet) -> None:
    operator = three.begin("--approve")
    assert operator.end() == 43
    three.rollout("approve", operator.id)
    bare = [word for word in three.command("resume", operator.id) if word not in three.access()]
    (three.path / "other").write_text("another")

    refused = three.run([*bare, "--user", "agent", "--password-file", str(three.path / "other")])

    assert (refused.code, refused.json["error"]["code"]) == (10, "host-unauthorised")
    assert three.run(bare).code == 0
    assert three.serve() == [NEW] * 3


def test_two_starts_at_once_are_one_rollout_and_one_refusal(three: Fleet) -> None:
    operators = [three.begin(), three.begin()]

    assert sorted(operator.end() for operator in operators) == [0, 44]
    assert three.serve() == [NEW] * 3
    assert [len(three.fired(number)) for number in range(3)] == [1, 1, 1]


def test_stranger_at_a_hosts_port_is_that_hosts_trouble_alone(three: Fleet) -> None:
    answers = {b"220\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n" + xmlrpc.client.dumps((1,), methodresponse=True).encode()}
    for answer in answers:
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=_answer_always, args=(server, answer), daemon=True).start()
            stranger = f"127.0.0.1:{server.getsockname()[1]}"
            hosts = [f"127.0.0.1:{three.ports[0]}", stranger]
            done = three.rollout(
                "start", NEW, *hosts, "--dry-run", "--max-failed", "1", "--max-unreachable", "1", *three.access()
            )

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


def test_reader_that_goes_away_leaves_the_rollout_to_go_on(three: Fleet) -> None:
    command = three.command("start", NEW, "--fleet", str(three.file), "--bake", "0")
    run = subprocess.Popen(command, stdout=subprocess.PIPE, env=three.environment)
    assert run.stdout
    run.stdout.readline()
    run.stdout.close()

    assert run.wait(60) == 0
    assert three.serve() == [NEW] * 3


def test_abort_while_hosts_are_watched_is_heard_at_once_and_reverts_nothing(three: Fleet) -> None:
    operator = Operator(three, three.command("start", NEW, "--fleet", str(three.file), "--bake", "10m", "--revert"))
    operator.seen("bake.started")

    assert three.rollout("abort", operator.id).code == 0

    assert operator.end() == 40
    assert three.rollout("status", operator.id).json["phase"] == "aborted"
    assert three.serve() == [NEW, OLD, OLD]


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
def test_option_that_makes_no_sense_is_refused_before_any_host_is_asked(wrong: tuple[str, str]) -> None:
    command = [BIN / "release-agent", "rollout", "start", NEW, "192.0.2.1", *wrong]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (2, "")
    assert wrong[0] in done.stderr


@pytest.mark.parametrize("wrong", [("--service", "api"), ("--tag", "canary"), ("--environment", "test"), ("--meta", "a=b")])
def test_filter_of_another_inventory_is_refused(wrong: tuple[str, str]) -> None:
    command = [BIN / "release-agent", "rollout", "start", NEW, "192.0.2.1", *wrong, "--json"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (10, "inventory-invalid")


def test_services_of_a_maestro_file_are_taken_in_the_order_of_what_they_require(three: Fleet) -> None:
    ships = "".join(f"  ship-{n}: {{ip: 127.0.0.1}}\n" for n in range(3))
    ports = [f"ports: {{supervisor: '9001:{port}'}}" for port in three.ports]
    file = three.path / "maestro.yaml"
    file.write_text(
        f"__maestro: {{schema: 2}}\nname: test\nships:\n{ships}services:\n"
        f"  web:\n    image: web\n    requires: [api]\n    instances:\n      web-1: {{ship: ship-0, {ports[0]}}}\n"
        f"  api:\n    image: api\n    requires: [store]\n    instances:\n      api-1: {{ship: ship-1, {ports[1]}}}\n"
        f"  store:\n    image: store\n    instances:\n      store-1: {{ship: ship-2, {ports[2]}}}\n"
    )

    start = ("start", NEW, "--maestro", str(file), "--bake", "0", "--waves", "100%", *three.access())
    chosen = three.rollout(*start, "--service", "api", "--service", "web", "--dry-run").json
    done = three.rollout(*start)

    assert chosen["waves"] == [["api-1", "web-1"]]
    assert done.code == 0
    ends = [event["host"] for event in map(json.loads, done.out.splitlines()) if event["event"] == "host.finished"]
    assert ends == ["store-1", "api-1", "web-1"]
    began = [three.hosts[number].history()[0]["started_at"] for number in (2, 1, 0)]
    assert began == sorted(began)


def test_fan_out_to_a_handful_of_hosts_is_told_line_by_line(three: Fleet) -> None:
    hosts = [f"127.0.0.1:{port}" for port in three.ports]
    path = f"{BIN}:{os.environ['PATH']}"
    command = ["scripts/fanout", NEW, *hosts, "--bake", "0", *three.access()]
    project = Path(__file__).parents[3]

    done = subprocess.run(
        command, cwd=project, env={**three.environment, "PATH": path}, capture_output=True, text=True, check=False, timeout=120
    )

    assert (done.returncode, three.serve()) == (0, [NEW] * 3)
    lines = done.stdout.splitlines()
    assert lines[0] == f"{NEW} for api (test), 3 hosts"
    assert sum(line.split()[1] == "host.finished" for line in lines if " host.finished " in line) == 3
    assert lines[-1] == f"completed: {NEW} on api (test); 3 hosts: 3 done"


@pytest.mark.parametrize("first", [1, 2, 3])
def test_operator_killed_at_any_write_is_gone_on_with_and_no_host_is_deployed_to_twice_or_left_out(
    three: Fleet, first: int
) -> None:
    """Signal 9 at the N-th time that the record is made durable, for many N: a revision of its own each time."""
    for number in range(first, 20, 6):
        revision = f"v1.1.{number}"
        three.repository.release(revision)
        before = [three.fired(n) for n in range(3)]
        killed = three.killed_at_write(number, revision)
        if killed is None:  # it does not write that often
            assert number > 8
            return
        if not killed:  # nothing was begun
            continue

        assert three.rollout("resume", killed).code == 0

        assert three.serve() == [revision] * 3
        assert [three.fired(n) for n in range(3)] == [[*fired, killed] for fired in before]
