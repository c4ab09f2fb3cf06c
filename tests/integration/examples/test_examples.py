"""Each example does what its page says: what is pasted from there prints what is shown, and no request is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.load import Load
from support.usual_container import UsualContainer
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs("mount")


@pytest.fixture
def container(request: pytest.FixtureRequest, open_place: Path) -> Iterator[UsualContainer]:
    made = UsualContainer(open_place, request.param, {})
    yield made
    made.close()


@pytest.mark.parametrize("container", ["flask"], indirect=True)
def test_example_is_started_changed_broken_and_rolled_back_without_losing_a_request(container: UsualContainer) -> None:
    assert container.paste("Start it").code == 0, container.log()
    doctor = container.run("release-agent doctor")
    assert doctor.code == 0, doctor.out
    load = Load(container.port, clients=2)  # they compute all the time

    with load.running():
        assert container.paste("Ship a change").code == 0
        live, processes = container.live(), container.processes()
        assert container.paste("Break it").code == 13
        assert (container.live(), container.processes()) == (live, processes)
        assert container.paste("Roll back").code == 0
        eventually(lambda: "v1.0.0" in load.answers[-1], "the first version answers")

    assert load.lost == []
    assert {version for answer in load.answers for version in ("v1.0.0", "v1.1.0", "v1.2.0") if version in answer} == {
        "v1.0.0",
        "v1.1.0",
    }
