"""Rollouts over https to real hosts: nginx before supervisord's RPC, with certificates, as in docs/guides/fleet.md."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.fleet import Fleet
from support.markdown import page
from support.recipes import needed
from support.servers import free_port
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD, NEW = "v1.0.0", "v1.1.0"
SECTION = page("docs/guides/fleet.md").section("Protect the hosts with https")


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """One host that is reached through nginx; the certificates are in its directory."""
    needed("nginx", "openssl")
    made = Fleet(1)
    (host,), (rpc,), https = made.hosts, made.ports, free_port()
    certificates, _ = SECTION.examples("sh")
    subprocess.run(["sh", "-euc", certificates.replace("10.0.0.11", "127.0.0.1")], cwd=host.path, check=True, capture_output=True)
    (program,), (configuration,) = SECTION.examples("ini"), SECTION.examples("nginx")
    replaced = {"/etc/release-agent": host.path, "/run/tls.pid": host.path / "tls.pid", "9001": rpc, "9443": https}
    for shipped, here in replaced.items():
        configuration, program = configuration.replace(shipped, str(here)), program.replace(shipped, str(here))
    (host.path / "tls.conf").write_text(configuration)
    with (host.path / "supervisord.conf").open("a") as file:
        file.write(program)
    host.reload()
    eventually(lambda: _listens(https), "nginx listens")
    made.file.write_text(made.file.read_text().replace(f"http://127.0.0.1:{rpc}", f"https://127.0.0.1:{https}"))
    yield made
    made.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def certificates(fleet: Fleet) -> list[str]:
    return ["--ca-file", str(fleet.hosts[0].path / "ca.pem"), "--client-cert", str(fleet.hosts[0].path / "ada.pem")]


def test_an_operator_with_a_certificate_of_the_fleet_rolls_out_and_back(fleet: Fleet) -> None:
    done = fleet.start(*certificates(fleet))

    assert (done.code, fleet.live()) == (0, [NEW])
    assert fleet.rollout("revert", done.json["id"], *certificates(fleet)).code == 0
    assert fleet.live() == [OLD]


def test_nobody_else_gets_in(fleet: Fleet) -> None:
    without = fleet.start(*certificates(fleet)[:2])
    untrusted = fleet.start(*certificates(fleet)[2:])

    assert "host-1: it answers HTTP 400; it may want a certificate (--client-cert)" in without.json["error"]["message"]
    assert "host-1: its certificate is not trusted" in untrusted.json["error"]["message"]
    assert fleet.fired(0) == []
