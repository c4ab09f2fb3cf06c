from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Exit, Misconfigured
from release_agent.rollout.inventory import hosts
from release_agent.rollout.model import InventoryHost
from support.configuration import write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FLEET = """\
[fleet]
user = "release"
password_file = "secrets/password"
[[host]]
name = "web-1"
url = "http://10.0.0.11:9001"
service = "web"
zone = "eu-1a"
[[host]]
name = "db-1"
url = "https://db-1.example.org"
"""
HOST = '[[host]]\nname = "{}"\nurl = "{}"\n'
TARGETS = [
    InventoryHost("web-1", "http://10.0.0.11:9001", "web", "eu-1a"),
    InventoryHost("web-2", "http://10.0.0.12:9001", "web", "eu-1b"),
    InventoryHost("db-1", "http://10.0.0.21:9001", "db", "eu-1a"),
    InventoryHost("spare", "http://10.0.0.31:9001"),
]


def refusal(call: Callable[..., object], *arguments: object) -> Misconfigured:
    with pytest.raises(Misconfigured) as refused:
        call(*arguments)
    assert refused.value.exit_code == Exit.MISCONFIGURED
    return refused.value


def problems_of(call: Callable[..., object], *arguments: object) -> list[str]:
    refused = refusal(call, *arguments)
    assert refused.code == Code.INVENTORY_INVALID
    first, *problems = refused.message.splitlines()
    assert first.startswith(f"{len(problems)} problem")
    return [problem.strip() for problem in problems]


def names(limit: list[str], exclude: list[str]) -> list[str]:
    return [target.name for target in hosts.select(TARGETS, limit, exclude)]


@pytest.mark.parametrize(
    ("given", "name", "url"),
    [
        ("10.0.0.11", "10.0.0.11", "http://10.0.0.11:9001"),
        ("10.0.0.12:9002", "10.0.0.12:9002", "http://10.0.0.12:9002"),
        ("api-1.example.org", "api-1.example.org", "http://api-1.example.org:9001"),
        ("API_1", "API_1", "http://api_1:9001"),
        ("[::1]:9002", "[::1]:9002", "http://[::1]:9002"),
        ("[::1]", "[::1]", "http://[::1]:9001"),
        ("::1", "::1", "http://[::1]:9001"),
        ("fe80::1:9002", "fe80::1:9002", "http://[fe80::1:9002]:9001"),
        ("http://10.0.0.11:80", "10.0.0.11:80", "http://10.0.0.11:80"),
        ("http://10.0.0.11/", "10.0.0.11", "http://10.0.0.11:9001"),
        ("https://api-1", "api-1", "https://api-1:9001"),
        ("https://[::1]:443", "[::1]:443", "https://[::1]:443"),
    ],
)
def test_a_host_is_named_as_it_was_given_and_has_the_port_9001_unless_told(given: str, name: str, url: str) -> None:
    assert hosts.from_arguments([given]) == [InventoryHost(name, url)]


def test_hosts_stay_in_the_order_given() -> None:
    assert [target.name for target in hosts.from_arguments(["b", "c", "a"])] == ["b", "c", "a"]


@pytest.mark.parametrize(
    "given",
    [
        "",
        " ",
        "a b",
        "-a",
        "a:",
        "a:0",
        "a:65536",
        "a:http",
        "a/b",
        "http://a/RPC2",
        "http://a?b",
        "http://a#b",
        "http://",
        "ftp://a",
        "unix:///run/supervisor.sock",
        "[::1",
        "::g",
        "fe80::1%eth0",
        "a\nb",
        "größe",
    ],
)
def test_what_is_no_host_is_refused_and_shown(given: str) -> None:
    right = "must be the address of a supervisord, such as http://10.0.0.11:9001"

    assert problems_of(hosts.from_arguments, ["good", given]) == [f"host[1]: {right}, not {given!r}"]


@pytest.mark.parametrize("given", ["http://bob:hunter2@10.0.0.11:9001", "bob:hunter2@10.0.0.11", "https://hunter2@h"])
def test_credentials_in_a_host_are_refused_and_not_repeated(given: str) -> None:
    refused = refusal(hosts.from_arguments, [given])

    assert "host[0]: must not hold credentials" in refused.message
    assert "hunter2" not in refused.message + refused.hint


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        (["a", "a"], ['host.name: "a" is used twice', 'host.url: "http://a:9001" is used twice']),
        (["a", "a:9001"], ['host.url: "http://a:9001" is used twice']),
        (["http://a:1", "https://a:1"], ['host.name: "a:1" is used twice']),
    ],
)
def test_a_host_given_twice_is_refused_however_it_is_written(given: list[str], problems: list[str]) -> None:
    assert problems_of(hosts.from_arguments, given) == problems


def test_every_wrong_host_is_told_at_once() -> None:
    assert len(problems_of(hosts.from_arguments, ["a/b", "fine", "u@h", "fine"])) == 4


def test_a_fleet_toml_says_hosts_and_how_to_get_in(tmp_path: Path) -> None:
    fleet = hosts.from_file(write(tmp_path / "fleet.toml", FLEET))

    assert fleet.targets == [
        InventoryHost("web-1", "http://10.0.0.11:9001", "web", "eu-1a"),
        InventoryHost("db-1", "https://db-1.example.org:9001"),
    ]
    assert (fleet.user, fleet.password_file) == ("release", str(tmp_path / "secrets/password"))


def test_a_password_file_of_an_absolute_path_stays(tmp_path: Path) -> None:
    text = '[fleet]\npassword_file = "/run/secrets/rpc"\n' + HOST.format("a", "http://a")

    fleet = hosts.from_file(write(tmp_path / "f", text))

    assert fleet.password_file == "/run/secrets/rpc"  # noqa: S105 - a path


def test_a_fleet_toml_need_not_say_how_to_get_in(tmp_path: Path) -> None:
    fleet = hosts.from_file(write(tmp_path / "f", HOST.format("a", "http://a")))

    assert (fleet.user, fleet.password_file) == ("", "")


def test_all_that_is_wrong_in_a_fleet_toml_is_told_at_once(tmp_path: Path) -> None:
    text = """\
[fleet]
password = "hunter2"
user = "a:b"
[[host]]
nam = "web-1"
url = "http://bob:hunter3@10.0.0.11:9001"
[[host]]
name = "a,b"
url = "http://10.0.0.12:9001/RPC2"
zone = "eu 1"
"""
    problems = problems_of(hosts.from_file, write(tmp_path / "f", text))

    assert problems == [
        'fleet.password: is not a key here; did you mean "password_file"?',
        "fleet.user: must be a user without \":\" and control characters, not 'a:b'",
        'host[0].nam: is not a key here; did you mean "name"?',
        "host[0].name: is missing: name in reports",
        "host[0].url: must not hold credentials; they come from the environment or a file",
        'host[1].name: must be letters, digits, ".", "_", ":" and "-", not \'a,b\'',
        "host[1].url: must be the address of a supervisord, such as http://10.0.0.11:9001, not 'http://10.0.0.12:9001/RPC2'",
        'host[1].zone: must be letters, digits, ".", "_", ":" and "-", not \'eu 1\'',
    ]


def test_two_hosts_of_one_name_or_of_one_url_are_refused(tmp_path: Path) -> None:
    text = HOST.format("a", "http://H") + HOST.format("b", "http://h:9001/") + HOST.format("a", "http://i")

    assert problems_of(hosts.from_file, write(tmp_path / "f", text)) == [
        'host.name: "a" is used twice',
        'host.url: "http://h:9001" is used twice',
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "host: is missing: one or more [[host]]"),
        ('[host]\nname = "a"\n', "host: must be an array of tables, [[host]]"),
        (HOST.format("a", ""), "host[0].url: must be the address of a supervisord, such as http://10.0.0.11:9001, not ''"),
        (HOST.format("a", "10.0.0.1:9001"), "host[0].url: must be the address"),
        ('[[host]]\nname = "a"\nurl = 9001\n', "host[0].url: must be the address"),
    ],
)
def test_a_host_of_a_fleet_toml_needs_its_table_and_its_url(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = problems_of(hosts.from_file, write(tmp_path / "f", text))

    assert found.startswith(problem)


def test_a_fleet_toml_that_is_not_there_or_not_toml_is_told_by_its_name(tmp_path: Path) -> None:
    missing, broken, binary = tmp_path / "missing", tmp_path / "broken", tmp_path / "binary"
    broken.write_text("[[host]\n", encoding="utf-8")
    binary.write_bytes(b"\xff")

    for path, words in ((missing, "No such file"), (tmp_path, "Is a directory"), (broken, "line 1"), (binary, "not TOML")):
        refused = refusal(hosts.from_file, path)
        assert refused.code == Code.INVENTORY_INVALID
        assert str(path) in refused.message
        assert words in refused.message


_SERVICES = "".join(HOST.format(name, f"http://{name}") + f'service = "{name}"\n' for name in ("web", "api", "db"))


def test_hosts_of_a_service_come_after_those_of_what_it_requires(tmp_path: Path) -> None:
    text = (
        _SERVICES + '[service.web]\nrequires = ["api", "db"]\n[service.api]\nrequires = ["db"]\n' + HOST.format("a", "http://a")
    )

    fleet = hosts.from_file(write(tmp_path / "f", text))

    assert [(target.name, target.rank) for target in fleet.targets] == [("web", 2), ("api", 1), ("db", 0), ("a", 0)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[service.wbe]\nrequires = ["api"]\n', 'service.wbe: no [[host]] has the service "wbe"'),
        ('[service.web]\nrequires = ["ap"]\n', 'service.web: no [[host]] has the service "ap"'),
        ('[service.web]\nrequire = ["api"]\n', 'service.web.require: is not a key here; did you mean "requires"?'),
        ('[service.web]\nrequires = "api"\n', "service.web.requires: must be a list of texts, not 'api'"),
        ("[service]\nweb = 1\n", "service.web: must be a table"),
        ("[[service]]\nname = 1\n", "service: must be tables, [service.NAME]"),
        ('[service.web]\nrequires = ["web"]\n', "service.web.requires: is circular: web -> web"),
    ],
)
def test_requires_of_a_fleet_toml_that_means_nothing_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert problems_of(hosts.from_file, write(tmp_path / "f", _SERVICES + text)) == [problem]


@pytest.mark.parametrize(
    ("held", "password"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"hunter2\n\n", "hunter2\n"),
        (b" hunter 2 ", " hunter 2 "),
        ("pässwörd\n".encode(), "pässwörd"),
    ],
)
def test_a_password_is_the_file_without_one_newline_at_its_end(tmp_path: Path, held: bytes, password: str) -> None:
    (tmp_path / "password").write_bytes(held)

    assert hosts.password(tmp_path / "password") == password


@pytest.mark.parametrize(
    ("held", "words"), [(b"", "is empty"), (b"\n", "is empty"), (b"\r\n", "is empty"), (b"hunter2\xff", "not UTF-8")]
)
def test_a_password_file_without_a_password_is_refused(tmp_path: Path, held: bytes, words: str) -> None:
    (tmp_path / "password").write_bytes(held)

    refused = refusal(hosts.password, tmp_path / "password")

    assert words in refused.message
    assert str(tmp_path / "password") in refused.message


def test_what_was_read_of_a_password_is_nowhere_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"hunter2\xff")

    refused = refusal(hosts.password, tmp_path / "password")

    assert refused.__cause__ is None
    assert refused.__context__ is None
    assert "hunter2" not in repr(refused) + refused.message + refused.hint


@pytest.mark.parametrize(("name", "words"), [("missing", "No such file"), (".", "Is a directory")])
def test_a_password_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, words: str) -> None:
    assert words in refusal(hosts.password, str(tmp_path / name)).message


@pytest.mark.parametrize(
    ("given", "read"), [([], {}), (["a=b"], {"a": "b"}), (["a=", "b=c=d"], {"a": "", "b": "c=d"}), (["a=b", "a=b"], {"a": "b"})]
)
def test_pairs(given: list[str], read: dict[str, str]) -> None:
    assert hosts.pairs(given) == read


def test_every_wrong_pair_is_told_at_once() -> None:
    assert problems_of(hosts.pairs, ["a", "=b", "c=1", "c=2"]) == [
        "pair[0]: must be KEY=VALUE, not 'a'",
        "pair[1]: must be KEY=VALUE, not '=b'",
        "pair[3]: \"c\" is '1' already, and cannot also be '2'",
    ]


@pytest.mark.parametrize(
    ("limit", "exclude", "left"),
    [
        ([], [], ["web-1", "web-2", "db-1", "spare"]),
        (["web-*"], [], ["web-1", "web-2"]),
        (["db-1", "web-1"], [], ["web-1", "db-1"]),
        (["db-1, web-1"], [], ["web-1", "db-1"]),
        (["service=web"], [], ["web-1", "web-2"]),
        (["service=w*"], [], ["web-1", "web-2"]),
        (["zone=*a"], [], ["web-1", "db-1"]),
        (["zone=*"], [], ["web-1", "web-2", "db-1"]),
        ([], ["web-?"], ["db-1", "spare"]),
        ([], ["zone=eu-1b,spare"], ["web-1", "db-1"]),
        (["service=web"], ["zone=eu-1a"], ["web-2"]),
        (["web-[!2]"], ["db-1"], ["web-1"]),
    ],
)
def test_limit_and_exclude_choose_hosts_and_keep_their_order(limit: list[str], exclude: list[str], left: list[str]) -> None:
    assert names(limit, exclude) == left


def test_a_name_with_brackets_means_itself() -> None:
    targets = hosts.from_arguments(["[::1]:9001", "[::2]:9001"])

    assert hosts.select(targets, ["[::2]:9001"], []) == targets[1:]


@pytest.mark.parametrize("pattern", ["wbe-1", "WEB-1", "web", "service=", "service=api", "zone=", "region=eu", "", "*=web"])
@pytest.mark.parametrize("option", ["--limit", "--exclude"])
def test_a_pattern_that_means_no_host_is_refused_by_name(option: str, pattern: str) -> None:
    limit, exclude = ([pattern], []) if option == "--limit" else ([], [pattern])

    assert problems_of(hosts.select, TARGETS, limit, exclude) == [f'{option}: "{pattern}" matches no host']


def test_every_pattern_that_means_no_host_is_told_at_once_with_hosts_there_are() -> None:
    many = [InventoryHost(f"h{i}", f"http://h{i}:9001") for i in range(6)]
    refused = refusal(hosts.select, many, ["h1,x", "y,"], ["z"])

    assert [line.rpartition(": ")[2] for line in refused.message.splitlines()[1:]] == [
        '"x" matches no host',
        '"y" matches no host',
        '"" matches no host',
        '"z" matches no host',
    ]
    assert "h0, h1, h2, h3, h4, …" in refused.hint


@pytest.mark.parametrize(("limit", "exclude"), [([], ["*"]), (["web-1"], ["service=web"])])
def test_a_choice_that_leaves_no_host_is_refused(limit: list[str], exclude: list[str]) -> None:
    refused = refusal(hosts.select, TARGETS, limit, exclude)

    assert (refused.code, refused.message) == (Code.FLEET_EMPTY, "none of 4 hosts is left to deploy to")


def test_an_inventory_without_hosts_is_refused() -> None:
    assert refusal(hosts.select, [], [], []).code == Code.FLEET_EMPTY
    assert refusal(hosts.select, [], ["web-1"], []).code == Code.FLEET_EMPTY
