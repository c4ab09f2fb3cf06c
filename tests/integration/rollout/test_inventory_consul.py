"""Hosts from Consul's catalog: their names, their addresses, and their health."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.consul.client import ConsulClient
from release_agent.consul.connection import ConsulError
from release_agent.consul.registration import ConsulAgent
from release_agent.errors import Code, Misconfigured, RecordUnreachable
from release_agent.health import Health, HealthState
from release_agent.rollout.inventory import consul
from support.configuration import configuration
from support.consul_process import ConsulProcess
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_agent.rollout.model import InventoryHost

pytestmark = pytest.mark.xdist_group("inventory-consul")  # one Consul, in one worker


@pytest.fixture(scope="module")
def consul_of_module() -> Iterator[ConsulProcess]:
    """One real Consul; each test has a service of its own."""
    made = ConsulProcess()
    yield made
    made.close()


class _Service:
    """A service that hosts report to, as their agents do."""

    def __init__(self, consul: ConsulProcess) -> None:
        self.consul = consul
        self.name = f"api-{uuid.uuid4().hex[:8]}"
        self.environ = {"CONSUL_HTTP_ADDR": consul.address}
        self.client = ConsulClient(self.environ)

    def host(
        self, name: str, *, url: str = "http://10.0.0.1:9001", environment: str = "test", state: str = "passing"
    ) -> ConsulAgent:
        config = configuration()
        app = replace(config.app, name=self.name, environment=environment, host=name, rpc_url=url, address="10.0.0.1")
        agent = ConsulAgent(config.consul, app, self.environ)
        agent.register(None, Health(HealthState(state)), ttl=600)
        return agent

    def entries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.consul.get(f"/v1/catalog/service/{self.name}")
        return found

    def targets(self, **filters: Any) -> list[InventoryHost]:
        return consul.targets(self.client, self.name, **filters)

    def sick(self, environment: str = "test") -> dict[str, str]:
        return consul.sick(self.client, self.name, environment)

    def shows(self, count: int) -> None:
        eventually(lambda: len(self.entries()) == count, f"{count} hosts are in the catalog")


@pytest.fixture
def service(consul_of_module: ConsulProcess) -> _Service:
    """A service that nobody has registered yet."""
    return _Service(consul_of_module)


def test_second_container_of_the_same_host_name_is_refused_while_the_first_is_well(service: _Service) -> None:
    first = service.host("a")
    config = configuration()
    app = replace(config.app, name=service.name, environment="test", host="a", address="10.0.0.2")
    second = ConsulAgent(config.consul, app, service.environ)

    with pytest.raises(ConsulError, match=r"host a of .* is registered from 10\.0\.0\.1"):
        second.register(None, Health.of(), ttl=600)

    service.shows(1)
    assert service.entries()[0]["ServiceAddress"] == "10.0.0.1"
    first.update(None, Health.of("it is gone"))
    second.register(None, Health.of(), ttl=600)
    eventually(lambda: service.entries()[0]["ServiceAddress"] == "10.0.0.2", "the second is registered")


def _names(targets: list[InventoryHost]) -> list[str]:
    return [target.name for target in targets]


def test_hosts_are_found_by_name_with_their_url(service: _Service) -> None:
    service.host("host-2", url="http://10.0.0.2")
    service.host("host-10", url="https://10.0.0.10:9001/RPC2")
    service.shows(2)

    assert [(target.name, target.url) for target in service.targets()] == [
        ("host-10", "https://10.0.0.10:9001"),
        ("host-2", "http://10.0.0.2:9001"),
    ]


def test_what_is_registered_by_others_under_the_name_is_no_host(service: _Service) -> None:
    service.host("host-1")
    service.consul.put("/v1/agent/service/register", {"Name": service.name, "ID": f"{service.name}-by-hand"})
    service.shows(2)

    assert _names(service.targets()) == ["host-1"]


def test_filters_leave_what_fulfils_them_all(service: _Service) -> None:
    service.host("test-1")
    service.host("live-1", environment="live")
    service.host("live-2", environment="live")
    tagged = {"Name": service.name, "ID": f"release-agent:{service.name}:live-3", "Tags": ["live", "blue", "v1.0.0"]}
    tagged["Meta"] = {"environment": "live", "rpc_url": "http://x:1", "zone": "b"}
    service.consul.put("/v1/agent/service/register", tagged)
    service.shows(4)

    assert _names(service.targets()) == ["live-1", "live-2", "live-3", "test-1"]
    assert _names(service.targets(environment="live")) == ["live-1", "live-2", "live-3"]
    assert _names(service.targets(tags=["live", "blue"])) == ["live-3"]
    assert _names(service.targets(meta={"zone": "b"})) == ["live-3"]
    assert _names(service.targets(meta={"environment": "test"})) == ["test-1"]
    for filters in ({"environment": "test", "tags": ["blue"]}, {"environment": "liv"}, {"meta": {"zone": ""}}, {"tags": ["b"]}):
        with pytest.raises(Misconfigured):
            service.targets(**filters)


def test_filters_that_leave_nobody_are_named_apart_from_a_service_that_is_not_there(service: _Service) -> None:
    with pytest.raises(Misconfigured, match=f"no host of a service {service.name} reports to this Consul$") as unknown:
        service.targets()
    with pytest.raises(Misconfigured, match=r"asked for: tag blue, environment=live"):
        service.targets(environment="live", tags=["blue"])
    service.host("host-1")
    service.shows(1)

    with pytest.raises(Misconfigured, match=r"has 1 host in Consul, but none with tag blue, zone=b, environment=live") as none:
        service.targets(environment="live", tags=["blue"], meta={"zone": "b"})
    assert (unknown.value.code, none.value.code) == (Code.FLEET_EMPTY, Code.FLEET_EMPTY)


def test_hosts_that_do_not_say_where_they_are_are_named_all_at_once(service: _Service) -> None:
    service.host("host-1")
    service.host("host-3", url="")
    service.host("host-2", url="")
    service.host("other-1", url="", environment="live")
    service.shows(4)

    with pytest.raises(Misconfigured, match=f"the RPC of 2 hosts of {service.name} is unknown: host-2, host-3$") as refused:
        service.targets(environment="test")

    assert refused.value.code == Code.INVENTORY_INVALID
    assert "rpc_url" in refused.value.hint


def test_addresses_that_lead_to_no_supervisor_are_named_all_at_once(service: _Service) -> None:
    service.host("host-1")
    for name, url in (("host-2", "10.0.0.2:9001"), ("host-3", "http://10.0.0.3/api"), ("host-4", "http://joe:secret@10.0.0.4")):
        by_hand = {"Name": service.name, "ID": f"release-agent:{service.name}:{name}", "Meta": {"rpc_url": url}}
        service.consul.put("/v1/agent/service/register", by_hand)
    service.shows(4)

    with pytest.raises(Misconfigured, match="3 problems in the addresses") as refused:
        service.targets()

    assert refused.value.code == Code.INVENTORY_INVALID
    for wrong in (
        "host-2: must be the address",
        "not '10.0.0.2:9001'",
        "not 'http://10.0.0.3/api'",
        "host-4: must not hold cred",
    ):
        assert wrong in refused.value.message
    assert "secret" not in refused.value.message


def test_host_that_two_nodes_register_is_refused(service: _Service) -> None:
    service.host("host-1", url="http://10.0.0.1:9001")
    left = {"ID": f"release-agent:{service.name}:host-1", "Service": service.name, "Meta": {"rpc_url": "http://10.0.0.9:9001"}}
    node = {"Node": f"old-{service.name}", "Address": "10.0.0.9", "Service": left}
    service.consul.put("/v1/catalog/register", node)
    service.shows(2)

    with pytest.raises(
        Misconfigured, match=f"host-1 .*10.0.0.1:9001 of node n.*10.0.0.9:9001 of node old-{service.name}"
    ) as refused:
        service.targets()
    assert refused.value.code == Code.INVENTORY_INVALID


# Who is sick


def test_hosts_that_are_critical_are_sick_and_say_why(service: _Service) -> None:
    agents = {name: service.host(name) for name in ("host-1", "host-2", "host-3")}
    service.shows(3)
    assert service.sick() == {}

    agents["host-2"].update(None, Health.of("web: http://127.0.0.1/health: answered 500, not 200\n"))
    agents["host-3"].update(None, Health(HealthState.WARNING, ("deploying v1.1.0",)))

    why = eventually(service.sick)
    assert why == {"host-2": "web: http://127.0.0.1/health: answered 500, not 200"}
    agents["host-2"].update(None, Health.of())
    eventually(lambda: service.sick() == {}, "it is well again")


def test_host_in_maintenance_is_not_sick(service: _Service) -> None:
    service.host("host-1")
    service.host("host-2", state="critical")
    service.consul.put(f"/v1/agent/service/maintenance/release-agent:{service.name}:host-1?enable=true", None)
    eventually(lambda: len(service.consul.get(f"/v1/health/checks/{service.name}")) == 3, "its check is there")

    assert list(service.sick()) == ["host-2"]


def test_host_that_is_critical_in_another_environment_is_not_sick_here(service: _Service) -> None:
    service.host("host-1")
    identity = f"release-agent:{service.name}:host-1"
    there = {
        "Node": f"staging-{service.name}",
        "Address": "10.0.0.9",
        "Service": {"ID": identity, "Service": service.name, "Tags": ["staging", "test"]},  # deployed from a branch `test`
        "Check": {"CheckID": f"service:{identity}", "ServiceID": identity, "Status": "critical", "Output": "500, not 200"},
    }
    service.consul.put("/v1/catalog/register", there)
    service.shows(2)

    eventually(lambda: service.sick("staging") == {"host-1": "500, not 200"}, "it is sick there")
    assert service.sick("test") == {}


# Consul away


def test_consul_that_is_away_is_said() -> None:
    client = ConsulClient({"CONSUL_HTTP_ADDR": "127.0.0.1:9"})

    with pytest.raises(RecordUnreachable, match="cannot ask Consul for the hosts of api: cannot connect to Consul at"):
        consul.targets(client, "api")
    with pytest.raises(OSError, match="cannot connect to Consul at"):
        consul.sick(client, "api", "test")
