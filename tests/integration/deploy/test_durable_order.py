"""A release becomes durable before it becomes live, as strace(1) shows: a power cut may come at any instant."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import warm
from support.tracing import traced
from support.waiting import eventually, is_frozen

if TYPE_CHECKING:
    from support.host import Host

CALLS = "trace=rename,renameat,renameat2,fsync,fdatasync,syncfs,symlink,symlinkat,unlink,unlinkat,openat"


@pytest.fixture
def steady(host: Host) -> Host:
    """A host with a parked release."""
    host.configure(app=f'[app]\nname = "api"\nenvironment = "test"\nroot = "{host.root}"\nkeep = 1', service="")
    for number in range(1, 4):
        host.repository.release(
            f"v2.{number}.0", **{"stays": "stays", "changed": str(number), "gone" if number < 3 else "new": ""}
        )
        assert host.deploy(f"v2.{number}.0").code == 0
    host.repository.release("v2.4.0", changed="4", deep__new="new")
    return host


def calls(host: Host, *arguments: str) -> list[str]:
    """Run the agent; return what it did to the disk, with short names: ``rename parked/NAME incoming/NAME``."""
    log = host.path / "calls"
    with Path(os.devnull).open("r+") as nothing:
        run = warm.start(["release-agent", *arguments], host.environment, [nothing.fileno()] * 3, stopped=True)
    eventually(lambda: is_frozen(run.pid), "it stands still")
    with traced(run.pid, "-y", "-s", "300", "-o", str(log), "-e", CALLS):
        os.kill(run.pid, signal.SIGCONT)
        assert run.wait() == 0
    done = [_told(host, line) for line in log.read_text().splitlines() if " = 0" in line]
    return [call for call in done if call]


def _told(host: Host, line: str) -> str:
    call = re.search(r"(\w+)\(", line)
    places = [place for place in re.findall(r'[<"](/[^>"]*)[>"]', line) if place.startswith(str(host.root))]
    if not call or not places:
        return ""
    kind = {"renameat": "rename", "renameat2": "rename", "fdatasync": "fsync", "symlinkat": "symlink", "unlinkat": "unlink"}
    short = [re.sub(r"\d{6}-[0-9a-f]{12}|-\d+-[0-9a-f]{16}", "NAME", os.path.relpath(place, host.root)) for place in places]
    return " ".join([kind.get(call[1], call[1]), *(place.replace(".release-agent/", "") for place in short)])


def in_order(done: list[str], *wanted: str) -> None:
    """Fail unless each is done, after the one before."""
    place = 0
    for call in wanted:
        assert call in done[place:], f"{call} is missing after {done[:place][-1:]} in:\n" + "\n".join(done)
        place = done.index(call, place) + 1


@pytest.mark.needs("ptrace")
def test_release_of_the_parked_one_is_durable_before_it_is_among_the_releases_and_that_before_it_is_live(steady: Host) -> None:
    done = calls(steady, "deploy", "v2.4.0")

    # A note beside files of another release would be believed after a power cut.
    in_order(
        done,
        "unlink parked/NAME.json",
        "fsync parked",
        "rename parked/NAME incoming/NAME",
        "symlink incoming/currentNAME",
        "fsync incoming",
        "rename incoming/noteNAME releases/NAME.json",
        "rename incoming/NAME releases/NAME",
        "fsync releases",
        "rename incoming/currentNAME current",
        "fsync .",
    )
    written = ("incoming/NAME/changed", "incoming/NAME/deep/new", "incoming/NAME/deep", "incoming/NAME")
    before = done[: done.index("rename incoming/NAME releases/NAME")]
    assert {f"fsync {place}" for place in written} <= set(before)
    assert not any(call.startswith("syncfs") for call in before), "nobody waits for what others have written"


@pytest.mark.needs("ptrace")
def test_release_that_is_parked_is_durable_before_its_note_says_so(steady: Host) -> None:
    done = calls(steady, "deploy", "v2.4.0")

    in_order(
        done,
        "rename incoming/currentNAME current",
        "rename releases/NAME incoming/NAME",
        "unlink releases/NAME.json",
        "syncfs .",
        "rename incoming/NAME parked/NAME",
        "fsync parked",
        "rename incoming/noteNAME parked/NAME.json",
    )


@pytest.mark.needs("ptrace")
def test_release_that_is_written_whole_is_made_durable_at_once(steady: Host) -> None:
    steady.agent("prune")
    steady.repository.release("v2.5.0", **{".gitattributes": "* text"})

    done = calls(steady, "deploy", "v2.5.0")

    in_order(
        done,
        "symlink incoming/currentNAME",
        "syncfs .",
        "rename incoming/NAME releases/NAME",
        "rename incoming/currentNAME current",
    )
