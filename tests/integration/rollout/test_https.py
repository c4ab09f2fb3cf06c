"""The RPC of hosts is behind TLS, with certificates on both sides."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

import pytest

from support.consul_cluster import authority, certificate
from support.go_between import GoBetween
from support.simulated_rollouts import SimulatedRollouts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLD, NEW = "v1.0.0", "v1.1.0"


class _Https(SimulatedRollouts):
    """Two hosts that ask for a certificate; ``authority`` has signed theirs, and that of the operator."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, 2)
        self.certificates = path / "certificates"
        self.certificates.mkdir()
        self.authority = authority(self.certificates, "authority")
        certificate(self.certificates, "server", self.authority, "IP:127.0.0.1")
        for signer in (self.authority, authority(self.certificates, "stranger")):
            shown = certificate(self.certificates, f"operator-of-{signer.stem}", signer, "DNS:operator")
            shown.write_text(shown.read_text() + shown.with_suffix(".key").read_text())
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority)
        tls.load_cert_chain(self.certificates / "server.pem", self.certificates / "server.key")
        tls.verify_mode = ssl.CERT_REQUIRED
        port = int(self.urls()[0].rpartition(":")[2])
        self.between = [GoBetween(port, self.address(host), tls) for host in self.hosts]
        for url, between in zip(self.urls(), self.between, strict=True):
            self.file.write_text(self.file.read_text().replace(url, f"https://127.0.0.1:{between.port}"))

    def trusting(self, signer: str = "authority", shown: str = "authority") -> list[str]:
        """Return the options that name an authority, and the certificate that another one has signed."""
        names = self.certificates / f"{signer}.pem", self.certificates / f"operator-of-{shown}.pem"
        return ["--ca-file", str(names[0]), "--client-cert", str(names[1])]

    def close(self) -> None:
        """End everything."""
        for between in self.between:
            between.close()
        super().close()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[_Https]:
    made = _Https(tmp_path)
    yield made
    made.close()


def test_hosts_behind_tls_take_it_from_who_shows_the_right_certificate(fleet: _Https) -> None:
    operator = fleet.begin(*fleet.trusting())

    assert operator.end() == 0, operator.events()
    assert fleet.live() == [NEW] * 2
    (again,) = operator.events("rollout.started")
    assert again["status"].endswith(" ".join(fleet.trusting())), "the command that goes on finds the files"


@pytest.mark.parametrize(("signer", "shown"), [("stranger", "authority"), ("authority", "stranger")])
def test_stranger_is_not_trusted_by_either_side(fleet: _Https, signer: str, shown: str) -> None:
    done = fleet.start(*fleet.trusting(signer, shown))

    assert done.code == 40, done.out
    assert fleet.live() == [OLD] * 2


def test_certificates_are_read_once_for_all_calls(fleet: _Https) -> None:
    fleet.hold(0)
    operator = fleet.begin(*fleet.trusting())
    operator.seen("rollout.started")  # otherwise its output says why
    fleet.held(0)

    fleet.authority.unlink()
    fleet.let_go(0)

    assert operator.end() == 0, operator.events()


@pytest.mark.parametrize("option", ["--ca-file", "--client-cert"])
@pytest.mark.parametrize("held", [None, b"", b"\xff", b"nothing", "a pipe"])
def test_file_that_holds_no_certificate_is_named_before_any_host_is_asked(
    tmp_path: Path, option: str, held: bytes | str | None
) -> None:
    fleet = SimulatedRollouts(tmp_path, 1)
    file = tmp_path / "certificate.pem"
    if isinstance(held, bytes):
        file.write_bytes(held)
    elif held:
        os.mkfifo(file)

    done = fleet.start(option, str(file))
    fleet.close()

    assert (done.code, done.json["error"]["code"]) == (10, "inventory-invalid")
    assert f"{option} {file} cannot be used" in done.json["error"]["message"]
