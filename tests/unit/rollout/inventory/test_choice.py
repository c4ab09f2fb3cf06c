from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from release_agent.errors import Code, Misconfigured
from release_agent.rollout.inventory.choice import InventoryChoice, choose
from release_agent.rollout.inventory.hosts import Fleet
from release_agent.rollout.model import InventoryHost

if TYPE_CHECKING:
    from release_agent.consul.client import ConsulClient


def chosen(held: Fleet | None = None, **choice: Any) -> list[str]:
    return [host.name for host in choose(InventoryChoice(**choice), held, _no_consul, {})]


def _no_consul() -> ConsulClient:
    message = "Consul is not to be asked"
    raise AssertionError(message)


def test_hosts_named_one_by_one_are_taken_in_their_order() -> None:
    assert chosen(hosts=["10.0.0.2", "10.0.0.1"]) == ["10.0.0.2", "10.0.0.1"]


def test_hosts_of_a_fleet_are_chosen_among() -> None:
    fleet = Fleet([InventoryHost("web-1", "http://a:1"), InventoryHost("web-2", "http://b:1")], "", "")

    assert chosen(fleet, fleet="fleet.toml", limit=["web-*"], exclude=["web-2"]) == ["web-1"]


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"hosts": ["10.0.0.1"], "fleet": "fleet.toml"},
        {"hosts": ["10.0.0.1"], "consul": "api"},
        {"hosts": ["10.0.0.1"], "maestro": "maestro.yaml"},
    ],
)
def test_hosts_come_from_one_place(choice: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured, match="hosts must come from one place") as refused:
        chosen(**choice)
    assert refused.value.code is Code.INVENTORY_INVALID


@pytest.mark.parametrize(
    ("choice", "option"),
    [
        ({"services": ["api"]}, "--service"),
        ({"tags": ["canary"]}, "--tag"),
        ({"meta": ["a=b"]}, "--meta"),
        ({"environment": "test"}, "--environment"),
    ],
)
def test_filter_of_another_inventory_is_refused(choice: dict[str, Any], option: str) -> None:
    with pytest.raises(Misconfigured, match=f"{option} chooses among the hosts of"):
        chosen(hosts=["10.0.0.1"], **choice)


def test_one_supervisor_is_not_two_hosts() -> None:
    fleet = Fleet([InventoryHost("web-1", "http://a:1"), InventoryHost("web-2", "http://a:1")], "", "")

    with pytest.raises(Misconfigured, match="several hosts are the same supervisor: web-1"):
        chosen(fleet, fleet="fleet.toml")


@pytest.mark.parametrize(
    ("choice", "whole"),
    [
        (InventoryChoice(fleet="fleet.toml"), True),
        (InventoryChoice(consul="api", environment="production"), True),
        (InventoryChoice(maestro="maestro.yaml"), True),
        (InventoryChoice(hosts=["10.0.0.11"]), False),
        (InventoryChoice(fleet="fleet.toml", limit=["api-1"]), False),
        (InventoryChoice(fleet="fleet.toml", exclude=["api-1"]), False),
        (InventoryChoice(maestro="maestro.yaml", services=["web"]), False),  # `worker` may be of the same application
        (InventoryChoice(consul="api", tags=["blue"]), False),
        (InventoryChoice(consul="api", meta=["region=eu"]), False),
    ],
)
def test_choice_that_leaves_nothing_out_is_the_whole_inventory(choice: InventoryChoice, whole: bool) -> None:
    assert choice.is_whole is whole
