"""The journal, the root and the configuration break under a running supervisord: it stays up, and callers get messages."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import xmlrpc.client
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.sabotage import (
    CALLS,
    LONGEST_WAIT,
    READING,
    READING_NOTHING,
    STARTING,
    answer_of,
    answers_of,
    assert_lives,
    assert_well,
    ended_record,
    fault_codes,
    fault_of,
    pid_of,
    somebody_waits,
    state_db,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.host import Host


def test_every_public_method_is_among_those_made_to_fail(sabotaged: Host) -> None:
    public = {name.removeprefix("release.") for name in sabotaged.rpc.system.listMethods() if name.startswith("release.")}

    assert public == set(CALLS) | set(READING_NOTHING)
    taken = ["string", "boolean", "string", "boolean", "string", "string", "boolean", "string"]
    assert sabotaged.rpc.system.methodSignature("release.deploy") == ["struct", *taken]


# The journal


def _garbage(database: Path) -> None:
    database.write_bytes(os.urandom(8192))


def _empty_pages(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:100] + bytes(8192))


def _directory(database: Path) -> None:
    database.unlink()
    database.mkdir()


def _itself(database: Path) -> None:
    database.unlink()
    database.symlink_to("/proc/self/mem")


def _other_version(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA user_version = 9")


def _other_tables(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        for table in ("deployment", "answer", "setting"):
            db.execute(f"DROP TABLE {table}")


@pytest.mark.parametrize("broken", [_garbage, _empty_pages, _directory, _itself, _other_version, _other_tables])
def test_journal_that_cannot_be_read_is_a_fault_and_a_start_is_none(sabotaged: Host, broken: Callable[[Path], None]) -> None:
    kept = state_db(sabotaged).read_bytes()
    broken(state_db(sabotaged))

    read = fault_codes(answers_of(sabotaged, READING))
    begun = sabotaged.rpc.release.deploy("v1.0.0", False)
    eventually(lambda: sabotaged.process("deploy")[0] == "EXITED", "it ended")
    started = fault_codes(answers_of(sabotaged, STARTING))

    assert read == dict.fromkeys(READING, 113)
    assert begun["id"], "it was started all the same: who asked has to know its id"
    # What is no database at all, the run has set aside and made anew.
    assert set(started.values()) == ({None} if broken in (_garbage, _empty_pages, _directory, _itself) else {113})
    assert_lives(sabotaged)
    subprocess.run(["rm", "-rf", state_db(sabotaged)], check=True)
    state_db(sabotaged).write_bytes(kept)
    assert_well(sabotaged)


def test_journal_that_is_locked_is_a_fault_and_a_start_is_no_failure(sabotaged: Host) -> None:
    with closing(sqlite3.connect(state_db(sabotaged), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        faults = answers_of(sabotaged, READING)
        begun = sabotaged.rpc.release.deploy("v1.0.0", False)
        other.execute("ROLLBACK")

    assert fault_codes(faults) == dict.fromkeys(READING, 113)
    assert all("locked" in fault.faultString for fault in faults.values())
    record = eventually(lambda: ended_record(sabotaged.rpc.release.getDeployment(begun["id"])), "it went on")
    assert record["outcome"] == "deployed"
    assert_well(sabotaged)


def test_run_that_could_not_use_the_journal_is_told_with_the_reason(sabotaged: Host) -> None:
    kept = state_db(sabotaged).read_bytes()
    _other_version(state_db(sabotaged))
    begun = sabotaged.rpc.release.deploy("v1.0.0", False)
    eventually(lambda: sabotaged.process("deploy")[0] == "EXITED", "it ended")
    state_db(sabotaged).write_bytes(kept)

    error = sabotaged.rpc.release.getDeployment(begun["id"])["error"]

    assert error["code"] == "journal-broken"
    assert f"the journal {state_db(sabotaged)} cannot be used" in error["message"]
    assert_well(sabotaged)


def test_run_that_failed_before_it_had_the_journal_is_not_said_to_have_a_broken_one(sabotaged: Host) -> None:
    name = sabotaged.root / ".release-agent" / "app"
    kept = name.read_text()
    name.write_text("another")

    record = sabotaged.rpc.release.deploy("v1.0.0", True)

    assert (record["outcome"], record["error"]["code"]) == ("failed", "not-begun")
    name.write_text(kept)
    assert_well(sabotaged)


_ROWS = {
    "no JSON": "{",
    "a list": "[1]",
    "a number": "5",
    "no id": "{}",
    "an id that is a list": '{"id": [1]}',
    "too small a number": '{"id": "x", "seconds": -99999999999}',
    "too large a number": f'{{"id": "x", "seconds": 1{"0" * 400}}}',
    "half a character": r'{"id": "x", "revision": "\ud800"}',
    "what XML cannot say": r'{"id": "x", "error": {"message": "\u001b[31mred\u0000\uffff"}}',
    "foreign names": r'{"id": "x", "\ud800\u0001": {"\u0002": 1}}',
    "many bytes a character": json.dumps({"id": "x", "revision": "€" * 500}, ensure_ascii=False),
    "too deep to read": "[" * 100_000,
    "too deep to answer": f'{{"id": {"[" * 490}1{"]" * 490}}}',
    "bytes": b"\xff\xfe",
}


def test_garbage_in_the_journal_is_told_at_once_and_to_who_waits(sabotaged: Host) -> None:
    for row in _ROWS.values():
        with closing(sqlite3.connect(state_db(sabotaged), isolation_level=None)) as db:
            # Whatever ends a run, its row is garbage from that moment.
            quoted = f"X'{row.hex()}'" if isinstance(row, bytes) else "'" + row.replace("'", "''") + "'"
            update = f"UPDATE deployment SET record = {quoted} WHERE id = NEW.id"  # noqa: S608 - a trigger has no parameters
            db.execute(f"CREATE TRIGGER garbage AFTER UPDATE OF outcome ON deployment BEGIN {update}; END")
            db.execute("INSERT OR REPLACE INTO setting VALUES ('health', ?)", (row,))
            db.execute("INSERT INTO answer (id, body) VALUES ('asked', ?)", (row,))
            answer_of(sabotaged.rpc.release.deploy, "v1.0.0", True)
            identity = db.execute("SELECT id FROM deployment ORDER BY seq DESC LIMIT 1").fetchone()[0]
            answers_of(sabotaged, READING | {"getDeployment": (identity,)})
            answer_of(sabotaged.rpc.release.getDeployment, "asked")
            db.executescript(
                "DROP TRIGGER garbage; DELETE FROM deployment WHERE seq > 1; DELETE FROM setting; DELETE FROM answer;"
            )
        assert_lives(sabotaged)

    assert_well(sabotaged)


def test_hook_that_speaks_in_colours_and_tongues_fails_readably(sabotaged: Host) -> None:
    sabotaged.configure(
        "[hooks]\nbuild = [{ run = \"printf '\\\\033[31m\\\\001 čeština €€€€€€€€€\\\\377'; exit 3\" }]", service=""
    )

    waited = sabotaged.rpc.release.deploy("v1.0.0", True)
    asked = sabotaged.rpc.release.getDeployment(waited["id"])

    assert (waited["outcome"], waited["error"]["code"]) == ("failed", "hook-failed")
    assert r"\x1b[31m\x01 " in waited["error"]["message"]
    assert "čeština €" in asked["error"]["message"]
    sabotaged.configure(service="")
    assert_well(sabotaged)


# Where it lives


@pytest.mark.parametrize("name", [".release-agent", "releases", "current"])
def test_part_of_the_root_that_is_no_directory_is_told(sabotaged: Host, name: str) -> None:
    place = sabotaged.root / name
    aside = place.rename(sabotaged.path / "aside")
    place.write_text("in the way")

    answers = answers_of(sabotaged, CALLS)

    assert ended_record(answers["deploy"] if isinstance(answers["deploy"], dict) else {"outcome": "a fault"})
    assert_lives(sabotaged)
    place.unlink()
    aside.rename(place)
    assert_well(sabotaged)


def test_root_that_is_gone_is_told_and_made_again(sabotaged: Host) -> None:
    shutil.rmtree(sabotaged.root)

    assert sabotaged.rpc.release.getHistory(5) == []
    assert "current" not in sabotaged.rpc.release.getStatus()
    assert fault_of(sabotaged.rpc.release.getDeployment, "somebody").faultCode == 122
    assert sabotaged.rpc.release.deploy("v1.0.0", True)["outcome"] == "deployed"
    assert_well(sabotaged)


@pytest.mark.parametrize("text", ["[1]", "{", "[" * 100_000, '{"pid": %d, "started": %d}', '{"pid": {}, "started": null}'])
def test_garbage_in_the_lock_is_told(sabotaged: Host, text: str) -> None:
    started = int(Path(f"/proc/{pid_of(sabotaged)}/stat").read_text().rpartition(")")[2].split()[19])
    lock = sabotaged.root / ".release-agent" / "lock"
    lock.write_text(text % (pid_of(sabotaged), started) if "%d" in text else text)

    answers_of(sabotaged, CALLS)

    assert_lives(sabotaged)
    lock.write_text("")
    assert_well(sabotaged)


# The configuration


def _unreadable(config: Path) -> None:
    config.unlink()
    config.symlink_to(config)


_MISTAKES: dict[str, Callable[[Path], object]] = {
    "removed": lambda config: config.unlink(),
    "unreadable": _unreadable,
    "a directory": lambda config: (config.unlink(), config.mkdir()),
    "a pipe": lambda config: (config.unlink(), os.mkfifo(config)),
    "not TOML": lambda config: config.write_bytes(os.urandom(1000)),
    "too deep": lambda config: config.write_text("a = " + "[" * 100_000),
    "of another": lambda config: config.write_text('[čeština]\n"\\u0001€€€€€€€" = 1\n'),
}


@pytest.mark.parametrize("mistake", _MISTAKES.values(), ids=_MISTAKES.keys())
def test_bad_configuration_is_a_fault_at_once_and_of_who_waits_and_at_a_reload(
    sabotaged: Host, mistake: Callable[[Path], object]
) -> None:
    with somebody_waits(sabotaged) as answer:
        kept = sabotaged.config.read_text()
        mistake(sabotaged.config)

    assert answer.result(LONGEST_WAIT).faultCode == 110
    assert fault_codes(answers_of(sabotaged, CALLS)) == dict.fromkeys(CALLS, 110)
    sabotaged.reload()
    assert fault_codes(answers_of(sabotaged, CALLS)) == dict.fromkeys(CALLS, 110)
    subprocess.run(["rm", "-rf", sabotaged.config], check=True)
    sabotaged.config.write_text(kept)
    assert_well(sabotaged)


def test_several_calls_in_one_fault_each_by_itself(sabotaged: Host) -> None:
    kept = sabotaged.config.read_text()
    sabotaged.config.write_text("[")
    calls = [{"methodName": f"release.{name}", "params": list(arguments)} for name, arguments in CALLS.items()]

    answers = sabotaged.rpc.system.multicall(calls)

    assert [answer["faultCode"] for answer in answers] == [110] * len(CALLS)
    sabotaged.config.write_text(kept)
    assert_well(sabotaged)


def test_what_a_section_says_besides_keeps_no_supervisord_from_starting(cold_host: Host) -> None:
    host = cold_host
    host.repository.release("v1.0.0")
    section = "[rpcinterface:odd]\nsupervisor.rpcinterface_factory = release_agent.plugin:make_rpcinterface\n"
    host.services.append(section + "supervisord = 1\nself = 2\nsettings = 3\nconfig = /nowhere/at all\n")
    host.config.unlink()

    host.start()

    assert fault_of(host.rpc.odd.getStatus).faultCode == 110
    assert fault_of(host.rpc.release.getStatus).faultCode == 110
    host.configure(service="")
    assert host.rpc.release.deploy("v1.0.0", True)["outcome"] == "deployed"
    assert_lives(host)


@pytest.mark.parametrize("place", [".release-agent/state.db", ".release-agent/lock", "current/release.toml"])
def test_pipe_in_a_files_place_is_not_waited_for(sabotaged: Host, place: str) -> None:
    assert sabotaged.deploy("v1.0.0").code == 0
    (sabotaged.root / place).unlink(missing_ok=True)
    os.mkfifo(sabotaged.root / place)

    for method, arguments in READING.items():
        with suppress(xmlrpc.client.Fault):
            getattr(sabotaged.rpc.release, method)(*arguments)

    assert sabotaged.rpc.supervisor.getState()["statename"] == "RUNNING"
