"""``--gate``: a command of the operator judges each wave, over simulated hosts."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.waiting import eventually, freeze

if TYPE_CHECKING:
    from support.simulated_rollouts import SimulatedRollouts

OLD, NEW = "v1.0.0", "v1.1.0"


def test_gate_sees_each_wave_and_lets_it_pass(fleet: SimulatedRollouts) -> None:
    seen = fleet.path / "seen"
    command = f'echo "$ROLLOUT_ID $ROLLOUT_WAVE $ROLLOUT_REVISION [$ROLLOUT_HOSTS]" >>{seen}'

    done = fleet.start("--gate", command, "--waves", "1,2,100%")

    assert (done.code, fleet.live()) == (0, [NEW] * 5)
    identity = done.json["id"]
    assert seen.read_text().splitlines() == [
        f"{identity} 1 {NEW} [host-1]",
        f"{identity} 2 {NEW} [host-2 host-3]",
        f"{identity} 3 {NEW} [host-4 host-5]",
    ]


def test_status_says_that_the_gate_judges(fleet: SimulatedRollouts) -> None:
    operator = fleet.begin("--gate", "sleep 1000")
    operator.seen("gate.started")

    words = fleet.run([word for word in fleet.command("status", operator.id) if word != "--json"])

    assert words.out.splitlines()[0].endswith("  running: the gate judges wave 1")
    assert fleet.rollout("status", operator.id).json["step"] == "gate"
    assert fleet.rollout("abort", operator.id).code == 0
    assert operator.end() == 40


def test_gate_that_fails_stops_the_rollout_with_its_last_words(fleet: SimulatedRollouts) -> None:
    done = fleet.start("--gate", "echo errors went up; test $ROLLOUT_WAVE = 1", "--waves", "1,2,100%")

    assert (done.code, fleet.live()) == (40, [NEW, NEW, NEW, OLD, OLD])
    assert done.json["why"] == "the gate exited with 1: errors went up (after wave 2)"


@pytest.mark.parametrize(("command", "how"), [("/nowhere", "exited with 127"), ("kill -9 $$", "was killed by signal 9")])
def test_gate_that_cannot_judge_has_failed_and_hosts_are_put_back_where_that_was_asked_for(
    fleet: SimulatedRollouts, command: str, how: str
) -> None:
    done = fleet.start("--gate", command, "--revert")

    assert (done.code, fleet.live()) == (41, [OLD] * 5)
    assert how in done.json["why"]


def test_gate_that_asks_for_a_person_waits_after_each_wave_for_an_approval_of_its_own(fleet: SimulatedRollouts) -> None:
    gate = ("--gate", "exit 75", "--waves", "1,100%", "--approve")

    first = fleet.start(*gate)

    identity = first.json["id"]
    assert (first.code, first.json["phase"], fleet.live()) == (43, "waiting", [NEW, OLD, OLD, OLD, OLD])
    assert fleet.rollout("resume", identity, *gate[:2]).code == 43
    assert fleet.rollout("approve", identity).code == 0
    second = fleet.rollout("resume", identity, *gate[:2])
    assert (second.code, fleet.live()) == (43, [NEW] * 5)
    assert fleet.rollout("approve", identity).code == 0
    assert fleet.rollout("resume", identity, *gate[:2]).code == 0
    assert fleet.rollout("status", identity).json["phase"] == "completed"


def test_a_gate_that_only_the_record_names_does_not_run(fleet: SimulatedRollouts) -> None:
    ran = fleet.path / "ran"
    identity = fleet.start("--gate", f"echo x >>{ran}", "--waves", "1,100%", "--approve").json["id"]
    fleet.rollout("approve", identity)

    refused = [fleet.rollout("resume", identity), fleet.rollout("resume", identity, "--gate", "true")]

    assert [(done.code, done.json["error"]["code"]) for done in refused] == [(10, "gate-unconfirmed")] * 2
    hint = f"read the command, then run this command again with --gate 'echo x >>{ran}'"
    assert [done.json["error"]["hint"] for done in refused] == [hint] * 2
    assert (ran.read_text(), fleet.live()) == ("x\n", [NEW, OLD, OLD, OLD, OLD])


def test_abort_that_waits_is_obeyed_by_whoever_resumes_without_the_gate(fleet: SimulatedRollouts) -> None:
    fleet.hold(0)
    operator = fleet.begin("--gate", "true")
    operator.seen("host.deploying", host="host-1")  # and has written that down: frozen in a write it would lock the record
    freeze(operator.process.pid)
    assert fleet.rollout("abort", operator.id).code == 0
    operator.send(signal.SIGKILL)
    fleet.let_go(0)

    done = fleet.rollout("resume", operator.id)

    assert (done.code, done.json["phase"], fleet.live()) == (40, "aborted", [NEW, *[OLD] * 4])


def test_abort_ends_a_gate_that_would_run_for_ever_and_all_its_processes(fleet: SimulatedRollouts) -> None:
    pid = fleet.path / "pid"
    operator = fleet.begin("--gate", f"sleep 10000 & echo $! >{pid}.new; mv {pid}.new {pid}; wait")
    eventually(pid.exists, "the gate runs")

    assert fleet.rollout("abort", operator.id).code == 0

    assert operator.end() == 40
    assert fleet.rollout("status", operator.id).json["phase"] == "aborted"
    eventually(lambda: _is_gone(int(pid.read_text())), "its child has ended")


def test_child_that_a_gate_leaves_behind_holds_up_nothing(fleet: SimulatedRollouts, tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    done = fleet.start("--gate", f"sleep 10000 & echo $! >{pid}", "--waves", "100%")

    os.kill(int(pid.read_text()), 9)
    assert done.code == 0


def test_empty_gate_is_refused(fleet: SimulatedRollouts) -> None:
    assert fleet.start("--gate", "").code == 2


def _is_gone(pid: int) -> bool:
    line = Path(f"/proc/{pid}/cmdline")
    return not line.exists() or not line.read_bytes()  # of one that nobody has reaped it is empty
