"""Doctor knows from the mode of a shared directory which users may write into it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from release_agent.cli.doctor import WARNING
from release_agent.cli.doctor.shared import examine
from release_agent.config.sections import Shared
from release_agent.system.user import Identity

if TYPE_CHECKING:
    from pathlib import Path

AGENT, SERVICE, BOTH = 12345, 12346, 12347
WEB = Identity(SERVICE, SERVICE, frozenset({SERVICE, BOTH}))
STRANGER = Identity(999_999, 999_999, frozenset({999_999}))
SETTINGS = Shared(directories=("api/data",), files=())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A shared directory, as a deployment makes it."""
    (tmp_path / "api/data").mkdir(parents=True)
    os.chown(tmp_path / "api/data", AGENT, AGENT)
    return tmp_path / "api/data"


def test_directory_of_the_agents_own_user_is_closed_to_the_service(tmp_path: Path, data: Path) -> None:
    data.chmod(0o755)

    (found,) = examine(tmp_path, SETTINGS, {"web": WEB, "worker": WEB})

    assert (found.check, found.level) == ("shared api/data", WARNING)
    assert found.message == (f"{data} ({AGENT}:{AGENT}, mode 0755) is not writable for {SERVICE} (runs web and worker)")
    assert found.hint == f"as root: chgrp {SERVICE} {data} && chmod g+rwxs {data}; see docs/guides/shared-files.md"


@pytest.mark.parametrize(
    ("owner", "group", "mode", "writable"),
    [
        (SERVICE, AGENT, 0o700, True),
        (SERVICE, BOTH, 0o077, False),  # the owner's bits alone count for the owner
        (AGENT, SERVICE, 0o2775, True),
        (AGENT, BOTH, 0o2770, True),  # a supplementary group
        (AGENT, BOTH, 0o2705, False),
        (AGENT, BOTH, 0o2707, False),  # the group's bits alone count for a member
        (AGENT, BOTH, 0o2760, False),  # without x nobody makes a file in it
        (AGENT, AGENT, 0o777, True),
        (AGENT, AGENT, 0o1777, True),
    ],
)
def test_owner_group_and_mode_decide(data: Path, owner: int, group: int, mode: int, *, writable: bool) -> None:
    os.chown(data, owner, group)
    data.chmod(mode)

    assert (list(examine(data.parents[1], SETTINGS, {"web": WEB})) == []) is writable


def test_one_service_that_writes_is_enough_as_another_may_only_read(tmp_path: Path, data: Path) -> None:
    os.chown(data, SERVICE, SERVICE)

    assert list(examine(tmp_path, SETTINGS, {"nginx": STRANGER, "web": WEB})) == []
    (found,) = examine(tmp_path, SETTINGS, {"nginx": STRANGER})
    assert "999999 (runs nginx)" in found.message


def test_nothing_is_said_of_root_of_nobody_known_and_of_a_directory_that_is_not_made_yet(tmp_path: Path, data: Path) -> None:
    assert list(examine(tmp_path, SETTINGS, {"web": Identity(0, 0, frozenset({0}))})) == []
    assert list(examine(tmp_path, SETTINGS, {})) == []
    data.rmdir()
    assert list(examine(tmp_path, SETTINGS, {"web": WEB})) == []


def test_nothing_is_said_of_a_directory_with_an_access_list(tmp_path: Path, data: Path) -> None:
    version, named, permissions = 2, 0x02, 7
    entries = [
        (0x01, 7, 0xFFFFFFFF),
        (named, permissions, SERVICE),
        (0x04, 5, 0xFFFFFFFF),
        (0x10, 7, 0xFFFFFFFF),
        (0x20, 5, 0xFFFFFFFF),
    ]
    packed = b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + who.to_bytes(4, "little") for tag, bits, who in entries
    )
    os.setxattr(data, "system.posix_acl_access", version.to_bytes(4, "little") + packed)

    assert list(examine(tmp_path, SETTINGS, {"web": WEB})) == []


def test_a_process_is_who_the_kernel_says_with_its_further_groups() -> None:
    groups = [BOTH, SERVICE]
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, user=SERVICE, group=AGENT, extra_groups=groups) as running:
        assert Identity.of_process(running.pid) == Identity(SERVICE, AGENT, frozenset({AGENT, *groups}))
