"""Doctor's findings without a supervisor: the root, the journal, the repositories, the signers."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from release_agent.cli.doctor import FAULT, OK, WARNING, Finding, examine
from release_agent.cli.doctor.supervised import Supervised
from release_agent.errors import Failed
from release_agent.journal.journal import StateDatabase
from release_agent.model import Request
from release_agent.store.root import Root
from release_agent.system.clock import SystemClock
from release_agent.wiring import Parts
from support.configuration import configuration
from support.privileges import NOBODY, unprivileged
from support.repositories import Repository, listing
from support.roots import install, release, small_disk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path, repo: Repository) -> Path:
    """Where the root is to be; the repository is beside it."""
    assert repo.path == tmp_path / "repos/api"
    return tmp_path / "root"


def examine_all(place: Path, extra: str = "", root: Path | None = None) -> list[Finding]:
    app = f'[app]\nname = "api"\nenvironment = "test"\nroot = "{root or place}"\n'
    repository = f'[[repository]]\nname = "api"\npath = "{place.parent}/repos/api"\n'
    config = configuration(f"[consul]\nenabled = false\n{extra}", app=app, repository=repository)
    return examine(Parts(config, SystemClock(), {}), place.parent / "agent.toml", Supervised(None, None, "unknown"))


def examined(place: Path, extra: str = "", root: Path | None = None) -> dict[str, Finding]:
    """Return what doctor says, by what it looked at."""
    return {finding.check: finding for finding in examine_all(place, extra, root)}


def content(place: Path) -> dict[str, tuple[object, ...]]:
    """List everything in a root, but for the change time of SQLite's journal: root reads it by giving it to its owner."""
    found = listing(place)
    journal = found.pop(".release-agent/state.db-journal")
    return found | {"journal": (*journal[:5], journal[6])}


def test_a_root_that_can_be_made_is_fine_and_is_not_made(place: Path) -> None:
    found = examined(place)["root"]

    assert (found.level, found.message) == (OK, f"{place} does not exist: the first deployment makes it")
    assert not place.exists()


def test_a_root_that_is_there_is_fine_and_nothing_in_it_is_changed(place: Path, root: Root) -> None:
    with StateDatabase(root.database, write=True):
        pass
    before = content(place)

    found = examined(place)

    assert (found["root"].level, found["journal"].level) == (OK, OK)
    assert found["journal"].message == f"{root.database} is readable"
    assert found["root"].message == f"{place} is writable and on one mount"
    assert content(place) == before


def test_a_root_whose_parent_is_missing_is_a_fault(place: Path) -> None:
    found = examined(place, root=place / "nowhere" / "root")["root"]

    assert (found.level, "cannot be made" in found.message) == (FAULT, True)


def test_a_root_that_belongs_to_somebody_else_is_a_fault(open_place: Path) -> None:
    Repository(open_place / "repos/api").commit({"app.py": "x"}, tag="v1.0.0")
    (open_place / "root").mkdir()

    with unprivileged():
        found = examined(open_place / "root")["root"]

    assert (found.level, found.message) == (FAULT, f"{open_place}/root is not writable")
    assert "give" in found.hint


def test_who_neither_deploys_nor_owns_the_root_is_told_which_user_to_be_and_not_to_change_owners(open_place: Path) -> None:
    Repository(open_place / "repos/api").commit({"app.py": "x"}, tag="v1.0.0")
    root = Root(open_place / "root", SystemClock())
    root.prepare()
    with StateDatabase(root.database, write=True):
        pass
    for place in (root.path, *root.path.rglob("*")):
        os.chown(place, 12345, 12345, follow_symlinks=False)

    with unprivileged():
        found = examined(root.path)
    root.path.chmod(0o700)
    with unprivileged():
        closed = examined(root.path)

    assert closed["journal"].hint == f"run it as 12345, who owns {root.path}, or as root"
    assert found["user"].level == WARNING
    assert found["user"].message.endswith(f", who neither deploys nor owns {root.path}: the other checks are about that user")
    assert found["user"].hint == f"run it as 12345, who owns {root.path}, or as root"
    assert found["journal"].hint == f"run it as 12345, who owns {root.database}, or as root"


def test_releases_that_the_user_may_not_enter_are_a_fault_and_no_bug(open_place: Path) -> None:
    Repository(open_place / "repos/api").commit({"app.py": "x"}, tag="v1.0.0")
    root = Root(open_place / "root", SystemClock())
    root.prepare()
    root.publish(install(root, 1).name)
    (root.path / "releases").chmod(0o700)

    with unprivileged():
        found = examined(root.path)

    assert found["revision"].level == found["journal"].level == FAULT
    assert "Permission denied" in found["journal"].message


@pytest.mark.parametrize("name", ["releases", ".release-agent", ".release-agent/incoming", ".release-agent/releases"])
def test_directory_of_the_agents_own_that_a_hook_closed_is_a_fault(open_place: Path, name: str) -> None:
    Repository(open_place / "repos/api").commit({"app.py": "x"}, tag="v1.0.0")
    root = Root(open_place / "root", SystemClock())
    root.prepare()
    for place in (root.path, *root.path.rglob("*")):
        os.chown(place, NOBODY, NOBODY, follow_symlinks=False)
    (root.path / name).chmod(0)

    with unprivileged():
        found = examined(root.path)["root"]

    assert (found.level, found.message) == (FAULT, f"{root.path}/{name} is not writable")
    assert found.hint == f"chmod u+rwx {root.path}/{name}; a hook may have changed its mode"


def test_shared_directory_that_another_user_made_is_warned_of(open_place: Path) -> None:
    Repository(open_place / "repos/api").commit({"app.py": "x"}, tag="v1.0.0")
    root = Root(open_place / "root", SystemClock())
    root.prepare()
    for place in (root.path, *root.path.rglob("*")):
        os.chown(place, NOBODY, NOBODY, follow_symlinks=False)
    root.shared.mkdir(exist_ok=True)
    os.chown(root.shared, 0, 0)

    with unprivileged():
        closed = examined(root.path)["shared"]
    os.chown(root.shared, NOBODY, NOBODY)
    root.shared.chmod(0o555)
    with unprivileged():
        own = examined(root.path)["shared"]
    root.shared.chmod(0o755)
    with unprivileged():
        fixed = examined(root.path)

    assert (closed.level, closed.hint) == (WARNING, f"as root: chown --reference={root.path} {root.shared}")
    assert closed.message == f"{root.shared} is not writable for nobody: a deployment cannot add a shared path"
    assert own.hint == f"chmod u+rwx {root.shared}"
    assert "shared" not in fixed


@pytest.mark.parametrize("name", ["releases", ".release-agent", ".release-agent/incoming", ".release-agent/lock"])
def test_link_in_place_of_what_is_the_agents_own_is_a_fault_that_says_what_a_deployment_says(
    place: Path, root: Root, name: str, tmp_path: Path
) -> None:
    with root.lock(Request("d-1"), wait=False):
        pass
    (root.path / name).rename(tmp_path / "moved")
    (root.path / name).symlink_to(tmp_path / "moved")

    found = examined(place)["root"]

    with pytest.raises(Failed) as refused, root.lock(Request("d-2"), wait=False):
        pass
    assert (found.level, found.hint) == (FAULT, refused.value.hint)


@pytest.mark.needs("mount")
def test_a_mount_inside_the_root_is_a_fault(place: Path, root: Root) -> None:
    with small_disk(root.path / "releases", "1m"):
        found = examined(place)["root"]

    assert (found.level, found.message) == (FAULT, f"{place}/releases is on another mount than {place}")


@pytest.mark.needs("mount")
def test_a_bind_mount_of_the_same_disk_inside_the_root_is_a_fault_too(place: Path, root: Root, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    subprocess.run(["mount", "--bind", tmp_path / "elsewhere", root.incoming], check=True)
    try:
        found = examined(place)["root"]
    finally:
        subprocess.run(["umount", root.incoming], check=True)

    assert (found.level, found.message) == (FAULT, f"{root.incoming} is on another mount than {place}")


@pytest.mark.parametrize(
    "name",
    [
        "releases",
        "releases/{release}",
        ".release-agent",
        ".release-agent/incoming",
        ".release-agent/lock",
        ".release-agent/releases",
        ".release-agent/releases/{release}.json",
        ".release-agent/state.db",
        ".release-agent/state.db-journal",
        ".release-agent/app",
        ".release-agent/back",
    ],
)
def test_what_belongs_to_somebody_else_in_the_root_is_a_fault_with_the_command_that_fixes_it(
    place: Path, root: Root, name: str
) -> None:
    there = place / name.format(release=install(root, 1).name)
    if there.name == "back":
        there.symlink_to(f"releases/{release(1).name}")
    elif not there.exists():
        there.touch()
    os.chown(there, 12345, -1, follow_symlinks=False)

    faults = [finding for finding in examine_all(place) if finding.check == "root" and finding.level == FAULT]

    assert [fault.message for fault in faults] == [f"{there} does not belong to the owner of {place}"]
    assert faults[0].hint == f"chown -R --reference={place} {there}"


@pytest.mark.needs("mount")
def test_a_configuration_that_is_mounted_as_one_file_is_a_warning(place: Path) -> None:
    file = place.parent / "agent.toml"
    file.touch()
    assert examined(place)["configuration"].level == OK

    subprocess.run(["mount", "--bind", file, file], check=True)
    try:
        found = examined(place)["configuration"]
    finally:
        subprocess.run(["umount", file], check=True)

    assert (found.level, found.message.startswith(f"{file} is mounted as one file")) == (WARNING, True)
    assert "mount its directory" in found.hint


def test_a_directory_called_current_is_a_fault(place: Path, root: Root) -> None:
    root.link.mkdir()

    faults = [finding for finding in examine_all(place) if finding.check == "root" and finding.level == FAULT]

    assert [fault.message for fault in faults] == [f"{place}/current is not a symlink"]


def test_a_broken_journal_is_a_fault_that_can_be_repaired(place: Path, root: Root) -> None:
    root.database.write_bytes(b"no database" * 100)

    found = examined(place)["journal"]

    assert (found.level, found.message) == (FAULT, f"{root.database} is broken")
    assert "doctor --repair" in found.hint


def test_a_journal_of_a_newer_agent_is_a_fault_that_repair_would_not_mend(place: Path, root: Root) -> None:
    root.save(replace(install(root, 1), published_at="2024-01-01T00:00:00.000000Z"))
    with StateDatabase(root.database, write=True):
        pass
    with closing(sqlite3.connect(root.database)) as database:
        database.execute("PRAGMA user_version = 99")

    found = examined(place)["journal"]

    assert (found.level, "made by a newer version of release-agent" in found.message) == (FAULT, True)
    assert "--repair" not in found.hint


def test_the_root_of_another_app_is_a_fault(place: Path, root: Root) -> None:
    root.claim("other")

    found = examined(place)["root"]

    assert (found.level, found.message) == (FAULT, f"{place} is the root of the app other, not of api")


def test_a_lost_journal_is_a_fault_where_there_are_releases(place: Path, root: Root) -> None:
    made_later = examined(place)["journal"]
    assert (made_later.level, made_later.message.partition(": ")[0]) == (OK, f"{root.database} does not exist")
    root.save(replace(install(root, 1), published_at="2024-01-01T00:00:00.000000Z"))

    found = examined(place)["journal"]

    assert (found.level, found.message) == (FAULT, f"{root.database} is lost, though there are releases")


def test_a_repository_that_is_fine_is_told_with_its_tags(place: Path, repo: Repository) -> None:
    found = examined(place)

    assert (found["repository api"].level, found["repository api"].message) == (OK, f"{repo.path} is readable, 1 tags")
    assert (found["revision"].level, found["revision"].message) == (OK, "a bare deploy takes v1.0.0")


def test_a_repository_that_is_missing_is_a_fault_and_everything_else_is_looked_at(place: Path, repo: Repository) -> None:
    repo.path.rename(repo.path.with_name("elsewhere"))

    found = examined(place)

    assert found["repository api"].level == found["revision"].level == FAULT
    assert f"at {repo.path} cannot be read" in found["repository api"].message
    assert found["root"].level == OK


def test_no_version_to_deploy_is_a_fault(place: Path, repo: Repository) -> None:
    repo.git("tag", "--delete", "v1.0.0")

    found = examined(place)["revision"]

    assert (found.level, "no tag like v* is a version" in found.message) == (FAULT, True)


def test_a_wrong_release_toml_is_a_fault(place: Path, repo: Repository) -> None:
    repo.commit({"release.toml": "[hook]\n"}, tag="v2.0.0")

    found = examined(place)["revision"]

    assert (found.level, "hook: is not a key here" in found.message) == (FAULT, True)


def test_signers_are_looked_for_where_tags_are_to_be_signed(place: Path, tmp_path: Path) -> None:
    signed = f'[revision]\nsigned = true\nallowed_signers = "{tmp_path}/signers"\n'
    assert "signers" not in examined(place)
    assert examined(place, signed)["signers"].level == FAULT

    (tmp_path / "signers").touch()

    assert examined(place, signed)["signers"].level == OK


def test_revoked_signers_have_a_line_and_a_missing_list_is_a_fault(place: Path, tmp_path: Path) -> None:
    (tmp_path / "signers").touch()
    signed = f'[revision]\nsigned = true\nallowed_signers = "{tmp_path}/signers"\n'
    revoking = f'{signed}revoked_signers = "{tmp_path}/revoked"\n'
    assert "revoked signers" not in examined(place, signed)

    missing = examined(place, revoking)["revoked signers"]
    os.mkfifo(tmp_path / "revoked")
    pipe = examined(place, revoking)["revoked signers"]
    (tmp_path / "revoked").unlink()
    (tmp_path / "revoked").touch()
    there = examined(place, revoking)["revoked signers"]

    assert (missing.level, pipe.level, there.level) == (FAULT, FAULT, OK)
    assert missing.message == f"{tmp_path}/revoked is missing or unreadable: without it, the agent deploys no tag"
    assert there.message == f"{tmp_path}/revoked is readable"


def test_a_list_of_signers_that_is_a_pipe_is_a_fault(place: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "signers")

    assert examined(place, f'[revision]\nsigned = true\nallowed_signers = "{tmp_path}/signers"\n')["signers"].level == FAULT


def test_a_supervisor_that_is_not_there_is_a_fault(place: Path) -> None:
    found = examined(place)["supervisor"]

    assert (found.level, "the address of supervisor is unknown" in found.message) == (FAULT, True)


def test_consul_is_not_looked_for_where_it_is_not_used(place: Path) -> None:
    assert "consul" not in examined(place)


def test_a_finding_as_json() -> None:
    assert Finding("root", FAULT, "no", "mend it").to_json() == {
        "check": "root",
        "level": "fault",
        "message": "no",
        "hint": "mend it",
    }
