"""The agent builds releases from the parked one: each equals a fresh checkout, whatever happens during the build."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.environment import BIN
from support.histories import differences, picture
from support.host import CONTAINED, SERVICE_PYTHON, SERVICE_USER
from support.roots import small_disk
from support.tracing import killed_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.histories import Picture
    from support.host import Host, Ran

# What a hook makes: in files and directories of the commit, beside them, with other modes and owners.
HOOK = (
    "set -e; mkdir -p node_modules/deep; echo $RELEASE_REVISION > node_modules/deep/built; "
    "echo built >> same; chmod 600 same; rm -r deep; mkdir -m 700 deep; mkfifo deep/pipe; "
    "ln -s /etc dir/link; chown 65534 dir; chmod 1777 dir; ln changed linked; echo '* eol=crlf' > dir/.gitattributes"
)
# What a program does to its release later.
LATER = (
    "set -e; rm -rf dir; mkdir -m 711 dir; echo later >> version; chmod 777 .; mkdir -p nested/.git/objects; "
    "mv link moved; ln -f changed linked; echo $RELEASE_REVISION > made"
)


def settings(host: Host, extra: str = "", *, root: Path | None = None, keep: int = 1, **sections: str) -> None:
    app = f'[app]\nname = "api"\nenvironment = "test"\nhost = "host-1"\nroot = "{root or host.root}"\nkeep = {keep}'
    host.configure(extra, app=app, service="", health='[health]\nstable_for = "0s"\n', **sections)


def version(host: Host, number: int, **files: str) -> str:
    """Tag a version of which some files are new, some change, some go, and others stay."""
    (host.repository.path / "link").unlink(missing_ok=True)
    (host.repository.path / "link").symlink_to(f"dir/{number}")
    shutil.rmtree(host.repository.path / "turn", ignore_errors=True)
    tag = f"v2.{number}.0"
    files = {f"turn__{number % 3}__file": "x", "same": "same\n", "deep__a__b": "x", "dir__a": "a", "changed": tag, **files}
    host.repository.release(tag, **files)
    return tag


def deployed(host: Host, revision: str, *arguments: str) -> tuple[Path, str]:
    """Deploy; returns the release's directory, and how it was built."""
    ran = host.deploy(revision, *arguments)
    assert ran.code == 0, ran.err
    return host.root / "releases" / ran.json["release"], way(ran)


def way(ran: Ran) -> str:
    (written,) = ran.events("files.written")
    return str(written["way"])


def parked(host: Host) -> Path | None:
    """Return the directory of the parked release."""
    found = [path for path in (host.root / ".release-agent/parked").iterdir() if path.is_dir()]
    assert len(found) <= 1
    return found[0] if found else None


def with_a_parked_one(host: Host, extra: str = "") -> Path:
    """Deploy three versions with ``keep = 1``; the first is parked."""
    settings(host, extra)
    for number in range(3):
        deployed(host, version(host, number))
    place = parked(host)
    assert place
    return place


def whole(host: Host, revision: str, extra: str = "") -> Picture:
    """Return what another host makes of a revision, on which it is the first."""
    elsewhere = host.path / "elsewhere"
    settings(host, extra, root=elsewhere)
    ran = host.deploy(revision)
    assert way(ran) == "whole"
    made = picture(elsewhere / "releases" / ran.json["release"])
    verified = host.agent("verify", "--json")
    made[b"verify"] = (verified.code, str(verified.json.get("drift")))
    shutil.rmtree(elsewhere)
    settings(host, extra)
    return made


def with_verdict(host: Host, directory: Path) -> Picture:
    """Return what a release is, and what ``verify`` says of it."""
    verified = host.agent("verify", "--json")
    return picture(directory) | {b"verify": (verified.code, str(verified.json.get("drift")))}


def test_the_third_release_parks_the_first_and_the_fourth_is_made_of_it(host: Host) -> None:
    settings(host)
    ways = []
    for number in range(5):
        tag = version(host, number)
        planned = host.deploy("--dry-run", tag).json
        directory, built = deployed(host, tag)
        assert planned["way"] == built
        ways.append(built)
        assert differences(with_verdict(host, directory), whole(host, tag)) == []
    assert ways == ["whole", "shared", "shared", "difference", "difference"]
    assert planned["files"] < 10
    assert host.deploy("--dry-run", tag).json["way"] == "kept"


HOOKS = {
    "build": f"[hooks]\nbuild = [{{ run = '''{HOOK}''' }}]\n",
    "both": f"[hooks]\nbuild = [{{ run = '''{HOOK}''' }}]\nafter_deploy = [{{ run = '''{LATER}''' }}]\n",
    "shared paths": '[shared]\ndirectories = ["dir", "node_modules", "new/deep"]\nfiles = ["same"]\n',
    "hard links": "[release]\nshare = 'hardlink'\n[hooks]\nafter_deploy = [{ run = 'echo $RELEASE_REVISION > made' }]\n",
}


@pytest.mark.parametrize("made", HOOKS)
def test_whatever_hooks_leave_in_a_release_the_next_one_is_as_if_it_was_the_first(host: Host, made: str) -> None:
    settings(host, HOOKS[made])
    ways = []
    for number in range(6):
        tag = version(host, number)
        directory, built = deployed(host, tag)
        ways.append(built)
        assert differences(with_verdict(host, directory), whole(host, tag, HOOKS[made])) == []
    assert ways[3:] == ["difference"] * 3


def test_programs_that_write_into_their_release_leave_nothing_to_the_next(host: Host) -> None:
    settings(host)
    for number in range(6):
        tag = version(host, number)
        directory, _ = deployed(host, tag)
        assert differences(with_verdict(host, directory), whole(host, tag)) == []
        subprocess.run(
            ["/bin/sh", "-ec", f"{HOOK}\n{LATER}"], cwd=directory, env={"RELEASE_REVISION": "x", **os.environ}, check=True
        )


def test_attributes_that_change_are_written_whole_and_unchanged_files_get_their_line_endings(host: Host) -> None:
    with_a_parked_one(host)

    changed, built = deployed(host, version(host, 3, **{".gitattributes": "same text eol=crlf\n"}))

    assert built == "whole"
    assert (changed / "same").read_bytes() == b"same\r\n"
    place = parked(host)
    assert place
    assert place.name.startswith("000001-"), "there is no better one yet"
    ways = [deployed(host, version(host, number))[1] for number in (4, 5, 6)]
    assert ways == ["shared", "shared", "difference"], "one with the same attributes has taken its place"


def test_parked_release_of_another_place_gives_way_to_one_that_the_next_can_be_made_of(host: Host) -> None:
    with_a_parked_one(host)
    moved = {"repository": f'[[repository]]\nname = "api"\npath = "{host.repository.path}"\ninto = "api"'}
    settings(host, **moved)

    ways = [deployed(host, version(host, number))[1] for number in (3, 4, 5, 6)]

    assert ways == ["whole", "shared", "shared", "difference"]


@pytest.mark.parametrize("number", [0, 2])
def test_release_is_built_in_another_way_if_the_repository_has_lost_what_is_old(host: Host, number: int) -> None:
    """Of the parked release, or of the live one when nothing is parked."""
    settings(host, keep=1 if number == 0 else 5)
    for each in range(3):
        deployed(host, version(host, each))
    tag, tree = version(host, 3), host.repository.git("rev-parse", f"v2.{number}.0^{{tree}}")
    (host.repository.path / ".git/objects" / tree[:2] / tree[2:]).unlink()

    assert deployed(host, tag)[1] == ("shared" if number == 0 else "whole")
    assert host.agent("verify").code == 0


PROGRAMS = {
    "working directory": "os.chdir(place)",
    "open file": "kept = open(place + '/same')",
    "open directory": "kept = os.open(place, os.O_RDONLY)",
    "mapped file": "kept = mmap.mmap(os.open(place + '/same', os.O_RDONLY), 0, prot=1); os.closerange(3, 99)",
    "root": "os.chroot(place)",
    "executable": "os.execv(place + '/cat', ['cat'])",
}


@contextmanager
def using(directory: Path, kind: str, python: str = sys.executable, user: str | None = None) -> Iterator[None]:
    """Have a process, of another user if need be, use a directory in some way."""
    program = f"import mmap, os, sys\nplace = {str(directory)!r}\n{PROGRAMS[kind]}\nos.write(1, os.read(0, 9))\nos.read(0, 9)"
    if kind == "executable":
        shutil.copy("/bin/cat", directory)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([python, "-c", program], cwd="/", user=user, **pipes) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"ready\n")
        process.stdin.flush()
        assert process.stdout.read(1) == b"r"
        yield
        process.stdin.close()


@pytest.mark.parametrize("kind", PROGRAMS)
def test_release_that_a_process_uses_is_neither_parked_nor_removed(host: Host, kind: str) -> None:
    settings(host)
    used, _ = deployed(host, version(host, 0))
    second, _ = deployed(host, version(host, 1))
    before = picture(used)
    with using(used, kind):
        before = picture(used)
        deployed(host, version(host, 2))

        assert parked(host) is None
        assert picture(used) == before
    deployed(host, version(host, 3))

    assert not used.exists()
    place = parked(host)
    assert place
    assert place.name == second.name
    assert deployed(host, version(host, 4))[1] == "difference"


@pytest.mark.needs("mount")
def test_release_that_a_process_uses_at_another_mount_is_not_parked(host: Host) -> None:
    settings(host)
    used, _ = deployed(host, version(host, 0))
    deployed(host, version(host, 1))
    elsewhere = host.path / "mounted"
    elsewhere.mkdir()
    subprocess.run(["mount", "--bind", host.root, elsewhere], check=True)
    try:
        with using(elsewhere / "releases" / used.name, "working directory"):
            deployed(host, version(host, 2))

            assert (parked(host), used.is_dir()) == (None, True)
    finally:
        subprocess.run(["umount", elsewhere], check=True)


@pytest.mark.parametrize("kind", ["working directory", "open file", "mapped file"])
def test_release_that_another_users_process_uses_is_not_parked_in_a_container(host: Host, kind: str) -> None:
    """There root may not look into the processes of others."""
    settings(host)
    used, _ = deployed(host, version(host, 0))
    deployed(host, version(host, 1))
    command = [*CONTAINED, str(BIN / "release-agent"), "deploy", version(host, 2)]
    with using(used, kind, python=SERVICE_PYTHON, user=SERVICE_USER):
        before = picture(used)
        subprocess.run(command, env=host.environment, check=True, capture_output=True)

        assert parked(host) is None
        assert picture(used) == before


@pytest.mark.parametrize("kind", PROGRAMS)
def test_parked_release_that_a_process_uses_is_not_taken(host: Host, kind: str) -> None:
    place = with_a_parked_one(host)
    with using(place, kind):
        before = picture(place)
        directory, built = deployed(host, version(host, 3))

        assert built == "shared"
        assert parked(host) == place
        assert picture(place) == before
    assert differences(with_verdict(host, directory), whole(host, "v2.3.0")) == []


def test_link_in_place_of_the_parked_release_is_removed_and_not_followed(host: Host) -> None:
    place = with_a_parked_one(host)
    place.rename(host.path / "away")
    place.symlink_to(host.path / "away")
    before = picture(host.path / "away")

    assert deployed(host, version(host, 3))[1] == "shared"
    assert picture(host.path / "away") == before
    assert not place.is_symlink()


def test_dry_run_says_that_something_else_is_in_the_place_of_the_parked_release(host: Host) -> None:
    place = with_a_parked_one(host).parent
    tag = version(host, 3)
    for make in (lambda: place.symlink_to(host.path), place.touch, lambda: os.mkfifo(place, 0o755)):
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
        make()

        planned, ran = host.deploy("--dry-run", tag), host.deploy(tag)

        assert [(each.code, each.json["error"]["code"]) for each in (planned, ran)] == [(13, "root-unusable")] * 2


def test_prune_removes_the_parked_release(host: Host) -> None:
    place = with_a_parked_one(host)

    ran = host.agent("prune", "--json")

    assert ran.json == {"removed": [place.name], "cached": 0}
    assert parked(host) is None
    assert list(place.parent.iterdir()) == []


def test_doctor_and_boot_have_nothing_against_a_parked_release(host: Host) -> None:
    place = with_a_parked_one(host)

    ran, boot = host.agent("doctor", "--json"), host.agent("boot", "--json")

    assert ran.code == 0, ran.out
    assert boot.code == 0, boot.out
    assert parked(host) == place
    assert (place.parent.stat().st_mode & 0o777, place.stat().st_mode & 0o777) == (0o700, 0o755)


@pytest.mark.needs("mount")
def test_parked_release_makes_room_for_one_that_is_written_whole(host: Host) -> None:
    """Of the large file there is room for three: two that are kept, and a parked one or a new one."""
    host.root.mkdir()
    with small_disk(host.root, "12m"):
        settings(host)
        for number in range(3):
            assert deployed(host, version(host, number, large=str(number) * (3 << 20)))[0]
        assert parked(host)
        tag = version(host, 3, large="3" * (3 << 20), **{".gitattributes": "same eol=crlf\n"})

        planned = host.deploy("--dry-run", tag).json
        directory, built = deployed(host, tag)

        assert (planned["way"], built) == ("whole", "whole")
        assert (directory / "large").read_text() == "3" * (3 << 20)
        assert parked(host) is None, "the release before has other attributes"
        for number, size, expected in ((4, 3, "shared"), (5, 3, "shared"), (6, 1, "difference")):
            tag = version(host, number, large=str(number) * (size << 20), **{".gitattributes": "same eol=crlf\n"})
            assert deployed(host, tag)[1] == expected


@pytest.mark.needs("mount")
def test_difference_that_does_not_fit_makes_room_as_any_release_does(host: Host) -> None:
    """Beside the parked release there is what a hook made, and both have to go."""
    hook = "run = 'mkdir made; head -c 3145728 /dev/zero > made/file', cache = ['same'], makes = ['made']"
    host.root.mkdir()
    with small_disk(host.root, "14m"):
        settings(host, f"[hooks]\nbuild = [{{ {hook} }}]")
        deployed(host, version(host, 0, large="0" * (2 << 20)))
        settings(host)
        for number in (1, 2):
            deployed(host, version(host, number, large=str(number) * (2 << 20)))
        assert parked(host)
        tag = version(host, 3, large="3" * (8 << 20))

        planned = host.deploy("--dry-run", tag).json
        ran = host.deploy(tag)

        assert planned["way"] == "difference"
        assert ran.code == 0, ran.err


@pytest.mark.needs("mount")
def test_release_that_is_kept_stays_if_the_parked_one_makes_the_room(host: Host) -> None:
    host.root.mkdir()
    with small_disk(host.root, "14m"):
        settings(host, keep=3)
        for number in range(4):
            deployed(host, version(host, number, large=str(number) * (3 << 20)))
        kept = set(host.releases())
        broken = version(host, 4, large="4" * (3 << 20), **{"release.toml": "[hooks]\nbefore_publish = [{ run = 'exit 1' }]"})

        ran = host.deploy(broken)

        assert (ran.code, set(host.releases()), ran.events("room.made")) == (13, kept, [])


def test_parked_files_that_turn_out_to_be_damaged_are_given_up(host: Host) -> None:
    place = with_a_parked_one(host)
    shutil.rmtree(place / "dir")
    (place / "dir").write_text("no directory\n")
    tag = version(host, 3, dir__a="new")

    ran = host.deploy(tag)

    assert ran.code == 0, ran.err
    assert (len(ran.events("parked.given_up")), way(ran)) == (1, "shared")
    assert differences(with_verdict(host, host.root / "releases" / ran.json["release"]), whole(host, tag)) == []


@pytest.mark.needs("ptrace")
@pytest.mark.parametrize(("call", "step"), [("rename", 2), ("unlink", 2), ("fsync", 2), ("symlink", 1)])
def test_killed_at_any_call_of_a_deployment_that_takes_and_parks_the_next_one_is_right(host: Host, call: str, step: int) -> None:
    """Kill the agent at one call of a kind after the other, until one run has no such call left."""
    with_a_parked_one(host)
    expected = {tag: whole(host, tag) for tag in ("v2.1.0", "v2.2.0")}
    kills = 0
    for turn, nth in enumerate(range(1, 200, step)):
        revision = ("v2.1.0", "v2.2.0")[turn % 2]
        with Path(os.devnull).open("r+") as nothing:
            command = ["release-agent", "deploy", "--force", revision]
            code = killed_at(call, nth, command, host.environment, [nothing.fileno()] * 3)
        kills += code == -signal.SIGKILL
        boot = host.agent("boot", "--json")
        assert boot.code == 0, boot.err
        again = host.deploy("--force", revision)
        assert again.code == 0, again.err
        directory = host.root / "releases" / again.json["release"]
        assert differences(with_verdict(host, directory), expected[revision]) == [], f"after kill {nth}"
        assert host.leftovers() == []
        assert parked(host)
        if code == 0:
            break
    else:
        pytest.fail("never got through")
    assert kills, "the agent was never killed"
