"""A deployment waits for a revision that the repository does not have yet."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from support.repositories import Repository

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from support.host import Host


@pytest.fixture
def waiting(host: Host, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A deployment, or another verb, that has said that it waits for a tag which nobody has made."""
    with host.begin(getattr(request, "param", "deploy"), "--json", "--wait-for", "5m", "v2.0.0") as run:
        assert run.stderr
        said = next(json.loads(line) for line in run.stderr if "revision.awaited" in line)
        assert said["revision"] == "v2.0.0"
        assert "no tag, branch or commit v2.0.0" in said["why"]
        yield run
        run.kill()


def test_a_tag_that_is_fetched_meanwhile_is_deployed(host: Host, waiting: subprocess.Popen[str]) -> None:
    assert host.status()["deployment"]["phase"] == "resolve"
    host.repository.release("v2.0.0")

    record = json.loads(waiting.communicate()[0].splitlines()[-1])

    assert (record["outcome"], host.serves()) == ("deployed", "v2.0.0")


@pytest.mark.parametrize("options", [["--bare"], ["--object-format=sha256"]], ids=["bare", "sha256"])
def test_a_repository_that_is_replaced_by_another_kind_meanwhile_is_read(
    host: Host, waiting: subprocess.Popen[str], options: list[str]
) -> None:
    made = Repository(host.path / "made")
    if "--bare" in options:
        made.release("v2.0.0")
        made.git("clone", "--quiet", "--bare", ".", "../other")
    else:
        Repository(host.path / "other", *options).release("v2.0.0")
    host.repository.path.rename(host.path / "old")
    (host.path / "other").rename(host.repository.path)

    record = json.loads(waiting.communicate()[0].splitlines()[-1])

    assert (record["outcome"], host.serves()) == ("deployed", "v2.0.0"), record["error"]


@pytest.mark.parametrize("waiting", ["stage"], indirect=True)
def test_a_tag_that_is_fetched_meanwhile_is_staged(host: Host, waiting: subprocess.Popen[str]) -> None:
    host.repository.release("v2.0.0")

    record = json.loads(waiting.communicate()[0].splitlines()[-1])

    assert (record["outcome"], record["revision"], host.live()) == ("staged", "v2.0.0", None)


def test_waiting_ends_with_a_signal(host: Host, waiting: subprocess.Popen[str]) -> None:
    waiting.send_signal(signal.SIGTERM)

    record = json.loads(waiting.communicate()[0].splitlines()[-1])

    assert (waiting.returncode, record["outcome"], host.live()) == (14, "cancelled", None)


def test_a_tag_that_never_comes_is_refused_as_ever(host: Host) -> None:
    ran = host.deploy("v2.0.0", "--wait-for", "1ms")
    asked = host.rpc.release.deploy("v2.0.0", True, "rpc", False, "", "", False, "1ms")

    staged = host.rpc.release.stage("v2.0.0", True, "rpc", "", "1ms")
    typed = host.supervisorctl("release", "stage", "--wait-for=1ms", "v2.0.0")

    assert (ran.code, ran.json["error"]["code"], asked["error"]["code"]) == (12, "revision-unknown", "revision-unknown")
    assert (staged["error"]["code"], typed.code) == ("revision-unknown", 12)


def test_a_boot_waits_for_a_mirror_that_is_still_cloned(host: Host) -> None:
    away = host.repository.path.with_name("away")
    host.repository.path.rename(away)

    with host.begin("boot", "--wait-for", "5m") as boot:
        assert boot.stderr
        next(line for line in boot.stderr if "revision.awaited" in line)
        away.rename(host.repository.path)
        boot.communicate()

    assert (boot.returncode, host.serves()) == (0, "v1.1.0")
