"""docs/guides/consul.md grants operators of rollouts, and hosts that follow them, the rights that they need and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from release_agent.consul.client import ConsulClient
from release_agent.consul.followed import ConsulFollowed
from release_agent.consul.registration import ConsulAgent
from release_agent.errors import RecordUnreachable, Refused
from release_agent.health import Health
from release_agent.model import Completed
from release_agent.rollout.inventory import consul
from release_agent.rollout.model import HostStage, Order
from release_agent.rollout.record.consul import ConsulRolloutStore
from support.configuration import configuration
from support.consul_cluster import NODE, ConsulCluster
from support.markdown import page
from support.rollouts import a_rollout
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("policy")  # one Consul, in one worker

_URL = "http://10.0.0.11:9001"
_TIMEOUT = 10.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[ConsulCluster]:
    """A cluster with ACLs on."""
    made = ConsulCluster()
    yield made
    made.close()


def _client(cluster: ConsulCluster, token: dict[str, Any]) -> ConsulClient:
    return ConsulClient(cluster.environment | {"CONSUL_HTTP_TOKEN": token["SecretID"]}, _TIMEOUT)


@pytest.fixture(scope="module")
def operator(cluster: ConsulCluster) -> dict[str, Any]:
    """A token with the documented rights of who runs rollouts, at this node."""
    (rules,) = page("docs/guides/consul.md").section("Rollouts").examples("text")
    assert "desk-1" in rules
    return cluster.token(rules.replace("desk-1", NODE))


@pytest.fixture(scope="module")
def host(cluster: ConsulCluster) -> dict[str, Any]:
    """A token with the documented rights of the host api-1."""
    return cluster.token(page("docs/guides/consul.md").section("The access it needs").examples("hcl")[0])


def _environment(token: dict[str, Any]) -> dict[str, str]:
    return {"CONSUL_HTTP_TOKEN": token["SecretID"]}


def test_operator_may_run_rollouts_of_the_fleet_and_its_hosts_may_follow(
    cluster: ConsulCluster, operator: dict[str, Any], host: dict[str, Any]
) -> None:
    config = configuration(environ={"RELEASE_AGENT_HOST": "api-1"})
    environ = cluster.environment | _environment(host)
    ConsulAgent(config.consul, config.app, environ).register(None, Health.of(), ttl=600)
    fleet = ConsulFollowed(config.consul, config.app, environ)
    assert fleet.completed() is None
    record = ConsulRolloutStore(_client(cluster, operator))
    rollout = a_rollout(hosts=100)

    record.begin(rollout)
    rollout.hosts["host-1"].stage = HostStage.DONE
    record.save_hosts([rollout.hosts["host-1"]])
    record.save(rollout)
    record.order(rollout.id, Order("pause", "ada@desk"))
    (order,) = record.waiting(rollout.id)
    record.acknowledge(order)
    assert record.waiting(rollout.id) == []
    record.renew()
    record.follow("api", "production", Completed(rollout.id, "v1.4.0", {"api": "c" * 40}))
    assert record.running(rollout)
    assert [one.id for one in record.all()] == [rollout.id]
    assert record.reported(rollout, list(rollout.hosts.values())[:1]) == {}
    record.release()
    assert record.take(rollout.id) == rollout
    record.release()

    assert fleet.completed() == Completed(rollout.id, "v1.4.0", {"api": "c" * 40})


def test_operator_sees_the_hosts_and_who_of_them_is_sick(
    cluster: ConsulCluster, operator: dict[str, Any], host: dict[str, Any]
) -> None:
    text = f'[app]\nname = "api"\nenvironment = "production"\nroot = "/srv"\nrpc_url = "{_URL}"\n'
    config = configuration(app=text, environ={"RELEASE_AGENT_HOST": "api-1"})
    agent = ConsulAgent(config.consul, config.app, cluster.environment | _environment(host))
    agent.register(None, Health.of(), ttl=600)
    client = _client(cluster, operator)
    eventually(lambda: cluster.health("api"), "it is in the catalog")

    assert [(target.name, target.url) for target in consul.targets(client, "api")] == [("api-1", _URL)]
    assert consul.sick(client, "api", "production") == {}
    agent.update(None, Health.of("not well"))
    eventually(lambda: consul.sick(client, "api", "production") == {"api-1": "not well"}, "it is sick")


def test_operator_may_not_touch_other_fleets_nor_what_hosts_report(cluster: ConsulCluster, operator: dict[str, Any]) -> None:
    record = ConsulRolloutStore(_client(cluster, operator))

    for other in ({"app": "web"}, {"environment": "staging"}, {"app": "api2"}):
        with pytest.raises(RecordUnreachable, match=r"refused to write .*docs/guides/consul\.md has the policy"):
            record.begin(a_rollout(**other))  # type: ignore[arg-type]
    for key in ("release-agent/production/api/hosts/api-1", "release-agent/production/api2/rollout/completed"):
        assert cluster.refuses("PUT", f"/v1/kv/{key}", operator["SecretID"])


def test_host_may_read_what_its_own_fleet_runs_and_decide_nothing(cluster: ConsulCluster, host: dict[str, Any]) -> None:
    environ = cluster.environment | _environment(host)
    other = configuration(app='[app]\nname = "api"\nenvironment = "staging"\nroot = "/srv"\n')

    with pytest.raises(Refused, match=r"docs/guides/consul\.md has the policy"):
        ConsulFollowed(other.consul, other.app, environ).completed()
    assert cluster.refuses("PUT", "/v1/kv/release-agent/production/api/rollout/completed", host["SecretID"])
    with pytest.raises(RecordUnreachable):
        ConsulRolloutStore(_client(cluster, host)).begin(a_rollout())
