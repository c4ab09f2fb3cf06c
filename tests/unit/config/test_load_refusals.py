from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from release_agent.config import load
from release_agent.errors import Misconfigured
from support.configuration import APP, MINIMAL, REPOSITORY, problems_of, write
from support.privileges import unprivileged

if TYPE_CHECKING:
    from pathlib import Path

PROBES = '[[service]]\nname = "web"\n[[service.probe]]\n'


def repositories(*places: str) -> str:
    return APP + "".join(f'[[repository]]\nname = "r{i}"\npath = "/repos/{i}"\n{place}\n' for i, place in enumerate(places))


@pytest.mark.parametrize("key", ["app.rpc_url", "supervisor.url", "service[0].probe[0].http"])
def test_a_password_in_a_url_is_refused_and_not_repeated(key: str) -> None:
    url = '"http://bob:hunter2@10.0.0.11:9001/"'
    text = {
        "app.rpc_url": APP + f"rpc_url = {url}\n" + REPOSITORY,
        "supervisor.url": MINIMAL + f"[supervisor]\nurl = {url}\n",
        "service[0].probe[0].http": MINIMAL + PROBES + f"http = {url}\n",
    }[key]

    problems = problems_of(text)

    assert problems[0] == f"{key}: must not hold credentials; they come from the environment or a file"
    assert "hunter2" not in "".join(problems)


def test_a_user_alone_in_a_url_is_a_credential_too() -> None:
    assert "credentials" in problems_of(MINIMAL + '[supervisor]\nurl = "http://token@host:9001"\n')[0]


@pytest.mark.parametrize(
    ("places", "pair"),
    [
        (('into = "a"', 'into = "a/b"'), '"a" and "a/b"'),
        (('into = "a"', 'into = "./a/"'), '"a" and "a"'),
        (('into = "."', 'into = "b"'), '"." and "b"'),
        (('into = "c"', 'into = "a/b"', 'into = "a"'), '"a/b" and "a"'),
    ],
)
def test_repositories_that_would_overlap_are_refused(places: tuple[str, ...], pair: str) -> None:
    assert problems_of(repositories(*places)) == [f"repository.into: {pair} overlap; each needs a place of its own"]


def test_repositories_side_by_side_pass() -> None:
    assert problems_of(repositories('into = "a"', 'into = "ab"', 'into = "b/a"')) == []


def test_several_repositories_each_need_a_place() -> None:
    assert problems_of(repositories('into = "a"', "")) == ["repository[1].into: is required if there are several repositories"]


def test_two_repositories_of_one_name_are_refused() -> None:
    text = APP + (REPOSITORY + 'into = "a"\n') + (REPOSITORY + 'into = "b"\n')

    assert problems_of(text) == ['repository.name: "api" is used twice']


def test_two_services_of_one_name_are_refused() -> None:
    assert problems_of(MINIMAL + '[[service]]\nname = "web"\n' * 2) == ['service.name: "web" is used twice']


@pytest.mark.parametrize("address", ["http://127.0.0.1:81{process_num}/", "http://h/{process_name}"])
def test_an_address_may_have_the_place_of_a_process_in_it(address: str) -> None:
    assert problems_of(MINIMAL + f'[[service]]\nname = "web"\n[[service.probe]]\nhttp = "{address}"\n') == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:81{process}/", "http://127.0.0.1:{port}/"])
def test_an_address_with_another_placeholder_is_refused(address: str) -> None:
    (problem, _) = problems_of(MINIMAL + f'[[service]]\nname = "web"\n[[service.probe]]\nhttp = "{address}"\n')

    assert problem.startswith("service[0].probe[0].http: must be a URL")


def test_rollouts_cannot_be_followed_where_consul_which_has_them_is_disabled() -> None:
    text = MINIMAL + '[revision]\nfollow = "rollout"\n'

    assert problems_of(text) == []
    (problem,) = problems_of(text + "[consul]\nenabled = false\n")
    assert problem == 'revision.follow: must not be "rollout" with [consul] enabled = false: Consul has the rollouts'


@pytest.mark.parametrize(
    "restart", ["", "reload", "signal:", "signal:SIGHUP", "signal:1", "signal:KILL", "signal:STOP", "kill:HUP"]
)
def test_no_ways_to_restart(restart: str) -> None:
    (problem,) = problems_of(MINIMAL + f'[[service]]\nname = "web"\nrestart = "{restart}"\n')

    assert problem.startswith('service[0].restart: must be "restart", "signal:HUP"')


@pytest.mark.parametrize(
    "probe", ["timeout = '1s'", "http = 'http://h/'\ntcp = 'h:1'", "tcp = 'h:1'\nexec = 'true'", "http = ''\ntcp = ''\nexec = ''"]
)
def test_a_probe_of_no_kind_or_of_two_is_refused(probe: str) -> None:
    assert problems_of(MINIMAL + PROBES + probe) == ["service[0].probe[0]: must have exactly one of http, tcp and exec"]


@pytest.mark.parametrize("tcp", ["6379", ":6379", "host:", "host:http", "host:６"])
def test_a_tcp_probe_needs_a_host_and_a_port(tcp: str) -> None:
    assert problems_of(MINIMAL + PROBES + f'tcp = "{tcp}"\n')[0].startswith('service[0].probe[0].tcp: must be "host:port"')


@pytest.mark.parametrize("tcp", ["127.0.0.1:6379", "[::1]:6379", "redis:6379"])
def test_tcp_probes(tcp: str) -> None:
    assert problems_of(MINIMAL + PROBES + f'tcp = "{tcp}"\n') == []


def test_a_branch_carries_no_signature() -> None:
    (problem,) = problems_of(MINIMAL + '[revision]\nfollow = "branch"\nsigned = true\n')

    assert problem == 'revision.signed: must be false with follow = "branch": only tags are signed'


@pytest.mark.parametrize("follow", ["tag", "pin"])
def test_signatures_go_with_tags_and_pins(follow: str) -> None:
    assert problems_of(MINIMAL + f'[revision]\nfollow = "{follow}"\nsigned = true\n') == []


@pytest.mark.parametrize("branch", ["", "-x", "a b", "a:b", "a^", "a~1", "a?", "a*", "a[", "a\\\\b"])
def test_no_branches(branch: str) -> None:
    assert problems_of(MINIMAL + f'[revision]\nbranch = "{branch}"\n')[0].startswith("revision.branch: must be a branch")


@pytest.mark.parametrize("branch", ["main", "origin/main", "feature/ünïcode-1"])
def test_branches(branch: str) -> None:
    assert problems_of(MINIMAL + f'[revision]\nbranch = "{branch}"\n') == []


def test_a_shared_path_cannot_be_a_file_and_a_directory() -> None:
    assert problems_of(MINIMAL + '[shared]\ndirectories = ["var"]\nfiles = ["var/.env"]\n') == [
        'shared: "var" and "var/.env" overlap'
    ]


@pytest.mark.parametrize("keep", [0, 1001, '"5"', "true"])
def test_something_healthy_is_always_kept(keep: object) -> None:
    assert problems_of(APP + f"keep = {keep}\n" + REPOSITORY)[0].startswith("app.keep: must be a whole number from 1 to 1000")


@pytest.mark.parametrize(
    ("name", "right"), [("a" * 63, True), ("a" * 64, False), ("-a", False), ("a-", False), ("a.b", False), ("Ab-9", True)]
)
def test_the_applications_name_becomes_a_dns_label(name: str, right: bool) -> None:
    assert (problems_of(APP.replace('"api"', f'"{name}"') + REPOSITORY) == []) is right


@pytest.mark.parametrize("name", ["web:x", "a b", "a,b", "[a]", ""])
def test_no_names_of_supervisor_groups(name: str) -> None:
    assert problems_of(MINIMAL + f'[[service]]\nname = "{name}"\n')[0].startswith(
        "service[0].name: must be the name of a supervisor"
    )


@pytest.mark.parametrize("prefix", ["", "/a", "a/", "a//b", "a b"])
def test_no_prefixes_of_keys_in_consul(prefix: str) -> None:
    assert problems_of(MINIMAL + f'[consul]\nprefix = "{prefix}"\n')[0].startswith("consul.prefix: must be a key in Consul")


def test_a_secret_under_a_key_that_is_none_is_not_repeated() -> None:
    problems = problems_of(MINIMAL + '[supervisor]\npassword = "hunter2"\n')

    assert problems == ['supervisor.password: is not a key here; did you mean "url"?']


@pytest.mark.parametrize("table", ["service", "repository"])
def test_a_table_written_with_one_pair_of_brackets(table: str) -> None:
    text = (APP if table == "repository" else MINIMAL) + f'[{table}]\nname = "x"\n'

    assert problems_of(text) == [f"{table}: must be an array of tables, [[{table}]]"]


def test_a_hook_is_a_table_with_a_command() -> None:
    assert problems_of(MINIMAL + '[hooks]\nbuild = [{ run = "", timeout = "0s", time = "x" }]\n') == [
        'hooks.build[0].time: is not a key here; did you mean "timeout"?',
        "hooks.build[0].run: must not be empty, not ''",
        "hooks.build[0].timeout: must be greater than zero, not '0s'",
    ]


@pytest.mark.parametrize(
    "umask", ['"9"', '"2"', '"0o002"', '"u=rwx"', "2", "0o002", '"1777"', '"700"', '"00002"', '"002 "', "true", '"٠٠٢"']
)
def test_an_umask_is_an_octal_string_that_keeps_nothing_from_the_owner(umask: str) -> None:
    (problem,) = problems_of(MINIMAL + f'[hooks]\nbuild = [{{ run = "make", umask = {umask} }}]\n')

    assert problem.startswith('hooks.build[0].umask: must be an octal string such as "002"')


@pytest.mark.parametrize(
    ("mode", "hint"),
    [
        (0o640, "run it as root, or as a user in the group 12346, who may read {}"),
        (0o600, "run it as 12345, who owns {}, or as root"),
    ],
)
def test_who_may_not_read_the_configuration_is_told_which_user_to_be(open_place: Path, mode: int, hint: str) -> None:
    file = open_place / "agent.toml"
    file.touch()
    file.chmod(mode)
    os.chown(file, 12345, 12346)

    with unprivileged(), pytest.raises(Misconfigured) as refused:
        load.load(str(file), {})

    assert refused.value.hint == hint.format(file)


def services(**after: str) -> str:
    """Return sections of services, each with what its ``after`` says; none where that is empty."""
    return MINIMAL + "".join(
        f'[[service]]\nname = "{name}"\n' + (f"after = {waits}\n" if waits else "") for name, waits in after.items()
    )


TWICE = ['service.name: "web" is used twice', 'service[0].after: "db" is not the name of a service']
CIRCLE = ": a circle; a service without `after` waits for the one before it in the list"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (services(web='["web"]'), [f"service.after: web waits for web{CIRCLE}"]),
        (services(web='["db"]', db=""), [f"service.after: web waits for db waits for web{CIRCLE}"]),
        (
            services(a='["b"]', b='["a"]', c='["d", "nobody"]', d=""),
            [
                'service[2].after: "nobody" is not the name of a service',
                f"service.after: a waits for b waits for a{CIRCLE}",
                f"service.after: c waits for d waits for c{CIRCLE}",
            ],
        ),
        (services(web='"db"', db=""), ["service[0].after: must be a list of texts, not 'db'"]),
        (services(web="[7]"), ["service[0].after: must be the name of a supervisor group, not [7]"]),
        (services(web='["db"]') + '[[service]]\nname = "web"\nafter = ["web"]\n', TWICE),
    ],
)
def test_services_that_wait_for_nobody_or_for_one_another_are_refused(text: str, problems: list[str]) -> None:
    assert problems_of(text) == problems


@pytest.mark.parametrize(
    "key",
    [".".join(["a"] * 400), ".".join(['"\u2028"'] * 400), "x = {" + ".".join(['"a"'] * 400), "[" + " . ".join(["a"] * 400) + "]"],
)
def test_key_of_hundreds_of_parts_is_refused_unread_because_it_would_take_long(tmp_path: Path, key: str) -> None:
    file = write(tmp_path / "release-agent.toml", f"{MINIMAL}\n{key} = 1\n")

    with pytest.raises(Misconfigured, match=rf"a key has more than 300 parts \(at line {MINIMAL.count(chr(10)) + 2}\)"):
        load.load(str(file), {})


def test_text_with_hundreds_of_dots_is_no_key(tmp_path: Path) -> None:
    file = write(tmp_path / "release-agent.toml", f'{MINIMAL}\n[hooks]\nbuild = [{{ run = "echo {"." * 400}" }}]\n')

    assert load.load(str(file), {}).hooks.build[0].run == "echo " + "." * 400
