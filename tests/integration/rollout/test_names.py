"""Rollouts reach hosts by name, over a name server that is slow, silent or knows no address."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support.environment import BIN
from support.host import Ran
from support.name_server import NameServer
from support.simulated_rollouts import SimulatedRollouts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTS = 20
OLD, NEW = "v1.0.0", "v1.1.0"
pytestmark = pytest.mark.needs("mount")


class _Named(SimulatedRollouts):
    """Hosts at ``host-N.test``, by a name server of their own."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, HOSTS)
        self.addresses: dict[str, str | None] = {f"{host.name}.test": self.address(host) for host in self.hosts}
        text = self.file.read_text()
        for host in self.hosts:
            text = text.replace(f"//{self.address(host)}:", f"//{host.name}.test:")
        self.file.write_text(text)

    def deploy(self, *arguments: str, together: int = 0) -> Ran:
        """Run a rollout; the name server answers nobody before so many names have been asked for."""
        server = NameServer(self.addresses, together=together)
        words = [str(word) for word in self.start_command(*arguments, revision=NEW)]
        command = server.asked_by([str(BIN / words[0]), *words[1:]], self.path / "resolv.conf")
        try:
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        finally:
            server.close()
        return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[_Named]:
    made = _Named(tmp_path)
    yield made
    made.close()


def test_name_server_that_is_slow_for_each_name_is_asked_for_all_of_them_side_by_side(fleet: _Named) -> None:
    done = fleet.deploy("--waves", "100%", together=HOSTS)

    assert done.code == 0, done.out
    assert fleet.live() == [NEW] * HOSTS


def test_names_that_no_server_answers_for_hold_up_no_other_host_and_the_cause_is_said(fleet: _Named) -> None:
    silent = [f"host-{number}" for number in range(1, 13)]
    fleet.addresses |= {f"{name}.test": None for name in silent}

    done = fleet.deploy("--waves", "100%", "--max-unreachable", "12")

    assert done.code == 42, done.out
    assert fleet.live() == [OLD] * 12 + [NEW] * 8
    left_out = {host["host"]: host["why"] for host in done.json["hosts"] if host["stage"] == "unreachable"}
    assert list(left_out) == silent
    assert left_out["host-1"].startswith("DNS: no name server answers for host-1.test")


def test_name_that_nobody_knows_is_said_at_once(fleet: _Named) -> None:
    fleet.addresses["host-2.test"] = ""

    done = fleet.deploy()

    assert done.code == 40
    assert "host-2: DNS: there is no host host-2.test" in done.json["error"]["message"]
