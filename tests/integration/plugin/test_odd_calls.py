"""Calls that no client should make: the plugin answers each of them, and starts nothing."""

from __future__ import annotations

import xmlrpc.client
from typing import TYPE_CHECKING, Any

from supervisor.xmlrpc import Faults, SupervisorTransport

from support.sabotage import (
    CALLS,
    STARTING,
    answer_of,
    assert_well,
    fault_of,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from support.host import Host


# What is asked


_HUGE = "v" * 5_000_000
_WRONG: dict[str, Any] = {
    "an empty array": [],
    "an array": [["v1.0.0"], {}],
    "an empty struct": {},
    "a struct": {"revision": "v1.0.0"},
    "a number": 1.5,
    "no": False,
    "yes": True,
    "a date": xmlrpc.client.DateTime("20260101T00:00:00"),
    "too long": _HUGE,
}


def test_argument_of_the_wrong_kind_is_a_fault_and_starts_nothing(sabotaged: Host) -> None:
    before = sabotaged.rpc.release.getHistory(50)

    for kind, value in _WRONG.items():
        for name in (*STARTING, "getDeployment"):
            assert fault_of(getattr(sabotaged.rpc.release, name), value).faultCode == Faults.INCORRECT_PARAMETERS, (kind, name)
        assert fault_of(sabotaged.rpc.release.deploy, "v1.0.0", True, value).faultCode == Faults.INCORRECT_PARAMETERS, kind

    assert sabotaged.rpc.release.getHistory(50) == before
    assert_well(sabotaged)


def test_limit_that_is_no_number_is_a_fault(sabotaged: Host) -> None:
    for limit in (-1, float("inf"), float("nan"), "9" * 5000, "", "many", {}, [1]):
        assert fault_of(sabotaged.rpc.release.getHistory, limit).faultCode == Faults.INCORRECT_PARAMETERS, limit

    assert sabotaged.rpc.release.getHistory(0) == []
    assert_well(sabotaged)


def test_odd_name_is_answered_readably(sabotaged: Host) -> None:
    for value in ("\x00", "\x1b[31m", "\uffff", "€" * 300, "x\ny", 0, -1, 2**31 - 1):
        name = xmlrpc.client.Binary(value.encode()) if isinstance(value, str) else value
        for method in STARTING:
            answer_of(getattr(sabotaged.rpc.release, method), name, True)
        assert fault_of(sabotaged.rpc.release.getDeployment, name).faultCode == 122
        fired = sabotaged.rpc.release.deploy("v1.0.0", True, name)
        assert sabotaged.rpc.release.getHistory(1)[0]["id"] == fired["id"], "what fired it makes no history unreadable"

    assert_well(sabotaged)


def test_too_many_arguments_too_few_and_none_at_all_are_told(sabotaged: Host) -> None:
    transport = SupervisorTransport("", "", f"unix://{sabotaged.path}/supervisor.sock")
    nil: Any = xmlrpc.client.ServerProxy("http://localhost", transport=transport, allow_none=True)

    for method, arguments in CALLS.items():
        too_many = fault_of(getattr(sabotaged.rpc.release, method), *["x"] * 12)
        assert too_many.faultCode == Faults.INCORRECT_PARAMETERS
        assert "too many" in too_many.faultString
        answer_of(getattr(sabotaged.rpc.release, method))
        eventually(lambda: sabotaged.rpc.supervisor.getProcessInfo("deploy")["pid"] == 0, "it ended")
        answer_of(getattr(nil.release, method), *[None] * len(arguments))

    assert "missing" in fault_of(sabotaged.rpc.release.getDeployment).faultString
    assert_well(sabotaged)
