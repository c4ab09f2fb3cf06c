from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.consul_process import ConsulProcess
from support.host import Host

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def host() -> Iterator[Host]:
    """A container with a supervisord that runs, two good versions and nothing live."""
    made = Host()
    made.repository.release("v1.0.0")
    made.repository.release("v1.1.0")
    made.start()
    yield made
    made.close()


@pytest.fixture
def cold_host() -> Iterator[Host]:
    """A container whose supervisord the test starts itself."""
    made = Host()
    yield made
    made.close()


@pytest.fixture(scope="session")
def consul_of_session() -> Iterator[ConsulProcess]:
    """One real Consul for the tests that leave it as it is."""
    made = ConsulProcess()
    yield made
    made.close()


@pytest.fixture
def consul(consul_of_session: ConsulProcess) -> ConsulProcess:
    """A real Consul that knows nothing of this test's service yet."""
    for service in consul_of_session.get("/v1/agent/services"):
        consul_of_session.put(f"/v1/agent/service/deregister/{service}", None)
    return consul_of_session
