"""Output for a person on a terminal; test_text.py has the output for files and pipes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from release_agent import glance, text
from release_agent.model import timestamp
from release_agent.system.terminal import Cell, Terminal

GREY = Terminal(80, coloured=False)
COLOURED = Terminal(80, coloured=True)
HOSTILE = "\x1b[2J\x1b]0;x\x07\x9b31m\r\n\t\x7f\u202e\u2066\udc80"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2066]")  # stdout escapes half characters itself


def ago(**time: float) -> str:
    return timestamp(datetime.now(UTC) - timedelta(**time))


def release(**more: Any) -> dict[str, Any]:
    there = {"release": "000002-bbbbbbbbbbbb", "revision": "v1.1.0", "commits": {"api": "a" * 40}, "signers": {}, "by": "ada"}
    return {**there, "deployed_at": ago(hours=3.5), **more}


def process(name: str, state: str = "RUNNING", pid: int = 7) -> dict[str, Any]:
    return {"name": name, "state": state, "pid": pid}


def status(**more: Any) -> dict[str, Any]:
    return {
        "app": "api",
        "environment": "production",
        "current": release(),
        "previous": release(release="000001-aaaaaaaaaaaa", revision="v1.0.0-rc1", by="", deployed_at=ago(days=2.5)),
        "services": [{"name": "web", "processes": [process("web")]}],
        "health": "passing",
        "deployment": None,
        "frozen": None,
        **more,
    }


def seen(body: dict[str, Any], *problems: str, maintenance: str = "", terminal: Terminal = GREY) -> list[str]:
    return glance.status(body, problems, maintenance, terminal).splitlines()


def entry(**more: Any) -> dict[str, Any]:
    one = {"id": "20261128T140919Z-e67900", "outcome": "deployed", "revision": "v1.1.0", "commits": {"api": "a" * 40}}
    one |= {"signers": {}, "by": "", "error": None, "action": "deploy", "trigger": "supervisor", "started_at": ago(hours=3.5)}
    return one | {"release": "000002-bbbbbbbbbbbb"} | more


UNHEALTHY = {
    "code": "unhealthy",
    "message": "000004-4342d6fda542 (v1.2.0) failed: web answered 500\n  last output of web:\n    no table",
    "hint": "check the log",
}


def test_status_says_state_age_commit_and_who_in_aligned_columns() -> None:
    assert seen(status()) == [
        "app        api (production)",
        "health     passing",
        "current    v1.1.0      3 h ago  by ada  commit aaaaaaaaaaaa  000002-bbbbbbbbbbbb",
        "previous   v1.0.0-rc1  2 d ago          commit aaaaaaaaaaaa  000001-aaaaaaaaaaaa",
        "service    web  RUNNING  pid 7",
    ]


def test_status_of_what_is_not_well_says_why() -> None:
    services = [
        {"name": "web", "processes": [process("web", "FATAL", 0)]},
        {"name": "worker", "processes": [process("worker_00"), process("worker_01", "BACKOFF", 0)]},
        {"name": "jobs", "processes": []},
    ]
    frozen = {"why": "the database moves", "by": "bob", "since": ago(minutes=5.5), "until": ago(hours=-1.99)}
    body = status(
        health="critical",
        services=services,
        frozen=frozen,
        deployment={"id": "d-1", "phase": "health"},
        current=release(signers={"api": "ada@example.org"}),
        previous=None,
    )

    lines = seen(body, "web: answered 500\nlast output", maintenance="new kernel")

    assert lines[1:5] == [
        "health     critical",
        "           - web: answered 500",
        "             last output",
        "           in maintenance mode in Consul: new kernel",
    ]
    assert lines[6:] == [
        "           signed by ada@example.org",
        "previous   none",
        "service    web               FATAL",
        "service    worker:worker_00  RUNNING  pid 7",
        "           worker:worker_01  BACKOFF",
        "service    jobs              unknown  to supervisor",
        "frozen     the database moves",
        "           by bob, 5 min ago, ends in 2 h",
        "deploying  d-1 in phase health",
    ]


def test_status_of_an_older_plugin_and_of_nothing() -> None:
    body = status(current=None, previous=None, services=[])
    del body["frozen"]

    assert seen(body)[2:] == ["current    none", "previous   none"]


def test_freeze_without_a_name_and_an_end() -> None:
    frozen = {"why": "holidays", "by": "", "since": ago(days=3), "until": ""}

    assert seen(status(frozen=frozen))[-2:] == ["frozen     holidays", "           3 d ago"]


def test_history_says_state_age_commit_who_and_why() -> None:
    entries = [
        entry(outcome=None, revision=None, commits={}, started_at=ago(seconds=2.5), by="ada"),
        entry(outcome="rolled-back", revision="v1.2.0", started_at=ago(minutes=12.5), by="ada", error=UNHEALTHY),
        entry(action="rollback", by="ada", commits={"api": "a" * 40, "ui": "b" * 40}),
        entry(action="", signers={"api": "ada"}),
    ]

    assert glance.history(entries, -1, GREY).splitlines() == [
        "open         2 s ago     -",
        "             deploy by ada                   20261128T140919Z-e67900",
        "rolled-back  12 min ago  v1.2.0  commit aaaaaaaaaaaa",
        "             deploy by ada                   20261128T140919Z-e67900",
        "             unhealthy: web answered 500",
        "deployed     3 h ago     v1.1.0  commits api aaaaaaaaaaaa, ui bbbbbbbbbbbb",
        "             rollback by ada                 20261128T140919Z-e67900",
        "deployed     3 h ago     v1.1.0  commit aaaaaaaaaaaa",
        "             by supervisor    signed by ada  20261128T140919Z-e67900",
    ]


def test_history_of_nothing_is_as_elsewhere() -> None:
    assert glance.history([], -1, GREY) == text.history([], -1)
    assert glance.history([], 0, GREY) == text.history([], 0)


def test_file_or_pipe_gets_the_lines_that_scripts_know() -> None:
    body, entries = status(health="warning"), [entry(error=UNHEALTHY, outcome="rolled-back")]

    assert glance.status(body, ["a"], "b", None) == text.status(body, ["a"], "b")
    assert glance.history(entries, -1, None) == text.history(entries)


@pytest.mark.parametrize(
    ("outcome", "colour"),
    [
        *(("deployed", 32), ("unchanged", 32), ("staged", 32)),
        *((None, 33), ("refused", 33), ("cancelled", 33), ("busy", 33), ("no-target", 33)),
        *(("failed", 31), ("rolled-back", 31), ("rollback-failed", 31), ("error", 31), ("misconfigured", 31)),
    ],
)
def test_outcome_is_a_word_and_a_colour(outcome: str | None, colour: int) -> None:
    assert glance.history([entry(outcome=outcome)], -1, COLOURED).startswith(f"\x1b[{colour}m{outcome or 'open'}\x1b[0m")


@pytest.mark.parametrize(("health", "colour"), [("passing", 32), ("warning", 33), ("critical", 31), ("other", 31)])
def test_health_is_a_word_and_a_colour(health: str, colour: int) -> None:
    assert seen(status(health=health), terminal=COLOURED)[1] == f"health     \x1b[{colour}m{health}\x1b[0m"


@pytest.mark.parametrize(("state", "colour"), [("RUNNING", 32), ("STARTING", 33), ("BACKOFF", 33), ("EXITED", 31), ("FATAL", 31)])
def test_state_of_a_process_is_a_word_and_a_colour(state: str, colour: int) -> None:
    body = status(services=[{"name": "web", "processes": [process("web", state)]}])

    assert f"\x1b[{colour}m{state}\x1b[0m" in seen(body, terminal=COLOURED)[-1]


def test_colours_are_all_that_a_terminal_without_colours_does_not_get() -> None:
    body, entries = status(health="critical"), [entry(error=UNHEALTHY, outcome="rolled-back"), entry()]

    for grey, coloured in (
        (seen(body, "a"), seen(body, "a", terminal=COLOURED)),
        (glance.history(entries, -1, GREY).splitlines(), glance.history(entries, -1, COLOURED).splitlines()),
    ):
        assert "\x1b" not in "".join(grey)
        assert [re.sub("\x1b\\[[0-9]+m", "", line) for line in coloured] == grey


@pytest.mark.parametrize(
    ("before", "said"),
    [
        *(({"seconds": 0.5}, "0 s ago"), ({"seconds": 59.5}, "59 s ago"), ({"minutes": 1.01}, "1 min ago")),
        *(({"minutes": 59.9}, "59 min ago"), ({"hours": 23.9}, "23 h ago"), ({"days": 400.5}, "400 d ago")),
        ({"hours": -1.99}, "in 2 h"),
    ],
)
def test_age_is_in_the_largest_unit(before: dict[str, float], said: str) -> None:
    assert f"  {said}  " in glance.history([entry(started_at=ago(**before))], -1, GREY)


@pytest.mark.parametrize("moment", ["", "soon", "2026-11-28T14:09:19", None, "9" * 500])
def test_moment_that_is_none_is_shown_as_it_is(moment: str | None) -> None:
    assert str(moment)[:20] in glance.history([entry(started_at=moment)], -1, GREY)


@pytest.mark.parametrize("columns", [1, 20, 80, 300])
def test_hostile_words_reach_no_terminal_as_they_are(columns: int) -> None:
    odd = HOSTILE * 20
    body = status(
        app=odd,
        environment=odd,
        health=odd,
        current=release(revision=odd, release=odd, commits={odd: odd, "b": odd}, deployed_at=odd, by=odd, signers={odd: odd}),
        services=[{"name": odd, "processes": [process(odd, odd, 3)]}, {"name": odd, "processes": []}],
        frozen={"why": odd, "by": odd, "since": odd, "until": odd},
        deployment={"id": odd, "phase": odd},
    )
    error = {"code": odd, "message": odd, "hint": odd}
    one = entry(id=odd, outcome=odd, revision=odd, commits={odd: odd}, by=odd, action=odd, error=error, signers={odd: odd})
    entries = [one | {"started_at": odd}, entry(trigger=odd), entry()]

    for terminal in (Terminal(columns, coloured=False), None):
        said = glance.status(body | ({} if terminal else {"frozen": None}), [odd], odd, terminal)
        said += glance.history(entries, -1, terminal)
        assert RAW.findall(said) == []


def test_very_long_words_are_cut_and_no_row_is_wider_than_the_terminal() -> None:
    long = entry(revision="v" * 5000, by="日" * 5000, error={"code": "bug", "message": "x" * 5000, "hint": ""})

    lines = glance.history([long, entry()], -1, GREY).splitlines()

    assert max(Cell(line).width for line in lines) <= 80
    assert any(line.endswith("…") for line in lines)
