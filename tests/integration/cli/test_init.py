"""`release-agent init` in a container with a real supervisord and real repositories, up to the first healthy release."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.bare_container import OPEN, BareContainer
from support.environment import PROJECT
from support.markdown import page
from support.privileges import NOBODY
from support.repositories import Repository
from support.usual_container import NAMESPACES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STRANGER = 12345


# A container with the usual places, in namespaces of its own: nothing names supervisord, the root or the user.
ALONE = """
set -eu
mount --bind "$PLACE/etc" /etc
mount -t tmpfs tmpfs /srv
mount -t tmpfs tmpfs /run
supervisord -c /etc/supervisord.conf >/dev/null &
until supervisorctl pid >/dev/null; do sleep 0.02; done
release-agent init --repositories "$PLACE/repos"
supervisorctl reload
until supervisorctl status boot | grep -q EXITED; do sleep 0.02; done
release-agent doctor
supervisorctl start deploy
until supervisorctl status deploy | grep -q EXITED; do sleep 0.02; done
release-agent status
stat -c 'root of %U' /srv/app
supervisorctl shutdown >/dev/null
wait
"""
CONTROLLER = "[ctlplugin:release]\nsupervisor.ctl_factory=release_agent.plugin:make_controller"


@pytest.fixture
def container(open_place: Path) -> Iterator[BareContainer]:
    made = BareContainer(open_place)
    yield made
    made.close()


def test_three_commands_lead_to_a_healthy_release_and_stop_nothing_that_runs(container: BareContainer) -> None:
    container.start(busy=True)
    busy = container.ctl("pid", "busy").out

    done = container.init()
    assert done.code == 0, done.err
    updated = container.ctl("update")
    container.ended("boot")
    doctor = container.agent("doctor")
    container.repository.release("v1.1.0")
    started = container.ctl("start", "deploy")
    container.ended("deploy")

    assert f"supervisorctl -c {container.place}/supervisord.conf update" in done.out
    assert "boot: added process group" in updated.out
    assert doctor.code == 0, doctor.out
    assert "started" in started.out
    status = json.loads(container.agent("status", "--json").out)
    assert (status["health"], status["current"]["revision"]) == ("passing", "v1.1.0")
    assert [service["name"] for service in status["services"]] == ["web"]
    assert container.ctl("pid", "busy").out == busy


@pytest.mark.parametrize("socket", [OPEN, "chmod=0700"])
def test_where_nothing_runs_or_the_socket_is_closed_supervisord_starts_again_and_the_first_release_is_rehearsed(
    container: BareContainer, socket: str
) -> None:
    container.start(socket=socket)

    done = container.init()
    container.reload()
    container.ended("boot")

    assert f"supervisorctl -c {container.place}/supervisord.conf reload" in done.out, done.err
    assert container.agent("doctor").code == 0
    assert "rehearsal" in tomllib.loads(container.config.read_text())["service"][0]
    (boot,) = json.loads(container.agent("history", "--json").out)
    assert boot["outcome"] == "deployed"
    assert '"event": "rehearsal.passed"' in container.log.read_text()


@pytest.mark.parametrize(("command", "seen"), [("init", "kept "), ("doctor", "answers this user")])
def test_supervisord_that_has_just_been_started_is_waited_for(container: BareContainer, command: str, seen: str) -> None:
    container.start()
    assert container.init().code == 0
    container.close()
    starting = container.supervisord = container.begun()
    starting.send_signal(signal.SIGSTOP)  # before its first line of Python

    with container.begin(command) as looks:
        assert looks.stderr
        told = looks.stderr.readline()
        starting.send_signal(signal.SIGCONT)
        out, rest = looks.communicate()

    assert told == f"release-agent: supervisord runs and does not listen at {container.url} yet: waiting at most 30 s\n"
    assert seen in out, out + rest


@pytest.mark.needs("mount")
def test_in_a_container_with_the_usual_places_nothing_has_to_be_named(container: BareContainer) -> None:
    etc = container.place / "etc"
    shutil.copytree("/etc", etc, symlinks=True, dirs_exist_ok=True)
    with (etc / "passwd").open("a") as users, (etc / "group").open("a") as groups:
        users.write("release:x:990:990::/srv:/bin/sh\n")
        groups.write("release:x:990:\n")
    socket, include = "chown=root:release\nchmod=0770", f"{CONTROLLER}\n[include]\nfiles=supervisor.d/*.conf"
    container.configure(etc / "supervisord.conf", socket=socket, include=include)
    text = (etc / "supervisord.conf").read_text()
    (etc / "supervisord.conf").write_text(
        text.replace(f"{container.place}/root", "/srv/app").replace(str(container.place), "/run")
    )

    done = container.run(*NAMESPACES, "sh", "-c", ALONE, PLACE=str(container.place))

    assert done.code == 0, done.out + done.err
    (shown,) = page("docs/reference/commands.md").section("`release-agent init`").examples("console")
    assert done.out.startswith(shown.partition("\n")[2].replace("8080", str(container.port)).strip())
    assert "no faults" in done.out
    assert "health    passing" in done.out
    assert done.out.endswith("root of release\n")


def test_a_second_init_keeps_everything(container: BareContainer) -> None:
    container.start()
    container.init()
    container.config.write_text(container.config.read_text() + "# mine\n")
    before = container.written()

    again = container.init()

    assert again.code == 0, again.err
    assert container.written() == before
    assert f"kept    {container.config}" in again.out
    assert "wrote" not in again.out


@pytest.mark.parametrize(("socket", "step"), [("chmod=0700", "reload"), (OPEN, "update")])
def test_a_second_init_names_the_same_step_until_supervisord_has_read_the_sections(
    container: BareContainer, socket: str, step: str
) -> None:
    container.start(socket=socket, busy=True)
    first = container.init()
    before = container.written()

    again = container.init()
    container.reload() if step == "reload" else container.ctl("update")
    container.ended("boot")
    then = container.init()

    assert again.code == 0, again.err
    assert container.written() == before
    assert [f"supervisord.conf {step} " in done.out for done in (first, again, then)] == [True, True, False]
    assert ("kept    [unix_http_server]\n" in again.out) == (step == "reload")
    assert "wrote" not in again.out


def test_a_section_that_is_missing_comes_back_beside_a_configuration_that_is_kept(container: BareContainer) -> None:
    container.start()
    container.init()
    (container.place / "conf.d/release-agent-boot.conf").unlink()

    again = container.init()

    assert again.out.startswith(f"wrote   {container.place}/conf.d/release-agent-boot.conf\nkept ")


def test_a_file_of_that_name_with_something_else_in_it_is_left_and_named(container: BareContainer) -> None:
    container.start()
    taken = container.place / "conf.d/release-agent-boot.conf"
    taken.write_text("; mine\n")

    done = container.init()

    assert (done.code, taken.read_text()) == (10, "; mine\n")
    assert f"cannot write {taken}: File exists" in done.err
    assert "[program:boot]" in done.out


def test_a_dry_run_prints_every_file_and_writes_none(container: BareContainer) -> None:
    container.start()

    done = container.init("--dry-run")

    assert done.code == 0, done.err
    assert container.written() == {}
    assert f"# ---- {container.config}\n# Written by" in done.out
    for section in ("[program:deploy]", "[program:boot]", "[eventlistener:monitor]", "[rpcinterface:release]"):
        assert section in done.out


def test_output_takes_all_files_and_leaves_the_container_as_it_is(container: BareContainer) -> None:
    container.start()
    output = container.place / "output"

    done = container.init("--output", output)

    assert done.code == 0, done.err
    assert container.written() == {}
    assert f"wrote   {output}/release-agent.toml    belongs to {container.config}" in done.out
    assert len(list(output.iterdir())) == 5
    assert f"run `install -d -o nobody -g nogroup {container.place}/root`, and go on with:" in done.out


@pytest.mark.needs("mount")
def test_where_nothing_can_be_written_the_text_is_printed(container: BareContainer) -> None:
    container.start()
    etc = container.place / "etc"

    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", etc], check=True)
    try:
        done = container.init()
    finally:
        subprocess.run(["umount", etc], check=True)

    assert done.code == 10
    assert f"cannot write {container.config}: Read-only file system" in done.err
    assert "init --output DIR" in done.err
    assert "[[repository]]" in done.out


@pytest.mark.needs("mount")
def test_without_a_supervisord_in_the_container_that_is_said(container: BareContainer) -> None:
    done = container.run(*NAMESPACES, "release-agent", "init")

    assert done.code == 13
    assert "no supervisord runs here" in done.err


@pytest.mark.needs("mount")
def test_without_the_user_the_two_commands_are_named_and_nothing_is_written(container: BareContainer) -> None:
    shutil.rmtree(container.place / "root")
    container.start()
    users = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("release:")]
    (container.place / "passwd").write_text("\n".join(users))
    command = f"mount --bind {container.place}/passwd /etc/passwd; exec release-agent --config {container.config} init"

    done = container.run(
        *("unshare", "--mount", "sh", "-c", command), SUPERVISOR_SERVER_URL=f"unix://{container.place}/supervisor.sock"
    )

    assert done.code == 10
    root = f"{container.place}/root"
    assert f"useradd --system --create-home release && install -d -o release -g release {root}" in done.err
    assert container.written() == {}


def test_a_user_whom_supervisor_does_not_let_in_is_told_who_may(container: BareContainer) -> None:
    container.start(socket="chmod=0700")
    command = ["release-agent", "--config", container.config, "init", "--repositories", container.place / "repos"]

    done = container.run(
        *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
        *command,
        SUPERVISOR_SERVER_URL=f"unix://{container.place}/supervisor.sock",
    )

    assert done.code == 13
    assert "run it as root, who owns" in done.err
    assert container.written() == {}


def test_without_a_supervisor_nothing_is_written(container: BareContainer) -> None:
    done = container.init()

    assert done.code == 13
    assert "code: supervisor-unreachable" in done.err
    assert container.written() == {}


def _broken(place: Path) -> None:
    (place / "api/.git").mkdir(parents=True)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _place: None, "cannot look for repositories in {place}: No such file or directory"),
        (Path.touch, "cannot look for repositories in {place}: Not a directory"),
        (lambda place: place.symlink_to(place), "cannot look for repositories in {place}: Too many levels of symbolic links"),
        (Path.mkdir, "no git repository in {place}"),
        (_broken, "repository api at {place}/api cannot be read"),
    ],
    ids=["nothing", "a file", "a circle of links", "an empty directory", "a broken repository"],
)
def test_without_a_repository_nothing_is_written(container: BareContainer, make: Callable[[Path], object], said: str) -> None:
    container.start()
    place = container.place / "odd"
    make(place)

    done = container.init(repositories="odd")

    assert done.code in (10, 12)
    assert said.format(place=place) in done.err
    assert container.written() == {}


def test_a_repository_that_the_user_may_not_look_into_is_named_and_not_taken_for_none(container: BareContainer) -> None:
    container.start()
    Repository(container.place / "repos/lib").commit({"lib.py": ""}, tag="v1.0.0")
    (container.place / "repos/api").chmod(0o700)

    done = container.run(
        *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "release-agent", "--config", container.config),
        *("init", "--repositories", container.place / "repos"),
        SUPERVISOR_SERVER_URL=f"unix://{container.place}/supervisor.sock",
    )

    assert done.code == 10, done.err
    assert f"{container.place}/repos/api/.git cannot be read: Permission denied" in done.err


@pytest.mark.parametrize("closed", ["api", "api/.git/objects"])
def test_a_repository_that_only_root_may_read_is_refused_because_another_user_deploys(
    container: BareContainer, closed: str
) -> None:
    container.start()
    (container.place / "repos" / closed).chmod(0o700)

    done = container.init()

    assert done.code in (10, 12)
    assert f"{container.place}/repos/api" in done.err
    assert "cannot be read" in done.err
    assert "let nobody read it" in done.err
    assert container.written() == {}


def test_bare_repositories_are_found_and_two_of_one_name_get_two(container: BareContainer) -> None:
    container.start()
    container.repository.git("clone", "--quiet", "--bare", ".", str(container.place / "repos/api.git"))

    done = container.init()

    assert done.code == 0, done.err
    written = tomllib.loads(container.config.read_text())
    assert [(one["name"], one["path"].rpartition("/")[2]) for one in written["repository"]] == [
        ("api", "api"),
        ("api-2", "api.git"),
    ]
    assert container.run("release-agent", "config", "check", container.config).code == 0


SEVERAL = """
set -eu
for file; do
    supervisord -c "$PLACE/$file" >/dev/null &
    until [ "$(cat "$PLACE/$file.pid" 2>/dev/null)" = $! ]; do sleep 0.02; done
done
release-agent --config "$PLACE/etc/release-agent.toml" init --repositories "$PLACE/repos"
"""


@pytest.mark.needs("mount")
@pytest.mark.parametrize(
    ("without", "said"),
    [
        (
            ["", ""],
            ["2 supervisords run here", ": unix://{place}/0.sock, unix://{place}/1.sock", "SERVER_URL=unix://{place}/0.sock"],
        ),
        (
            ["unix_http_server"],
            ["0.conf has neither [unix_http_server] nor [inet_http_server]: no client can connect to supervisor"],
        ),
        (["rpcinterface:supervisor"], ["{place}/0.sock is not a supervisor with [rpcinterface:supervisor]"]),
    ],
    ids=["two of them", "no socket", "no RPC"],
)
def test_a_supervisord_that_cannot_be_asked_is_said(container: BareContainer, without: list[str], said: list[str]) -> None:
    files = [f"{number}.conf" for number in range(len(without))]
    for number, (file, section) in enumerate(zip(files, without, strict=True)):
        container.configure(container.place / file)
        text = (container.place / file).read_text().replace("supervisor.sock", f"{number}.sock")
        sections = re.split(r"(?m)^(?=\[)", text.replace("supervisord.pid", f"{file}.pid"))
        (container.place / file).write_text("".join(one for one in sections if f"[{section}]" not in one))

    done = container.run(*NAMESPACES, "sh", "-c", SEVERAL, "sh", *files, PLACE=str(container.place))

    for words in said:
        assert words.format(place=container.place) in done.err
    assert container.written() == {}


@pytest.mark.needs("mount")
def test_a_configuration_without_the_address_of_supervisor_is_named(container: BareContainer) -> None:
    """`doctor` in a shell would not find supervisor."""
    container.configure(container.place / "supervisord.conf")
    minimal = page("docs/install.md").section("The first deployment").examples("toml")[0]
    container.config.write_text(minimal.replace("/srv/app", f"{container.place}/root"))
    command = "supervisord -c $PLACE/supervisord.conf"

    done = container.run(*NAMESPACES, "sh", "-c", STARTED, "sh", command, PLACE=str(container.place))

    assert done.code == 0, done.err
    assert f'-> set url = "{container.url}" in [supervisor], or export SUPERVISOR_SERVER_URL={container.url}\n' in done.out
    assert "has no address" not in container.start().init().out


STARTED = """
set -eu
printf '#!/bin/sh\n"$@" & wait\n' >"$PLACE/bin/tini"
chmod +x "$PLACE/bin/tini"
bash -c "$1" >/dev/null &
until [ -s "$PLACE/supervisord.pid" ]; do sleep 0.02; done
release-agent --config "$PLACE/etc/release-agent.toml" init --repositories "$PLACE/repos"
"""


@pytest.mark.needs("mount")
@pytest.mark.parametrize(
    "command",
    [
        "tini supervisord -c $PLACE/supervisord.conf",
        "python3 -m supervisor.supervisord -c $PLACE/supervisord.conf",
        "cd $PLACE; supervisord & exec -a supervisord sh bin/tini sleep inf",
    ],
    ids=["as a child of tini", "as a module", "with a fork of it that has not started its program yet"],
)
def test_one_supervisord_is_found_in_whatever_way_it_was_started(container: BareContainer, command: str) -> None:
    container.configure(container.place / "supervisord.conf")

    done = container.run(*NAMESPACES, "sh", "-c", STARTED, "sh", command, PLACE=str(container.place))

    assert done.code == 0, done.err
    assert f'url = "{container.url}"' in container.config.read_text()


def test_several_repositories_get_a_place_each(container: BareContainer) -> None:
    container.start()
    Repository(container.place / "repos/lib").commit({"lib.py": ""}, tag="v1.0.0")

    done = container.init()

    assert done.code == 0, done.err
    written = tomllib.loads(container.config.read_text())
    assert [(one["name"], one["into"]) for one in written["repository"]] == [("api", "api"), ("lib", "lib")]
    assert "the place of each repository in a release" in done.out


def test_two_repositories_without_a_common_version_are_deployed_after_the_edits_of_the_notes(container: BareContainer) -> None:
    Repository(container.place / "repos/lib").commit({"lib.py": ""})
    file, current = container.place / "supervisord.conf", f"{container.place}/root/current"
    container.start()

    done = container.init()
    file.write_text(file.read_text().replace(current, f"{current}/api"))
    container.reload()
    container.ended("boot")

    assert "no version is in every repository, so the configuration follows the branch main" in done.out, done.err
    assert f"-> let its section name {current}/NAME" in done.out
    doctor = container.agent("doctor")
    assert doctor.code == 0, doctor.out
    status = json.loads(container.agent("status", "--json").out)
    assert (status["health"], status["current"]["revision"]) == ("passing", "main")


def test_servers_that_reload_themselves_are_not_restarted(container: BareContainer) -> None:
    """supervisord answers `none` for a section without directory=."""
    for file in ("gunicorn-reload.conf", "nginx.conf", "php-fpm.conf"):
        text = (PROJECT / "supervisor.d/examples" / file).read_text().replace("/srv/app", f"{container.place}/root")
        text = text.replace("user=app", "user=daemon").replace("[program:web]", "[program:gunicorn]")
        (container.place / "conf.d" / file).write_text(text)
    container.start()

    assert container.init().code == 0
    services = tomllib.loads(container.config.read_text())["service"]
    assert {service["name"]: service.get("restart") for service in services} == {
        "gunicorn": "signal:HUP",
        "nginx": "signal:HUP",
        "php": "signal:USR2",
        "web": None,
    }


def test_the_section_of_a_group_with_another_name_is_found(container: BareContainer) -> None:
    section = "numprocs=2\nprocess_name=%(program_name)s_%(process_num)02d\nautostart=false\n"
    (container.place / "conf.d/all.conf").write_text(
        f"[program:cron]\ncommand=cron\n{section}"
        f"[program:site]\ncommand=site\ndirectory={container.place}/root/current\n{section}"
        'environment=PORT="80%(process_num)02d"\n[group:all]\nprograms=site\n[group:jobs]\nprograms=web,cron\n'
    )
    container.start()

    assert container.init().code == 0
    assert re.search(r'#behind-haproxy\n.*\n\[\[service\]\]\nname = "all"', container.config.read_text())


def test_services_of_a_release_toml_are_left_to_it(container: BareContainer) -> None:
    container.start()
    container.repository.commit({"release.toml": '[[service]]\nname = "web"\n'}, tag="v1.1.0")

    done = container.init()

    assert done.code == 0, done.err
    assert "service" not in tomllib.loads(container.config.read_text())


def test_programs_of_a_release_toml_need_two_keys_which_are_named(container: BareContainer) -> None:
    """After the edit of the note, `boot` deploys, and `doctor` finds no fault."""
    section = f"[program:worker]\ncommand=sleep inf\ndirectory={container.place}/root/current\nuser=daemon\nautorestart=true\n"
    container.repository.release("v1.1.0", **{"release.toml": 'programs = "*.conf"\n', "worker.conf": section})
    file, brought = container.place / "supervisord.conf", f"{container.place}/brought"
    container.start()

    done = container.init()
    plugin = container.place / "conf.d/release-agent-plugin.conf"
    plugin.write_text(plugin.read_text().replace("; program", "program").replace("/run/release-agent", brought))
    plugin.write_text(plugin.read_text().replace("program_users = app", "program_users = daemon"))
    file.write_text(file.read_text().replace("/conf.d/*.conf", f"/conf.d/*.conf {brought}/*.conf"))
    container.reload()
    container.ended("boot")

    assert "-> set programs and program_users in [rpcinterface:release], let [include] read that file" in done.out, done.err
    doctor = container.agent("doctor")
    assert doctor.code == 0, doctor.out
    assert "worker" in container.agent("status").out
    container.config.unlink()
    assert "program_users" not in container.init().out


def test_a_repository_without_a_version_deploys_its_branch(container: BareContainer) -> None:
    container.start()
    container.repository.git("tag", "--delete", "v1.0.0")
    container.repository.git("branch", "--force", "trunk")

    done = container.init()

    assert done.code == 0, done.err
    assert tomllib.loads(container.config.read_text())["revision"]["follow"] == "branch"
    assert "the version to deploy: no tag is a version" in done.out


def test_a_supervisord_that_includes_nothing_is_told_what_to_include(container: BareContainer) -> None:
    container.start(include="")

    done = container.init()

    assert done.code == 0, done.err
    assert (container.place / "etc/supervisor.d/release-agent-deploy.conf").exists()
    assert f"add {container.place}/etc/supervisor.d/*.conf to files= of its [include]" in done.out


def test_a_program_of_somebody_else_that_is_named_deploy_is_neither_started_nor_a_service(container: BareContainer) -> None:
    (container.place / "conf.d/mine.conf").write_text("[program:deploy]\ncommand=sleep inf\nautostart=false\n")
    container.start()

    done = container.init()

    assert "-> rename it, and run init again" in done.out, done.err
    assert "start deploy" not in done.out
    assert "boot does the first deployment" in done.out
    assert 'name = "deploy"' not in container.config.read_text()
    assert "whether a deployment restarts deploy" not in done.out


def test_sections_that_supervisorctl_does_not_see_are_named(container: BareContainer) -> None:
    """supervisorctl follows no [include]."""
    file = container.place / "supervisord.conf"
    container.start()
    text = file.read_text()
    file.write_text(re.sub(r"\[supervisorctl\]\nserverurl=.*\n", "", text))
    (container.place / "conf.d/controller.conf").write_text(f"{CONTROLLER}\n[supervisorctl]\nserverurl=http://127.0.0.1:1\n")

    done = container.init()

    assert f"add [supervisorctl] with serverurl={container.url} to it, before you go on" in done.out, done.err
    assert "whether you want `supervisorctl release`" in done.out
    assert "include supervisorctl section" in container.ctl("pid").err + container.ctl("pid").out


def test_sections_go_into_a_directory_that_is_there_before_one_that_is_not(container: BareContainer) -> None:
    """The configuration of the image includes a directory that only the image has."""
    container.start(include=f"[include]\nfiles={container.place}/gone/*.conf {container.place}/conf.d/*.conf")

    done = container.init()

    assert done.code == 0, done.err
    assert (container.place / "conf.d/release-agent-deploy.conf").exists()
    assert not (container.place / "gone").exists()


def test_the_root_directory_of_an_unknown_owner_needs_a_user(container: BareContainer) -> None:
    os.chown(container.place / "root", STRANGER, STRANGER)
    container.start()

    done = container.init()

    assert done.code == 10
    assert f"the container has no user release with the number {STRANGER}" in done.err
    assert f"useradd --system --create-home --uid {STRANGER} release" in done.err
    assert container.written() == {}


def test_the_root_directory_is_made_for_the_user_of_a_supervisord_that_is_not_roots(container: BareContainer) -> None:
    (container.place / "root").rmdir()
    container.start(as_nobody=True)

    done = container.init()

    assert done.code == 0, done.err
    assert (container.place / "root").stat().st_uid == NOBODY
    assert "supervisord runs as nobody, who owns the releases" in done.out
    assert "user=" not in container.written()["release-agent-deploy.conf"].replace("; ", "")


def test_a_supervisord_that_may_not_open_the_log_of_the_container_starts_the_programs(container: BareContainer) -> None:
    """The log of the container is root's, as under docker without a terminal if [supervisord] has user=."""
    container.start(as_nobody=True)

    done = container.init()
    container.reload()
    container.ended("boot")

    assert "supervisord, as nobody, may not open the container's log" in done.out, done.err
    assert '"event": "release.published"' in container.ctl("tail", "-100000", "boot", "stderr").out
    assert "RUNNING" in container.ctl("status", "monitor").out


def test_a_root_directory_with_something_in_it_is_not_given_away(container: BareContainer) -> None:
    os.chown(container.place / "root", 0, 0)
    (container.place / "root/data").touch()
    container.start(as_nobody=True)

    done = container.init()

    assert done.code == 10
    assert f"as root: install -d -o nobody -g nogroup {container.place}/root" in done.err
    assert (container.place / "root").stat().st_uid == 0


def test_two_repositories_of_one_name_get_two_names(container: BareContainer) -> None:
    shutil.copytree(container.place / "repos/api", container.place / "repos/api.git")
    container.start()

    done = container.init()

    assert done.code == 0, done.err
    assert [one["name"] for one in tomllib.loads(container.config.read_text())["repository"]] == ["api", "api-2"]
    assert container.agent("config", "check", container.config).code == 0


@pytest.mark.parametrize("name", [b"a\xff", b"a\nb", b"a\x1b[2J", b"a\x7f"])
def test_a_repository_whose_name_no_configuration_can_hold_is_refused(container: BareContainer, name: bytes) -> None:
    os.rename(bytes(container.repository.path), bytes(container.place / "repos") + b"/" + name)  # noqa: PTH104 - bytes
    container.start()

    done = container.init()

    assert (done.code, "printable" in done.err, container.written()) == (10, True, {}), done.err


def test_a_name_of_any_length_is_cut(container: BareContainer) -> None:
    container.repository.path.rename(container.place / "repos" / ("x" * 250))
    container.start()

    assert container.init().code == 0
    assert container.agent("config", "check", container.config).code == 0
    assert tomllib.loads(container.config.read_text())["repository"][0]["name"] == "x" * 63


def test_a_directory_that_may_not_be_entered_does_not_hide_the_repositories_beside_it(container: BareContainer) -> None:
    (container.place / "repos/lost+found").mkdir(mode=0o700)
    container.start(as_nobody=True)

    done = container.run(
        *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
        *("release-agent", "--config", container.config, "init", "--repositories", container.place / "repos", "--dry-run"),
        SUPERVISOR_SERVER_URL=f"unix://{container.place}/supervisor.sock",
    )

    assert (done.code, f'path = "{container.repository.path}"' in done.out) == (0, True), done.err


def test_repositories_may_be_named_from_the_working_directory(container: BareContainer) -> None:
    container.start()

    done = container.run(
        *("release-agent", "--config", container.config, "init", "--repositories", f".{container.place}/repos"),
        SUPERVISOR_SERVER_URL=f"unix://{container.place}/supervisor.sock",
    )

    assert done.code == 0, done.err
    assert container.agent("config", "check", container.config).code == 0


def test_the_root_directory_of_nobody_known_is_not_taken_by_a_supervisord_that_is_not_roots(container: BareContainer) -> None:
    os.chown(container.place / "root", STRANGER, STRANGER)
    container.start(as_nobody=True)

    done = container.init()

    assert (done.code, "does not belong to nobody" in done.err) == (10, True), done.err
