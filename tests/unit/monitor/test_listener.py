"""Supervisor's event listener protocol: the other end may be another program, or gone."""

from __future__ import annotations

import io
import os
from contextlib import suppress

import pytest

from release_agent.errors import Misconfigured
from release_agent.monitor.listener import listen

EVENT = "ver:3.0 server:supervisor serial:21 pool:monitor poolserial:10 eventname:TICK_5 len:15\nwhen:1201063880"


def test_each_event_is_told_and_answered() -> None:
    told: list[str] = []
    answers = io.StringIO()
    listen(io.StringIO(EVENT + EVENT.replace("TICK_5", "TICK_60")), answers, told.append)
    assert told == ["TICK_5", "TICK_60"]
    assert answers.getvalue() == "READY\nRESULT 2\nOKREADY\nRESULT 2\nOKREADY\n"


@pytest.mark.parametrize(
    "typed",
    [
        "\n",
        "status\n",
        "eventname:TICK_5\n",
        "eventname:TICK_5 len:\n",
        "eventname:TICK_5 len:many\n",
        "eventname:TICK_5 len:-1\n",
        "eventname:TICK_5 len:\u0661\n1",
        f"eventname:TICK_5 len:{10**20}\n",
        f"eventname:TICK_5 len:{'9' * 5000}\n",
        "len:3\nabc",
        "\0" * (2 << 20),
    ],
    ids=lambda typed: repr(typed[:24]),
)
def test_what_is_no_event_of_supervisor_is_said_to_be_none(typed: str) -> None:
    told: list[str] = []
    with pytest.raises(Misconfigured, match="which is not an event of supervisor"):
        listen(io.StringIO(typed), io.StringIO(), told.append)
    assert told == []


def test_a_supervisor_that_was_killed_in_the_middle_of_an_event_has_closed() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    # Closing it writes again what could not be written.
    with suppress(BrokenPipeError), os.fdopen(writing, "w") as answers:
        told: list[str] = []
        listen(io.StringIO(EVENT), answers, told.append)
        assert told == []
