from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from support.sabotage import LONGEST_WAIT, let_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Host


@pytest.fixture
def _nobody_waits_forever() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(LONGEST_WAIT)
    yield
    socket.setdefaulttimeout(before)


@pytest.fixture
def sabotaged(cold_host: Host, _nobody_waits_forever: None, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A container with a saboteur in its supervisord, no service, and one release live."""
    let_in(cold_host, monkeypatch)
    cold_host.repository.release("v1.0.0")
    cold_host.repository.release("v1.1.0")
    cold_host.configure(service="")
    cold_host.start()
    assert cold_host.deploy("v1.1.0").code == 0
    return cold_host
