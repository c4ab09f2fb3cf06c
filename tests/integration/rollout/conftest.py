from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.simulated_rollouts import SimulatedRollouts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SimulatedRollouts]:
    """Five simulated hosts that run v1.0.0; rollouts are written down in a file."""
    made = SimulatedRollouts(tmp_path)
    yield made
    made.close()


@pytest.fixture
def locked_fleet(tmp_path: Path) -> Iterator[SimulatedRollouts]:
    """The same, three of them, that want a user and a password."""
    made = SimulatedRollouts(tmp_path, 3, credentials=("agent", "a secret of the fleet"))
    yield made
    made.close()
