"""Probes of services that speak TLS."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from release_agent.config.sections import Probe
from release_agent.services.probes import Prober
from support.consul_cluster import authority, certificate
from support.servers import answering

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


def ask(address: str, **environment: str) -> str | None:
    """Probe an address; returns what the probe says after the address."""
    (said,) = Prober(lambda *_: None).run([Probe(f"{address}/health", 200, "", "", 10.0)], Path("/"), environment)
    return said.removeprefix(f"{address}/health: ") if said else None


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private authority; the certificates that it signs are beside it."""
    return authority(tmp_path_factory.mktemp("certificates"), "authority")


@pytest.fixture(scope="module")
def service(signer: Path) -> Iterator[str]:
    """A service whose certificate the private authority has signed."""
    with _serving(signer, "IP:127.0.0.1") as (address, _):
        yield address


def _serving(signer: Path, name: str) -> AbstractContextManager[tuple[str, list[str]]]:
    shown = certificate(signer.parent, "service", signer, name)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(shown, shown.with_suffix(".key"))
    return answering(200, tls=tls)


def test_a_certificate_of_an_unknown_authority_is_named_as_the_cause(service: str) -> None:
    assert ask(service) == "its certificate is not trusted: unable to get local issuer certificate"


def test_an_authority_in_ssl_cert_file_is_trusted(service: str, signer: Path) -> None:
    assert ask(service, SSL_CERT_FILE=str(signer)) is None


def test_a_certificate_for_another_name_is_named_as_the_cause(signer: Path) -> None:
    with _serving(signer, "DNS:elsewhere") as (address, _):
        said = ask(address, SSL_CERT_FILE=str(signer))

    assert said == "its certificate is not trusted: IP address mismatch, certificate is not valid for '127.0.0.1'"


def test_a_file_without_authorities_is_named(service: str, tmp_path: Path) -> None:
    said = ask(service, SSL_CERT_FILE=str(tmp_path / "nowhere.pem"))

    assert said == f"there is no file {tmp_path / 'nowhere.pem'}, which SSL_CERT_FILE names"


def test_a_service_without_tls_has_no_certificate_to_blame() -> None:
    with answering(200) as (address, _):
        assert ask(address.replace("http:", "https:")) == "TLS failed: WRONG_VERSION_NUMBER"
