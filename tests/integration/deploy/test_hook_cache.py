"""A build hook does not run again with the same inputs: the agent restores its outputs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import warm
from support.host import SERVICE_PYTHON
from support.roots import small_disk
from support.tracing import killed_at, traced
from support.waiting import eventually, is_frozen

if TYPE_CHECKING:
    from support.host import Host, Ran

RUN = "echo ran >> {ran}; mkdir -p made/deep; cp lock made/deep/copy; ln -s deep/copy made/link; install -m 755 lock made/tool"


def hook(host: Host, run: str = RUN, more: str = "") -> str:
    """Return a hook that makes ``made`` of ``lock`` and notes that it has run."""
    command = json.dumps(run.format(ran=host.path / "ran"))
    return f"[hooks]\nbuild = [{{ run = {command}, cache = ['lock'], makes = ['made']{more} }}]\n"


def version(host: Host, tag: str, lock: str = "one", **files: str) -> Ran:
    """Release and deploy a version."""
    host.repository.release(tag, lock=lock, **files)
    ran = host.deploy(tag)
    assert ran.code == 0, ran.err
    return ran


def runs(host: Host) -> int:
    """Return how often the hook has run."""
    return len((host.path / "ran").read_text().splitlines())


def live(host: Host) -> Path:
    return host.root / "current"


def cached(host: Host) -> list[str]:
    return sorted(path.name for path in (host.root / ".release-agent" / "cache").iterdir())


def has_open(pid: int, name: str) -> bool:
    """Whether a process has a file of a name open."""
    return any(os.path.realpath(entry.path).endswith(f"/{name}") for entry in os.scandir(f"/proc/{pid}/fd"))


@pytest.fixture
def host(host: Host) -> Host:
    """A host with the hook."""
    host.configure(hook(host))
    return host


def test_second_deployment_with_the_same_inputs_does_not_run_the_hook(host: Host) -> None:
    version(host, "v2.0.0")
    ran = version(host, "v2.1.0")

    assert runs(host) == 1
    assert (live(host) / "made/link").read_text() == "one"
    assert (live(host) / "made/tool").stat().st_mode & 0o777 == 0o755
    assert [event["makes"] for event in ran.events("hook.cached")] == [["made"]]
    assert [phase["name"] for phase in ran.json["phases"]].count("hooks") == 1
    assert host.agent("history", ran.json["id"], "--json").json["hooks"][0]["ended"] == "did not run: its outputs were cached"
    assert host.agent("verify").code == 0


@pytest.mark.parametrize("change", ["lock", "text", "variable", "mode", "mentioned", "program", "umask"])
def test_hook_runs_again_when_an_input_has_changed(host: Host, change: str) -> None:
    run, program = f"{RUN}; : ./part other-tool", host.path / "other-tool"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = f"{host.path}:{host.environment['PATH']}"
    host.configure(hook(host, run))
    host.repository.release("v2.0.0", lock="one", part="1")
    assert host.deploy(PATH=path, NODE_ENV="test").code == 0
    host.repository.release("v2.1.0", lock="one", part="1")
    assert host.deploy(PATH=path, NODE_ENV="test").events("hook.cached")

    if change == "mode":
        (host.repository.path / "lock").chmod(0o755)
    if change == "program":
        program.write_text("#!/bin/sh\n# newer\n")
    if change in ("text", "umask"):
        host.configure(hook(host, f"{run} again") if change == "text" else hook(host, run, ', umask = "077"'))
    host.repository.release("v2.2.0", lock="two" if change == "lock" else "one", part="2" if change == "mentioned" else "1")
    ran = host.deploy(PATH=path, NODE_ENV="production" if change == "variable" else "test")

    assert (ran.code, ran.events("hook.cached"), runs(host)) == (0, [], 2)


@pytest.mark.parametrize(
    ("run", "place"),
    [
        ("./script", "interpreter"),  # what runs a script of the release
        ("cd directory && sh inner && mv made ..", "repos/api/directory/inner"),
        ('"$RELEASE_SHARED/program"', "root/shared/program"),
    ],
)
def test_hook_runs_again_when_a_program_has_changed_that_it_runs(host: Host, run: str, place: str) -> None:
    host.configure(hook(host, f"echo ran >> {{ran}}; {run}"))
    program, script = host.path / place, host.repository.path / "script"
    program.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f"#!{host.path}/interpreter\n")
    script.chmod(0o755)
    for number, made in enumerate(["old", "newer"]):
        program.write_text(f"#!/bin/sh\necho {made} > made\n")
        program.chmod(0o755)
        version(host, f"v2.{number}.0")
        version(host, f"v2.{number}.1")
        assert (live(host) / "made").read_text() == f"{made}\n"

    assert runs(host) == 2


def test_hook_that_changes_its_own_input_runs_each_time(host: Host) -> None:
    host.configure(hook(host, f"{RUN}; echo more >> lock"))
    for tag in ("v2.0.0", "v2.1.0"):
        skipped = version(host, tag).events("cache.skipped")
        assert [event["why"].rpartition("/")[2] for event in skipped] == ["lock: the hook has changed its own inputs"]
        assert (live(host) / "lock").read_text() == "onemore\n"

    assert runs(host) == 2


def test_link_that_leads_to_itself_is_an_input_like_one_that_leads_nowhere(host: Host) -> None:
    for tag in ("v2.0.0", "v2.1.0"):
        (host.repository.path / "lock").unlink(missing_ok=True)
        (host.repository.path / "lock").symlink_to("lock")
        host.configure(hook(host, "echo ran >> {ran}; touch made"))
        host.repository.release(tag)
        assert host.deploy().code == 0

    assert runs(host) == 1


def test_pipe_in_place_of_a_program_and_a_word_that_is_no_name_keep_no_deployment_waiting(host: Host) -> None:
    os.mkfifo(host.path / "other-tool", 0o755)
    host.configure(hook(host, f"{RUN}; : other-tool {'x' * 300}"))
    host.repository.release("v2.0.0", lock="one")

    ran = host.deploy(PATH=f"{host.path}:{host.environment['PATH']}")

    assert (ran.code, ran.events("cache.skipped"), len(cached(host))) == (0, [], 1)


def test_variable_of_a_run_counts_if_the_command_names_it(host: Host) -> None:
    host.configure(hook(host, f"{RUN}; echo $RELEASE_REVISION > made/revision"))
    version(host, "v2.0.0")
    version(host, "v2.1.0")

    assert (live(host) / "made/revision").read_text() == "v2.1.0\n"


@pytest.mark.parametrize(
    ("name", "made", "runs_of"), [("REVISION", ["v2.0.0", "v2.1.0"], 2), ("NUMBER", ["1", "2"], 2), ("APP", ["api", "api"], 1)]
)
def test_variable_of_a_run_counts_if_a_script_that_the_command_names_names_it(
    host: Host, name: str, made: list[str], runs_of: int
) -> None:
    host.configure(hook(host, "echo ran >> {ran}; sh build"))
    for tag, expected in zip(["v2.0.0", "v2.1.0"], made, strict=True):
        ran = version(host, tag, build=f"echo $RELEASE_{name} > made")
        assert (live(host) / "made").read_text() == f"{expected}\n"

    assert runs(host) == runs_of
    why = [event["why"].rpartition("/")[2] for event in ran.events("cache.skipped")]
    assert why == (["build: it names RELEASE_NUMBER, whose value differs for each release"] if name == "NUMBER" else [])


def test_hook_of_release_toml_is_cached_in_the_place_of_its_repository(host: Host) -> None:
    host.configure(repository=f'[[repository]]\nname = "api"\npath = "{host.repository.path}"\ninto = "api"', service="")
    toml = f"{hook(host)}[health]\nstable_for = '0s'\n"
    version(host, "v2.0.0", **{"release.toml": toml})
    version(host, "v2.1.0", **{"release.toml": toml})

    assert runs(host) == 1
    assert (live(host) / "api/made/link").read_text() == "one"


def test_hook_that_fails_leaves_nothing_to_be_put_in(host: Host) -> None:
    host.configure(hook(host, f"{RUN}; [ -e {host.path}/well ]"))
    host.repository.release("v2.0.0", lock="one")
    failed = host.deploy()
    left = cached(host)
    (host.path / "well").touch()

    again = host.deploy()

    assert (failed.code, left, host.leftovers()) == (13, [], [])
    assert (again.code, again.events("hook.cached"), runs(host)) == (0, [], 2)


def test_hook_that_is_killed_leaves_nothing_to_be_put_in(host: Host) -> None:
    host.configure(hook(host, f"{RUN}; {host.gate('held')}"))
    host.repository.release("v2.0.0", lock="one")
    run = host.begin("deploy")
    host.reached("held")
    run.kill()
    run.wait()
    host.open("held")

    again = host.deploy()

    assert (again.code, again.events("hook.cached"), runs(host)) == (0, [], 2)


def test_later_hook_that_fails_does_not_take_away_what_was_kept(host: Host) -> None:
    then = f'{{ run = "[ -e {host.path}/well ]" }}'
    host.configure(hook(host).replace("}]\n", f"}}, {then}]\n"))
    host.repository.release("v2.0.0", lock="one")
    assert host.deploy().code == 13
    (host.path / "well").touch()

    assert host.deploy().code == 0
    assert runs(host) == 1


def test_service_that_writes_into_outputs_changes_neither_the_next_release_nor_what_is_kept(host: Host) -> None:
    version(host, "v2.0.0")
    version(host, "v2.1.0")
    for name in ("deep/copy", "tool"):
        (live(host) / "made" / name).write_text("changed")

    version(host, "v2.2.0")

    assert {(live(host) / "made" / name).read_text() for name in ("deep/copy", "tool")} == {"one"}
    assert (runs(host), host.agent("verify").code) == (1, 0)


def test_write_through_a_hard_link_is_found_and_the_hook_runs(host: Host) -> None:
    host.configure(f'{hook(host)}[release]\nshare = "hardlink"\n')
    one = version(host, "v2.0.0").json["release"]
    two = version(host, "v2.1.0").json["release"]
    assert (host.root / "releases" / one / "made/tool").samefile(host.root / "releases" / two / "made/tool")
    with (live(host) / "made/deep/copy").open("a") as file:
        file.write("more")

    ran = version(host, "v2.2.0")

    assert [event["run"].startswith("echo ran") for event in ran.events("cache.damaged")] == [True]
    assert (runs(host), (live(host) / "made/deep/copy").read_text()) == (2, "one")
    assert version(host, "v2.3.0").events("hook.cached")


@pytest.mark.parametrize("damage", ["content", "missing", "more", "note", "no note"])
def test_outputs_that_somebody_wrote_into_are_not_put_in(host: Host, damage: str) -> None:
    version(host, "v2.0.0")
    (entry,) = (host.root / ".release-agent" / "cache").iterdir()
    copy, note = entry / "files/made/deep/copy", entry / "note"
    match damage:
        case "content":
            copy.write_text("two")
        case "missing":
            copy.unlink()
        case "more":
            note.write_text(note.read_text().replace('"made/tool"', '"made/other"'))
        case "note":
            note.write_text(note.read_text().rpartition("\n")[0])
        case "no note":
            note.unlink()

    ran = version(host, "v2.1.0")

    assert (len(ran.events("cache.damaged")), runs(host)) == (1, 2)
    assert (live(host) / "made/link").read_text() == "one"
    assert host.leftovers() == []
    assert version(host, "v2.2.0").events("hook.cached")


def test_hook_that_runs_after_damage_finds_no_directories_of_its_outputs(host: Host) -> None:
    host.configure(
        hook(host, "echo ran >> {ran}; umask 077 && mkdir way && mkdir way/made && cp lock way/made").replace(
            "'made'", "'way/made'"
        )
    )
    version(host, "v2.0.0")
    version(host, "v2.1.0")
    assert (live(host) / "way").stat().st_mode & 0o777 == 0o700
    (entry,) = (host.root / ".release-agent" / "cache").iterdir()
    (entry / "files/way/made/lock").write_text("two")

    ran = version(host, "v2.2.0")

    assert (len(ran.events("cache.damaged")), runs(host)) == (1, 2)


@pytest.mark.parametrize(
    ("run", "why"),
    [
        ("mkfifo made/pipe", "it is not a regular file"),
        ('ln -s "$PWD/lock" made/absolute', "which is gone"),
        (r"""printf '#!%s/made/tool\n' "$PWD" > made/script""", "which is gone"),
        (f"""{SERVICE_PYTHON} -c 'import os; os.setxattr("made/tool", "trusted.note", b"1")'""", "extended attributes"),
        ("truncate -s 8T made/large", "more than 1048576 bytes, and [release] cache_size allows no more"),
        ("rm -r made", "No such file"),
        ("mkdir ../elsewhere; rm -r made; ln -s ../elsewhere made", ""),
    ],
)
def test_outputs_that_are_of_no_use_elsewhere_are_not_kept(host: Host, run: str, why: str) -> None:
    host.configure(f'{hook(host, f"{RUN}; {run}")}[release]\ncache_size = "1 MiB"\n')

    ran = version(host, "v2.0.0")

    if why:
        assert [why in event["why"] for event in ran.events("cache.skipped")] == [True], ran.err
        assert (cached(host), host.leftovers()) == ([], [])
    else:  # a link is an output like another
        assert version(host, "v2.1.0").events("hook.cached")


def test_deployment_is_cancelled_while_it_reads_a_file_of_outputs_without_end(host: Host) -> None:
    host.configure(f'{hook(host, f"{RUN}; truncate -s 8T made/large; touch {host.path}/made")}[release]\ncache_size = "9 TiB"\n')
    host.repository.release("v2.0.0", lock="one")
    run = host.begin("deploy")
    eventually((host.path / "made").exists, "the hook has made it")
    eventually(lambda: has_open(run.pid, "large"), "it is being read")
    run.terminate()

    assert run.wait(60) == 14
    assert (cached(host), host.leftovers()) == ([], [])


def test_hook_runs_each_time_if_what_it_makes_is_there_before(host: Host) -> None:
    for tag in ("v2.0.0", "v2.1.0"):
        ran = version(host, tag, made__file="of the commit")
        assert "it exists before the hook has run" in ran.events("cache.skipped")[0]["why"]

    assert (runs(host), cached(host)) == (2, [])


def test_outputs_used_least_recently_go_when_there_are_too_many(host: Host) -> None:
    host.configure(f'{hook(host, f"{RUN}; head -c 400000 /dev/zero > made/large")}[release]\ncache_size = "1 MiB"\n')
    version(host, "v2.0.0", lock="one")
    version(host, "v2.1.0", lock="two")
    version(host, "v2.2.0", lock="one")
    pruned = version(host, "v2.3.0", lock="three").events("cache.pruned")

    assert ([event["removed"] for event in pruned], len(cached(host))) == ([1], 2)
    assert version(host, "v2.4.0", lock="one").events("hook.cached")
    assert not version(host, "v2.5.0", lock="two").events("hook.cached")


def test_prune_removes_all_outputs_if_it_is_asked_to(host: Host) -> None:
    version(host, "v2.0.0")

    assert host.agent("prune", "--json").json == {"removed": [], "cached": 0}
    assert host.agent("prune", "--cache").out == "removed the outputs of 1 build hook\n"
    assert (cached(host), host.leftovers()) == ([], [])
    version(host, "v2.1.0")
    assert runs(host) == 2


def test_nothing_is_kept_with_a_size_of_nothing(host: Host) -> None:
    host.configure(f'{hook(host)}[release]\ncache_size = "0 MiB"\n')
    version(host, "v2.0.0")
    version(host, "v2.1.0")

    assert (runs(host), cached(host)) == (2, [])


@pytest.mark.needs("ptrace")
def test_full_disk_keeps_nothing_and_the_deployment_goes_on(host: Host) -> None:
    host.repository.release("v2.0.0", lock="one")
    with Path(os.devnull).open("r+") as nothing:
        run = warm.start(["release-agent", "deploy"], host.environment, [nothing.fileno()] * 3, stopped=True)
        eventually(lambda: is_frozen(run.pid), "it stands still")
        with traced(run.pid, "-e", "trace=utimensat", "-e", "inject=utimensat:error=ENOSPC"):
            os.kill(run.pid, signal.SIGCONT)
            assert run.wait(60) == 0

    assert (runs(host), cached(host), host.leftovers()) == (1, [], [])
    assert (live(host) / "made/link").read_text() == "one"


def test_outputs_for_which_there_is_no_room_are_not_kept(host: Host) -> None:
    host.configure(hook(host, f"{RUN}; head -c 3000000 /dev/zero > made/large"))
    host.repository.release("v2.0.0", lock="one")
    with small_disk(host.root, "6m"):
        ran = host.deploy()
        assert (ran.code, cached(host), host.leftovers()) == (0, [], [])
        assert "are free on" in ran.events("cache.skipped")[0]["why"]


def test_outputs_that_do_not_fit_make_room_for_the_hook(host: Host) -> None:
    host.configure(
        hook(host, f"{RUN}; head -c 4000000 /dev/zero > made/large"),
        app=f'[app]\nname = "api"\nenvironment = "test"\nhost = "host-1"\nroot = "{host.root}"\nkeep = 1',
    )
    host.root.mkdir()
    with small_disk(host.root, "14m"):
        version(host, "v2.0.0")
        assert version(host, "v2.1.0").events("hook.cached")

        ran = version(host, "v2.2.0")

        assert [event["why"] for event in ran.events("cache.skipped")][:1] == ["No space left on device"]
        assert (runs(host), (live(host) / "made/large").stat().st_size) == (2, 4000000)
        version(host, "v2.3.0")


@pytest.mark.needs("ptrace")
@pytest.mark.parametrize("call", ["rename", "fsync", "unlink", "symlink", "mkdir"])
@pytest.mark.parametrize("kept", [False, True], ids=["keeping", "taking"])
def test_killed_at_any_call_the_next_deployment_has_the_same_outputs(host: Host, call: str, *, kept: bool) -> None:
    host.configure(hook(host), service="", health='[health]\nstable_for = "0s"\n')
    version(host, "v2.0.0")
    kills = 0
    for nth in range(1, 200, 3):  # every third call
        if not kept:
            host.agent("prune", "--cache")
        with Path(os.devnull).open("r+") as nothing:
            command = ["release-agent", "deploy", "--force", "v2.0.0"]
            code = killed_at(call, nth, command, host.environment, [nothing.fileno()] * 3)
        if code == 0:
            break
        kills += code == -signal.SIGKILL
        again = host.deploy("--force", "v2.0.0")
        assert again.code == 0, again.err
        assert (live(host) / "made/link").read_text() == "one"
        assert (len(cached(host)), host.leftovers(), again.events("cache.damaged")) == (1, [], [])
        assert host.agent("verify").code == 0
    else:
        pytest.fail("never got through")
    assert kills, "the agent was never killed"
