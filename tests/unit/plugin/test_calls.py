"""The plugin refuses calls with wrong arguments before it reads or starts anything."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from supervisor.states import SupervisorStates
from supervisor.xmlrpc import Faults, RPCError

from release_agent.plugin.rpcinterface import ReleaseRPCInterface, make_rpcinterface
from release_agent.plugin.wire import person_of
from support.markdown import page

SHAPES = {
    shape.removeprefix("release.").partition("(")[0]: shape
    for shape in re.findall(r"^\| `(release\..+?\))` \|", page("docs/reference/http-api.md").text, re.MULTILINE)
}


def refused(method: str, *arguments: Any) -> RPCError:
    """Return the fault that a call is; its configuration is at no place."""
    supervisord = SimpleNamespace(
        options=SimpleNamespace(mood=SupervisorStates.RUNNING, logger=None, server_configs=[]), process_groups={}
    )
    with pytest.raises(RPCError) as told:
        getattr(make_rpcinterface(supervisord, config="/nowhere"), method)(*arguments)
    return told.value


def fault(method: str, *arguments: Any) -> int:
    """Return the code of the fault that a call is."""
    return int(refused(method, *arguments).code)


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


@pytest.mark.parametrize("value", [-1, "-1", 1.5, "1.5", "", "many", "9" * 5000, float("inf"), float("nan"), [], {}])
def test_a_number_that_counts_nothing_is_refused(value: object) -> None:
    assert fault("getHistory", value) == Faults.INCORRECT_PARAMETERS
    assert fault("getOutput", "d-1", value) == Faults.INCORRECT_PARAMETERS


@pytest.mark.parametrize("value", [0, 1, "1", 2.0, 2.0**40, "9" * 40])
def test_a_number_as_clients_send_it_goes_on(value: object) -> None:
    assert fault("getHistory", value) == 110
    assert fault("getOutput", "d-1", value) == 110


def test_every_method_is_documented() -> None:
    assert set(SHAPES) == {name for name in vars(ReleaseRPCInterface) if not name.startswith("_")}


@pytest.mark.parametrize("method", SHAPES)
def test_a_wrong_number_of_arguments_is_told_the_documented_call(method: str) -> None:
    told = refused(method, *["1"] * 9)

    assert told.code == Faults.INCORRECT_PARAMETERS
    assert told.text == f"INCORRECT_PARAMETERS: {SHAPES[method]}: too many positional arguments"


@pytest.mark.parametrize("method", ["deploy", "rollback", "check", "getDeployment", "getOutput"])
def test_a_call_without_arguments_is_no_wish_for_the_newest_version(method: str) -> None:
    told = refused(method)

    assert told.code == Faults.INCORRECT_PARAMETERS
    assert f"{SHAPES[method]}: missing a required argument" in told.text


@pytest.mark.parametrize(
    ("users", "named", "by"),
    [
        (["ci"], "", "ci"),
        (["ci", "ci"], "", "ci"),
        (["ci", "ops"], "", ""),  # supervisor does not tell which of them it was
        ([None, "ci"], "", ""),
        ([None], "", ""),
        ([], "", ""),
        (["ci"], "ada", "ada"),
        (["ci"], "ada\n\x1b[31m" + "a" * 900, "ada ?[31m" + "a" * 91),
    ],
)
def test_who_asks_is_who_is_named_or_the_only_user_that_may_log_in(users: list[str | None], named: str, by: str) -> None:
    assert person_of(named, [{"username": user} for user in users]) == by


@pytest.mark.parametrize("trigger", ["boot", " boot ", "recovery", "rebuilt"])
@pytest.mark.parametrize("method", ["deploy", "stage", "rollback"])
def test_a_caller_cannot_name_its_run_a_boot_which_no_freeze_refuses(method: str, trigger: str) -> None:
    told = refused(method, "v1", False, trigger)

    assert (told.code, told.text) == (
        Faults.INCORRECT_PARAMETERS,
        f"INCORRECT_PARAMETERS: the trigger {trigger.strip()} is for runs that the agent starts itself",
    )


@pytest.mark.parametrize("trigger", ["rpc", "jenkins", "poll", "watch", "rollout-20261122T222046Z-c4d7aa"])
def test_a_trigger_of_a_caller_goes_on(trigger: str) -> None:
    assert fault("deploy", "v1", False, trigger) == 110


@pytest.mark.parametrize("value", ["soon", "2", "-1s", "0s", "366d", 120, True, []])
def test_a_time_to_wait_that_is_none_is_refused(value: object) -> None:
    assert fault("check", "v1", True, False, False, value) == Faults.INCORRECT_PARAMETERS
    assert fault("deploy", "v1", True, "rpc", False, "", "", False, value) == Faults.INCORRECT_PARAMETERS
