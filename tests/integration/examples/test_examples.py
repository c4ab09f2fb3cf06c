"""Each example does what its page says: its commands print the output that the page shows, and no request is lost."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.load import Load
from support.postgresql import postgresql
from support.usual_container import EXAMPLES, UsualContainer
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs("mount")


@pytest.fixture
def container(request: pytest.FixtureRequest, open_place: Path) -> Iterator[UsualContainer]:
    """A container in which nothing but the agent was set up."""
    with ExitStack() as ends:
        environment = {}
        if request.param == "django":
            data = open_place / "postgresql"
            data.mkdir()
            data.chmod(0o777)
            environment = {**ends.enter_context(postgresql(data)), "DJANGO_SECRET_KEY": "x" * 50}
        made = UsualContainer(open_place, request.param, environment)
        ends.callback(made.close)
        yield made


@pytest.mark.parametrize("container", EXAMPLES, indirect=True)
def test_example_ships_breaks_and_rolls_back_as_its_page_says_and_loses_no_request(container: UsualContainer) -> None:
    assert container.paste("Start it").code == 0, container.log()
    doctor = container.run("release-agent doctor")
    assert doctor.code == 0, doctor.out
    load = Load(container.port, pause=0.05)  # it goes on for long, beside other tests

    with load.running():
        shipped = container.paste("Ship a change")
        live, processes = container.live(), container.processes()
        broken = container.paste("Break it")
        assert (container.live(), container.processes()) == (live, processes)
        back = container.paste("Roll back")
        eventually(lambda: "v1.0.0" in load.answers[-1], "the first version answers")

    assert (shipped.code, broken.code, back.code) == (0, 13, 0)
    assert bool(shipped.events("hook.cached")) == ("makes =" in container.file("repository/release.toml"))
    assert load.lost == []
    assert {found for answer in load.answers for found in re.findall(r"v1\.\d\.0", answer)} == {"v1.0.0", "v1.1.0"}
