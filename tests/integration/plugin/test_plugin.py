"""Clients start deployments through supervisord itself, and follow them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import xmlrpc.client
from typing import TYPE_CHECKING, Any

import pytest

from support.environment import BIN, clean_environment
from support.servers import free_port
from support.waiting import ended, eventually

if TYPE_CHECKING:
    from support.host import Host


def _ended(host: Host, identity: str) -> dict[str, Any]:
    record: dict[str, Any] = eventually(lambda: _with_outcome(host.rpc.release.getDeployment(identity)), "it ended")
    return record


def _with_outcome(record: dict[str, Any]) -> dict[str, Any] | None:
    return record if "outcome" in record else None


def test_deploy_returns_at_once_and_its_id_is_known_from_then_on(host: Host) -> None:
    host.configure(f"[hooks]\nbuild = [{{ run = '{host.gate('held')}' }}]")

    begun = host.rpc.release.deploy("v1.0.0", False)

    assert begun["revision"] == "v1.0.0"
    assert "outcome" not in begun
    assert host.rpc.release.getDeployment(begun["id"])["id"] == begun["id"]
    host.reached("held")
    assert host.rpc.release.getStatus()["deployment"] == {"id": begun["id"], "phase": "hooks"}
    host.open("held")
    record = _ended(host, begun["id"])
    assert (record["outcome"], record["revision"]) == ("deployed", "v1.0.0")
    assert host.serves() == "v1.0.0"
    assert host.history()[0]["trigger"] == "rpc"


def _lines(said: dict[str, Any]) -> list[str]:
    return [event["line"] for event in said["events"] if event["event"] == "hook.output"]


def test_what_a_hook_says_is_seen_while_it_runs(host: Host) -> None:
    host.configure(f"[hooks]\nbuild = [{{ run = 'echo größer; {host.gate('held')}' }}]", service="")

    begun = host.rpc.release.deploy("v1.0.0", False)
    host.reached("held")
    said = eventually(lambda: _lines(host.rpc.release.getOutput(begun["id"])), "it is seen")

    assert said == ["größer"]
    with pytest.raises(xmlrpc.client.Fault, match="there is no deployment another") as fault:
        host.rpc.release.getOutput("another")
    assert fault.value.faultCode == 122
    host.open("held")
    _ended(host, begun["id"])
    host.rpc.release.rollback("", True)
    assert host.rpc.release.getOutput(begun["id"]) == {"events": [], "next": 0}, "it is known, and another run's is kept"


def test_empty_revision_is_bare(host: Host) -> None:
    assert host.rpc.release.deploy("", True)["revision"] == "v1.1.0"


@pytest.mark.parametrize("verb", ["deploy", "rollback"])
def test_supervisorctl_is_given_an_unset_variable_and_starts_nothing(host: Host, verb: str) -> None:
    ran = host.supervisorctl("release", verb, "")

    assert (ran.code, ran.out) == (2, f"release {verb}: an argument is empty; leave it out\n")
    assert host.history() == []


def test_with_wait_the_answer_is_the_record_and_the_next_start_succeeds_at_once(host: Host) -> None:
    host.configure(service="")
    for number in range(8):
        record = host.rpc.release.deploy(f"v1.{number % 2}.0", True)
        assert record["outcome"] in ("deployed", "unchanged"), record
        assert "error" not in record, "what is null is left out"


def test_rollback_and_history_over_rpc(host: Host) -> None:
    one = host.rpc.release.deploy("v1.0.0", True)
    host.rpc.release.deploy("v1.1.0", True)

    back = host.rpc.release.rollback("", True)

    assert (back["outcome"], back["release"]) == ("deployed", one["release"])
    history = host.rpc.release.getHistory(2)
    assert next(entry["release"] for entry in history) == one["release"]
    assert len(history) == 2
    assert {"trigger", "started_at"} < set(history[0])
    assert [entry["action"] for entry in history] == ["rollback", "deploy"]


def test_status_over_rpc_has_the_shape_of_the_commands_and_more(host: Host) -> None:
    before = host.rpc.release.getStatus()
    host.rpc.release.deploy("v1.0.0", True)
    host.rpc.release.deploy("v1.1.0", True)

    status = host.rpc.release.getStatus()

    assert (before["health"], "current" in before) == ("critical", False)
    shown = host.status()
    assert {**status, "deployment": None, "frozen": None, "failure": None} == {
        **shown,
        "health_at": status["health_at"],
        "agent_version": status["agent_version"],
        "instance": status["instance"],
        "follow": "tag",
        "maintenance": False,
    }


def test_check_says_what_would_be_done_and_is_not_in_the_history(host: Host) -> None:
    answer = host.rpc.release.check("v1.1.0", True)
    refused = host.rpc.release.check("v9", True)

    assert (answer["outcome"], answer["build"]) == ("checked", True)
    assert answer["commits"] == {"api": host.repository.git("rev-parse", "v1.1.0")}
    assert answer["free_bytes"] > 0
    assert refused["error"]["code"] == "revision-unknown"
    assert host.rpc.release.getHistory(10) == []


def test_sick_release_is_told_over_rpc(host: Host) -> None:
    host.rpc.release.deploy("v1.0.0", True)
    host.repository.release("v1.2.0", "sick")

    record = host.rpc.release.deploy("", True)

    assert (record["outcome"], record["error"]["code"]) == ("rolled-back", "unhealthy")


@pytest.mark.parametrize("revision", ["--upload-pack=x", "../..", "v1\nv2", "-x"])
def test_bad_revision_is_a_fault_with_the_commands_own_message(host: Host, revision: str) -> None:
    said = host.agent("deploy", "--json", "--", revision).json["error"]["message"]

    with pytest.raises(xmlrpc.client.Fault) as fault:
        host.rpc.release.deploy(revision, False)

    assert (fault.value.faultCode, fault.value.faultString) == (112, said)


@pytest.mark.parametrize("starter", ["supervisorctl", "shell"])
def test_a_deployment_of_another_starter_has_no_outcome_while_it_runs(host: Host, starter: str) -> None:
    host.deploy("v1.0.0")
    host.repository.release("v1.2.0", "sick")
    host.configure(f"[hooks]\nafter_failure = [{{ run = '{host.gate('held')}' }}]")
    run = host.begin("deploy", "v1.2.0") if starter == "shell" else None
    if run is None:
        host.supervisorctl("start", "deploy")
    host.reached("held")
    identity = host.status()["deployment"]["id"]

    told = [host.rpc.release.getDeployment(identity), *host.rpc.release.getHistory(2)]

    assert ["outcome" in record for record in told] == [False, False, True]
    assert not any("error" in record for record in told)
    with pytest.raises(xmlrpc.client.Fault, match="already running"):
        host.rpc.release.deploy("v1.0.0", False)
    host.open("held")
    assert _ended(host, identity)["outcome"] == "rolled-back"
    if run:
        assert ended(run) == 20


def test_busy_is_a_fault_with_the_commands_own_message(host: Host) -> None:
    host.configure(f"[hooks]\nbuild = [{{ run = '{host.gate('held')}' }}]")
    begun = host.rpc.release.deploy("v1.0.0", False)
    host.reached("held")

    with pytest.raises(xmlrpc.client.Fault) as fault:
        host.rpc.release.deploy("v1.1.0", False)
    with pytest.raises(xmlrpc.client.Fault) as checked:
        host.rpc.release.check("v1.1.0", True)
    command = host.deploy("v1.1.0")

    assert (fault.value.faultCode, checked.value.faultCode) == (111, 111)
    assert f"already running: {begun['id']} (deploy v1.0.0, pid " in fault.value.faultString
    for fault_string in (fault.value.faultString, checked.value.faultString):
        assert fault_string.split("), for")[0] == command.json["error"]["message"].split("), for")[0]
    host.open("held")
    _ended(host, begun["id"])
    assert host.history()[0]["outcome"] == "deployed"


@pytest.mark.parametrize("bare", [False, True], ids=["by-the-plugin", "by-supervisorctl-start"])
def test_busy_names_what_is_known_of_a_deployment_that_has_not_taken_the_lock_yet(host: Host, bare: bool) -> None:
    host.configure(f"[hooks]\nbuild = [{{ run = '{host.gate('held')}' }}]", service="")
    begun = {"id": ""} if bare else host.rpc.release.deploy("v1.0.0", False)
    if bare:
        host.supervisorctl("start", "deploy")
    host.reached("held")
    pid = host.process("deploy")[1]
    (host.root / ".release-agent" / "lock").write_text("")  # as before it has it

    with pytest.raises(xmlrpc.client.Fault) as fault:
        host.rpc.release.deploy("v1.1.0", False)

    known = f"starting: pid {pid}" if bare else f"already running: {begun['id']} (deploy v1.0.0, pid {pid})"
    assert f"another deployment is {known}" in fault.value.faultString
    host.open("held")
    eventually(lambda: host.process("deploy")[0] == "EXITED", "it ended")


def test_misconfigured_agent_is_a_fault_that_names_the_mistake(host: Host) -> None:
    host.config.write_text('[app]\nname = "api"\n')

    with pytest.raises(xmlrpc.client.Fault, match=r"app\.root") as fault:
        host.rpc.release.deploy("", False)

    assert fault.value.faultCode == 110


def test_unknown_deployment_is_a_fault(host: Host) -> None:
    with pytest.raises(xmlrpc.client.Fault, match="there is no deployment nobody") as fault:
        host.rpc.release.getDeployment("nobody")

    assert fault.value.faultCode == 122


def test_wrong_arguments_are_a_fault_and_supervisord_lives(host: Host) -> None:
    for call in (lambda: host.rpc.release.deploy(1, 2, 3, 4), lambda: host.rpc.release.getHistory("many")):
        with pytest.raises(xmlrpc.client.Fault):
            call()

    assert host.rpc.supervisor.getState()["statename"] == "RUNNING"


def test_programs_configuration_is_as_it_was(host: Host) -> None:
    host.rpc.release.deploy("v1.0.0", True)

    assert "No config updates" in host.supervisorctl("reread").out
    # And a bare start afterwards is bare again.
    host.supervisorctl("start", "deploy")
    eventually(lambda: host.process("deploy")[0] == "EXITED", "the bare run ended")
    entry = host.history()[0]
    assert (entry["revision"], entry["trigger"]) == ("v1.1.0", "supervisor")


def test_client_that_hangs_up_changes_nothing(host: Host) -> None:
    host.configure(f"[hooks]\nbuild = [{{ run = '{host.gate('held')}' }}]")
    body = xmlrpc.client.dumps(("v1.0.0", True), "release.deploy").encode()
    client = socket.socket(socket.AF_UNIX)
    client.connect(f"{host.path}/supervisor.sock")
    client.sendall(b"POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    host.reached("held")
    client.close()
    host.open("held")

    eventually(lambda: host.process("deploy")[0] == "EXITED", "it went on")
    assert host.history()[0]["outcome"] == "deployed"
    assert host.rpc.supervisor.getState()["statename"] == "RUNNING"


def test_supervisorctl_follows_to_the_end_and_exits_with_the_deployments_code(host: Host) -> None:
    good = host.supervisorctl("release", "deploy", "v1.0.0")
    host.repository.release("v1.2.0", "sick")
    sick = host.supervisorctl("release", "deploy")
    unknown = host.supervisorctl("release", "deploy", "v9")
    back = host.supervisorctl("release", "rollback")

    assert good.code == 0, good.out
    lines = good.out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["resolve", "plan", "build", "sync"]
    assert lines[-1].startswith("deployed: v1.0.0")
    assert (sick.code, unknown.code, back.code) == (20, 12, 22)
    assert "answered 500" in sick.out
    assert host.history()[-1]["trigger"] == "supervisorctl"


def _steps(out: str) -> list[str]:
    """The phases and hooks that supervisorctl printed, in order."""
    return [line.split()[0] for line in out.splitlines() if line.endswith((" s", "`")) and line[0] != " "]


def test_supervisorctl_prints_the_phases_of_an_automatic_rollback_in_the_order_they_went(host: Host) -> None:
    host.configure("[hooks]\n" + "\n".join(f"{stage} = [{{ run = 'true' }}]" for stage in ("before_publish", "after_publish")))
    host.supervisorctl("release", "deploy", "v1.0.0")
    host.repository.release("v1.2.0", "sick")

    sick = host.supervisorctl("release", "deploy", "v1.2.0")

    hooks = [["before_publish", "hooks"], ["after_publish", "hooks"]]
    there = ["resolve", "plan", "build", "sync", *hooks[0], "publish", *hooks[1], "restart", "health"]
    # The service that came back is proved, and then all services together.
    assert _steps(sick.out) == [*there, "publish", *hooks[1], "restart", "health", "health", "report", "prune"]


def test_supervisorctl_prints_the_phases_of_a_rollback_that_fails_in_the_order_they_went(host: Host) -> None:
    host.configure("[health]\ndeadline = '2s'\n")
    one = host.rpc.release.deploy("v1.0.0", True)
    two = host.rpc.release.deploy("v1.1.0", True)
    host.spoil(one["release"], "behaviour", "sick")

    back = host.supervisorctl("release", "rollback")

    assert (back.code, host.live()) == (20, two["release"])
    there = ["publish", "restart", "health"]
    assert _steps(back.out) == ["plan", *there, *there, "health", "report", "prune"]


def test_supervisorctl_says_after_a_rollback_that_a_bare_deploy_takes_the_highest_version_again(host: Host) -> None:
    host.configure(service="")
    host.supervisorctl("release", "deploy", "v1.0.0")
    forward = host.supervisorctl("release", "deploy", "v1.1.0")
    back = host.supervisorctl("release", "rollback")
    none = host.supervisorctl("release", "rollback")

    assert (back.code, none.code) == (0, 22)
    assert back.out.splitlines()[-1] == (
        'note: a bare deploy would take the highest version again; to stay on this one, set [revision] follow = "pin" '
        "and run `release-agent pin v1.0.0`"
    )
    assert "note:" not in forward.out + none.out


def test_supervisorctl_shows_status_and_history(host: Host) -> None:
    host.supervisorctl("release", "deploy", "v1.0.0")

    status = host.supervisorctl("release", "status")
    history = host.supervisorctl("release", "history")
    usage = host.supervisorctl("release", "nonsense")

    assert status.code == 0
    assert "current   v1.0.0" in status.out
    assert "by supervisorctl" in history.out
    assert usage.code == 2
    assert "release rollback" in usage.out


def test_http_with_a_password_by_curl_and_by_python(cold_host: Host) -> None:
    host = cold_host
    host.repository.release("v1.0.0")
    port = free_port()
    host.services.append(f"[inet_http_server]\nport=127.0.0.1:{port}\nusername=agent\npassword=secret-secret\n")
    host.start()
    call = "<methodCall><methodName>release.deploy</methodName><params><param><string>v1.0.0</string></param>"
    call += "<param><boolean>1</boolean></param></params></methodCall>"

    curl = subprocess.run(
        ["curl", "-sS", "-u", "agent:secret-secret", "-H", "Content-Type: text/xml", "-d", call, f"http://127.0.0.1:{port}/RPC2"],
        capture_output=True,
        text=True,
        check=True,
    )
    (record,), _ = xmlrpc.client.loads(curl.stdout)
    proxy: Any = xmlrpc.client.ServerProxy(f"http://agent:secret-secret@127.0.0.1:{port}/RPC2")
    bare = proxy.supervisor.startProcess("deploy", False)
    stranger: Any = xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}/RPC2")
    with pytest.raises(xmlrpc.client.ProtocolError) as refused:
        stranger.release.getStatus()

    assert record["outcome"] == "deployed"  # type: ignore[index,call-overload]
    assert bare is True
    assert refused.value.errcode == 401
    eventually(lambda: host.process("deploy")[0] == "EXITED", "the bare run ended")
    assert [entry["trigger"] for entry in host.history()] == ["supervisor", "rpc"]


def test_container_that_is_being_stopped_refuses(cold_host: Host) -> None:
    host = cold_host
    host.repository.release("v1.0.0")
    # A program that takes its time to stop keeps supervisord around.
    stubborn = f"trap '' TERM; touch {host.path}/up; while :; do sleep 0.05; done"
    host.services.append(f'[program:stubborn]\ncommand=/bin/sh -c "{stubborn}"\nstopwaitsecs=3\n')
    host.start()
    eventually((host.path / "up").exists, "it is up")
    host.rpc.supervisor.shutdown()

    with pytest.raises(xmlrpc.client.Fault) as fault:
        host.rpc.release.deploy("v1.0.0", False)

    assert fault.value.faultCode == 6


def test_plugin_imports_the_standard_library_and_supervisor_alone() -> None:
    before = _imported("")
    foreign = _imported(", release_agent.plugin") - before - set(sys.stdlib_module_names)

    assert foreign == {"release_agent", "supervisor"}


def _imported(more: str) -> set[str]:
    script = f"import sys, json{more}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True, env=clean_environment()
    )
    return set(json.loads(done.stdout))


def test_plugin_leaves_no_file_of_its_own(host: Host) -> None:
    host.rpc.release.deploy("v1.0.0", True)
    before = sorted(os.listdir(host.root / ".release-agent"))

    for _ in range(3):
        host.rpc.release.getStatus()
        host.rpc.release.getHistory(5)

    assert (
        sorted(os.listdir(host.root / ".release-agent"))
        == before
        == [*("app", "cache", "incoming", "lock", "output", "parked", "releases", "shared", "state.db", "state.db-journal")]
    )


def test_broken_journal_is_a_fault_and_supervisord_lives(host: Host) -> None:
    host.rpc.release.deploy("v1.0.0", True)
    (host.root / ".release-agent" / "state.db").write_bytes(b"not a database" * 1000)

    for call in (host.rpc.release.getStatus, lambda: host.rpc.release.getHistory(1), lambda: host.rpc.release.getDeployment("x")):
        with pytest.raises(xmlrpc.client.Fault, match="journal") as fault:
            call()
        assert fault.value.faultCode == 113

    assert host.rpc.supervisor.getState()["statename"] == "RUNNING"


def test_supervisor_without_a_deploy_program_is_a_fault(cold_host: Host) -> None:
    host = cold_host
    host.repository.release("v1.0.0")
    host.deploy_settings = "[program:another]\ncommand=/bin/true\nautostart=false"
    host.start()
    host.rpc.supervisor.removeProcessGroup("deploy")

    with pytest.raises(xmlrpc.client.Fault, match="no program deploy") as fault:
        host.rpc.release.deploy("", False)

    assert fault.value.faultCode == 113


def test_run_that_could_not_begin_is_told_all_the_same(host: Host) -> None:
    begun = host.rpc.release.deploy("v1.0.0", False)
    _ended(host, begun["id"])
    host.config.write_text(host.config.read_text().replace('environment = "test"', 'environment = "test"\nroot2 = 1'))

    with pytest.raises(xmlrpc.client.Fault, match="root2"):
        host.rpc.release.getDeployment(begun["id"])


@pytest.mark.parametrize("stage", ["build", "after_publish"])
def test_who_waits_for_a_deployment_that_is_killed_is_told_at_once_that_the_next_run_finishes_it(host: Host, stage: str) -> None:
    host.deploy("v1.0.0")
    host.configure(f"[hooks]\n{stage} = [{{ run = '[ $RELEASE_ACTION = recover ] || {{ {host.gate('held')}; }}' }}]")
    command = [BIN / "supervisorctl", "-c", host.path / "supervisord.conf", "release", "deploy", "v1.1.0"]
    follower = subprocess.Popen(command, env=host.environment, stdout=subprocess.PIPE, text=True)
    host.reached("held")
    identity = host.status()["deployment"]["id"]

    os.kill(host.process("deploy")[1], signal.SIGKILL)
    code = ended(follower)
    told = [host.rpc.release.getDeployment(identity), host.rpc.release.getHistory(1)[0]]

    assert [(record["outcome"], record["error"]["code"]) for record in told] == [("error", "interrupted")] * 2
    assert follower.stdout
    assert (code, "release-agent boot" in follower.stdout.read()) == (1, True)
    assert host.history()[0]["outcome"] is None, "the journal leaves it to the next run"
    host.open("held")
    assert host.agent("boot").code == 0
    finished = host.rpc.release.getDeployment(identity)
    assert finished["outcome"] == ("cancelled" if stage == "build" else "deployed")


def test_reload_keeps_supervisord_and_its_plugin(host: Host) -> None:
    # Right after a run, whose watch is still in supervisord's loop.
    before = host.rpc.release.deploy("v1.0.0", True)
    host.reload()

    assert host.rpc.release.getHistory(1)[0]["id"] == before["id"]
    assert host.rpc.supervisor.getState()["statename"] == "RUNNING"


def test_reload_in_the_middle_of_a_deployment_leaves_it_to_boot(host: Host) -> None:
    host.rpc.release.deploy("v1.0.0", True)
    host.configure(f"[hooks]\nafter_publish = [{{ run = '[ $RELEASE_ACTION = recover ] || {{ {host.gate('held')}; }}' }}]")
    begun = host.rpc.release.deploy("v1.1.0", False)
    host.reached("held")

    host.reload()
    host.open("held")

    assert host.agent("boot").code == 0
    assert host.rpc.release.getDeployment(begun["id"])["outcome"] == "deployed"
    assert host.serves() == "v1.1.0"
