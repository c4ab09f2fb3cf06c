from __future__ import annotations

import io
import json
import os
import select
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from release_agent.system.logs import Redactor, RunLog, make_log

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("variable", ["SUPERVISOR_PASSWORD", "CONSUL_HTTP_TOKEN"])
def test_a_secret_of_the_environment_is_blackened_wherever_it_turns_up(variable: str) -> None:
    redact = Redactor({variable: "hunter2!"})

    assert redact("hunter2! and again hunter2!.") == "[secret] and again [secret]."
    assert redact("hunter2") == "hunter2"


def test_a_secret_of_a_file_is_blackened_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cr3t-token\n")

    assert Redactor({"CONSUL_HTTP_TOKEN_FILE": str(tmp_path / "token")})("token: s3cr3t-token!") == "token: [secret]!"


def test_several_secrets_are_all_blackened(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file")
    environ = {"SUPERVISOR_PASSWORD": "password", "CONSUL_HTTP_TOKEN": "token", "CONSUL_HTTP_TOKEN_FILE": str(tmp_path / "token")}

    assert Redactor(environ)("password token from-a-file") == "[secret] [secret] [secret]"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff\xfe"])
def test_a_file_that_cannot_be_read_is_no_secret(tmp_path: Path, content: bytes | None) -> None:
    if content:
        (tmp_path / "token").write_bytes(content)

    assert Redactor({"CONSUL_HTTP_TOKEN_FILE": str(tmp_path / "token")})("text") == "text"


@pytest.mark.parametrize("short", ["", "a", "abc"])
def test_a_secret_too_short_to_be_one_blackens_no_words(short: str) -> None:
    assert Redactor({"SUPERVISOR_PASSWORD": short})("abc abacus") == "abc abacus"


def test_without_secrets_text_is_as_it_was() -> None:
    assert Redactor({"HOME": "/root", "PASSWORD": "not the agent's"})("/root not the agent's") == "/root not the agent's"


def logged(**values: object) -> dict[str, object]:
    stream = io.StringIO()
    make_log(Redactor({"SUPERVISOR_PASSWORD": "hunter2"}), stream).info("release.built", **values)
    found: dict[str, object] = json.loads(stream.getvalue())
    return found


def test_an_event_is_a_line_of_json_with_level_and_time() -> None:
    event = logged(release="000001-a", seconds=1.5)

    assert (event["event"], event["level"], event["release"], event["seconds"]) == ("release.built", "info", "000001-a", 1.5)
    assert str(event["timestamp"]).endswith("Z")


def test_a_log_does_not_import_what_only_rollouts_draw_with() -> None:
    code = (
        "import sys; from release_agent.system.logs import Redactor, make_log; make_log(Redactor({})); "
        "print('rich' in sys.modules); import rich; print(rich.__name__)"
    )

    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "rich"]


def test_a_secret_in_an_event_is_blackened() -> None:
    assert logged(line="login with hunter2")["line"] == "login with [secret]"


def test_a_line_break_in_an_event_stays_one_line() -> None:
    stream = io.StringIO()

    make_log(Redactor({}), stream).warning("hook.output", line="one\ntwo")

    assert len(stream.getvalue().splitlines()) == 1


def test_a_reader_that_has_gone_changes_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as stream:
        make_log(Redactor({}), stream).info("deploy.finished")
        make_log(Redactor({}), stream).info("deploy.finished")
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def test_a_closed_stream_changes_nothing() -> None:
    stream = io.StringIO()
    log = make_log(Redactor({}), stream)
    stream.close()

    log.info("deploy.finished")


@pytest.mark.parametrize("variable", ["SUPERVISOR_SERVER_URL", "CONSUL_HTTP_ADDR"])
@pytest.mark.parametrize("shown", ["http://bob:hunter%32@host:1", "bob:hunter2", "hunter%32", "hunter2"])
def test_a_password_in_a_url_is_blackened_in_every_form(variable: str, shown: str) -> None:
    redact = Redactor({variable: "http://bob:hunter%32@host:1"})

    assert "hunter" not in redact(f"at {shown}!")


def test_a_pipe_in_a_secrets_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")

    assert Redactor({"CONSUL_HTTP_TOKEN_FILE": str(tmp_path / "token")})("a token") == "a token"


def test_what_a_hook_says_is_utf_8_and_not_escaped(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        make_log(Redactor({}), stream).info("hook.output", line="größer 日本")

    assert '"größer 日本"' in (tmp_path / "log").read_text(encoding="utf-8")


@pytest.mark.parametrize("odd", ["\udcff", "\x9b31m", "\u2028", "\x85", "\x7f", "\x1b[31m"])
def test_what_is_no_text_stays_one_line_of_valid_json(tmp_path: Path, odd: str) -> None:
    with (tmp_path / "log").open("w") as stream:
        make_log(Redactor({}), stream).info("hook.output", line=f"a{odd}b")

    (line,) = (tmp_path / "log").read_bytes().decode("utf-8").splitlines()
    assert json.loads(line)["line"] == f"a{odd}b"
    assert line.isprintable()


@pytest.mark.parametrize("text", ["x", "x" * 100_000, "日" * 100_000, "\x1b" * 20_000, '"' * 5_000])
def test_a_line_is_one_write_that_a_pipe_takes_whole(text: str) -> None:
    reader, writer = os.pipe2(os.O_DIRECT)  # each write(2) is a packet of its own
    os.set_blocking(writer, False)  # more than it holds is an error
    with os.fdopen(writer, "w") as stream:
        make_log(Redactor({}), stream).info("hook.output", id="d-1", line=text)
    packet = os.read(reader, 1 << 20)
    rest = os.read(reader, 1 << 20)
    os.close(reader)

    assert (packet[-1:], rest) == (b"\n", b"")
    assert len(packet) <= select.PIPE_BUF
    told = json.loads(packet)
    assert (told["event"], told["id"]) == ("hook.output", "d-1")
    assert told["line"] == text or (told["line"].endswith("…") and text.startswith(told["line"][:-1]))
    assert len(text) == 1 or len(packet) > select.PIPE_BUF * 0.9


def test_a_list_that_is_too_long_is_cut(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        make_log(Redactor({}), stream).info("releases.pruned", releases=[f"{number:06}-0123456789ab" for number in range(1000)])

    line = (tmp_path / "log").read_bytes()
    assert len(line) <= select.PIPE_BUF
    assert json.loads(line)["releases"].startswith('["000000-')


def test_the_lines_of_two_writers_never_run_together() -> None:
    reader, writer = os.pipe()

    def write(name: str) -> None:
        with os.fdopen(os.dup(writer), "w") as stream:
            log = make_log(Redactor({}), stream)
            for number in range(200):
                log.info("hook.output", line=name * (number * 50))

    writers = [threading.Thread(target=write, args=[name]) for name in "ab"]
    for thread in writers:
        thread.start()
    said = bytearray()
    closing = threading.Thread(target=lambda: ([thread.join() for thread in writers], os.close(writer)))
    closing.start()
    while data := os.read(reader, 65536):
        said += data
    closing.join()
    os.close(reader)

    assert len([json.loads(line) for line in said.decode().splitlines()]) == 400


def test_two_that_write_into_one_file_do_not_overwrite_each_other(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as one, (tmp_path / "log").open("w") as other:
        logs = [make_log(Redactor({}), one), make_log(Redactor({}), other)]
        for log in logs * 3:
            log.info("release.built")

    assert len((tmp_path / "log").read_text().splitlines()) == 6


class Heard:
    """A log that keeps its events."""

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []

    def info(self, event: str, **values: object) -> None:
        self.lines.append({"event": event, **values})

    warning = info


def test_every_line_of_a_run_has_its_id_and_its_app() -> None:
    heard = Heard()
    log = RunLog(heard, "api")

    log.info("before")
    with log.of("d-2"):
        log.info("outer")
        with log.of("d-1"):
            log.warning("recovered")
        log.warning("outer again", id="told")

    assert [(line["app"], line.get("id")) for line in heard.lines] == [
        ("api", None), ("api", "d-2"), ("api", "d-1"), ("api", "told"),
    ]  # fmt: skip


def test_a_listener_has_every_event_as_well() -> None:
    log, events = RunLog(Heard(), "api"), []
    log.pass_on(events.append)

    with log.of("d-1"):
        log.info("hook.output", line="x")

    assert events == [{"event": "hook.output", "app": "api", "id": "d-1", "line": "x"}]


@pytest.mark.parametrize(("value", "coloured"), [(None, True), ("", True), ("1", False), ("0", False)])
def test_log_on_a_terminal_has_no_colours_if_the_person_wants_none(
    monkeypatch: pytest.MonkeyPatch, value: str | None, coloured: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    master, slave = os.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as terminal:
        make_log(Redactor({}), terminal).info("release.published", release="000001")
        written = os.read(master, 4096).decode()
    os.close(master)

    assert "release.published" in written
    assert ("\x1b[" in written) is coloured
