"""The last words of processes come from supervisord's events, and no callback raises."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from supervisor import events, loggers

from release_agent.plugin.words import LastWords

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def log() -> Iterator[loggers.Logger]:
    """Supervisord's log, and nobody who listens to its events but the test."""
    heard = events.callbacks[:]
    events.clear()
    yield loggers.Logger(loggers.LevelsByName.INFO)
    events.callbacks[:] = heard


def process(name: str = "web", stdout: str | None = None, stderr: str | None = None, group: str = "web") -> Any:
    config = SimpleNamespace(name=name, stdout_logfile=stdout, stderr_logfile=stderr)
    return SimpleNamespace(config=config, group=SimpleNamespace(config=SimpleNamespace(name=group)), pid=7, backoff=0)


def starts(what: Any) -> None:
    events.notify(events.ProcessStateStartingEvent(what, 0))


def ends(what: Any, line: str, log: loggers.Logger) -> None:
    """Say that a process ended as supervisord does: its state, and then a line in its own log."""
    kind = events.ProcessStateBackoffEvent if "exited" in line else events.ProcessStateStoppedEvent
    events.notify(kind(what, 0))
    log.log(loggers.LevelsByName.WARN, line)


def says(what: Any, data: bytes, kind: type[events.ProcessLogEvent] = events.ProcessLogStderrEvent) -> None:
    events.notify(kind(what, 7, data))


def test_lines_that_came_in_pieces_are_put_together(log: loggers.Logger) -> None:
    words, web = LastWords(log), process()
    says(web, b"one\ntw")
    says(web, b"o\n\n")

    assert words.of("web", {"web": web}, 0.0) == ["one", "two"]


def test_stdout_counts_if_stderr_has_nothing(log: loggers.Logger) -> None:
    words, web = LastWords(log), process()
    says(web, b"out\n", events.ProcessLogStdoutEvent)
    assert words.of("web", {"web": web}, 0.0) == ["out"]

    says(web, b"err\n")
    assert words.of("web", {"web": web}, 0.0) == ["err"]


def test_what_was_said_before_does_not_count(log: loggers.Logger) -> None:
    words, web = LastWords(log), process()
    says(web, b"old\n")

    assert words.of("web", {"web": web}, 4e9) == []


def test_lines_of_several_processes_carry_their_names(log: loggers.Logger) -> None:
    words, both = LastWords(log), {name: process(name) for name in ("web_0", "web_1")}
    for name, one in both.items():
        says(one, f"I am {name}\n".encode())

    assert words.of("web", both, 0.0) == ["web_0: I am web_0", "web_1: I am web_1"]


def test_error_of_a_worker_is_seen_though_the_traceback_of_its_master_follows(log: loggers.Logger) -> None:
    words, web = LastWords(log), process()
    frames = "".join(f'  File "a.py", line {n}, in f{n}\n    f{n + 1}()\n    ^^^^\n' for n in range(12))
    for error in ("ModuleNotFoundError: No module named 'no_such_module'", "HaltServer: Worker failed to boot"):
        says(web, f"Traceback (most recent call last):\n{frames}{error}\n".encode())

    assert words.of("web", {"web": web}, 0.0) == [
        "Traceback (most recent call last):",
        '  File "a.py", line 0, in f0',
        "  …",
        '  File "a.py", line 11, in f11',
        "    f12()",
        "ModuleNotFoundError: No module named 'no_such_module'",
        "Traceback (most recent call last):",
        '  File "a.py", line 0, in f0',
        "  …",
        '  File "a.py", line 11, in f11',
        "    f12()",
        "HaltServer: Worker failed to boot",
    ]


def test_a_flood_is_kept_to_its_end(log: loggers.Logger) -> None:
    words, web = LastWords(log), process()
    for _ in range(100):
        says(web, b"x" * 100_000)
    says(web, b"\n" + b"".join(b"%d\n" % number for number in range(50)))

    assert words.of("web", {"web": web}, 0.0) == [str(number) for number in range(30, 50)]


def test_a_log_file_is_read_from_where_it_ended_at_the_start(log: loggers.Logger, tmp_path: Path) -> None:
    file = tmp_path / "web.err"
    file.write_text("old\n")
    words, web = LastWords(log), process(stderr=str(file))
    starts(web)
    with file.open("a") as opened:
        opened.write("new\n")

    assert words.of("web", {"web": web}, 0.0) == ["new"]


def test_a_log_file_that_was_rotated_is_read_from_its_beginning(log: loggers.Logger, tmp_path: Path) -> None:
    file = tmp_path / "web.err"
    file.write_text("old\n" * 100)
    words, web = LastWords(log), process(stderr=str(file))
    starts(web)
    file.write_text("new\n")

    assert words.of("web", {"web": web}, 0.0) == ["new"]


def test_what_came_in_small_pieces_is_kept_to_the_same_amount(log: loggers.Logger) -> None:
    words, web = LastWords(log), process()
    for piece in [b"first\n", *[b"\n"] * ((16 << 10) - len(b"first\n"))]:
        says(web, piece)
    assert words.of("web", {"web": web}, 0.0) == ["first"]

    says(web, b"\n")
    assert words.of("web", {"web": web}, 0.0) == []


@pytest.mark.parametrize("text", ["exit status 3", "terminated by SIGSEGV", "terminated by SIGSEGV (core dumped)"])
def test_how_a_process_ended_is_taken_from_supervisords_log(log: loggers.Logger, text: str) -> None:
    words = LastWords(log)

    ends(process(), f"exited: web ({text}; not expected)", log)
    ends(process("other"), "exited: other (exit status 9; not expected)", log)
    ends(process(), "stopped: web (terminated by SIGTERM)", log)

    assert words.end_of("web", {"web": None}, 0.0) == text.removesuffix(" (core dumped)")
    assert words.end_of("web", {"web": None}, 4e9) == ""
    assert words.end_of("web", {"db": None}, 0.0) == ""


def test_processes_of_one_name_in_two_groups_end_each_in_its_own_way(log: loggers.Logger) -> None:
    words = LastWords(log)

    ends(process("worker", group="mail"), "exited: worker (exit status 3; not expected)", log)
    ends(process("worker", group="orders"), "exited: worker (exit status 4; not expected)", log)

    assert words.end_of("mail", {"worker": None}, 0.0) == "exit status 3"
    assert words.end_of("orders", {"worker": None}, 0.0) == "exit status 4"
    assert words.end_of("web", {"worker": None}, 0.0) == ""


def test_nothing_is_raised_into_supervisord(log: loggers.Logger) -> None:
    words = LastWords(log)

    starts(SimpleNamespace(backoff=0))
    says(None, b"x")
    ends(SimpleNamespace(backoff=0), "exited: web (exit status 3; not expected)", log)
    says(process(), 7)  # type: ignore[arg-type]
    log.log(loggers.LevelsByName.WARN, b"\xff")
    log.close()
    for handler in log.handlers:
        handler.reopen()
        handler.remove()

    assert words.of("web", {"web": process(stderr="/dev/null")}, 0.0) == ["7"]
