"""A rehearsal stops a release that cannot start: no process restarts, and no request is lost."""

from __future__ import annotations

import os
import re
import signal
import xmlrpc.client
from typing import TYPE_CHECKING

import pytest

from release_agent.system import processes
from support.fcgi import fcgi_program, rehearsals
from support.host import SERVICE_PYTHON
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Host

REHEARSED = """[[service]]
name = "web"
[[service.probe]]
http = "http://127.0.0.1:{port}/"
timeout = "10s"
expect = "{{revision}}"
[service.rehearsal]
environment = {{ PORT = "{{port}}" }}
deadline = "8s"
"""
# On the socket that supervisord gives it on its standard input, or else on PORT.
SERVER = """\
import os, socket, sys, time
here = os.path.dirname(os.path.realpath(__file__))
version = open(os.path.join(here, "version")).read().strip()
{before}
try:
    server = socket.socket(fileno=os.dup(0))
    server.getsockname()
except OSError:
    server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=64)
{listening}
while True:
    connection, _ = server.accept()
    connection.recv(65536)
    {answering}
    connection.sendall(b"HTTP/1.0 {status} x\\r\\n\\r\\n" + {said}.encode())
    connection.close()
"""


def server(before: str = "", listening: str = "", answering: str = "", status: str = "200", said: str = "version") -> str:
    return SERVER.format(before=before, listening=listening, answering=answering, status=status, said=said)


BROKEN = {
    "cannot import": (server(before="import no_such_module"), "No module named 'no_such_module'"),
    "crashes after two seconds": (
        server(listening="import threading; threading.Timer(2, os._exit, [7]).start()"),
        "exit status 7",
    ),
    "answers 500": (server(status="500"), "answered 500, not 200"),
    "never answers": (server(answering="time.sleep(3600)"), "no answer within"),
    "answers for another revision": (server(said="'v0.9.9'"), "does not contain 'v1.2.0'"),
}


@pytest.fixture(params=["program", "fcgi-program"])
def rehearsing(request: pytest.FixtureRequest, cold_host: Host) -> Iterator[Host]:
    """A host with a live release, whose service rehearses."""
    host = cold_host
    if request.param == "fcgi-program":
        host.services = [fcgi_program(host)]
    host.configure(service=REHEARSED.format(port=host.port), health='[health]\ndeadline = "60s"\nstable_for = "3s"')
    host.repository.release("v1.0.0", **{"web.py": server()})
    host.start()
    assert host.deploy().code == 0
    return host


@pytest.mark.parametrize("how", BROKEN)
def test_broken_release_is_stopped_by_its_rehearsal_and_nothing_live_is_touched(rehearsing: Host, how: str) -> None:
    host = rehearsing
    code, why = BROKEN[how]
    live, process = host.live(), host.process()
    if how == "never answers":
        host.configure(service=REHEARSED.format(port=host.port).replace("10s", "1s"), health='[health]\nstable_for = "1s"')
    host.repository.release("v1.2.0", **{"web.py": code})

    ran = host.deploy()

    assert (ran.code, ran.json["outcome"], ran.json["error"]["code"]) == (13, "failed", "rehearsal-failed"), ran.err
    assert why in ran.json["error"]["message"]
    assert "failed its rehearsal on v1.2.0, and the live release is unchanged: " in ran.json["error"]["message"]
    assert (host.live(), host.process(), host.serves()) == (live, process, "v1.0.0")
    assert list(host.releases()) == [live]
    assert rehearsals(host) == []


def test_failed_rehearsal_says_that_the_hooks_before_it_had_run(rehearsing: Host) -> None:
    host = rehearsing
    live, process = host.live(), host.process()
    host.configure(
        f"[hooks]\nbefore_publish = [{{ run = 'touch {host.path}/migrated' }}]", service=REHEARSED.format(port=host.port)
    )
    host.repository.release("v1.2.0", **{"web.py": BROKEN["cannot import"][0]})

    ran = host.deploy()

    message = ran.json["error"]["message"]
    assert ran.json["error"]["code"] == "rehearsal-failed", ran.err
    assert "neither `current` nor a process was changed, but the release's before_publish hooks had run: " in message
    assert "the live release is unchanged" not in message
    assert (host.path / "migrated").exists()
    assert (host.live(), host.process()) == (live, process)


def test_good_release_is_rehearsed_beside_the_live_one_and_goes_live(rehearsing: Host) -> None:
    host = rehearsing
    host.repository.release("v1.2.0", **{"web.py": server()})

    ran = host.deploy()

    assert (ran.code, ran.json["outcome"]) == (0, "deployed"), ran.err
    assert "rehearse" in [phase["name"] for phase in ran.json["phases"]]
    assert host.serves() == "v1.2.0"
    assert rehearsals(host) == []


def test_live_release_that_became_sick_is_restarted_without_a_rehearsal(cold_host: Host) -> None:
    host = cold_host
    heal = f"[hooks]\nafter_publish = [{{ run = 'rm -f {host.path}/sick' }}]"
    host.configure(heal, service=REHEARSED.format(port=host.port))
    host.repository.release("v1.0.0")
    host.start()
    assert host.deploy().json["outcome"] == "deployed"
    _, before = host.process()
    (host.path / "sick").touch()

    ran = host.deploy()

    assert (ran.code, ran.json["outcome"], ran.events("rehearsal.passed")) == (0, "unchanged", []), ran.json["error"]
    assert host.process()[1] != before


def test_copy_imports_what_supervisords_own_environment_names_from_its_own_release(
    cold_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = cold_host
    section = host.service("web").replace(f"-IS {host.root}/current/web.py", f"-m web {host.path}")
    host.services = [section.replace("environment=", f'environment=RELEASE="{host.root}/current",')]
    host.configure(service=REHEARSED.format(port=host.port), health='[health]\ndeadline = "60s"\nstable_for = "100ms"')
    monkeypatch.setenv("PYTHONPATH", f"/nowhere{host.root}/current:{host.root}/current")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    host.repository.release("v1.0.0", **{"web.py": server()})
    host.repository.release("v1.2.0", **{"web.py": BROKEN["cannot import"][0]})
    host.start()
    assert host.deploy("v1.0.0").code == 0
    process = host.process()

    ran = host.deploy("v1.2.0")

    assert (ran.code, ran.json["error"]["code"], host.process()) == (13, "rehearsal-failed", process)


def test_variable_of_the_rehearsal_that_names_the_live_release_names_the_copys_release(cold_host: Host) -> None:
    host = cold_host
    host.services = [host.service("web").replace("environment=", f'environment=NOTES="{host.root}/current/version",')]
    notes = f'NOTES = "{host.root}/current/version", PORT'
    host.configure(service=REHEARSED.format(port=host.port).replace("PORT", notes, 1))
    for version in ("v1.0.0", "v1.1.0"):
        host.repository.release(version, **{"web.py": server(said="open(os.environ['NOTES']).read()")})
    host.start()

    ran = [host.deploy(version) for version in ("v1.0.0", "v1.1.0")]

    assert [each.json["outcome"] for each in ran] == ["deployed", "deployed"], ran[0].json["error"]


def test_copy_that_runs_the_live_code_proves_nothing(cold_host: Host) -> None:
    host = cold_host
    section = host.service("web").replace(f"-IS {host.root}/current/web.py", f"-S web.py {host.path}")
    named = section.replace("environment=", f'environment=RELEASE="{host.root}/current",')
    host.services = [named + f"directory={host.path}/./root/current\n"]
    host.configure(service="", health='[health]\ndeadline = "60s"\nstable_for = "100ms"')
    host.repository.release("v1.0.0", **{"web.py": server()})
    host.repository.release("v1.2.0", **{"web.py": BROKEN["cannot import"][0]})
    host.start()
    assert host.deploy("v1.0.0").code == 0
    host.configure(service=REHEARSED.format(port=host.port).replace("8s", "3s").replace("{revision}", ""))
    live = host.live()

    ran = host.deploy("v1.2.0")

    assert (ran.code, ran.json["error"]["code"]) == (13, "rehearsal-failed")
    assert re.search(rf"its copy runs the code of another release: process \d+ from {live}", ran.json["error"]["message"])
    assert "exactly" in ran.json["error"]["hint"]


def test_program_that_the_service_does_not_have_is_refused_before_anything_is_built_or_migrated(cold_host: Host) -> None:
    host = cold_host
    host.services = [host.service("web") + "process_name=%(program_name)s%(process_num)02d\nnumprocs=2\n"]
    settings = '[[service]]\nname = "web"\n[service.rehearsal]\nenvironment = { PORT = "{port}" }\nprogram = '
    migration = f"[hooks]\nbefore_publish = [{{ run = 'touch {host.path}/migrated' }}]"
    host.configure(migration, service=settings + '"wbe"', health='[health]\nstable_for = "100ms"')
    host.repository.release("v1.0.0", **{"web.py": "import time; time.sleep(3600)"})
    host.start()

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "service-unknown")
    assert "no program wbe to rehearse; it has web00, web01" in ran.json["error"]["message"]
    assert not (host.path / "migrated").exists()
    host.configure(migration, service=settings + '"web"', health='[health]\nstable_for = "100ms"')
    assert host.deploy().code == 0


ROOTS = """\
[program:cron]
command=/bin/sleep 1000
environment=CRONTAB="/etc/crontab"
"""
TAKES_OVER = """\
[[service]]
name = "web"
[[service]]
name = "cron"
restart = "none"
[service.rehearsal]
command = "/bin/sh -c 'id > {path}/taken'"
"""


@pytest.mark.parametrize("everywhere", ["", 'environment=APP_HOME="{root}/current"'])
def test_repository_cannot_have_a_program_that_is_not_its_own_run_its_commands(cold_host: Host, everywhere: str) -> None:
    """``everywhere``: what supervisord gives to all programs makes none of them a program of releases."""
    host = cold_host
    host.services.append(ROOTS)
    host.supervisord_settings = everywhere.format(root=host.root)
    host.configure(f"[hooks]\nbefore_publish = [{{ run = 'touch {host.path}/migrated' }}]", service="")
    host.repository.release("v1.0.0", **{"web.py": server(), "release.toml": TAKES_OVER.format(path=host.path)})
    host.start()

    ran = host.agent("stage", "--json", "v1.0.0")

    assert (ran.code, ran.json["error"]["code"]) == (13, "service-refused"), ran.err
    assert "the section of cron does not name <root>/current" in ran.json["error"]["message"]
    assert not (host.path / "migrated").exists()
    assert not (host.path / "taken").exists()


def test_plugin_itself_copies_no_program_that_is_not_the_repositorys_whatever_a_hook_has_written(cold_host: Host) -> None:
    host = cold_host
    host.services.append(ROOTS)
    (host.path / "taking.toml").write_text(TAKES_OVER.format(path=host.path))
    build = f'{{ run = "cp {host.path}/taking.toml release.toml" }}'
    host.configure(f'[hooks]\nbuild = [{build}]\nbefore_publish = [{{ run = """{host.gate("built")}""" }}]', service="")
    host.repository.release("v1.0.0", **{"web.py": server(), "release.toml": '[[service]]\nname = "web"\n'})
    host.start()
    run = host.begin("stage", "v1.0.0")
    host.reached("built")
    (name,) = os.listdir(host.root / "releases")

    with pytest.raises(xmlrpc.client.Fault, match="the section of cron does not name <root>/current"):
        host.rpc.release.rehearse(name, "cron")

    assert rehearsals(host) == []
    host.open("built")
    assert run.wait() == 13, "a hook has changed release.toml"
    assert not (host.path / "taken").exists()


def test_copy_that_would_join_the_live_port_is_refused_before_it_starts(cold_host: Host) -> None:
    host = cold_host
    host.configure(service=REHEARSED.format(port=host.port).replace('environment = { PORT = "{port}" }', ""))
    host.repository.release("v1.0.0", **{"web.py": server()})
    host.start()

    ran = host.agent("stage", "--json", "v1.0.0")

    assert (ran.code, ran.json["error"]["code"]) == (13, "service-refused"), ran.err
    assert 'environment = { PORT = "{port}" }' in ran.json["error"]["hint"]
    assert [phase["name"] for phase in ran.json["phases"]] == ["resolve", "plan", "report"]


def test_supervisor_without_the_program_deploy_is_found_in_plan(cold_host: Host) -> None:
    host = cold_host
    host.configure(service=REHEARSED.format(port=host.port))
    host.repository.release("v1.0.0", **{"web.py": server()})
    host.start()
    configuration = host.path / "supervisord.conf"
    configuration.write_text(configuration.read_text().replace("[program:deploy]", "[program:other]"))
    host.supervisorctl("update")

    ran = host.agent("deploy", "--dry-run", "--json")

    assert (ran.code, ran.json["error"]["code"]) == (13, "service-unknown")
    assert "no program deploy" in ran.json["error"]["message"]


HELD = server(
    listening="open('{path}/rehearsing.reached', 'w') if 'RELEASE_REHEARSAL' in os.environ else None; "
    "time.sleep(3600) if 'RELEASE_REHEARSAL' in os.environ else None"
)


@pytest.fixture
def held(rehearsing: Host) -> Host:
    """A host in the middle of a rehearsal."""
    host = rehearsing
    host.path.chmod(0o777)
    host.configure(service=REHEARSED.format(port=host.port).replace("8s", "10m"))
    host.repository.release("v1.2.0", **{"web.py": HELD.replace("{path}", str(host.path))})
    return host


def test_copy_is_gone_when_the_agent_was_killed(held: Host) -> None:
    run = held.begin("deploy")
    held.reached("rehearsing")
    live, process = held.live(), held.process()

    run.kill()

    eventually(lambda: rehearsals(held) == [], "the copy is taken away")
    assert (held.live(), held.process(), held.serves()) == (live, process, "v1.0.0")
    run.wait()


def test_copy_is_gone_when_the_run_was_asked_to_stop(held: Host) -> None:
    run = held.begin("deploy")
    held.reached("rehearsing")
    process = held.process()

    run.terminate()

    assert run.wait() == 14
    assert rehearsals(held) == []
    assert (held.process(), held.serves()) == (process, "v1.0.0")


def test_reread_sees_nothing_of_a_copy_and_update_leaves_nothing_of_it(held: Host) -> None:
    run = held.begin("deploy", "--json")
    held.reached("rehearsing")

    assert held.rpc.supervisor.reloadConfig() == [[[], [], []]]
    assert held.supervisorctl("update").code == 0
    assert rehearsals(held) != []
    run.terminate()
    run.wait()

    assert rehearsals(held) == []


def test_copy_is_gone_after_a_reload(held: Host) -> None:
    run = held.begin("deploy")
    held.reached("rehearsing")

    held.reload()

    assert run.wait() != 0
    assert rehearsals(held) == []
    assert held.live() is not None
    assert held.agent("boot").code == 0
    assert held.serves() == "v1.0.0"


# It leaves the process that started it and its session, as daemons do.
DAEMON = """
file = "{path}/daemon-of-" + ("copy" if "RELEASE_REHEARSAL" in os.environ else "service")
if not os.fork():
    os.setsid()
    if os.fork():
        os._exit(0)
    open(file + ".new", "w").write(str(os.getpid()))
    os.rename(file + ".new", file)
    time.sleep(3600)
while not os.path.exists(file):
    time.sleep(0.01)
"""
MUTE_COPY = "time.sleep(3600) if 'RELEASE_REHEARSAL' in os.environ else None"


@pytest.mark.parametrize("how", ["passed", "killed", "reloaded", "passed in a container"])
def test_daemon_that_a_copy_has_started_is_gone_with_it_and_the_services_own_lives(cold_host: Host, how: str) -> None:
    host, passed = cold_host, how.startswith("passed")
    host.path.chmod(0o777)
    code = server(before=DAEMON.replace("{path}", str(host.path)), listening="" if passed else MUTE_COPY)
    for tag in ("v1.0.0", "v1.1.0"):
        host.repository.release(tag, **{"web.py": code})
    host.start(contained="container" in how)
    assert host.deploy("v1.0.0").code == 0
    own = int((host.path / "daemon-of-service").read_text())
    host.configure(service=REHEARSED.format(port=host.port).replace("8s", "60s"), health='[health]\nstable_for = "0s"')

    run = host.begin("deploy", "v1.1.0")
    file = host.path / "daemon-of-copy"
    eventually(file.exists, "the copy has started a daemon")
    if how == "killed":
        run.kill()
    elif how == "reloaded":
        host.reload()

    assert (run.wait() == 0) is passed
    eventually(lambda: rehearsals(host) == [], "the copy is taken away")
    eventually(lambda: processes.started(int(file.read_text())) is None, "its daemon is gone")
    assert processes.started(own), "a daemon of the live service is nobody's business"


# As `npm start` does: the program that supervisor knows ends, and its child stays in its process group.
WRAPPED = """\
[program:web]
command=/bin/sh -c '/usr/bin/env -i {python} -IS {root}/current/child.py {path}; exit 1'
directory={root}/current
user=nobody
autostart=false
autorestart=false
startsecs=0
"""
CHILD = """\
import os, sys, time
version = open(os.path.join(os.path.dirname(os.path.realpath(__file__)), "version")).read()
open(f"{sys.argv[1]}/{version}.new", "w").write(str(os.getpid()))
os.rename(f"{sys.argv[1]}/{version}.new", f"{sys.argv[1]}/child-of-{version}")
time.sleep(3600)
"""


@pytest.mark.parametrize("how", ["passed", "failed", "crashed", "killed", "reloaded"])
def test_child_of_a_copy_ends_with_it_though_its_environment_does_not_tell_of_it(cold_host: Host, how: str) -> None:
    host = cold_host
    host.path.chmod(0o777)
    host.services = [WRAPPED.format(python=SERVICE_PYTHON, root=host.root, path=host.path)]
    probe = f"test -e {host.path}/child-of-v1.1.0" if how == "passed" else "false"
    rehearsal = (
        f'[service.rehearsal]\ndeadline = "{"1s" if how == "failed" else "1m"}"\n[[service.rehearsal.probe]]\nexec = "{probe}"'
    )
    host.configure(service=f'[[service]]\nname = "web"\n{rehearsal}', health='[health]\nstable_for = "0s"')
    host.repository.release("v1.1.0", **{"child.py": CHILD})
    host.start()

    run = host.begin("stage", "v1.1.0")
    file = host.path / "child-of-v1.1.0"
    eventually(file.exists, "the copy has a child")
    child = int(file.read_text())
    if how == "crashed":
        os.kill(host.process("deploy:release-rehearsal")[1], signal.SIGKILL)
    elif how == "killed":
        run.kill()
    elif how == "reloaded":
        host.reload()

    assert (run.wait() == 0) is (how == "passed")
    eventually(lambda: rehearsals(host) == [], "the copy is taken away")
    eventually(lambda: processes.started(child) is None, "its child is gone")


BROKEN_PLUGINS = {
    "absent": ("[rpcinterface:release]", "[unused:release]"),
    "its configuration is not there": ("release-agent.toml", "nowhere.toml"),
}


@pytest.fixture(params=BROKEN_PLUGINS)
def without_plugin(rehearsing: Host, request: pytest.FixtureRequest) -> Host:
    """A host with a live release, whose supervisord has no plugin that works."""
    host = rehearsing
    configuration = host.path / "supervisord.conf"
    configuration.write_text(configuration.read_text().replace(*BROKEN_PLUGINS[request.param]))
    host.reload()
    host.agent("boot")
    host.repository.release("v1.2.0")
    return host


def test_without_the_plugin_a_rehearsal_is_refused_in_plan(without_plugin: Host) -> None:
    host = without_plugin

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "plugin-needed")
    assert [phase["name"] for phase in ran.json["phases"]][:2] == ["resolve", "plan"]
    assert host.serves() == "v1.0.0"


def test_without_the_plugin_doctor_finds_a_fault_and_no_socket_counts_as_held(without_plugin: Host) -> None:
    host = without_plugin

    found = {finding["check"]: finding for finding in host.agent("doctor", "--json").json}

    assert found["plugin"]["level"] == "fault"
    assert "plugin.conf" in found["plugin"]["hint"]
    assert found["requests web"]["message"].startswith("can lose some")


def test_without_the_plugin_a_first_boot_goes_back_to_no_older_version(cold_host: Host) -> None:
    """The cause is the set-up, and not the version."""
    host = cold_host
    host.configure(service="")
    host.repository.release("v1.0.0", **{"release.toml": '[[service]]\nname = "web"\n'})
    host.repository.release("v1.1.0", **{"release.toml": '[[service]]\nname = "web"\n[service.rehearsal]\n'})
    host.start(plugin=False)

    ran = host.agent("boot", "--json")

    assert (ran.json["outcome"], ran.json["error"]["code"], host.live()) == ("failed", "plugin-needed", None)
