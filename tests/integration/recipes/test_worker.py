"""A queue worker by the page's recipe finishes the job that it has taken, during any deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.recipes import shown, supervisor_section
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from support.host import Host

SECTION = "A queue worker"
JOBS = 1000  # more than there is time for


def release(host: Host, version: str, before: str = "") -> None:
    worker = before + shown(host, SECTION, "python").replace("job.rename(", f"job.write_text('{version}'); job.rename(")
    host.repository.commit({"worker.py": worker, "release.toml": shown(host, SECTION, "toml")}, tag=version)


@pytest.fixture
def queue(cold_host: Host) -> Path:
    """The queue of a worker that runs; there is always a job in it."""
    host = cold_host
    host.services = [supervisor_section(host, "worker")]
    host.configure(service="", health='[health]\nstable_for = "1s"\n')
    queue = host.root / "shared" / "queue"
    queue.mkdir(parents=True)
    queue.chmod(0o777)
    for number in range(JOBS):
        job = queue / f"{number:04}.waiting"
        job.touch()
        job.chmod(0o666)
    release(host, "v1.0.0")
    host.start()
    ran = host.deploy()
    assert ran.code == 0, ran.err
    return queue


def done_by(queue: Path) -> list[str]:
    """Return the versions that did the jobs, in the jobs' order."""
    return [job.read_text() for job in sorted(queue.glob("*.done"))]


def test_worker_finishes_its_job_before_it_is_replaced(cold_host: Host, queue: Path) -> None:
    release(cold_host, "v1.1.0")

    codes = [cold_host.deploy().code]
    eventually(lambda: done_by(queue)[-1] == "v1.1.0", "the new release works")
    codes.append(cold_host.agent("rollback").code)
    eventually(lambda: done_by(queue)[-1] == "v1.0.0", "the release before works")
    cold_host.supervisorctl("stop", "worker")

    assert codes == [0, 0]
    assert list(queue.glob("*.taken")) == []
    done = done_by(queue)
    # Nobody else worked meanwhile: no job was done by the copy that was rehearsed.
    assert [version for version, before in zip(done, ["", *done], strict=False) if version != before] == [
        "v1.0.0",
        "v1.1.0",
        "v1.0.0",
    ]


def test_worker_that_cannot_start_is_stopped_by_its_rehearsal(cold_host: Host, queue: Path) -> None:
    release(cold_host, "v1.1.0", before="import no_such_module\n")
    process = cold_host.process("worker")

    ran = cold_host.deploy()
    cold_host.supervisorctl("stop", "worker")

    assert (ran.code, ran.json["error"]["code"]) == (13, "rehearsal-failed"), ran.err
    assert process[0] == "RUNNING"
    assert list(queue.glob("*.taken")) == []
    assert set(done_by(queue)) == {"v1.0.0"}
