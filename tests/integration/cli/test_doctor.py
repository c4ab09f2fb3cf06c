"""Doctor finds every fault of a set-up, and says how to fix it."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from support.servers import free_port

if TYPE_CHECKING:
    from support.host import Host


def _findings(host: Host, level: str = "fault", **environment: str) -> list[dict[str, Any]]:
    ran = host.agent("doctor", "--json", **environment)
    found: list[dict[str, Any]] = [finding for finding in ran.json if finding["level"] == level]
    faults = [finding for finding in ran.json if finding["level"] == "fault"]
    assert ran.code == (30 if faults else 0)
    assert all(finding["hint"] for finding in faults), "each with the way to mend it"
    assert all(set(finding) == {"check", "level", "message", "hint"} for finding in ran.json)
    return found


def _messages(host: Host, **environment: str) -> str:
    return "\n".join(f"{finding['check']}: {finding['message']}" for finding in _findings(host, **environment))


def test_good_set_up_has_no_fault(host: Host) -> None:
    assert _findings(host) == []
    host.deploy()
    assert _findings(host) == []


def test_no_supervisor(host: Host) -> None:
    assert "supervisor: supervisor at unix:///nowhere does not answer" in _messages(host, SUPERVISOR_SERVER_URL="unix:///nowhere")


def test_supervisor_that_wants_a_password(cold_host: Host) -> None:
    host = cold_host
    host.repository.release("v1.0.0")
    port = free_port()
    host.services.append(f"[inet_http_server]\nport=127.0.0.1:{port}\nusername=agent\npassword=secret-secret\n")
    host.start()
    url = f"http://127.0.0.1:{port}"

    assert "supervisor: supervisor at " in _messages(host, SUPERVISOR_SERVER_URL=url)
    credentials = {"SUPERVISOR_USERNAME": "agent", "SUPERVISOR_PASSWORD": "secret-secret"}
    assert _findings(host, SUPERVISOR_SERVER_URL=url, **credentials) == []
    assert host.deploy(SUPERVISOR_SERVER_URL=url, **credentials).code == 0


def test_repository_that_is_missing(host: Host) -> None:
    host.configure(repository='[[repository]]\nname = "api"\npath = "/nowhere"')

    assert "repository api: repository api at /nowhere cannot be read" in _messages(host)


def test_a_service_that_supervisorctl_update_left_stopped_is_told_by_status_and_doctor(host: Host) -> None:
    host.deploy()
    configuration = host.path / "supervisord.conf"
    configuration.write_text(configuration.read_text().replace("stopwaitsecs=10", "stopwaitsecs=11"))

    assert "web: updated process group" in host.supervisorctl("update").out

    told = "nothing has started it since supervisor read its section, as after `supervisorctl update`"
    assert f"web is STOPPED ({told}; start it: supervisorctl start web)" in host.agent("status").out
    (fault,) = _findings(host)
    assert (fault["check"], fault["message"]) == ("service web", f"web is STOPPED: {told}")
    assert fault["hint"].startswith("supervisorctl start web")
    host.supervisorctl("start", "web")
    assert _findings(host) == []


@pytest.mark.needs("mount")
def test_releases_on_another_mount(host: Host) -> None:
    host.deploy()
    releases = host.root / "releases"
    # A bind mount of the same disk: the same device number, and still no rename into it.
    subprocess.run(["mount", "--bind", releases, releases], check=True)
    try:
        assert f"root: {releases} is on another mount than {host.root}" in _messages(host)
    finally:
        subprocess.run(["umount", releases], check=True)


@pytest.mark.needs("mount")
def test_root_on_a_read_only_mount(host: Host) -> None:
    host.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", host.root], check=True)
    try:
        assert f"root: {host.root} is not writable" in _messages(host)
        ran = host.deploy()
        assert (ran.code, ran.json["error"]["code"]) == (13, "root-unusable")
    finally:
        subprocess.run(["umount", host.root], check=True)


def test_service_that_supervisor_does_not_know(host: Host) -> None:
    host.configure(service='[[service]]\nname = "wbe"')

    assert "service wbe: supervisor does not know a group wbe" in _messages(host)


@pytest.mark.parametrize(
    ("section", "setting", "said"),
    [
        ("web", "startsecs=0", "service web: startsecs is 0"),
        ("deploy", "startsecs=1", "program deploy: startsecs is 1"),
        ("deploy", "startretries=3", "program deploy: startretries is 3"),
        ("deploy", "exitcodes=0,20", "program deploy: exitcodes is [0, 20]"),
        ("web", "user=root", "service web: runs as user 0, who owns the releases"),
    ],
)
def test_program_that_is_set_up_wrong(cold_host: Host, section: str, setting: str, said: str) -> None:
    host = cold_host
    host.repository.release("v1.0.0")
    if section == "web":
        host.services = [_changed(host.service("web"), setting)]
    else:
        host.deploy_settings = setting
    host.start()

    assert said in _messages(host)


def test_python_that_is_started_through_the_link_to_the_live_release(cold_host: Host) -> None:
    host = cold_host
    host.repository.release("v1.0.0")
    python = host.root / "current" / ".venv" / "bin" / "python3"
    host.services = [_changed(host.service("web"), f"command={python} -m app")]
    host.start()

    (found,) = [finding for finding in host.agent("doctor", "--json").json if "imports packages" in finding["message"]]

    assert (found["check"], found["level"]) == ("service web", "warning")
    assert found["hint"] == f"set directory={host.root}/current and command=env .venv/bin/python3 …"


def _changed(section: str, setting: str) -> str:
    key = setting.split("=", maxsplit=1)[0]
    return "\n".join([*(line for line in section.splitlines() if not line.startswith(key)), setting, ""])


def test_shared_directory_that_no_service_may_write_into_is_a_warning_until_it_is_handed_over(host: Host) -> None:
    host.configure('[shared]\ndirectories = ["data"]')
    assert _shared(host) == []
    assert host.deploy().code == 0
    (found,) = _shared(host)
    place = host.root / "shared/data"

    assert found["message"].startswith(f"{place} (")
    assert found["message"].endswith(" is not writable for nobody (runs web)")
    command = found["hint"].removeprefix("as root: ").partition("; ")[0]
    subprocess.run(["sh", "-euc", command], check=True)
    assert _shared(host) == []


def _shared(host: Host) -> list[dict[str, Any]]:
    return [finding for finding in _findings(host, "warning") if finding["check"].startswith("shared ")]


def test_consul_that_cannot_be_reached(host: Host) -> None:
    host.configure(consul="enabled = true")

    assert "consul: cannot connect to Consul at" in _messages(host, CONSUL_HTTP_ADDR=f"127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ("stderr_logfile=/dev/fd/2\nstderr_logfile_maxbytes=0", True),
        ("stderr_logfile=/dev/fd/2\nstderr_logfile_maxbytes=0\nstderr_events_enabled=true", False),
        ("redirect_stderr=true\nstdout_logfile=/dev/fd/1\nstdout_logfile_maxbytes=0\nstderr_events_enabled=false", True),
        ("", False),
    ],
)
def test_log_that_cannot_be_read_again_is_a_warning_unless_the_plugin_hears_it(
    cold_host: Host, settings: str, warned: bool
) -> None:
    cold_host.services = [cold_host.service("web") + settings + "\n"]
    cold_host.repository.release("v1.0.0")
    cold_host.start()

    told = [finding["message"] for finding in _findings(cold_host, "warning")]

    assert any("the agent cannot read its log" in message for message in told) is warned


# Nobody but root may look into it, not even its own user: as nginx's workers are, which have changed their user themselves.
CLOSED = """\
import ctypes, os, socket, time
ctypes.CDLL(None).prctl(4, 0)
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
while True:
    client, _ = server.accept()
    client.recv(9999)
    client.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nv1.0.0")
    client.close()
"""


@pytest.mark.parametrize(("contained", "expect", "warned"), [(True, "", True), (True, "v1", False), (False, "", False)])
def test_service_that_nobody_may_look_into_is_a_warning_unless_a_probe_expects_something(
    cold_host: Host, expect: str, *, contained: bool, warned: bool
) -> None:
    host = cold_host
    host.configure(service=host.probed("10s") + f'\nexpect = "{expect}"' if expect else host.probed("10s"))
    host.repository.release("v1.0.0", **{"web.py": CLOSED})
    host.start(contained=contained)
    assert host.deploy().code == 0

    told = [finding for finding in _findings(host, "warning") if finding["check"] == "old code web"]

    assert bool(told) is warned
    assert not told or (str(host.process()[1]) in told[0]["message"] and "SYS_PTRACE" in told[0]["hint"])


@pytest.mark.parametrize(("restart", "warned"), [("signal:HUP", True), ("restart", False)])
def test_without_the_plugin_nobody_sees_old_code_after_a_signal(cold_host: Host, restart: str, *, warned: bool) -> None:
    host = cold_host
    host.configure(service=f'[[service]]\nname = "web"\nrestart = "{restart}"')
    host.repository.release("v1.0.0")
    host.start(plugin=False)

    told = [finding for finding in _findings(host, "warning") if finding["check"] == "old code web"]

    assert bool(told) is warned
    assert not told or "plugin.conf" in told[0]["hint"]


def test_signer_file_that_is_missing(host: Host) -> None:
    host.configure(revision='[revision]\nsigned = true\nallowed_signers = "/nowhere/signers"')

    assert "signers: /nowhere/signers is missing or unreadable" in _messages(host)


@pytest.mark.parametrize("damage", ["lost", "broken"])
def test_journal_that_is_lost_or_broken_is_rebuilt_by_repair(host: Host, damage: str) -> None:
    one = host.deploy("v1.0.0").json["release"]
    host.deploy("v1.1.0")
    database = host.root / ".release-agent" / "state.db"
    if damage == "lost":
        database.unlink()
    else:
        database.write_bytes(b"not a database" * 1000)

    assert f"journal: {database} is {damage}" in _messages(host)
    assert host.agent("doctor", "--repair").code == 0
    assert [entry["revision"] for entry in host.history()] == ["v1.1.0", "v1.0.0"]
    assert host.agent("rollback", "--json").json["release"] == one
    assert bool(list(database.parent.glob("state.db.broken-*"))) is (damage == "broken")


def test_journal_that_holds_what_no_agent_wrote_is_rebuilt_by_repair(host: Host) -> None:
    one = host.deploy("v1.0.0").json["release"]
    host.deploy("v1.1.0")
    database = host.root / ".release-agent" / "state.db"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("UPDATE deployment SET record = x'ff00', commits = x'ff00', started_at = x'ff00'")

    assert f"journal: the journal {database} cannot be used" in _messages(host)
    assert host.agent("doctor", "--repair").code == 0
    assert [entry["revision"] for entry in host.history()] == ["v1.1.0", "v1.0.0"]
    assert host.agent("rollback", "--json").json["release"] == one


@pytest.mark.parametrize("damage", ["lost", "broken"])
def test_next_deployment_rebuilds_a_lost_or_broken_journal_and_says_so(host: Host, damage: str) -> None:
    host.deploy("v1.0.0")
    live = host.deploy("v1.1.0").json["release"]
    database = host.root / ".release-agent" / "state.db"
    if damage == "lost":
        database.unlink()
    else:
        database.write_bytes(b"not a database" * 1000)

    ran = host.deploy("v1.1.0")

    assert (ran.code, ran.json["outcome"], ran.json["release"]) == (0, "unchanged", live)
    assert ran.events("journal.rebuilt")
    assert host.status()["previous"]["revision"] == "v1.0.0"
