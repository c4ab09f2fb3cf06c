"""Hooks and shared paths in a deployment."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

from release_agent.journal.journal import StateDatabase
from release_agent.model import Request
from support.host import SERVICE_PYTHON, SERVICE_USER
from support.waiting import eventually

if TYPE_CHECKING:
    from support.host import Host

GROUP = 65533  # of the agent's files and the service


def test_hook_that_fails_leaves_everything_as_it_was_and_says_what_it_said(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    host.configure('[hooks]\nbuild = [{ run = "echo compiling; echo no such header >&2; exit 7" }]')

    ran = host.deploy()

    assert (ran.code, ran.json["outcome"], ran.json["error"]["code"]) == (13, "failed", "hook-failed")
    assert "exited with 7" in ran.json["error"]["message"]
    assert "no such header" in ran.json["error"]["message"]
    assert [event["line"] for event in ran.events("hook.output")] == ["compiling", "no such header"]
    shown = host.agent("history", ran.json["id"], "--json").json
    assert shown["hooks"][0]["output"] == "compiling\nno such header\n"
    assert (host.live(), host.leftovers()) == (live, [])


def test_hook_that_takes_too_long_is_ended_with_its_grandchildren(host: Host) -> None:
    # The grandchild ignores TERM, holds the pipe, and would say so for ever.
    marker = host.path / "grandchild"
    child = f"trap '' TERM; echo $$ > {marker}; while :; do sleep 0.05; done"
    host.configure(f"""[hooks]\nbuild = [{{ run = "sh -c \\"{child}\\" & wait", timeout = "1s" }}]""")

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "hook-timed-out")
    assert "still running after 1 s" in ran.json["error"]["message"]
    eventually(lambda: _is_gone(marker.read_text().strip()), "the grandchild is gone")
    assert host.leftovers() == []


def _is_gone(pid: str) -> bool:
    from pathlib import Path

    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


_WRITES_ITS_PATH = """[hooks]
build = [
  { run = '''mkdir made; printf '#!%s/python\\n' "$(pwd -P)" > made/program''', cache = ["version"], makes = ["made"] },
  { run = 'grep -rlIZ -- "$RELEASE_DIRECTORY" made | xargs -0r sed -i "s|$RELEASE_DIRECTORY|$RELEASE_PATH|g"' },
]
"""


def test_path_that_a_program_writes_is_that_of_the_build_also_behind_a_link(cold_host: Host) -> None:
    host = cold_host
    (host.path / "data").mkdir()
    (host.path / "link").symlink_to("data")
    host.root, host.services = host.path / "link/root", []
    host.configure(_WRITES_ITS_PATH, service="")
    host.repository.release("v1.0.0")
    host.start()

    ran = host.deploy()

    assert (ran.code, ran.json["outcome"]) == (0, "deployed")
    assert (host.root / "current/made/program").read_text() == f"#!{host.root}/releases/{ran.json['release']}/python\n"
    assert ["which is gone when the release is live" in event["why"] for event in ran.events("cache.skipped")] == [True]


def test_hooks_see_where_and_what(host: Host) -> None:
    build = f"env > {host.path}/build; pwd > {host.path}/cwd"
    host.configure(f'[hooks]\nbuild = [{{ run = "{build}" }}]\nafter_deploy = [{{ run = "pwd > {host.path}/after" }}]')

    record = host.deploy().json

    seen = dict(line.split("=", 1) for line in (host.path / "build").read_text().splitlines() if line.startswith("RELEASE_"))
    seen.pop("RELEASE_AGENT_CONFIG")
    commit = record["commits"]["api"]
    assert seen == {
        "RELEASE_ACTION": "deploy",
        "RELEASE_APP": "api",
        "RELEASE_BY": "",
        "RELEASE_COMMIT": commit,
        "RELEASE_COMMIT_API": commit,
        "RELEASE_DIRECTORY": f"{host.root}/.release-agent/incoming/{record['release']}",
        "RELEASE_ENVIRONMENT": "test",
        "RELEASE_HOST": "host-1",
        "RELEASE_ID": record["id"],
        "RELEASE_NAME": record["release"],
        "RELEASE_NUMBER": "1",
        "RELEASE_PATH": f"{host.root}/releases/{record['release']}",
        "RELEASE_PREVIOUS": "",
        "RELEASE_REVISION": "v1.1.0",
        "RELEASE_ROOT": str(host.root),
        "RELEASE_SHARED": f"{host.root}/shared",
    }
    assert (host.path / "cwd").read_text().strip() == seen["RELEASE_DIRECTORY"]
    assert (host.path / "after").read_text().strip() == seen["RELEASE_PATH"]


def test_before_publish_that_fails_leaves_the_live_release_untouched(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    host.configure('[hooks]\nbefore_publish = [{ run = "exit 1" }]')

    ran = host.deploy()

    assert (ran.code, host.live(), list(host.releases())) == (13, live, [live])


def test_shared_paths_are_seeded_once_and_outlive_releases(host: Host) -> None:
    host.repository.release("v1.2.0", **{".env": "from the repository", "var__uploads__first": "shipped"})
    host.configure('[shared]\ndirectories = ["var/uploads", "logs"]\nfiles = [".env"]')
    first = host.deploy()
    (host.root / "current" / "var" / "uploads" / "second").write_text("uploaded")
    (host.root / "shared" / ".env").write_text("by hand")
    host.repository.release("v1.3.0", **{".env": "from the next"})

    second = host.deploy()

    assert (first.code, second.code) == (0, 0), second.err
    current = host.root / "current"
    assert sorted(path.name for path in (current / "var" / "uploads").iterdir()) == ["first", "second"]
    assert (current / ".env").read_text() == "by hand"
    assert not (current / "logs").readlink().is_absolute()
    assert (current / "logs").is_dir()
    assert host.agent("verify").code == 0


def test_shared_file_that_is_nowhere_is_asked_for(host: Host) -> None:
    host.configure('[shared]\nfiles = [".env"]')

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "shared-missing")
    assert f"create {host.root}/shared/.env" in ran.json["error"]["hint"]
    assert host.leftovers() == []


def test_verify_lists_drift_but_not_what_hooks_made(host: Host) -> None:
    host.configure('[hooks]\nbuild = [{ run = "mkdir made; touch made/it; echo stamped > version" }]', service="")
    host.deploy()
    clean = host.agent("verify", "--json")
    current = host.root / "current"
    (current / "web.py").write_text("tampered")
    (current / "behaviour").unlink()
    (current / "intruder").touch()
    (current / "version").write_text("tampered")

    drifted = host.agent("verify", "--json")

    assert (clean.code, clean.json["drift"]) == (0, [])
    assert drifted.code == 30
    assert {item["path"]: item["change"] for item in drifted.json["drift"]} == {
        "web.py": "changed",
        "behaviour": "missing",
        "intruder": "added",
        "version": "changed",
    }


def lines_of(said: str) -> list[tuple[str, str, str]]:
    """Return the event, the app and the deployment of each line of a log."""
    lines = [json.loads(line) for line in said.splitlines()]
    return [(line["event"], line.get("app", ""), line.get("id", "")) for line in lines]


def test_every_line_of_a_run_has_its_deployment_and_its_app(host: Host) -> None:
    host.configure('[hooks]\nbuild = [{ run = "echo größer" }]')
    (host.root / ".release-agent").mkdir(parents=True)
    with StateDatabase(host.root / ".release-agent" / "state.db", write=True) as journal:
        journal.begin(Request("left-behind"), "2026-01-01T00:00:00.000000Z")

    ran = host.deploy()

    lines = lines_of(ran.err)
    recovered = [line for line in lines if line[2] == "left-behind"]
    assert [event for event, _, _ in recovered] == ["deployment.recovered", "deploy.finished"]
    assert {line[1:] for line in lines if line not in recovered} == {("api", ran.json["id"])}
    assert {"hook.output", "release.published", "deploy.finished"} <= {event for event, _, _ in lines}
    assert '"line": "größer"' in ran.err


MIGRATE = "import sqlite3; sqlite3.connect('data/app.db').execute('create table t (x)'); open('data/app.log', 'w')"
SERVE = (
    "import sqlite3; sqlite3.connect('app.db', isolation_level=None).execute('insert into t values (1)'); open('app.log', 'a')"
)


def test_what_a_migration_makes_is_writable_for_the_service(host: Host) -> None:
    data = host.root / "shared" / "data"
    data.mkdir(parents=True)
    os.chown(data, -1, GROUP)
    data.chmod(0o2775)
    (host.path / "migrate.py").write_text(MIGRATE)
    # SQLite makes its files with mode 644 at most, and takes over a file that is there.
    hook = f'{{ run = "touch data/app.db; {SERVICE_PYTHON} {host.path}/migrate.py", umask = "002" }}'
    host.configure(f'[shared]\ndirectories = ["data"]\n[hooks]\nbefore_publish = [{hook}]', service="")

    ran = host.deploy()

    assert ran.code == 0, ran.err
    modes = {path.name: path.stat().st_mode & 0o777 for path in data.iterdir()}
    command = [SERVICE_PYTHON, "-IS", "-c", SERVE]
    subprocess.run(command, cwd=data, user=SERVICE_USER, group=GROUP, extra_groups=[], check=True)
    assert modes == {"app.db": 0o664, "app.log": 0o664}


def test_what_a_failed_hook_put_beside_the_release_is_there_at_the_next_try_and_its_release_is_not(host: Host) -> None:
    cache = 'cd "$RELEASE_SHARED"; mkdir -p .cache; cat .cache/it "$OLDPWD/half" || true; echo fetched > .cache/it; cd -'
    (host.path / "build").write_text(f"{cache}\necho > half\n[ -e {host.path}/well ]\n")
    host.configure(f'[hooks]\nbuild = [{{ run = "sh {host.path}/build" }}]', service="")
    first = host.deploy()
    (host.path / "well").touch()

    second = host.deploy()

    assert (first.json["error"]["code"], host.leftovers()) == ("hook-failed", [])
    assert second.code == 0
    assert second.events("hook.output")[0]["line"] == "fetched"
    assert "half: No such file" in second.events("hook.output")[1]["line"]


def test_a_file_whose_name_is_no_text_costs_verify_no_answer(host: Host) -> None:
    host.deploy("v1.0.0")
    (host.root / "current" / os.fsdecode(b"odd\xff")).touch()

    ran = host.agent("verify")

    assert (ran.code, "odd\\udcff" in ran.out) == (30, True)
