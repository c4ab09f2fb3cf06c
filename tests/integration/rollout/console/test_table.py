from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from support.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUESTION = "1 host runs v1.4.2 and is healthy. Go on with the other 2? [y/N]"


@pytest.fixture
def open_terminal() -> Iterator[Callable[..., Terminal]]:
    """Return what opens terminals."""
    opened: list[Terminal] = []

    def one(scene: str, **options: Any) -> Terminal:
        opened.append(Terminal(scene, **options))
        return opened[-1]

    yield one
    for terminal in opened:
        terminal.abandon()


if TYPE_CHECKING:
    Open = Callable[..., Terminal]


def test_hosts_in_flight_and_failed_are_rows_and_all_others_are_a_number(open_terminal: Open) -> None:
    terminal = open_terminal("scene_events")

    lines = terminal.see("2 pending, 1 deploying, 1 done, 1 failed (0 allowed), 1 unreachable (0 allowed)", "wave 1 of 1")

    assert lines[0] == "rollout-1  v1.4.2 for api (production), 6 hosts, by joe@laptop"
    assert any(line.startswith("waves: 1/6 (1 failed and 1 unreachable) now") for line in lines)
    rows = [line.split(maxsplit=2) for line in lines if line.startswith("h")]
    assert rows[:2] == [
        ["h2", "unreachable", "host-unreachable: no answer"],
        ["h1", "failed", "hook-failed: `make` exited with 2"],
    ]
    assert rows[2][:2] == ["h3", "deploying"]
    assert re.fullmatch(r"\d s \(limit \d+ s\)", rows[2][2])
    assert "wave 1 of 1" in lines[-1]
    assert not terminal.screen.has_cursor

    terminal.go()
    lines = terminal.close()

    assert "wave 1 of 1" not in "\n".join(lines)
    assert "failed: v1.4.2 on api (production); 6 hosts: 2 pending, 1 deploying, 1 done, 1 failed, 1 unreachable" in "".join(
        lines
    )
    assert "  h1  failed  hook-failed: `make` exited with 2" in lines
    assert "\x1b[31mfailed\x1b[0m" in terminal.screen.raw
    assert terminal.screen.has_cursor


def test_a_person_who_wants_no_colours_gets_none(open_terminal: Open) -> None:
    terminal = open_terminal("scene_events", NO_COLOR="1")
    terminal.see("1 failed (0 allowed)")
    terminal.go()

    lines = terminal.close()

    assert "  h1  failed  hook-failed: `make` exited with 2" in lines
    assert not re.search(r"\x1b\[[0-9;]*[34][0-9]m", terminal.screen.raw)


def test_a_rollout_that_is_watched_from_elsewhere_has_the_same_picture(open_terminal: Open) -> None:
    terminal = open_terminal("scene_watched")
    lines = terminal.see("3 pending")
    assert "waves: 0/3 now" in lines
    assert "to continue: release-agent rollout resume rollout-1 --consul" in lines

    terminal.go()

    lines = terminal.see("1 pending, 1 deploying, 1 done")
    assert "waves: 1/3 now" in lines
    assert "stopping: somebody aborted it" in lines
    assert any(line.startswith("h1  deploying  health") for line in lines)
    terminal.go()
    terminal.see("completed")
    assert "waves" not in "\n".join(terminal.close())


@pytest.mark.parametrize(("columns", "height"), [(80, 24), (40, 12), (200, 60)])
def test_more_rows_than_the_terminal_is_high_are_counted_and_none_is_broken(
    open_terminal: Open, columns: int, height: int
) -> None:
    terminal = open_terminal("scene_many", columns=columns, lines=height)

    lines = terminal.see("10 pending, 30 dep")
    table = lines[next(number for number, line in enumerate(lines) if line.startswith("h")) :]

    assert len(table) < height
    shown = [line.split()[0] for line in table if line.startswith("h")]
    failed = [name for name in shown if int(name[1:]) < 20]
    flying = [name for name in shown if int(name[1:]) >= 20]
    assert shown == failed + flying
    assert failed == [f"h{19 - number}" for number in range(len(failed))]
    assert flying == [f"h{49 - number}" for number in range(len(flying))]
    assert failed
    assert flying
    more = f"… and {30 - len(flying)} more in flight and {20 - len(failed)} more in trouble"
    cut = more if len(more) <= columns else f"{more[: columns - 1]}…"
    assert [line for line in table if line.startswith("…")] == ([] if len(shown) == 50 else [cut])


def test_the_picture_follows_the_size_of_its_terminal(open_terminal: Open) -> None:
    terminal = open_terminal("scene_many", columns=120, lines=24)
    assert max(map(len, terminal.see("in trouble"))) == 120

    terminal.resize(60, 12)

    lines = terminal.see("… and 26 more in flight and 17 more in trouble")
    assert max(map(len, lines)) == 60
    assert len(lines) <= 12


def test_what_a_host_says_is_no_markup_and_moves_no_cursor(open_terminal: Open) -> None:
    terminal = open_terminal("scene_markup")

    assert "[red]h0[/red]  failed  x: [bold]a[/] [/nope] :smile:?[2J; b" in terminal.see("x: ")

    terminal.go()
    assert "[bold]c[/]?[2J" in terminal.close()


def test_an_exception_leaves_a_terminal_with_its_cursor(open_terminal: Open) -> None:
    terminal = open_terminal("scene_exception")
    terminal.see("1 pending")
    assert not terminal.screen.has_cursor

    terminal.go()

    assert terminal.close()[-1] == "ZeroDivisionError"
    assert terminal.screen.has_cursor


def test_events_of_ten_thousand_hosts_are_not_drawn_one_by_one_and_go_through_no_hosts(open_terminal: Open) -> None:
    terminal = open_terminal("scene_ten_thousand")

    terminal.see("10000 done")
    terminal.go()

    assert terminal.reply() == "0"
    terminal.close()
    assert terminal.screen.raw.count("wave 1 of 1") < 1000  # of 30,000 events


def test_a_terminal_that_stands_still_holds_up_no_rollout(open_terminal: Open) -> None:
    terminal = open_terminal("scene_standstill")
    terminal.see("100 pending")
    terminal.type("\x13")

    terminal.go()

    assert terminal.reply() == "went on"
    terminal.type("\x11")
    terminal.see("100 done")
    terminal.go()
    terminal.close()


def test_a_dumb_terminal_has_a_line_each_transition(open_terminal: Open) -> None:
    terminal = open_terminal("scene_events", TERM="dumb", columns=120)
    terminal.go()

    lines = terminal.close()

    assert "\x1b" not in terminal.screen.raw
    assert any("host.deploying      host=h3  stage=deploying  deployment=d-h3" in line for line in lines)


def test_a_terminal_that_knows_few_characters_gets_others_instead(open_terminal: Open) -> None:
    terminal = open_terminal("scene_many", PYTHONUTF8="0", PYTHONIOENCODING="ascii", columns=120)

    assert any(line.startswith("? and ") for line in terminal.see("in trouble"))

    terminal.go()
    terminal.close()
    assert terminal.process.returncode == 0


@pytest.mark.parametrize("kind", ["xterm", "dumb"])
@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        *[("y\n", True), (" YES \n", True)],
        *[("n\n", False), ("\n", False), ("yep\n", False)],
        *[("\x04", None), ("y\x04\x04", None)],
    ],
)
def test_the_question_is_answered_from_the_keyboard(
    open_terminal: Open,
    kind: str,
    keys: str,
    answer: bool | None,
) -> None:
    terminal = open_terminal("scene_ask", TERM=kind, columns=120)

    lines = terminal.see(QUESTION)
    assert lines[lines.index(QUESTION) - 2 : lines.index(QUESTION)] == [
        "y deploys to the other 2; anything else aborts, and every host stays as it is",
        "(from elsewhere: release-agent rollout approve rollout-1)",
    ]
    assert terminal.screen.has_cursor
    terminal.type(keys)

    assert terminal.reply() == f"{answer} False"
    terminal.see("1 pending, 1 deploying, 1 done" if kind == "xterm" else "deployment=d-h1")
    terminal.go()
    lines = terminal.close()
    assert f"{QUESTION} {keys.strip(chr(4))}".rstrip() in lines
    assert lines[-1] == "at its end"
    assert terminal.screen.has_cursor


def test_the_question_after_the_last_wave_says_that_the_rollout_is_completed(open_terminal: Open) -> None:
    terminal = open_terminal("scene_ask_at_the_end")

    lines = terminal.see("3 hosts run v1.4.2 and are healthy. Complete the rollout? [y/N]")

    assert "y completes the rollout; anything else aborts, and every host stays as it is" in lines
    terminal.type("n\n")
    assert terminal.reply() == "False False"


def test_the_question_is_answered_from_elsewhere_and_the_keyboard_is_free_again(open_terminal: Open) -> None:
    terminal = open_terminal("scene_ask_elsewhere")
    terminal.see(QUESTION)

    terminal.go()

    assert terminal.reply() == "True False"
    lines = terminal.see("1 pending, 1 deploying")
    assert lines[lines.index(QUESTION) + 1] == "answered from elsewhere"
    terminal.go()
    terminal.see("at its end")
    terminal.type("for others\n")
    assert terminal.reply() == "for others"


def test_what_was_typed_before_the_question_is_no_answer(open_terminal: Open) -> None:
    terminal = open_terminal("scene_ask_late")
    terminal.see("1 done")
    terminal.type("y\n")
    terminal.see("y\n")

    terminal.go()
    terminal.see(QUESTION)
    terminal.type("n\n")

    assert terminal.reply() == "False False"


def test_a_question_that_is_interrupted_leaves_the_keyboard(open_terminal: Open) -> None:
    terminal = open_terminal("scene_ask_cancelled")
    terminal.see(QUESTION)

    terminal.type("\x03")

    assert terminal.reply() == "cancelled False"
    terminal.go()
    assert terminal.close()[-1] == "at its end"


@pytest.mark.parametrize("kind", ["xterm", "dumb"])
def test_terminal_that_is_closed_answers_nothing(open_terminal: Open, kind: str) -> None:
    terminal = open_terminal("scene_ask_without_hangup", TERM=kind)
    terminal.see("Go on with the other 2? [y/N]")

    terminal.hang_up()

    assert terminal.reply() == "None False"
    terminal.go()
    assert terminal.process.wait(60) == 0


def test_in_the_background_there_is_nobody_to_ask(open_terminal: Open) -> None:
    terminal = open_terminal("scene_ask_in_the_background")

    assert terminal.reply() == "None False"
    terminal.go()
    terminal.close()
    assert QUESTION not in terminal.screen.raw
