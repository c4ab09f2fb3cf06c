"""Supervisor, Consul and git give random answers, by a seed per run: no answer causes a bug or makes a command hang."""

from __future__ import annotations

import base64
import http.server
import json
import random
import shutil
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.attacked import Container, container
from support.fake_supervisor import plain, serving, supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SCALARS = [
    None,
    True,
    False,
    0,
    -1,
    7,
    2**31 - 1,
    1.5,
    "",
    "x",
    "RUNNING",
    "passing",
    "\u0085\n",
    "ü" * 3000,
    "../../x",
    [],
    {},
    [[]],
    [{}],
    [None],
]
BODIES = [
    b"",
    b"\0" * 20,
    b"\xff\xfe<x/>",
    b"<methodResponse>",
    b"{",
    b"null",
    b"[" * 50_000,
    b"1e999",
    b'{"a":' * 5_000,
    b'"\\ud800"',
]


class Chance:
    """The choices of one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - to be had again

    def one_of(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def happens(self, chance: float) -> bool:
        return self._random.random() < chance

    def changed(self, value: Any) -> Any:
        """Return a value with something in it replaced, removed, doubled or wrapped."""
        if isinstance(value, dict) and value and self.happens(0.8):
            name = self.one_of(*value)
            rest = {key: kept for key, kept in value.items() if key != name}
            return rest if self.happens(0.3) else {**value, name: self.changed(value[name])}
        if isinstance(value, list) and value and self.happens(0.7):
            return [self.changed(value[0]), *value[1:]]
        return self.one_of(*SCALARS, [value], [value, value], {"a": value})

    def body(self, value: bytes) -> bytes:
        """Return a body of an answer that is cut off, or another one."""
        return value[: int(len(value) * self._random.random())] if self.happens(0.5) else self.one_of(*BODIES)


# Supervisor


@contextmanager
def strange_supervisor(chances: list[Chance]) -> Iterator[str]:
    """A supervisor that answers some calls strangely, by the last of ``chances``; those of a deployment before: well."""

    def answer(method: str, value: Any) -> bytes:
        chance = chances[-1] if chances else None
        if chance is None or not chance.happens(0.3):
            return plain(method, value)
        try:
            return plain(method, chance.changed(value)) if chance.happens(0.7) else chance.body(plain(method, value))
        except (TypeError, OverflowError):  # nothing that XML-RPC can say
            return b"?"

    with supervisor(answer) as url:
        yield url


@pytest.fixture(scope="module")
def with_supervisor() -> Iterator[tuple[Container, list[Chance]]]:
    chances: list[Chance] = []
    with strange_supervisor(chances) as url, container(url) as made:
        yield made, chances


ASKING = (
    ["deploy", "--json"],
    ["rollback"],
    ["boot"],
    ["status"],
    ["doctor"],
    ["deploy", "--dry-run"],
    ["monitor"],
    ["init", "--dry-run"],
    ["stage"],
)


@pytest.mark.parametrize("begin", range(0, 72, 12))
def test_whatever_supervisor_answers(with_supervisor: tuple[Container, list[Chance]], begin: int) -> None:
    attacked, chances = with_supervisor
    broken = []
    for seed in range(begin, begin + 12):
        chances.append(Chance(seed))
        command = ASKING[seed % len(ASKING)]
        wrong = attacked.wrong_with(command)
        broken += [f"seed {seed}, {command}: {wrong}"] if wrong else []
        attacked.put_back("root")
    assert broken == []


# Consul


def a_key(path: str) -> list[dict[str, Any]]:
    """Return a key with something that fits many."""
    body = json.dumps({"id": "rollout-1", "revision": "v1.2.0", "commits": {"api": "0" * 40}, "ids": ["rollout-1"]})
    key = path.removeprefix("/v1/kv/").partition("?")[0]
    return [{"Key": key, "Value": base64.b64encode(body.encode()).decode(), "LockIndex": 1, "ModifyIndex": 7, "Flags": 0}]


CHECK = "service:release-agent:api:host-1"
SERVICE = {"ID": "x", "Service": "api", "Address": "127.0.0.1", "Port": 1, "Tags": [], "Meta": {"rpc_url": "http://127.0.0.1:1"}}
HEALTH = {"Node": {"Node": "n", "Address": "127.0.0.1"}, "Service": SERVICE, "Checks": [{"Status": "passing", "CheckID": "x"}]}
TOLD: dict[str, Callable[[str], Any]] = {
    "/v1/agent/checks": lambda _path: {CHECK: {"CheckID": CHECK, "Status": "passing", "Output": "", "Notes": ""}},
    "/v1/agent/service/release-agent": lambda _path: {**SERVICE, "Meta": {"watched": "true"}},
    "/v1/status/leader": lambda _path: "127.0.0.1:8300",
    "/v1/session/create": lambda _path: {"ID": "11111111-2222-3333-4444-555555555555"},
    "/v1/txn": lambda _path: {"Results": [], "Errors": None},
    "/v1/kv/": a_key,
    "/v1/health": lambda _path: [HEALTH],
    "/v1/catalog": lambda _path: [HEALTH],
}


def told(path: str) -> Any:
    """Return what Consul would answer, more or less."""
    return next((value(path) for prefix, value in TOLD.items() if path.startswith(prefix)), True)


@contextmanager
def strange_consul(chances: list[Chance]) -> Iterator[str]:
    """A Consul that answers some requests strangely, by the last of ``chances``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            chance = chances[-1] if chances else Chance(0)
            value, status, body = told(self.path), 200, b""
            if chance.happens(0.6):
                value = chance.changed(value)
            body = json.dumps(value).encode()
            if chance.happens(0.2):
                body = chance.body(body)
            if chance.happens(0.2):
                status = chance.one_of(201, 204, 301, 400, 403, 404, 409, 429, 500, 503)
            self.send_response(status)
            self.send_header("X-Consul-Index", str(chance.one_of(1, 7, -1, "x", 10**30)))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_DELETE = do_GET

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with serving(Handler) as address:
        yield address


@pytest.fixture(scope="module")
def with_consul() -> Iterator[tuple[Container, list[Chance]]]:
    chances: list[Chance] = []
    with strange_consul(chances) as address, supervisor() as url, container(url) as made:
        made.config.write_text(
            made.config.read_text().replace("enabled = false", 'follow_fleet = ""').replace('follow_fleet = ""', "")
        )
        made.environment["CONSUL_HTTP_ADDR"] = address
        yield made, chances


REPORTING = (["deploy", "v1.0.0"], ["boot"])
TELLING = (
    ["monitor"],
    ["doctor"],
    ["monitor"],
    ["status"],
    ["monitor"],
    ["rollout", "list"],
    ["rollout", "status", "rollout-1"],
    ["rollout", "start", "v1.2.0", "--consul", "api", "--dry-run"],
    ["rollout", "start", "v1.2.0", "--consul", "api", "--deadline", "1s", "--progress-deadline", "1s"],
    ["rollout", "abort", "rollout-1"],
    ["rollout", "approve", "rollout-1"],
    ["rollout", "revert", "rollout-1"],
    ["rollout", "resume", "rollout-1"],
    ["rollout", "freeze", "api", "test", "the database moves"],
    ["rollout", "unfreeze", "api", "test"],
)


@pytest.mark.parametrize("begin", range(0, 6 * len(TELLING), len(TELLING)))
def test_whatever_consul_answers(with_consul: tuple[Container, list[Chance]], begin: int) -> None:
    attacked, chances = with_consul
    broken = []
    for seed in range(begin, begin + len(TELLING)):
        chances.append(Chance(seed))
        wrong = attacked.wrong_with(TELLING[seed % len(TELLING)])
        broken += [f"seed {seed}, {TELLING[seed % len(TELLING)]}: {wrong}"] if wrong else []
    chances.append(Chance(begin))
    command = REPORTING[begin % 2]
    code, said, complaint = attacked.run(command)
    assert (code, broken) == (0, []), said + complaint
    attacked.put_back("root")


# git

FAKE_GIT = """#!/bin/sh
number=$(($(cat {path}/number) + 1))
echo $number > {path}/number
[ $number = "$(cat {path}/which)" ] && . {path}/way
exec {git} "$@"
"""
WAYS = [
    "exit 0",
    "exit 1",
    "exit 128",
    "kill -9 $$",
    "echo fatal: nonsense >&2; exit 128",
    "head -c 3000 /dev/urandom; exit 0",
    "head -c 3000 /dev/urandom >&2; exit 1",
    "head -c 3000 /dev/zero; exit 0",
    "printf 'x y z\\n\\n\\n'; exit 0",
    "printf '%0999d\\n' 7; exit 0",
    'GIT "$@" | head -c 20; exit 0',
    'GIT "$@" | head -c 200; exit 0',
    'GIT "$@"; GIT "$@"; exit 0',
    'GIT "$@" | tr a-f b-g; exit 0',
    "GIT \"$@\" | tr '\\000\\n\\t ' '\\n\\t  '; exit 0",
    'GIT "$@"; exit 1',
    'GIT "$@" | rev; exit 0',
    "sleep 1000 & exit 0",
]
USING_GIT = (
    ["deploy", "v1.2.0"],
    ["deploy", "--dry-run"],
    ["verify"],
    ["doctor"],
    ["pin", "v1.0.0"],
    ["deploy", "v1.0.0", "--force"],
    ["stage", "v1.2.0"],
    ["completion", "revisions"],
)


@pytest.fixture(scope="module")
def with_git(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Container, Path]]:
    git, path = shutil.which("git"), tmp_path_factory.mktemp("git")
    program = path / "git"
    program.write_text(FAKE_GIT.format(path=path, git=git))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with supervisor() as url, container(url) as made:
        made.environment["PATH"] = f"{path}:{made.environment['PATH']}"
        made.environment["REAL_GIT"] = str(git)
        yield made, path


@pytest.mark.parametrize("begin", range(0, 60, 12))
def test_whatever_git_does(with_git: tuple[Container, Path], begin: int) -> None:
    attacked, path = with_git
    broken = []
    for seed in range(begin, begin + 12):
        chance = Chance(seed)
        command, way, which = USING_GIT[seed % len(USING_GIT)], chance.one_of(*WAYS), chance.one_of(*range(1, 13))
        (path / "number").write_text("0")
        (path / "which").write_text(str(which))
        (path / "way").write_text(way.replace("GIT", "$REAL_GIT"))
        wrong = attacked.wrong_with(command)
        broken += [f"seed {seed}, {command}, call {which} of git does {way}: {wrong}"] if wrong else []
        assert (path / "number").read_text() != "0", "git was not asked"
        attacked.put_back("root")
    assert broken == []
