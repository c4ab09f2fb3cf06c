from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.host import Host

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
