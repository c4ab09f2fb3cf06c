from __future__ import annotations

from typing import Any

import pytest

from release_agent import text
from release_agent.cli import doctor
from release_agent.cli.doctor import FAULT, OK, Finding
from release_agent.model import Record

CONTROL = "\x1b[2J\x07\x9b\r\x7f\x00\u202e\u2066\u061c"
PLAIN = "?[2J????????"


def record(outcome: str, error: dict[str, str] | None = None) -> Record:
    return Record("d-1", outcome, "000001-aaaaaaaaaaaa", "v1.0.0", {"api": "a" * 40}, None, 1.25, error=error)


def error(message: str = "no", hint: str = "mend it") -> dict[str, str]:
    return {"code": "hook-failed", "message": message, "hint": hint}


def test_a_deployment_that_went_well() -> None:
    assert text.record(record("deployed")) == "deployed: v1.0.0 as 000001-aaaaaaaaaaaa is live and healthy (1.2 s)"
    assert text.record(record("unchanged")) == "unchanged: v1.0.0 as 000001-aaaaaaaaaaaa is live and healthy (1.2 s)"


def test_a_stage_does_not_look_at_the_live_release_and_does_not_call_it_healthy() -> None:
    assert text.record(record("unchanged"), looked=False) == "unchanged: v1.0.0 as 000001-aaaaaaaaaaaa is live already (1.2 s)"


@pytest.mark.parametrize(("outcome", "code"), [("failed", 13), ("rolled-back", 20), ("refused", 12), ("error", 1)])
def test_a_deployment_that_failed_says_what_happened_the_code_and_what_to_do(outcome: str, code: int) -> None:
    assert text.record(record(outcome, error("the hook `make` exited with 2"))).splitlines() == [
        f"release-agent: {outcome}: the hook `make` exited with 2",
        f"  code: hook-failed (exit {code})",
        "  next: mend it",
    ]


def test_an_error_outside_any_run_has_no_outcome() -> None:
    assert text.error(error()).splitlines() == ["release-agent: no", "  code: hook-failed", "  next: mend it"]


def test_a_hooks_output_does_not_move_the_cursor_of_who_reads_about_it() -> None:
    assert text.error(error(f"a{CONTROL}\tb", CONTROL)) == (f"release-agent: a{PLAIN}\tb\n  code: hook-failed\n  next: {PLAIN}")


def test_a_message_of_several_lines_is_one_block() -> None:
    assert text.error(error("one\n| two")).splitlines()[:2] == ["release-agent: one", "  | two"]


def status(**more: Any) -> dict[str, Any]:
    there = {"release": "000002-b", "revision": "v2", "deployed_at": "2024-01-01T00:00:00.000000Z", "commits": {"api": "a" * 40}}
    return {
        "app": "api",
        "environment": "production",
        "current": there,
        "previous": None,
        "services": [{"name": "web", "processes": [{"name": "web", "state": "RUNNING", "pid": 7}]}],
        "health": "passing",
        "deployment": None,
        **more,
    }


def test_status_for_people() -> None:
    assert text.status(status(), (), "").splitlines() == [
        "app       api (production)",
        "health    passing",
        "current   v2  000002-b  commit aaaaaaaaaaaa  since 2024-01-01T00:00:00.000000Z",
        "previous  none",
        "service   web: web RUNNING pid 7",
    ]


def test_status_of_what_is_not_well_and_being_deployed() -> None:
    services = [{"name": "web", "processes": [{"name": "web", "state": "FATAL", "pid": 0}]}, {"name": "jobs", "processes": []}]
    body = status(health="critical", services=services, deployment={"id": "d-1", "phase": "build"})

    lines = text.status(body, [f"web: {CONTROL}"], "new kernel").splitlines()

    assert lines[1:3] == ["health    critical", f"          - web: {PLAIN}"]
    assert lines[3] == "          in maintenance mode in Consul: new kernel"
    assert lines[-3:] == ["service   web: web FATAL", "service   jobs: unknown to supervisor", "deploying d-1 in phase build"]


def entry(**more: Any) -> dict[str, Any]:
    shape = {**record("deployed").to_json(), "action": "deploy", "trigger": "rpc", "started_at": "2024-01-01T12:00:00.000000Z"}
    return shape | more


def test_history_for_people_is_a_line_a_deployment() -> None:
    entries = [entry(outcome=None, release=None, revision=None, commits={}), entry(outcome="failed", error=error()), entry()]

    lines = text.history(entries).splitlines()

    assert [line.split() for line in lines] == [
        ["2024-01-01T12:00:00Z", "d-1", "deploy", "open", "-", "-", "-", "by", "rpc"],
        [
            "2024-01-01T12:00:00Z",
            "d-1",
            "deploy",
            "failed",
            "v1.0.0",
            "000001-aaaaaaaaaaaa",
            "commit",
            "aaaaaaaaaaaa",
            "by",
            "rpc",
            "hook-failed",
        ],
        [
            "2024-01-01T12:00:00Z",
            "d-1",
            "deploy",
            "deployed",
            "v1.0.0",
            "000001-aaaaaaaaaaaa",
            "commit",
            "aaaaaaaaaaaa",
            "by",
            "rpc",
        ],
    ]
    assert text.history([]) == "there are no deployments yet"


def test_a_limit_of_none_does_not_say_that_nothing_was_deployed() -> None:
    assert text.history([], 0) == "no deployment is listed: the limit is 0"


def test_history_and_status_name_the_commit_of_each_repository_and_each_signer_once() -> None:
    there = {"commits": {"api": "a" * 40, "web": "b" * 40}, "signers": {"api": "ada", "web": "ada"}}

    (line,) = text.history([entry(**there)]).splitlines()
    current = text.status(status(current=status()["current"] | there), (), "").splitlines()[2]

    assert "  commits api aaaaaaaaaaaa, web bbbbbbbbbbbb  by rpc  signed by ada" in line
    assert current.endswith("  commits api aaaaaaaaaaaa, web bbbbbbbbbbbb  since 2024-01-01T00:00:00.000000Z  signed by ada")


def test_one_deployment_with_its_hooks_output() -> None:
    hook = {"stage": "build", "run": "make", "ended": "exited with 2", "output": f"cc x.c\n{CONTROL}\n"}
    body = entry(outcome="failed", error=error("no"), hooks=[hook], phases=[{"name": "build", "seconds": 0.5}])

    said = text.deployment(body)

    assert "d-1  failed  v1.0.0  000001-aaaaaaaaaaaa" in said
    assert "started 2024-01-01T12:00:00.000000Z by rpc; 1.2 s: build 0.50 s" in said
    assert "\napi: aaaaaaaaaaaa\n" in said, "as short as in the list; JSON has it whole"
    assert "build `make` exited with 2\n  | cc x.c\n  | ?[2J??" in said
    assert "\x1b" not in said


def test_words_of_a_repository_do_not_move_the_cursor_of_who_reads_the_history() -> None:
    hook = {"stage": "build", "run": f"make {CONTROL}", "ended": "exited with 0", "output": ""}
    odd = {"release": f"000001-{CONTROL}", "revision": f"v1{CONTROL}", "commits": {CONTROL: "a" * 40}, "trigger": f"a\n{CONTROL}"}
    body = entry(**odd, hooks=[hook], phases=[])

    (line,) = text.history([body]).splitlines()
    said = line + text.deployment(body) + text.status(status(current=status()["current"] | odd), (), "")

    assert f"by a {PLAIN}" in line
    assert f"build `make {PLAIN}`" in said
    assert not set(CONTROL.replace("[2J", "")) & set(said)


def test_releases_for_people_mark_the_live_one() -> None:
    live = {"release": "000002-b", "state": "healthy", "revision": "v2", "deployed_at": "now", "current": True, "protected": True}
    other = {
        "release": "000001-a",
        "state": "failed",
        "revision": "v1",
        "deployed_at": None,
        "current": False,
        "protected": False,
    }

    assert text.releases([live, other]).splitlines() == [
        "* 000002-b  healthy   v2  now  protected",
        "  000001-a  failed    v1  never live",
    ]
    assert text.releases([]) == "there are no releases yet"


def test_drift_for_people() -> None:
    body = {"release": "000001-a", "revision": "v1", "drift": []}

    assert text.drift(body) == "000001-a (v1) is as it was built"
    assert text.drift({**body, "drift": [{"path": "a\x1bb", "change": "added", "shared_with": []}]}).splitlines() == [
        "000001-a (v1) differs from what was built:",
        "added    a?b",
    ]


@pytest.mark.parametrize(
    ("live", "build", "what_it_says"),
    [
        (False, True, "would build 000001-aaaaaaaaaaaa: 2.0 MiB in 3 files, 4 MiB are free"),
        (False, False, "would publish 000001-aaaaaaaaaaaa, which is kept"),
        (True, False, "000001-aaaaaaaaaaaa is live already"),
    ],
)
def test_a_dry_run_for_people(live: bool, build: bool, what_it_says: str) -> None:
    what = {"live": live, "build": build, "needed_bytes": 2 << 20, "files": 3, "free_bytes": 4 << 20, "changes": {}}

    assert text.check({**record("checked").to_json(), **what}) == f"v1.0.0 (api {'a' * 12}): {what_it_says}"


def test_a_dry_run_names_the_releases_that_may_go_where_room_is_short() -> None:
    what = {"live": False, "build": False, "changes": {}, "may_go": ["000001-a", "000002-b"]}

    assert text.check({**record("checked").to_json(), **what}).splitlines()[1:] == [
        "  the disk is nearly full, so the deployment first removes old releases: 000001-a, 000002-b"
    ]


def test_findings_for_people_say_how_to_mend_a_fault() -> None:
    found = [Finding("root", OK, "writable"), Finding("consul", FAULT, "Consul\x1b is down", "start it")]

    assert doctor.findings(found).splitlines() == [
        "ok      root: writable",
        "fault   consul: Consul? is down",
        "        -> start it",
        "1 fault",
    ]


def test_a_dry_run_says_what_the_commits_bring_and_take_back() -> None:
    between = {"api": {"count": 12, "back": 1, "subjects": ["newest\x1b[2J", "older"]}}

    assert text.changes("api", between["api"]) == (
        "  api: 12 new commits, 1 commit rolled back\n    newest?[2J\n    older\n    … 10 more"
    )


def test_the_last_lines_of_an_output_leave_out_the_empty_ones() -> None:
    assert text.last_lines("1\n2\n\n3\n4\n  \n5\n6\n\n") == ["2", "3", "4", "5", "6"]
    assert text.last_lines("") == []


def test_hook_that_did_not_run_is_told_apart_in_the_progress() -> None:
    event = {"event": "hook.cached", "stage": "build", "run": f"npm ci{CONTROL}", "makes": ["node_modules"]}

    assert text.progress(event) == f"build `npm ci{PLAIN}` did not run: its outputs were cached"
