"""Programs that come with a release: rollback, kill, boot, sockets, and programs of the container."""

from __future__ import annotations

import os
import signal
import socket
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.brought import IDLE, allow_programs, file_of, groups, idle, pids, program, release
from support.fcgi import SERVER, fcgi_program, refusal
from support.repositories import Repository
from support.servers import free_port
from support.tracing import killed_at
from support.waiting import ended, eventually

if TYPE_CHECKING:
    from support.host import Host

REHEARSED = """programs = "supervisor.d/*.conf"
[[service]]
name = "web"
[[service.probe]]
http = "http://127.0.0.1:{port}/"
timeout = "10s"
[service.rehearsal]
environment = {{ PORT = "{{port}}" }}
deadline = "20s"
[health]
stable_for = "100ms"
"""


@pytest.fixture
def bringing(cold_host: Host) -> Host:
    """A host whose supervisord has no services of its own, and takes programs from releases."""
    cold_host.configure(service="")
    return allow_programs(cold_host).start()


def upgraded(host: Host, behaviour: str = "ok", hooks: str = "") -> None:
    """Make v1.0.0 live, with `old` and `worker`; v1.1.0 has `new`, another `worker`, and `web` which behaves so."""
    release(host, "v1.0.0", idle(host, "old"), idle(host, "worker"))
    assert host.deploy().code == 0
    release(host, "v1.1.0", idle(host, "new"), idle(host, "worker", "stopsignal=INT"), program(host), behaviour=behaviour)
    if hooks:
        toml = (host.repository.path / "release.toml").read_text()
        host.repository.commit({"release.toml": f"{toml}[hooks]\n{hooks}\n"}, tag="v1.2.0")


def on_socket(host: Host) -> str:
    """Return supervisor's section for a program of a release that gets its socket from supervisord."""
    return fcgi_program(host).replace("autostart=false\n", "")


def probed(host: Host) -> str:
    return f'[[service]]\nname = "web"\nafter = []\n[[service.probe]]\nhttp = "http://127.0.0.1:{host.port}/"\ntimeout = "10s"'


def settled(host: Host, *programs: str) -> None:
    """The groups are these, all run, and supervisord has them as its files do."""
    assert groups(host) == set(programs)
    assert set(programs) <= set(pids(host))
    assert "No config updates" in host.supervisorctl("reread").out


def test_sick_release_takes_its_programs_with_it_when_it_is_rolled_back(bringing: Host) -> None:
    host = bringing
    upgraded(host, behaviour="crash")
    live = host.live()

    ran = host.deploy()

    assert (ran.code, host.live()) == (20, live), ran.err
    settled(host, "old", "worker")


def test_rollback_by_command_and_forward_again(bringing: Host) -> None:
    host = bringing
    upgraded(host)
    assert host.deploy().code == 0
    settled(host, "new", "worker", "web")

    assert host.agent("rollback").code == 0
    settled(host, "old", "worker")
    assert host.agent("rollback", "v1.1.0").code == 0
    settled(host, "new", "worker", "web")


def test_release_without_programs_removes_those_of_the_one_before(bringing: Host) -> None:
    host = bringing
    release(host, "v1.0.0", idle(host, "worker"))
    assert host.deploy().code == 0
    release(host, "v1.1.0")
    (host.repository.path / "supervisor.d" / "all.conf").unlink()

    assert host.deploy().code == 0

    settled(host)


@pytest.mark.parametrize("stage", ["after_publish", "after_deploy"])
def test_run_that_is_killed_after_the_swap_is_finished_by_boot(bringing: Host, stage: str) -> None:
    host = bringing
    gate = f"[ ! -e {host.path}/gated ] || exit 0; touch {host.path}/gated; {host.gate('gate')}"
    upgraded(host, hooks=f"{stage} = [{{ run = '''{gate}''' }}]")
    killed = host.begin("deploy", "v1.2.0")
    host.reached("gate")
    os.kill(killed.pid, signal.SIGKILL)
    ended(killed)

    assert host.agent("boot").code == 0

    settled(host, "new", "worker", "web")


def test_run_that_is_killed_before_the_swap_has_changed_no_program(bringing: Host) -> None:
    host = bringing
    upgraded(host, hooks=f"before_publish = [{{ run = '''{host.gate('gate')}''' }}]")
    before = pids(host)
    killed = host.begin("deploy", "v1.2.0")
    host.reached("gate")
    os.kill(killed.pid, signal.SIGKILL)
    ended(killed)

    assert host.agent("boot").code == 0

    settled(host, "old", "worker")
    assert pids(host) == before


def test_new_container_gets_the_programs_of_the_live_release_by_boot(bringing: Host) -> None:
    host = bringing
    release(host, "v1.0.0", program(host), idle(host, "worker"))
    assert host.deploy().code == 0
    host.stop()
    (host.path / "brought" / "programs.conf").unlink()  # it lies in the container, not in the volume

    host.start(boot=True)

    eventually(lambda: host.process("boot")[0] == "EXITED", "boot has ended")
    settled(host, "web", "worker")


def test_container_that_is_started_again_runs_the_programs(bringing: Host) -> None:
    host = bringing
    release(host, "v1.0.0", program(host), idle(host, "worker"))
    assert host.deploy().code == 0
    host.stop()

    host.start(boot=True)

    eventually(lambda: host.process("boot")[0] == "EXITED", "boot has ended")
    settled(host, "web", "worker")


def test_supervisord_that_reloads_still_knows_whose_the_programs_are(bringing: Host) -> None:
    host = bringing
    release(host, "v1.0.0", idle(host, "old"))
    assert host.deploy().code == 0
    host.reload()
    release(host, "v1.1.0", idle(host, "new"))

    assert host.deploy().code == 0

    settled(host, "new")


def test_supervisord_that_reloads_in_the_middle_does_not_fail_the_release(bringing: Host) -> None:
    host = bringing
    release(host, "v1.0.0", idle(host, "first"), idle(host, "worker"))
    assert host.deploy().code == 0
    host.configure(service=f"[[service]]\nname = 'first'\nbefore_stop = '''{host.gate('gate')}'''")
    release(host, "v1.1.0", idle(host, "first"), idle(host, "worker", "stopwaitsecs=9"), idle(host, "new"))
    run = host.begin("deploy")
    host.reached("gate")  # supervisord has read the programs; none is renewed yet

    host.reload()
    host.open("gate")

    _, told = run.communicate()
    assert run.returncode == 0, told
    settled(host, "first", "worker", "new")


def test_changed_configuration_of_the_container_is_named_and_not_applied(cold_host: Host) -> None:
    host = allow_programs(cold_host)
    host.configure(service="")
    more = host.path / "more"
    more.mkdir()
    theirs = "[program:{}]\ncommand=/bin/sleep 600\nstartsecs=0\n"
    (more / "them.conf").write_text(theirs.format("changed") + theirs.format("removed"))
    host.start()
    release(host, "v1.0.0", idle(host, "worker"))
    assert host.deploy().code == 0
    before = pids(host)
    (more / "them.conf").write_text(theirs.format("changed") + "stopwaitsecs=3\n" + theirs.format("added"))
    conf = host.path / "supervisord.conf"
    conf.write_text(conf.read_text().replace("stopwaitsecs=120", "stopwaitsecs=121"))  # of the agent's own, too
    release(host, "v1.1.0", idle(host, "worker"), idle(host, "new"))

    ran = host.supervisorctl("release", "deploy")  # the agent's own program is changed while it runs

    assert ran.code == 0, ran.out
    events = [line for line in (host.path / "deploy.err").read_text().splitlines() if "programs.foreign" in line]
    assert '"groups": ["added", "boot", "changed", "deploy", "removed"]' in events[-1]
    after = pids(host)
    assert (after["changed"], after["removed"]) == (before["changed"], before["removed"])
    assert groups(host) == {"worker", "new", "changed", "removed"}


def test_a_socket_that_moves_is_bound_at_its_new_place_and_back_at_the_old_one(cold_host: Host) -> None:
    host = allow_programs(cold_host)
    host.configure(service=probed(host))
    host.start()
    release(host, "v1.0.0", on_socket(host), **{"web.py": SERVER})
    assert host.deploy().code == 0
    first = host.port
    host.port = free_port()
    host.configure(service=probed(host))
    release(host, "v1.1.0", on_socket(host), **{"web.py": SERVER})

    ran = host.deploy()

    assert ran.code == 0, ran.err
    assert (host.serves(), refusal(host, first) != "") == ("v1.1.0", True)
    host.configure(service="")
    assert host.agent("rollback").code == 0
    assert (refusal(host, first), refusal(host) != "") == ("", True)


def test_a_changed_program_with_the_same_socket_can_bind_it_again(cold_host: Host) -> None:
    host = allow_programs(cold_host)
    host.configure(service=probed(host))
    host.start()
    release(host, "v1.0.0", on_socket(host), **{"web.py": SERVER})
    assert host.deploy().code == 0
    release(host, "v1.1.0", on_socket(host) + "stopwaitsecs=9\n", **{"web.py": SERVER})

    ran = host.deploy()

    assert ran.code == 0, ran.err
    assert host.serves() == "v1.1.0"


def test_rolling_service_of_which_the_program_changed_is_restarted_whole(cold_host: Host) -> None:
    host = allow_programs(cold_host)
    host.configure(service='[[service]]\nname = "worker"\nrestart = "rolling"')
    host.start()
    two = "numprocs=2\nprocess_name=worker_%(process_num)d\n"
    release(host, "v1.0.0", idle(host, "worker", two))
    assert host.deploy().code == 0
    release(host, "v1.1.0", idle(host, "worker", two + "stopwaitsecs=9"))

    ran = host.deploy()

    assert ran.code == 0, ran.err
    settled_names = {name for name in pids(host) if name.startswith("worker")}
    assert settled_names == {"worker_0", "worker_1"}
    assert "No config updates" in host.supervisorctl("reread").out


def test_program_that_is_not_started_is_there_and_no_service(bringing: Host) -> None:
    host = bringing
    release(host, "v1.0.0", idle(host, "worker"), idle(host, "by-hand", "autostart=false"))

    assert host.deploy().code == 0

    assert groups(host) == {"worker", "by-hand"}
    assert "by-hand" not in pids(host)
    assert [service["name"] for service in host.status()["services"]] == ["worker"]
    host.supervisorctl("start", "by-hand")
    release(host, "v1.1.0", idle(host, "worker"))
    assert host.deploy().code == 0
    settled(host, "worker")


def test_new_program_takes_over_the_socket_of_one_that_goes(cold_host: Host) -> None:
    host = allow_programs(cold_host)
    host.configure(service="")
    host.start()
    release(host, "v1.0.0", on_socket(host), **{"web.py": SERVER})
    assert host.deploy().code == 0
    release(host, "v1.1.0", on_socket(host).replace(":web", ":front"), **{"web.py": SERVER})

    assert host.deploy().code == 0

    settled(host, "front")
    assert host.serves() == "v1.1.0"


def test_socket_that_somebody_else_has_is_rolled_back(bringing: Host) -> None:
    host = bringing
    release(host, "v1.0.0", idle(host, "worker"))
    assert host.deploy().code == 0
    with socket.create_server(("127.0.0.1", host.port)):
        release(host, "v1.1.0", idle(host, "worker"), on_socket(host), **{"web.py": SERVER})
        ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (20, "restart-failed"), ran.err
    assert "Could not create FastCGI socket" in ran.json["error"]["message"]
    settled(host, "worker")


def test_broken_release_is_stopped_by_the_rehearsal_of_a_program_that_it_brings(bringing: Host) -> None:
    host = bringing
    toml = REHEARSED.format(port=host.port)
    release(host, "v1.0.0", program(host), **{"release.toml": toml})
    assert host.deploy().code == 0
    before = pids(host)
    release(host, "v1.1.0", program(host, more="stopwaitsecs=9"), behaviour="crash", **{"release.toml": toml})

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "rehearsal-failed"), ran.err
    assert pids(host) == before
    release(host, "v1.2.0", program(host, more="stopwaitsecs=9"), **{"release.toml": toml})
    assert host.agent("stage", "--json", "v1.2.0").json["outcome"] == "staged"
    assert pids(host) == before
    assert host.deploy().code == 0
    assert host.serves() == "v1.2.0"


def test_first_release_rehearses_the_program_that_supervisord_does_not_have_yet(bringing: Host) -> None:
    host = bringing
    toml = REHEARSED.format(port=host.port)
    release(host, "v1.0.0", program(host), behaviour="crash", **{"release.toml": toml})

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "rehearsal-failed"), ran.err
    assert (host.live(), groups(host)) == (None, set())
    release(host, "v1.1.0", on_socket(host), **{"release.toml": toml, "web.py": SERVER})
    ran = host.deploy()
    assert ran.code == 0, ran.err
    assert host.serves() == "v1.1.0"


def test_programs_of_several_repositories_add_up(cold_host: Host) -> None:
    host = allow_programs(cold_host)
    other = Repository(host.path / "repos" / "jobs")
    both = [
        f'[[repository]]\nname = "{r.path.name}"\npath = "{r.path}"\ninto = "{r.path.name}"' for r in (host.repository, other)
    ]
    host.configure(service="", repository="\n".join(both))
    host.start()
    in_api = program(host).replace("current/", "current/api/")
    release(host, "v1.0.0", in_api)
    jobs = "[program:jobs]\ncommand=/usr/bin/python3 -IS %(here)s/jobs.py\nuser=nobody\n"
    other.commit({"release.toml": 'programs = "p.conf"\n', "p.conf": jobs, "jobs.py": IDLE}, tag="v1.0.0")

    ran = host.deploy()

    assert ran.code == 0, ran.err
    settled(host, "web", "jobs")
    assert f"{host.root}/current/jobs/jobs.py" in file_of(host).read_text()


def test_group_of_programs_is_one_service(bringing: Host) -> None:
    host = bringing
    group = "[group:all]\nprograms=a,b\n"
    release(host, "v1.0.0", group, idle(host, "a"), idle(host, "b"))

    ran = host.deploy()

    assert ran.code == 0, ran.err
    assert [service["name"] for service in host.status()["services"]] == ["all"]
    assert set(pids(host)) == {"a", "b"}
    release(host, "v1.1.0", idle(host, "a"), idle(host, "b"))
    assert host.deploy().code == 0
    settled(host, "a", "b")


@pytest.mark.needs("ptrace")
@pytest.mark.parametrize("call", ["connect", "rename", "fsync"])
def test_killed_at_any_call_the_next_run_puts_the_programs_right(bringing: Host, call: str) -> None:
    """Kill the agent at the first, sixth, … call of a kind; the release before has other programs than the next one."""
    host = bringing
    quick = "startsecs=0"
    brings = {"v1.0.0": ("old", "same", "worker"), "v1.1.0": ("new", "same", "worker")}
    for tag, names in brings.items():
        changed = f"{quick}\nstopwaitsecs={9 if tag == 'v1.0.0' else 8}"
        texts = [idle(host, name, changed if name == "worker" else quick).replace("startsecs=1\n", "") for name in names]
        release(host, tag, *texts, version=tag)
    assert host.deploy("v1.0.0", "--allow-lower").code == 0
    kills = 0

    for nth, verb in zip(range(1, 1000, 5), cycle(["boot", "deploy"])):
        live = (host.root / "current" / "version").read_text()
        revision = "v1.1.0" if live == "v1.0.0" else "v1.0.0"
        with Path(os.devnull).open("r+") as nothing:
            command = ["release-agent", "deploy", "--force", "--allow-lower", revision]
            code = killed_at(call, nth, command, host.environment, [nothing.fileno()] * 3)
        if code == 0:
            break
        kills += code == -signal.SIGKILL
        again = host.agent(verb, *([revision, "--allow-lower"] if verb == "deploy" else []))
        assert again.code == 0, (nth, again.err)
        settled(host, *brings[(host.root / "current" / "version").read_text()])
    else:
        pytest.fail("never got through")

    assert kills
