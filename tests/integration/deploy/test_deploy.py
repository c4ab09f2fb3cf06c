"""Deployments that succeed, and deployments that have nothing to do."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.repositories import Repository
from support.waiting import eventually

if TYPE_CHECKING:
    from support.host import Host

RECORD_KEYS = {"id", "outcome", "release", "revision", "commits", "previous", "by", "seconds", "phases", "error", "signers"}
PHASES = ["resolve", "plan", "build", "hooks", "sync", "publish", "restart", "health", "report", "prune"]


def test_first_deployment_takes_the_newest_tag_and_serves_it(host: Host) -> None:
    ran = host.deploy()

    assert ran.code == 0, ran.err
    assert ran.json["outcome"] == "deployed"
    assert ran.json["revision"] == "v1.1.0"
    assert ran.json["commits"] == {"api": host.repository.git("rev-parse", "v1.1.0")}
    assert ran.json["previous"] is None
    assert ran.json["error"] is None
    assert re.fullmatch(r"000001-[0-9a-f]{12}", ran.json["release"])
    assert str((host.root / "current").readlink()) == f"releases/{ran.json['release']}"
    assert host.serves() == "v1.1.0"
    assert host.leftovers() == []


def test_root_and_its_shared_files_may_be_links_to_directories_of_another_disk(cold_host: Host) -> None:
    host = cold_host
    for link, place in ((host.root, host.path / "disk"), (host.path / "disk/shared", host.path / "disk/files")):
        place.mkdir()
        link.symlink_to(place)
    host.configure('[shared]\ndirectories = ["uploads"]')
    for tag in ("v1.0.0", "v1.1.0"):
        host.repository.release(tag)
    host.start()

    outcomes = [host.deploy(tag).json["outcome"] for tag in ("v1.0.0", "v1.1.0")]

    assert (outcomes, host.serves()) == (["deployed", "deployed"], "v1.1.0")
    assert (host.path / "disk/current/uploads").resolve() == host.path / "disk/files/uploads"
    assert host.agent("verify").code == 0
    assert (host.agent("rollback").code, host.serves()) == (0, "v1.0.0")


def test_record_has_the_promised_shape(host: Host) -> None:
    host.configure('[hooks]\nbuild = [{ run = "true" }]')

    record = host.deploy().json

    assert set(record) == RECORD_KEYS
    assert [phase["name"] for phase in record["phases"]] == PHASES
    assert all(phase["seconds"] >= 0 for phase in record["phases"])
    assert sum(phase["seconds"] for phase in record["phases"]) <= record["seconds"] + 0.01


def test_who_deployed_is_seen_in_the_history_the_status_the_log_and_by_hooks(host: Host) -> None:
    host.configure('[hooks]\nafter_deploy = [{ run = "echo asked by $RELEASE_BY" }]')

    ran = host.deploy("v1.0.0", SUDO_USER="ada")

    assert [entry["by"] for entry in host.history()] == ["ada"]
    assert "by ada (command)" in host.agent("history").out
    assert host.status()["current"]["by"] == "ada"
    assert [event["line"] for event in ran.events("hook.output")] == ["asked by ada"]
    assert [event["by"] for event in ran.events("deploy.finished")] == ["ada"]

    record = host.rpc.release.deploy("v1.1.0", True, "rpc", False, "", "bob")

    assert (record["by"], host.status()["current"]["by"]) == ("bob", "bob")
    assert host.agent("rollback", "--by", "eve").code == 0
    assert [entry["by"] for entry in host.history()] == ["eve", "bob", "ada"]
    assert host.status()["current"]["by"] == "eve"


def test_supervisorctl_start_deploy_deploys_and_is_recorded_as_such(host: Host) -> None:
    assert "started" in host.supervisorctl("start", "deploy").out

    eventually(lambda: host.process("deploy")[0] == "EXITED", "deploy ended")
    assert host.serves() == "v1.1.0"
    entry = host.history()[0]
    assert set(entry) == RECORD_KEYS | {"action", "trigger", "started_at"}
    assert entry["trigger"] == "supervisor"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", entry["started_at"])
    assert entry["outcome"] == "deployed"


def test_upgrade_replaces_what_is_served_and_keeps_the_old_release(host: Host) -> None:
    first = host.deploy("v1.0.0").json["release"]
    _, old_pid = host.process()

    ran = host.deploy("v1.1.0")

    assert ran.json["previous"] == first
    assert host.serves() == "v1.1.0"
    assert host.process()[1] != old_pid
    assert host.releases() == {first: "healthy", ran.json["release"]: "healthy"}


def test_same_revision_again_builds_and_restarts_nothing(host: Host) -> None:
    release = host.deploy().json["release"]
    _, pid = host.process()

    ran = host.deploy()

    assert (ran.code, ran.json["outcome"], ran.json["release"]) == (0, "unchanged", release)
    assert {phase["name"] for phase in ran.json["phases"]} == {"resolve", "plan", "health", "report", "prune"}
    assert host.process()[1] == pid
    assert list(host.releases()) == [release]


def test_same_revision_that_is_not_well_is_restarted_and_not_built(host: Host) -> None:
    release = host.deploy().json["release"]
    host.supervisorctl("stop", "web")

    ran = host.deploy()

    assert (ran.code, ran.json["outcome"], ran.json["release"]) == (0, "unchanged", release)
    assert host.process()[0] == "RUNNING"
    assert "build" not in {phase["name"] for phase in ran.json["phases"]}


def test_force_builds_and_restarts_what_is_already_live(host: Host) -> None:
    first = host.deploy().json["release"]
    _, pid = host.process()

    ran = host.deploy("--force")

    assert (ran.code, ran.json["outcome"]) == (0, "deployed")
    assert ran.json["release"] != first
    assert ran.json["release"][6:] == first[6:], "the same fingerprint"
    assert host.process()[1] != pid


def test_kept_release_is_published_again_instead_of_built(host: Host) -> None:
    first = host.deploy("v1.0.0").json["release"]
    host.deploy("v1.1.0")

    ran = host.deploy("v1.0.0")

    assert (ran.json["outcome"], ran.json["release"]) == ("deployed", first)
    assert "build" not in {phase["name"] for phase in ran.json["phases"]}
    assert host.serves() == "v1.0.0"


def test_release_holds_one_commit_of_each_repository(host: Host) -> None:
    library = Repository(host.path / "repos" / "library")
    commit = library.release("v1.1.0", version="library")
    host.configure(
        repository=f'[[repository]]\nname = "api"\npath = "{host.repository.path}"\ninto = "app"\n'
        f'[[repository]]\nname = "library"\npath = "{library.path}"\ninto = "vendor/library"',
        service="",
    )

    ran = host.deploy()

    assert ran.json["commits"] == {"api": host.repository.git("rev-parse", "v1.1.0"), "library": commit}
    assert (host.root / "current" / "app" / "version").read_text() == "v1.1.0"
    assert (host.root / "current" / "vendor" / "library" / "version").read_text() == "library"


def test_probe_expects_the_commit_of_its_own_repository(cold_host: Host) -> None:
    host, web = cold_host, Repository(cold_host.path / "repos" / "web")
    host.repository.release("v1.0.0", **{"release.toml": ""})
    toml = f"""\
[hooks]
build = [{{ run = 'printf %s "$RELEASE_COMMIT" > version' }}]
[health]
stable_for = "0s"
[[service]]
name = "web"
[[service.probe]]
http = "http://127.0.0.1:{host.port}/"
expect = "{{commit}}"
[service.rehearsal]
environment = {{ PORT = "{{port}}" }}
"""
    commit = web.release("v1.0.0", **{"release.toml": toml})
    host.configure(
        repository=f'[[repository]]\nname = "api"\npath = "{host.repository.path}"\ninto = "api"\n'
        f'[[repository]]\nname = "web"\npath = "{web.path}"\ninto = "web"',
        service="",
    )
    host.services = [host.service("web", "web/web.py")]
    host.start()

    ran = host.deploy()

    assert (ran.code, host.serves()) == (0, commit), ran.json["error"]


def test_branch_is_followed_to_its_tip(host: Host) -> None:
    host.configure(revision='[revision]\nfollow = "branch"\nbranch = "main"')
    commit = host.repository.release(None)

    ran = host.deploy()

    assert (ran.json["revision"], ran.json["commits"]) == ("main", {"api": commit})


def test_pin_is_what_a_bare_deploy_takes(host: Host) -> None:
    host.configure(revision='[revision]\nfollow = "pin"')

    assert host.deploy().json["error"]["code"] == "not-pinned"
    assert host.agent("pin", "v9.9.9").code == 12
    assert host.agent("pin", "v1.0.0", "--json").json["pinned"] == "v1.0.0"
    assert host.deploy().json["revision"] == "v1.0.0"
    assert host.agent("unpin").code == 0
    assert host.deploy().code == 12


def test_prereleases_count_where_they_are_wanted(host: Host) -> None:
    host.repository.release("v1.2.0-rc.9")
    host.repository.release("v1.2.0-rc.10")
    host.repository.git("tag", "vegetable")

    production = host.deploy()
    host.configure(revision="[revision]\nprereleases = true")
    staging = host.deploy()

    assert production.json["revision"] == "v1.1.0"
    assert production.events("tags.ignored")[0]["count"] == 1
    assert staging.json["revision"] == "v1.2.0-rc.10"


def test_annotated_tag_is_peeled_to_its_commit(host: Host) -> None:
    commit = host.repository.release(None)
    host.repository.git("tag", "-a", "v2.0.0", "-m", "annotated")

    assert host.deploy().json["commits"] == {"api": commit}


def test_dry_run_says_what_would_be_done_and_does_nothing(host: Host) -> None:
    ran = host.agent("deploy", "--dry-run", "--json")

    assert ran.code == 0
    assert ran.json["outcome"] == "checked"
    assert ran.json["build"] is True
    assert ran.json["commits"] == {"api": host.repository.git("rev-parse", "v1.1.0")}
    assert ran.json["needed_bytes"] > 0
    assert [event["id"] for event in ran.events("revision.resolved")] == [ran.json["id"]]
    assert not host.root.exists()
    assert host.history() == []


def test_release_toml_in_the_repository_says_how_it_runs(host: Host) -> None:
    toml = (
        '[hooks]\nbuild = [{ run = "echo made > made-by-hook" }]\n'
        f'[[service]]\nname = "web"\n[[service.probe]]\ntcp = "127.0.0.1:{host.port}"\n'
    )
    host.repository.release("v1.2.0", **{"release.toml": toml})
    host.configure(service="")

    ran = host.deploy()

    assert ran.code == 0, ran.err
    assert (host.root / "current" / "made-by-hook").read_text() == "made\n"
    assert host.process()[0] == "RUNNING"


@pytest.mark.needs("inspect")  # what cannot be looked into counts as in use, and other tests' services are that
def test_keep_applies_to_healthy_releases_by_number(host: Host) -> None:
    host.configure(app=f'[app]\nname = "api"\nenvironment = "test"\nroot = "{host.root}"\nkeep = 2', service="")

    made = [host.deploy("--force").json["release"] for _ in range(4)]

    assert list(host.releases()) == [made[3], made[2]]


def test_umask_of_the_caller_does_not_change_a_release(host: Host) -> None:
    host.configure(service="")
    before = os.umask(0o077)
    try:
        host.deploy()
    finally:
        os.umask(before)

    assert (host.root / "current" / "version").stat().st_mode & 0o777 == 0o644


def test_second_tag_on_the_live_commit_renames_what_is_live_and_restarts_nothing(host: Host) -> None:
    release = host.deploy("v1.1.0").json["release"]
    host.repository.git("tag", "v1.1.1")

    ran = host.deploy()

    assert (ran.json["outcome"], ran.json["revision"], ran.json["release"]) == ("unchanged", "v1.1.1", release)
    assert host.status()["current"]["revision"] == "v1.1.1"


def test_second_tag_on_the_live_commit_is_well_though_its_answer_names_the_first(host: Host) -> None:
    """The build hook wrote down the revision that it saw, and the probe expects the revision."""
    toml = """hooks.build = [{ run = 'printf %s "$RELEASE_REVISION" > version' }]"""
    host.configure(service=host.probed("10s") + '\nexpect = "{revision}"')
    host.repository.release("v1.2.0", **{"release.toml": toml})
    live = host.deploy().json["release"]
    host.repository.git("tag", "v1.3.0", "v1.2.0^{commit}")
    process = host.process()

    again = [host.deploy() for _ in range(2)]

    assert [(ran.code, ran.json["outcome"], ran.json["release"]) for ran in again] == [(0, "unchanged", live)] * 2
    assert (host.process(), host.serves()) == (process, "v1.2.0")
    assert host.status()["current"]["revision"] == "v1.3.0"


def test_signed_tag_passes_and_an_unsigned_one_is_refused(host: Host) -> None:
    key, signers = host.path / "key", host.path / "allowed_signers"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text().split()
    signers.write_text(f'test@example.org namespaces="git" {public[0]} {public[1]}\n')
    host.configure(revision=f'[revision]\nsigned = true\nallowed_signers = "{signers}"')
    host.repository.git("-c", "gpg.format=ssh", "-c", f"user.signingkey={key}", "tag", "-s", "v1.2.0", "-m", "signed")

    signed = host.deploy()
    unsigned, branch = host.deploy("v1.0.0"), host.deploy("main")

    assert (signed.code, signed.json["revision"]) == (0, "v1.2.0")
    assert [(ran.code, ran.json["error"]["code"]) for ran in (unsigned, branch)] == [(12, "tag-unsigned")] * 2
    assert host.live() == signed.json["release"]


@pytest.mark.needs("mount")
def test_release_that_cannot_be_removed_does_not_keep_the_others(host: Host) -> None:
    host.configure(app=f'[app]\nname = "api"\nenvironment = "test"\nroot = "{host.root}"\nkeep = 1', service="")
    stuck = host.deploy("--force").json["release"]
    busy = host.root / "releases" / stuck / "version"
    subprocess.run(["mount", "--bind", busy, busy], check=True)
    try:
        made = [host.deploy("--force") for _ in range(3)]
        assert [ran.code for ran in made] == [0, 0, 0]
        assert made[1].events("prune.failed")[0]["release"] == stuck
        assert made[2].events("leftover.stuck"), "it lies where it is in nobody's way"
        assert made[0].json["release"] not in host.releases()
    finally:
        for version in host.root.rglob("version"):
            subprocess.run(["umount", version], check=False, capture_output=True)
