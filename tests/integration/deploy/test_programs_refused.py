"""The agent refuses forbidden or wrong programs of a release before it builds anything; nothing of the host changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.brought import RELEASE_TOML, allow_programs, file_of, groups, idle, pids, program, release
from support.fcgi import fcgi_program
from support.host import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = "[program:x]\ncommand=/bin/sleep 600\nuser=nobody\n"
OF_FILES = {
    "unknown section": ("[include]\nfiles=/etc/*\n", "supervisor.d/all.conf ['include']: is not allowed in a release"),
    "default section": ("[DEFAULT]\nuser=root\n" + PLAIN, "['DEFAULT']: is not allowed in a release"),
    "supervisord itself": ("[supervisord]\nuser=root\n", "['supervisord']: is not allowed in a release"),
    "event listener": ("[eventlistener:x]\ncommand=x\nevents=TICK_5\n", "['eventlistener:x']: is not allowed in a release"),
    "rpc interface": ("[rpcinterface:x]\nsupervisor.rpcinterface_factory=os:abort\n", "is not allowed in a release"),
    "the agent's own": (PLAIN.replace(":x", ":deploy"), "[program:deploy]: is the container's own"),
    "an agent's name": (PLAIN.replace(":x", ":monitor"), "[program:monitor]: is the container's own"),
    "a process named deploy": (PLAIN + "process_name=deploy\n", "deploy is a name of the agent's own programs"),
    "the agent": (PLAIN.replace("/bin/sleep 600", "release-agent deploy"), "[program:x] command: runs the agent itself"),
    "the container's program": (PLAIN.replace(":x", ":theirs"), "[program:theirs]: is the container's own"),
    "program of their group": (
        "[group:x]\nprograms=theirs\n",
        "[group:x] names unknown program or fcgi-program theirs",
    ),
    "wrong value": (PLAIN + "autorestart=maybe\n", "[program:x] autorestart: invalid 'autorestart' value 'maybe'"),
    "wrong autostart": (PLAIN + "autostart=maybe\n", "[program:x] autostart: not a valid boolean value: 'maybe'"),
    "two wrong values": (PLAIN + "startsecs=soon\nstopsignal=NICE\n", "[program:x] stopsignal: value 'NICE'"),
    "unknown key": (
        PLAIN + "autorestrat=true\n",
        'autorestrat: is not a key of supervisor\'s; did you mean "autorestart"?',
    ),
    "key of a group": ("[group:x]\nprograms=y\nuser=nobody\n" + PLAIN.replace(":x", ":y"), "[group:x] user: is not a key"),
    "no command": ("[program:x]\nuser=nobody\n", "does not specify a command"),
    "no such user": (PLAIN.replace("nobody", "nosuch"), "[program:x] user: Invalid user name nosuch"),
    "root": (PLAIN.replace("nobody", "root"), "[program:x] user: must be one of the users for programs of releases: nobody"),
    "no user": (PLAIN.replace("user=nobody\n", ""), "otherwise the program runs as root"),
    "another user": (PLAIN.replace("nobody", "daemon"), "[program:x] user: must be one of the users"),
    "log written by root": (PLAIN + "stdout_logfile=/etc/cron.d/x\n", "supervisord would write '/etc/cron.d/x' as root"),
    "root by the name of its group": (
        "[group:root]\nprograms=nobody\n[program:nobody]\ncommand=id\nuser=%(group_name)s\n",
        "[program:nobody] user: must be one of the users",
    ),
    "log by the name of its group": (
        PLAIN.replace(":x", ":null") + "stdout_logfile=/dev/%(group_name)s\n[group:sda]\nprograms=null\n",
        "[program:null] stdout_logfile: must be AUTO",
    ),
    "log of the second process": (
        PLAIN + "stdout_logfile=/dev/fd/%(process_num)d\nprocess_name=x%(process_num)d\nnumprocs=9\nnumprocs_start=1\n",
        "[program:x] stdout_logfile: must be AUTO",
    ),
    "log of the container that root would rename": (
        PLAIN + "stdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=1\n",
        "[program:x] stdout_logfile_maxbytes: must be 0",
    ),
    "socket made by root": (
        PLAIN.replace("program", "fcgi-program") + "socket=unix:///etc/passwd\n",
        "[fcgi-program:x] socket: must be a TCP socket, or lie in /run",
    ),
    "no socket": (PLAIN.replace("program", "fcgi-program"), '[fcgi-program:x] section requires a "socket" line'),
    "unclosed quote": (PLAIN.replace("/bin/sleep", "'/bin/sleep"), "[program:x] command: supervisor cannot split it"),
    "stop that takes for ever": (PLAIN + "stopwaitsecs=90000\n", "[program:x] stopwaitsecs: must be at most 86400"),
    "two groups of a name": (
        PLAIN + PLAIN.replace("program", "fcgi-program") + "socket=tcp://127.0.0.1:1\n",
        "is the name of two groups",
    ),
    "group named as a program": (PLAIN + "[group:x]\nprograms=y\n" + PLAIN.replace(":x", ":y"), "is the name of two groups"),
    "program in two groups": (PLAIN + "[group:a]\nprograms=x\n[group:b]\nprograms=x\n", "program 'x' is in several groups"),
    "unknown variable": (PLAIN + "directory=%(ENV_NO_SUCH)s\n", "[program:x] directory: Format string '%(ENV_NO_SUCH)s'"),
    "a width": (PLAIN + 'environment=A="%(here)999999999s"\n', "[program:x] environment: has a % that does not start a"),
    "a lone percent": (PLAIN + 'environment=A="100%"\n', "[program:x] environment: has a % that does not start a"),
    "wrong environment": (PLAIN + "environment=A\n", "[program:x] environment: Unexpected end of key/value pairs"),
    "many processes": (PLAIN + "numprocs=1000000000\nprocess_name=%(process_num)d\n", "must be a whole number from 1 to 64"),
    "many in all": (
        "".join(f"[program:x{i}]\ncommand=x\nuser=nobody\nnumprocs=50\nprocess_name=%(process_num)d\n" for i in range(2)),
        "there are more than 64 processes",
    ),
    "one name for two": (PLAIN + "numprocs=2\nprocess_name=x\n", "process_num"),
    "number beyond XML-RPC": (PLAIN + "stopwaitsecs=99999999999\n", "[program:x] stopwaitsecs: must be at most"),
    "huge log": (PLAIN + "stdout_logfile_maxbytes=50GB\n", "[program:x] stdout_logfile_maxbytes: must be at most"),
    "backups that supervisord would count for ever": (
        PLAIN + "stderr_logfile_backups=2000000000\n",
        "[program:x] stderr_logfile_backups: must be at most 100",
    ),
    "capture that fills supervisord's memory": (
        PLAIN + "stdout_capture_maxbytes=1GB\n",
        "[program:x] stdout_capture_maxbytes: must be at most 1048576",
    ),
    "host that supervisord would look up": (
        PLAIN.replace("program", "fcgi-program") + "socket=tcp://db.example.com:80\n",
        "[fcgi-program:x] socket: must be at an IPv4 address or localhost",
    ),
    "a width that is hidden from the first expansion": (
        PLAIN + "stdout_logfile=/%%(here)99999999s\n",
        "[program:x] stdout_logfile: supervisor expands it twice",
    ),
    "a width that is hidden in a variable": (
        PLAIN + 'stdout_logfile=/%(ENV_A)s\nenvironment=A="%%(here)99999999s"\n',
        "[program:x] stdout_logfile: supervisor expands it twice",
    ),
    "many expansions": (PLAIN + f'environment=A="{"x" * 4000}"\ndirectory=/{"%(ENV_A)s" * 300}\n', "more than 64 expansions"),
    "command that is long in each process": (
        PLAIN.replace("sleep 600", "sleep " + "%(ENV_A)s" * 60)
        + f'environment=A="{"x" * 4000}"\nnumprocs=64\nprocess_name=%(process_num)d\n',
        "the commands of all processes have more than 65536 characters",
    ),
    "environment that is long in each process": (
        PLAIN + f'environment=A="{"x" * 4000}",B="%(ENV_PATH)s"\nnumprocs=64\nprocess_name=%(process_num)d\n'
        f"directory=/{'%(ENV_A)s' * 10}\n",
        "the values of all processes have more than 1048576 characters",
    ),
    "group that hides its programs": (
        "[group:x]\nprograms=%(host_node_name)s\n",
        "[group:x] programs: must name its programs without %",
    ),
    "twice": (PLAIN + PLAIN, "is not a configuration file of supervisor"),
    "no section": ("command=x\n", "is not a configuration file of supervisor"),
    "binary": ("\x00\x01\x02ELF", "is not a configuration file of supervisor"),
    "control character": (PLAIN + "directory=/tmp/\x07\n", " directory: has a control character"),
    "odd name": (PLAIN.replace(":x", ":a b"), "must have a name of letters"),
    "too large": (PLAIN + f";{'x' * 70_000}\n", "the limit is 65536 in 64"),
    "long value": (PLAIN + f"directory=/{'x' * 5000}\n", "has more than 4096 characters"),
    "many sections": ("".join(PLAIN.replace(":x", f":x{i}") for i in range(65)), "more than 64 sections"),
}


@pytest.fixture(scope="module")
def refusing() -> Iterator[Host]:
    """A host with a service of its own and a live release that brings another, for tests that change nothing of it."""
    host = Host()
    host.configure(service="")
    allow_programs(host, "[program:theirs]\ncommand=/bin/sleep 600\nautostart=false\n").start()
    release(host, "v1.0.0", idle(host, "worker"))
    assert host.deploy().code == 0
    yield host
    host.close()


def refused(host: Host, text: str | bytes, why: str, *, code: str = "programs-invalid") -> None:
    """A dry run and a deployment are refused, and the host is as before."""
    before = (host.live(), pids(host), groups(host), file_of(host).read_text())
    host.repository.commit({"supervisor.d/all.conf": text})
    for arguments in (("--dry-run", host.repository.head), (host.repository.head,)):
        ran = host.deploy(*arguments)
        assert (ran.code, ran.json["error"]["code"]) == (13, code), ran.err
        assert why in ran.json["error"]["message"]
        assert "Traceback" not in ran.err
    assert (host.live(), pids(host), groups(host), file_of(host).read_text()) == before
    assert "Traceback" not in (host.path / "supervisord.log").read_text()


@pytest.mark.parametrize("how", OF_FILES)
def test_programs_that_are_wrong_are_refused_before_anything_is_built(refusing: Host, how: str) -> None:
    refused(refusing, *OF_FILES[how])


def test_variable_of_supervisords_is_not_shown_in_what_is_refused(cold_host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter-two%")
    host = allow_programs(cold_host)
    host.configure(service="")
    host.start()
    for line in ("autorestart", "user", "stdout_logfile", "process_name", "stopsignal", "command", "of the group"):
        value = "%(ENV_DATABASE_PASSWORD)s" + ("'/" if line in ("command", "process_name") else "")
        of_group = f"[group:y]\nprograms=x\npriority={value if line == 'of the group' else 1}"
        values = {"command": "x", "user": "nobody", **({} if line == "of the group" else {line: value})}
        release(host, "", "\n".join(["[program:x]", *(f"{key}={value}" for key, value in values.items()), of_group]))
        ran = host.deploy("--dry-run", host.repository.head)
        assert (ran.code, ran.json["error"]["code"]) == (13, "programs-invalid"), (line, ran.err)
        assert "hunter" not in ran.err + ran.out


def test_two_files_cannot_bring_the_same_program(refusing: Host) -> None:
    refusing.repository.commit({"supervisor.d/b.conf": PLAIN})
    refused(refusing, PLAIN, "supervisor.d/b.conf [program:x]: is also in supervisor.d/all.conf")
    (refusing.repository.path / "supervisor.d" / "b.conf").unlink()


def test_files_beyond_number_are_not_read(refusing: Host) -> None:
    refusing.repository.commit({f"supervisor.d/more-{i}.conf": "\n" for i in range(65)})
    refused(refusing, PLAIN, "bytes in 66 files")
    for i in range(65):
        (refusing.repository.path / f"supervisor.d/more-{i}.conf").unlink()


def test_a_link_is_not_followed(refusing: Host) -> None:
    link = refusing.repository.path / "supervisor.d" / "z.conf"
    link.symlink_to("/etc/passwd")
    refused(refusing, PLAIN, "not a regular file: ")
    link.unlink()


def test_a_pattern_that_names_nothing_refuses_the_revision(refusing: Host) -> None:
    refusing.repository.commit({"release.toml": 'programs = "elsewhere/*.conf"\n'})

    ran = refusing.deploy(refusing.repository.head)

    assert (ran.code, ran.json["error"]["code"]) == (12, "release-toml-invalid")
    assert '"elsewhere/*.conf" names no file' in ran.json["error"]["message"]
    refusing.repository.commit({"release.toml": RELEASE_TOML.format(deadline="60s")})


@pytest.mark.parametrize(
    "hook",
    [
        "rm supervisor.d/all.conf && mkfifo supervisor.d/all.conf",
        "rm supervisor.d/all.conf && ln -s /etc/shadow supervisor.d/all.conf",
        "mv supervisor.d/all.conf all && ln -s ../all supervisor.d/all.conf",
        "mv supervisor.d s && ln -s s supervisor.d",
        "rm supervisor.d/all.conf && mkdir supervisor.d/all.conf",
        "truncate -s 100M supervisor.d/all.conf",
        "echo user=root >> supervisor.d/all.conf",
        "rm -r supervisor.d",
    ],
)
def test_what_a_hook_makes_of_the_programs_is_checked_before_it_is_published(cold_host: Host, hook: str) -> None:
    host = allow_programs(cold_host)
    host.configure(service="")
    host.start()
    release(host, "v1.0.0", idle(host, "worker"))
    assert host.deploy().code == 0
    before = (host.live(), pids(host))
    toml = RELEASE_TOML.format(deadline="60s")
    host.repository.commit({"release.toml": f"{toml}[hooks]\nbuild = [{{ run = '{hook}' }}]\n"}, tag="v1.1.0")

    ran = host.deploy()

    assert ran.code in (12, 13), ran.err
    assert (host.live(), pids(host)) == before
    assert "Traceback" not in ran.err


def test_supervisord_that_takes_no_programs_says_how_it_would(cold_host: Host) -> None:
    host = cold_host
    host.configure(service="")
    host.services = []
    host.start()
    release(host, "v1.0.0", idle(host, "worker"))

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "service-refused")
    assert "[rpcinterface:release] has no `programs`" in ran.json["error"]["message"]


def test_a_file_that_supervisord_does_not_include_is_found_before_anything_is_built(cold_host: Host) -> None:
    host = allow_programs(cold_host)
    host.services = []
    host.configure(service="")
    host.start()
    release(host, "v1.0.0", idle(host, "worker"))

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "service-refused")
    assert "[include] does not name it" in ran.json["error"]["message"]


def test_without_the_plugin_a_release_brings_no_programs(cold_host: Host) -> None:
    host = allow_programs(cold_host)
    host.configure(service="")
    host.start(plugin=False)
    release(host, "v1.0.0", idle(host, "worker"))

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "plugin-needed")


def test_service_that_only_the_live_release_brings_is_unknown_to_the_next_one(cold_host: Host) -> None:
    host = allow_programs(cold_host)
    host.configure(service="")
    host.start()
    release(host, "v1.0.0", idle(host, "worker"))
    assert host.deploy().code == 0
    toml = RELEASE_TOML.format(deadline="60s") + '[[service]]\nname = "worker"\n'
    release(host, "v1.1.0", idle(host, "other"), **{"release.toml": toml})

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "service-unknown")


def test_broken_configuration_of_the_container_is_found_before_anything_is_built(cold_host: Host) -> None:
    host = allow_programs(cold_host)
    host.configure(service="")
    host.start()
    (host.path / "more").mkdir()
    (host.path / "more" / "broken.conf").write_text("[program:broken]\n")
    release(host, "v1.0.0", program(host), fcgi_program(host).replace("web", "other"))

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "service-refused")
    assert "cannot read its own configuration" in ran.json["error"]["message"]
