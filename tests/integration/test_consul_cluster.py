"""A cluster with ACLs and TLS on: what it is told, what a token needs, and what its faults may not do."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integration.consul_cluster import PATIENCE, ConsulCluster
from integration.host import BIN, Host, Ran, eventually
from release_agent.consul_agent import ConsulAgent
from release_agent.consul_client import ConsulError
from unit.configuration import configuration

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "release-agent/test/api/hosts/host-1"
SERVICE = "release-agent:api:host-1"
ADDRESS = "192.0.2.7"
_PAGE = Path(__file__).parents[2] / "docs" / "consul.md"
_LISTENER = """
[eventlistener:monitor]
command={bin}/release-agent monitor
events=TICK_5,PROCESS_STATE
environment={environment}
autostart=true
autorestart=true
startsecs=1
buffer_size=100
stderr_logfile={path}/monitor.err
"""


@pytest.fixture(scope="session")
def cluster_of_session() -> Iterator[ConsulCluster]:
    """One cluster for all tests; each mends what it breaks."""
    made = ConsulCluster()
    yield made
    made.close()


@pytest.fixture
def cluster(cluster_of_session: ConsulCluster) -> ConsulCluster:
    """A cluster that is well and knows nothing of this test's service yet."""
    eventually(cluster_of_session.well, "the cluster is well", PATIENCE)
    for service in cluster_of_session.get("/v1/agent/services"):
        cluster_of_session.put(f"/v1/agent/service/deregister/{service}")
    eventually(lambda: not cluster_of_session.health("api"), "it has forgotten", PATIENCE)
    return cluster_of_session


def _policy() -> str:
    """The policy of the documentation, for the host of the tests."""
    written = re.findall(r"```hcl\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(written) == 1
    return str(written[0]).replace("release-agent/production/api/hosts/api-1", KEY)


@pytest.fixture
def token(cluster: ConsulCluster) -> dict[str, Any]:
    """A token with the documented rights and no other."""
    return cluster.token(_policy())


@pytest.fixture
def watched(cold_host: Host, cluster: ConsulCluster, token: dict[str, Any]) -> Host:
    """A host with a monitor, on which v1.0.0 is live, and Consul knows it."""
    host = cold_host
    host.repository.release("v1.0.0")
    host.repository.release("v1.1.0")
    file = host.path / "consul-token"
    file.write_text(token["SecretID"] + "\n")
    authority = shutil.copy(cluster.ca, host.path / "ca.pem")
    host.environment |= cluster.environment | {"CONSUL_HTTP_TOKEN_FILE": str(file), "CONSUL_CACERT": str(authority)}
    app = f'[app]\nname = "api"\nenvironment = "test"\nhost = "host-1"\nroot = "{host.root}"\naddress = "{ADDRESS}"'
    host.configure(app=app, consul='enabled = true\nttl = "30s"')
    passed = {name: value for name, value in host.environment.items() if name.startswith(("CONSUL_", "RELEASE_AGENT_"))}
    environment = ",".join(f'{name}="{value}"' for name, value in passed.items())
    host.services.append(_LISTENER.format(bin=BIN, environment=environment, path=host.path))
    host.start()
    assert host.deploy("v1.0.0").code == 0
    _is_right(cluster, "v1.0.0")
    return host


def _shown(cluster: ConsulCluster) -> list[tuple[str, str]]:
    """The revision and the state of the check that the catalog has, of each instance."""
    return [
        (instance["Service"]["Meta"].get("revision", ""), check["Status"])
        for instance in cluster.health("api")
        for check in instance["Checks"]
        if check["ServiceID"] == SERVICE and check["CheckID"] == f"service:{SERVICE}"
    ]


def _is_right(cluster: ConsulCluster, revision: str, state: str = "passing") -> None:
    eventually(lambda: _shown(cluster) == [(revision, state)], f"{revision} is {state} in the catalog", PATIENCE)


def _is_whole_again(cluster: ConsulCluster, ran: Ran) -> None:
    """Everything that the deployment had to say is in Consul, and the host can be found."""
    _is_right(cluster, "v1.1.0")
    eventually(lambda: cluster.record(KEY).get("id") == ran.json["id"], "the record is there", PATIENCE)
    eventually(lambda: cluster.resolve("api.service.consul") == [ADDRESS], "DNS answers", PATIENCE)


def _is_unmoved(host: Host, ran: Ran) -> None:
    """The deployment did what it would have done, and did not wait for Consul longer than it may."""
    assert (ran.code, ran.json["outcome"], host.serves()) == (0, "deployed", "v1.1.0"), ran.err
    told = [event["why"] for event in ran.events("report.failed") + ran.events("report.spooled")]
    assert sum(float(seconds) for why in told for seconds in re.findall(r"within ([0-9.]+) s", why)) <= 5, told


def _agent(cluster: ConsulCluster, **environ: str) -> ConsulAgent:
    """An agent of the product, as the variables say."""
    config = configuration(environ={"RELEASE_AGENT_HOST": "host-1"})
    return ConsulAgent(config.consul, config.app, cluster.environment | environ)


# Rights


def test_the_documented_policy_is_enough_and_opens_no_other_hosts_key(
    watched: Host, cluster: ConsulCluster, token: dict[str, Any]
) -> None:
    ran = watched.deploy("v1.1.0")

    assert ran.events("report.sent"), ran.err
    assert not ran.events("report.failed")
    _is_whole_again(cluster, ran)
    assert cluster.refuses("PUT", f"/v1/kv/{KEY}0", token["SecretID"])
    assert cluster.refuses("PUT", "/v1/kv/anything", token["SecretID"])


def test_maintenance_mode_of_a_person_is_seen_and_survives_a_deployment(
    watched: Host, cluster: ConsulCluster, token: dict[str, Any]
) -> None:
    agent = _agent(cluster, CONSUL_HTTP_TOKEN=token["SecretID"])
    assert agent.in_maintenance() is None
    cluster.put(f"/v1/agent/service/maintenance/{SERVICE}?enable=true&reason=disk+is+swapped")

    ran = watched.deploy("v1.1.0")

    assert ran.code == 0
    _is_right(cluster, "v1.1.0")
    assert agent.in_maintenance() == "disk is swapped"
    eventually(lambda: cluster.resolve("api.service.consul") == [], "DNS leaves it out", PATIENCE)
    cluster.put(f"/v1/agent/service/maintenance/{SERVICE}?enable=false")
    assert agent.in_maintenance() is None
    eventually(lambda: cluster.resolve("api.service.consul") == [ADDRESS], "DNS has it again", PATIENCE)


def test_maintenance_mode_of_the_node_is_seen_too(cluster: ConsulCluster, token: dict[str, Any]) -> None:
    agent = _agent(cluster, CONSUL_HTTP_TOKEN=token["SecretID"])
    cluster.put("/v1/agent/maintenance?enable=true&reason=kernel")
    try:
        assert agent.in_maintenance() == "kernel"
    finally:
        cluster.put("/v1/agent/maintenance?enable=false")
    assert agent.in_maintenance() is None


# DNS


def test_dns_names_the_container_while_it_is_well_and_not_while_it_is_critical(watched: Host, cluster: ConsulCluster) -> None:
    eventually(lambda: cluster.resolve("api.service.consul") == [ADDRESS], "well", PATIENCE)
    assert cluster.resolve("test.api.service.consul") == [ADDRESS]  # by a tag

    (watched.path / "sick").touch()
    eventually(lambda: cluster.resolve("api.service.consul") == [], "critical", PATIENCE)

    (watched.path / "sick").unlink()
    eventually(lambda: cluster.resolve("api.service.consul") == [ADDRESS], "well again", PATIENCE)


# Ways to it


def test_a_private_authority_is_trusted_where_it_is_named_alone(cluster: ConsulCluster, tmp_path: Path) -> None:
    shutil.copy(cluster.ca, tmp_path / "private.crt")

    _agent(cluster).reachable()
    _agent(cluster, CONSUL_CACERT="", CONSUL_CAPATH=str(tmp_path)).reachable()
    _agent(cluster, CONSUL_CACERT="", CONSUL_HTTP_SSL_VERIFY="false").reachable()
    _agent(cluster, CONSUL_HTTP_SSL_VERIFY="1").reachable()
    for trusted in ("", str(cluster.wrong_ca)):
        with pytest.raises(ConsulError, match=r"certificate is not trusted: .*; CONSUL_CACERT names"):
            _agent(cluster, CONSUL_CACERT=trusted).reachable()


def test_scheme_may_come_from_the_variable(cluster: ConsulCluster) -> None:
    there = cluster.environment["CONSUL_HTTP_ADDR"].removeprefix("https://")
    _agent(cluster, CONSUL_HTTP_ADDR=there, CONSUL_HTTP_SSL="true").reachable()
    with pytest.raises(ConsulError, match="HTTPS"):
        _agent(cluster, CONSUL_HTTP_ADDR=there).reachable()


def test_name_in_the_certificate_may_be_another_than_the_address(cluster: ConsulCluster) -> None:
    _agent(cluster, CONSUL_TLS_SERVER_NAME="server.dc1.consul").reachable()
    with pytest.raises(ConsulError, match=r"not trusted: .*other\.example"):
        _agent(cluster, CONSUL_TLS_SERVER_NAME="other.example").reachable()


def test_client_certificate_is_shown_to_a_server_that_asks_for_one(cluster: ConsulCluster) -> None:
    server = f"https://127.0.0.11:{cluster.ports['https']}"
    mine = {"CONSUL_CLIENT_CERT": str(cluster.certificate), "CONSUL_CLIENT_KEY": str(cluster.certificate.with_suffix(".key"))}
    _agent(cluster, CONSUL_HTTP_ADDR=server, **mine).reachable()
    with pytest.raises(ConsulError, match="TLS with Consul failed"):
        _agent(cluster, CONSUL_HTTP_ADDR=server).reachable()


def test_socket_of_the_agent_is_asked(cluster: ConsulCluster) -> None:
    _agent(cluster, CONSUL_HTTP_ADDR=f"unix://{cluster.socket}").reachable()


# Faults


def test_leader_that_is_killed_changes_no_outcome(watched: Host, cluster: ConsulCluster) -> None:
    leader = cluster.servers[cluster.leader()]
    leader.kill()
    try:
        ran = watched.deploy("v1.1.0")
    finally:
        leader.start()

    _is_unmoved(watched, ran)
    _is_whole_again(cluster, ran)


def test_cluster_without_a_leader_changes_no_outcome(watched: Host, cluster: ConsulCluster) -> None:
    fallen = list(cluster.servers.values())[:2]
    for server in fallen:
        server.kill()
    try:
        ran = watched.deploy("v1.1.0")
    finally:
        for server in fallen:
            server.start()

    _is_unmoved(watched, ran)
    assert ran.events("report.spooled")
    _is_whole_again(cluster, ran)


@pytest.mark.parametrize("forgets", [False, True], ids=["and keeps its data", "and loses its data"])
def test_agent_that_is_killed_changes_no_outcome(watched: Host, cluster: ConsulCluster, *, forgets: bool) -> None:
    cluster.client.kill()
    try:
        ran = watched.deploy("v1.1.0")
        if forgets:
            cluster.client.forget()
    finally:
        cluster.client.start()

    _is_unmoved(watched, ran)
    assert "cannot be connected to" in ran.events("report.spooled")[0]["why"]
    _is_whole_again(cluster, ran)


def test_agent_that_hangs_changes_no_outcome(watched: Host, cluster: ConsulCluster) -> None:
    cluster.client.hang()
    try:
        ran = watched.deploy("v1.1.0")
    finally:
        cluster.client.go_on()

    _is_unmoved(watched, ran)
    assert ran.events("report.spooled")
    _is_whole_again(cluster, ran)


def test_token_that_is_revoked_changes_no_outcome(watched: Host, cluster: ConsulCluster, token: dict[str, Any]) -> None:
    cluster.delete(f"/v1/acl/token/{token['AccessorID']}")
    eventually(lambda: cluster.refuses("GET", "/v1/agent/checks", token["SecretID"]), "it is revoked", PATIENCE)

    ran = watched.deploy("v1.1.0")

    _is_unmoved(watched, ran)
    assert "refused the token" in ran.events("report.spooled")[0]["why"]
    assert token["SecretID"] not in ran.out + ran.err
    another = cluster.token(_policy())
    (watched.path / "consul-token").write_text(another["SecretID"])
    _is_whole_again(cluster, ran)


def test_wrong_authority_is_told_and_changes_no_outcome(watched: Host, cluster: ConsulCluster) -> None:
    # In the deployment's environment alone: the monitor sends what it could not.
    ran = watched.deploy("v1.1.0", CONSUL_CACERT=str(cluster.wrong_ca))

    _is_unmoved(watched, ran)
    assert "Consul's certificate is not trusted" in ran.events("report.spooled")[0]["why"]
    _is_whole_again(cluster, ran)
