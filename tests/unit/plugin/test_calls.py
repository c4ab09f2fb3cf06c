"""Calls of the plugin whose arguments are wrong are refused before anything is read or started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from supervisor.states import SupervisorStates
from supervisor.xmlrpc import Faults, RPCError

from release_agent.plugin.rpcinterface import make_rpcinterface


def fault(method: str, *arguments: Any) -> int:
    """Return the code of the fault that a call is; its configuration is at no place."""
    supervisord = SimpleNamespace(options=SimpleNamespace(mood=SupervisorStates.RUNNING, logger=None), process_groups={})
    with pytest.raises(RPCError) as refused:
        getattr(make_rpcinterface(supervisord, config="/nowhere"), method)(*arguments)
    return int(refused.value.code)


@pytest.mark.parametrize("value", ["yes", "", 2, -1, 1.5, [], {}])
@pytest.mark.parametrize("method", ["deploy", "rollback", "check"])
def test_a_wait_that_is_no_boolean_is_refused(method: str, value: object) -> None:
    assert fault(method, "v1", value) == Faults.INCORRECT_PARAMETERS


def test_a_force_that_is_no_boolean_is_refused() -> None:
    assert fault("deploy", "v1", True, "rpc", "no") == Faults.INCORRECT_PARAMETERS
    assert fault("check", "v1", True, "no") == Faults.INCORRECT_PARAMETERS


@pytest.mark.parametrize("method", ["deploy", "rollback", "check"])
@pytest.mark.parametrize("value", [True, False, 0, 1])
def test_a_wait_that_is_one_goes_on(method: str, value: object) -> None:
    assert fault(method, "v1", value) == 110


def test_a_limit_that_is_a_boolean_is_refused() -> None:
    assert fault("getHistory", True) == Faults.INCORRECT_PARAMETERS
    assert fault("getOutput", "d-1", True) == Faults.INCORRECT_PARAMETERS


@pytest.mark.parametrize(("method", "most"), [("deploy", 4), ("rollback", 3), ("check", 3), ("getStatus", 0), ("getHistory", 1)])
def test_too_many_arguments_are_refused(method: str, most: int) -> None:
    assert fault(method, *["1"] * (most + 1)) == Faults.INCORRECT_PARAMETERS
