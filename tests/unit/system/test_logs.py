from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING

import pytest

from release_agent.system.logs import Redactor, make_log

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
