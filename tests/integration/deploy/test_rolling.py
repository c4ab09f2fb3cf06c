"""A rolling service is never down: each process is replaced and proved healthy before the next one is touched."""

from __future__ import annotations

import contextlib
import http.client
import socket
from typing import TYPE_CHECKING

import pytest

from support.fcgi import SERVER, fcgi_program, processes
from support.load import Load
from support.servers import free_port
from support.waiting import ended, eventually

if TYPE_CHECKING:
    from support.host import Host

PORTS = """\
[program:web]
process_name=%(program_name)s_%(process_num)d
numprocs=2
command=/usr/bin/python3 -IS {root}/current/web.py %(process_num)d
user=nobody
autostart=false
startsecs=0
"""
ROLLING = '[[service]]\nname = "web"\nrestart = "rolling"\n'


def rolled(host: Host, numprocs: int = 3) -> Host:
    host.services = [fcgi_program(host, numprocs)]
    host.configure(service=ROLLING, health='[health]\ndeadline = "60s"\nstable_for = "100ms"')
    for number in range(4):
        host.repository.release(f"v1.{number}.0", **{"web.py": SERVER})
    host.start()
    assert host.deploy("v1.0.0").code == 0
    return host


def test_no_request_is_lost_while_processes_are_rolled(cold_host: Host) -> None:
    host = rolled(cold_host)
    before = processes(host)
    load = Load(host.port)

    with load.running():
        for number in range(1, 4):
            assert host.deploy(f"v1.{number}.0").code == 0
        assert host.agent("rollback").code == 0
        eventually(lambda: load.answers[-1] == "v1.2.0", "the release before answers")

    assert load.lost == []
    assert set(load.answers) == {"v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0"}
    assert not set(before.values()) & set(processes(host).values())


def test_first_process_that_does_not_come_up_ends_it_and_no_other_is_touched(cold_host: Host) -> None:
    host = rolled(cold_host)
    before = processes(host)
    host.repository.release("v2.0.0", **{"web.py": "import no_such_module\n"})
    load = Load(host.port)

    with load.running():
        ran = host.deploy("v2.0.0")

    after = processes(host)
    assert (ran.code, ran.json["error"]["code"]) == (20, "crash-looping")
    assert load.lost == []
    assert set(load.answers) == {"v1.0.0"}
    assert [name for name in before if before[name] != after[name]] == ["web_0"]
    assert {state for state, _ in after.values()} == {"RUNNING"}


class Ports:
    """A host whose rolling service has two processes, each with a port of its own; v1.0.0 is live.

    A release turns sick when a file ``sick`` is beside its code.
    """

    def __init__(self, host: Host, expect: str = "") -> None:
        self.host, self._tens = host, free_tens()
        self._probe = f'[[service.probe]]\nhttp = "{self.url()}"\ntimeout = "10s"\nexpect = "{expect}"\n'
        host.services = [PORTS.format(root=host.root)]
        host.configure(service=ROLLING + self._probe, health="")
        self.release("v1.0.0")
        host.start()
        assert host.deploy("v1.0.0").code == 0

    def url(self, number: int | str = "{process_num}") -> str:
        return f"http://127.0.0.1:{self._tens}{number}/"

    def release(self, tag: str, *, sick: bool = False, deadline: str = "60s", stable_for: str = "100ms") -> None:
        listening = f"socket.create_server(('127.0.0.1', int('{self._tens}' + sys.argv[1])))"
        server = SERVER.replace("socket.socket(fileno=os.dup(0))", listening)
        server = server.replace("200 OK", "%s").replace(
            "% (len", '% (b"500 Sick" if os.path.exists(here + "/sick") else b"200 OK", len'
        )
        toml = f'[health]\ndeadline = "{deadline}"\nstable_for = "{stable_for}"\n'
        self.host.repository.release(tag, **{"web.py": server, "release.toml": toml} | ({"sick": ""} if sick else {}))

    def turn_sick(self) -> None:
        """Let the live release answer 500 from now on."""
        (self.host.root / "current" / "sick").touch()

    def answers(self) -> list[str]:
        """Return the status and the version that each process answers with."""
        return [
            self._answer(http.client.HTTPConnection("127.0.0.1", int(f"{self._tens}{number}"), timeout=60)) for number in (0, 1)
        ]

    def _answer(self, process: http.client.HTTPConnection) -> str:
        with contextlib.closing(process):
            process.request("GET", "/")
            answer = process.getresponse()
            return f"{answer.status} {answer.read().decode()}"


def test_each_process_is_asked_at_its_own_port_before_the_next_is_touched(cold_host: Host) -> None:
    ports = Ports(cold_host)
    host, before = ports.host, processes(ports.host)
    ports.release("v1.1.0", sick=True, deadline="4s")

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (20, "unhealthy")
    assert f"{ports.url(0)}: answered 500" in ran.json["error"]["message"]
    assert processes(host)["web_1"] == before["web_1"]
    assert processes(host)["web_0"] != before["web_0"]


def test_processes_of_the_release_before_need_not_give_the_answer_of_the_new_one(cold_host: Host) -> None:
    ports = Ports(cold_host, expect="{revision}")
    ports.release("v1.1.0")

    ran = ports.host.deploy()

    assert ran.code == 0, ran.err
    assert ports.answers() == ["200 v1.1.0", "200 v1.1.0"]


@pytest.mark.parametrize("way", [("rollback",), ("deploy", "v1.2.0")], ids=["rollback", "fix"])
def test_release_that_turned_sick_is_left(cold_host: Host, way: tuple[str, ...]) -> None:
    ports = Ports(cold_host)
    ports.release("v1.1.0")
    ports.release("v1.2.0")
    assert ports.host.deploy("v1.1.0").code == 0
    ports.turn_sick()

    ran = ports.host.agent(*way)

    assert ran.code == 0, ran.err
    assert ports.answers() == ["200 v1.0.0" if way == ("rollback",) else "200 v1.2.0"] * 2
    assert "failed" not in ports.host.releases().values()


def test_release_that_turns_sick_while_it_is_proved_is_left_by_all_processes(cold_host: Host) -> None:
    ports = Ports(cold_host)
    host, before = ports.host, processes(ports.host)
    ports.release("v1.1.0", deadline="2s", stable_for="60s")
    run = host.begin("deploy", "v1.1.0")
    eventually(lambda: not {0, *before.values()} & set(processes(host).values()), "both are replaced")

    ports.turn_sick()
    code = ended(run)

    assert code == 20
    assert ports.answers() == ["200 v1.0.0", "200 v1.0.0"]
    assert sorted(host.releases().values()) == ["failed", "healthy"]


def test_fix_that_does_not_come_up_over_a_sick_release_leaves_no_mixed_group(cold_host: Host) -> None:
    ports = Ports(cold_host)
    ports.release("v1.1.0", deadline="2s")
    ports.release("v1.2.0", sick=True, deadline="2s")
    assert ports.host.deploy("v1.1.0").code == 0
    ports.turn_sick()
    before = processes(ports.host)

    ran = ports.host.deploy("v1.2.0")

    assert (ran.code, ran.json["error"]["code"]) == (21, "rollback-unhealthy")
    assert [name for name, now in processes(ports.host).items() if now != before[name]] == ["web_0"]
    assert ports.answers() == ["500 v1.1.0", "500 v1.1.0"]


def test_answer_that_names_its_release_stops_a_sick_one_at_the_first_process_of_a_shared_socket(cold_host: Host) -> None:
    host = rolled(cold_host)
    probe = f'[[service.probe]]\nhttp = "http://127.0.0.1:{host.port}/"\nexpect = "{{revision}}"\n'
    host.configure(service=ROLLING + probe, health='[health]\ndeadline = "10s"\nstable_for = "100ms"')
    host.repository.release("v2.0.0", **{"web.py": SERVER.replace("200 OK", "500 Sick")})
    before = processes(host)

    ran = host.deploy("v2.0.0")

    assert (ran.code, ran.json["error"]["code"]) == (20, "unhealthy")
    assert [name for name, now in processes(host).items() if now != before[name]] == ["web_0"]


def free_tens() -> str:
    """Return all digits but the last of two free ports that end in 0 and 1."""
    while True:
        tens = str(free_port())[:-1]
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", int(f"{tens}0"))):
            socket.create_server(("127.0.0.1", int(f"{tens}1"))).close()
            return tens


def test_one_process_rolls_with_its_socket_held(cold_host: Host) -> None:
    host = rolled(cold_host, numprocs=1)
    load = Load(host.port)

    with load.running():
        assert host.deploy("v1.1.0").code == 0

    assert load.lost == []


def test_one_process_without_a_socket_is_refused_before_anything_is_built(host: Host) -> None:
    host.deploy("v1.0.0")
    host.configure(service=ROLLING)

    ran = host.deploy("v1.1.0")

    assert (ran.code, ran.json["error"]["code"]) == (13, "service-refused")
    assert "one process" in ran.json["error"]["message"]
    assert host.serves() == "v1.0.0"


def test_group_of_two_programs_with_one_process_each_is_refused(cold_host: Host) -> None:
    host = cold_host
    host.services = [host.service("web"), host.service("worker"), "[group:app]\nprograms=web,worker\n"]
    host.configure(service=ROLLING.replace("web", "app"))
    host.repository.release("v1.0.0", **{"web.py": SERVER})
    host.start()

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "service-refused")
    assert "a program in it has only one process" in ran.json["error"]["message"]


@pytest.mark.parametrize("verb", ["boot", "deploy"])
def test_group_of_which_half_is_new_is_finished_by_the_next_run(cold_host: Host, verb: str) -> None:
    host = rolled(cold_host)
    slow = "import os, time\n" + SERVER.replace("server.settimeout", "time.sleep(0.3)\nserver.settimeout")
    host.repository.release("v1.9.0", **{"web.py": slow})
    before = processes(host)
    run = host.begin("deploy", "v1.9.0")
    eventually(lambda: processes(host)["web_0"][1] not in (0, before["web_0"][1]), "the first one is replaced")

    run.kill()
    run.wait()

    assert host.agent(verb, *(["v1.9.0"] if verb == "deploy" else [])).code == 0
    used = host.rpc.release.getReleasesInUse("web")
    assert host.serves() == "v1.9.0"
    assert all(processes(host)[name] != before[name] for name in before), used


def test_dry_run_says_beforehand_that_an_old_process_may_answer_the_probe(cold_host: Host) -> None:
    host = cold_host
    host.services = [fcgi_program(host, 2)]
    host.configure(service=ROLLING + f'[[service.probe]]\nhttp = "http://127.0.0.1:{host.port}/"\n')
    host.repository.release("v1.0.0", **{"web.py": SERVER})
    host.start()

    (web,) = host.agent("deploy", "--dry-run", "--json").json["services"]

    assert web["loses_requests"] == "depends"
    assert "an old process may answer its probe" in web["why"]
    assert 'expect = "{revision}"' in web["hint"]


def test_dry_run_of_the_live_release_says_nothing_of_requests(cold_host: Host) -> None:
    host = rolled(cold_host)

    ran = host.agent("deploy", "--dry-run", "v1.0.0", "--json")

    assert (ran.json["live"], ran.json["services"]) == (True, [])
    assert host.agent("deploy", "--dry-run", "v1.1.0", "--json").json["services"]
