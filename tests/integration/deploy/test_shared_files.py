"""The first releases share unchanged files, and the agent notices a write through one of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import warm
from support.roots import small_disk, small_xfs
from support.tracing import traced
from support.waiting import eventually, is_frozen

if TYPE_CHECKING:
    from support.host import Host

LARGE = "large\n" * 20_000


def version(host: Host, tag: str, hooks: str = "") -> Path:
    """Deploy a version that changes one file; return its release's directory."""
    host.repository.release(tag, **{"same": "same", "deep__same": "deep", "large": LARGE, "changed": tag, "release.toml": hooks})
    ran = host.deploy(tag)
    assert ran.code == 0, ran.err
    return host.root / "releases" / ran.json["release"]


def share(host: Host, how: str) -> None:
    host.configure(f'[release]\nshare = "{how}"\n', health='[health]\nstable_for = "0s"\n')


def same_files(one: Path, other: Path) -> set[str]:
    """Return the paths that are one file, by hard link."""
    paths = [str(path.relative_to(one)) for path in one.rglob("*") if path.is_file()]
    return {path for path in paths if (other / path).exists() and (one / path).samefile(other / path)}


@pytest.mark.parametrize(
    ("how", "shared"),
    [("auto", {"same", "deep/same", "large"}), ("hardlink", {"same", "deep/same", "large"}), ("copy", set()), ("reflink", set())],
)
def test_files_that_have_not_changed_are_shared_as_the_configuration_says(host: Host, how: str, shared: set[str]) -> None:
    """The file system of the tests has no clones: a large file is linked, too."""
    share(host, how)
    one, two = version(host, "v2.1.0"), version(host, "v2.2.0")

    assert same_files(one, two) - {"web.py", "behaviour", "release.toml"} == shared
    assert (two / "changed").read_text() == "v2.2.0"
    assert {path.stat().st_mode & 0o777 for path in two.rglob("*") if path.is_file()} == {0o644}
    assert host.agent("verify").code == 0


@pytest.mark.needs("mount")
@pytest.mark.parametrize("how", ["auto", "reflink"])
@pytest.mark.parametrize("clones", [False, True])
def test_dry_run_says_how_many_files_are_written_with_and_without_clones(host: Host, how: str, *, clones: bool) -> None:
    host.root.mkdir()
    with small_xfs(host.root) if clones else small_disk(host.root, "9m"):
        share(host, how)
        version(host, "v2.1.0")
        host.repository.release("v2.2.0", changed="more")

        planned, ran = host.deploy("--dry-run"), host.deploy()

        (written,) = ran.events("files.written")
        assert (planned.json["way"], planned.json["files"]) == (written["way"], written["files"])
        assert written["way"] == ("whole" if how == "reflink" and not clones else "shared")
        assert host.leftovers() == []


def test_release_with_hooks_shares_no_file_as_they_could_write_through_it(host: Host) -> None:
    share(host, "auto")
    one = version(host, "v2.1.0")

    two = version(host, "v2.2.0", hooks='hooks.after_deploy = [{ run = "echo more >> same" }]')

    assert same_files(one, two) == set()
    assert (one / "same").read_text() == "same"


@pytest.mark.parametrize("live", [True, False], ids=["of-the-live-one", "of-the-next-one"])
def test_release_shares_no_file_if_a_command_could_write_through_it(host: Host, *, live: bool) -> None:
    share(host, "auto")
    host.configure(service="", health='[health]\nstable_for = "0s"\n')
    hook = "hooks.after_publish = [{ run = 'test $RELEASE_ACTION = deploy || echo more >> same' }]\n"
    probe = '[[service]]\nname = "web"\nprobe = [{ exec = "echo more >> large" }]\n'
    tomls = [hook + probe, ""] if live else ["", probe]
    one, two = (version(host, tag, toml) for tag, toml in zip(("v2.1.0", "v2.2.0"), tomls, strict=True))

    assert host.agent("rollback").code == 0

    assert same_files(one, two) == set()
    assert ((one if live else two) / "large").read_text() != LARGE
    assert ((two if live else one) / "large").read_text() == LARGE
    assert (two / "same").read_text() == "same"


def test_file_that_was_behind_a_shared_path_of_the_live_release_is_written(host: Host) -> None:
    share(host, "auto")
    one = version(host, "v2.1.0", hooks='[shared]\ndirectories = ["deep"]')

    two = version(host, "v2.2.0")

    assert "same" in same_files(one, two)
    (host.root / "shared" / "deep" / "same").write_text("uploaded")
    assert (two / "deep" / "same").read_text() == "deep"
    assert host.agent("verify").code == 0


def test_release_whose_service_could_write_through_a_link_shares_no_file(cold_host: Host) -> None:
    host = cold_host
    host.services = [host.service("web").replace("user=nobody", "user=root")]
    host.start()
    share(host, "auto")
    one, two = version(host, "v2.1.0"), version(host, "v2.2.0")
    with (two / "same").open("a") as file:
        file.write("more")

    assert same_files(one, two) == set()
    assert (one / "same").read_text() == "same"


def test_release_with_a_new_service_that_does_not_run_yet_shares_no_file(cold_host: Host) -> None:
    host = cold_host
    host.services = [host.service("web"), "[program:writer]\ncommand=sleep inf\nuser=root\nautostart=false\n"]
    host.start()
    host.configure('[release]\nshare = "auto"\n', service="", health='[health]\nstable_for = "0s"\n')
    one = version(host, "v2.1.0", host.probed("60s"))
    two = version(host, "v2.2.0", host.probed("60s") + '\n[[service]]\nname = "writer"\n')

    assert same_files(one, two) == set()


def test_release_is_written_whole_if_the_services_of_the_live_one_are_not_known(host: Host) -> None:
    share(host, "auto")
    host.spoil(version(host, "v2.1.0").name, "release.toml", "= [")
    host.repository.release("v2.2.0")

    ran = host.deploy()

    assert (ran.code, [event["way"] for event in ran.events("files.written")]) == (0, ["whole"])


def test_write_through_a_link_is_found_and_the_releases_that_share_it_are_named(host: Host) -> None:
    share(host, "auto")
    one, two = version(host, "v2.1.0"), version(host, "v2.2.0")
    with (two / "same").open("a") as file:
        file.write("more")

    ran = host.agent("verify", "--json")

    assert (ran.code, ran.json["drift"]) == (30, [{"path": "same", "change": "changed", "shared_with": [one.name]}])
    assert f"changed  same (the same file in {one.name})" in host.agent("verify").out


def test_file_that_was_written_through_a_link_is_not_shared_again(host: Host) -> None:
    share(host, "auto")
    one = version(host, "v2.1.0")
    with (one / "same").open("a") as file:
        file.write("more")

    two = version(host, "v2.2.0")

    assert (two / "same").read_text() == "same"
    assert "same" not in same_files(one, two)
    assert host.agent("verify").code == 0


@pytest.mark.needs("ptrace")
def test_file_with_as_many_links_as_it_can_have_is_written(host: Host) -> None:
    share(host, "auto")
    one = version(host, "v2.1.0")
    host.repository.release("v2.2.0", **{"same": "same", "deep__same": "deep", "release.toml": ""})
    with Path(os.devnull).open("r+") as nothing:
        run = warm.start(["release-agent", "deploy", "v2.2.0"], host.environment, [nothing.fileno()] * 3, stopped=True)
    eventually(lambda: is_frozen(run.pid), "it stands still")

    with traced(run.pid, "-e", "trace=link,linkat", "-e", "inject=link,linkat:error=EMLINK:when=2"):
        os.kill(run.pid, signal.SIGCONT)
        code = run.wait()

    two = host.root / "releases" / str(host.live())
    assert code == 0
    assert len(same_files(one, two)) == 6, "of seven files that have not changed"
    assert host.agent("verify").code == 0
