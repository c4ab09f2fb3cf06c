"""A cluster with ACLs and TLS: the agent's reports to it, the rights of a token, and the effects of its faults."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.consul.client import ConsulClient
from release_agent.consul.connection import ConsulError
from release_agent.consul.registration import ConsulAgent
from release_agent.health import Health, HealthState
from support.configuration import configuration
from support.consul_cluster import ConsulCluster, Proxy, answers, breaks_off, resets
from support.consul_process import binary
from support.environment import BIN, clean_environment
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.consul_cluster import Fault
    from support.host import Host, Ran

pytestmark = pytest.mark.xdist_group("cluster")  # one Consul, in one worker


KEY = "release-agent/test/api/hosts/host-1"
SERVICE = "release-agent:api:host-1"
ADDRESS = "192.0.2.7"
_PAGE = Path(__file__).parents[3] / "docs" / "guides" / "consul.md"
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
[program:nudge]
command=/bin/true
autostart=false
autorestart=false
startsecs=0
"""


@pytest.fixture(scope="module")
def cluster_of_module() -> Iterator[ConsulCluster]:
    """One cluster for all tests; each repairs what it breaks."""
    made = ConsulCluster()
    yield made
    made.close()


@pytest.fixture
def cluster(cluster_of_module: ConsulCluster) -> ConsulCluster:
    """A cluster that is well and knows nothing of this test's service yet."""
    eventually(cluster_of_module.well, "the cluster is well")
    for service in cluster_of_module.get("/v1/agent/services"):
        cluster_of_module.put(f"/v1/agent/service/maintenance/{service}?enable=false")
        cluster_of_module.put(f"/v1/agent/service/deregister/{service}")
    cluster_of_module.put("/v1/agent/maintenance?enable=false")
    eventually(lambda: not cluster_of_module.health("api"), "it has forgotten")
    return cluster_of_module


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
    authority = shutil.copy(cluster.ca, cold_host.path / "ca.pem")
    return _watched(cold_host, cluster, token, cluster.environment | {"CONSUL_CACERT": str(authority)})


@pytest.fixture
def proxy(cluster: ConsulCluster) -> Iterator[Proxy]:
    """A proxy before the client agent."""
    made = Proxy(cluster.socket)
    yield made
    made.close()


@pytest.fixture
def behind(cold_host: Host, cluster: ConsulCluster, token: dict[str, Any], proxy: Proxy) -> Host:
    """The same host, to which Consul is behind the proxy."""
    return _watched(cold_host, cluster, token, proxy.environment)


def _watched(host: Host, cluster: ConsulCluster, token: dict[str, Any], consul: dict[str, str]) -> Host:
    host.repository.release("v1.0.0")
    host.repository.release("v1.1.0")
    file = host.path / "consul-token"
    file.write_text(token["SecretID"] + "\n")
    host.environment |= consul | {"CONSUL_HTTP_TOKEN_FILE": str(file)}
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
    eventually(lambda: _shown(cluster) == [(revision, state)], f"{revision} is {state} in the catalog")


def _is_whole_again(cluster: ConsulCluster, ran: Ran) -> None:
    """The fault has ended: in time all that the deployment had to say is in Consul, and the host can be found."""

    def found() -> tuple[Any, ...]:
        return _shown(cluster), cluster.record(KEY).get("id"), cluster.resolve("api.service.consul")

    eventually(lambda: found() == ([("v1.1.0", "passing")], ran.json["id"], [ADDRESS]), "all is right again")


def _is_unmoved(host: Host, ran: Ran) -> None:
    """The deployment did what it would have done, and did not wait for Consul longer than it may."""
    assert (ran.code, ran.json["outcome"], host.serves()) == (0, "deployed", "v1.1.0"), ran.err
    told = [event["why"] for event in ran.events("report.failed") + ran.events("report.spooled")]
    assert sum(float(seconds) for why in told for seconds in re.findall(r"no answer within ([0-9.]+) s", why)) <= 5, told
    # By its own account. It may wait five seconds, also before this phase.
    assert {phase["name"]: phase["seconds"] for phase in ran.json["phases"]}["report"] < 6, ran.out


def _is_noticed(host: Host) -> None:
    """The monitor, too, has met the fault."""
    log = host.path / "monitor.err"

    def last() -> str:
        said = [json.loads(line)["health"] for line in log.read_text().splitlines() if '"health.changed"' in line]
        return str(said[-1]) if said else "nothing"

    host.supervisorctl("start", "nudge")  # a process changes its state: it looks
    eventually(lambda: last() == "unreachable", "the monitor notices")


def _agent(cluster: ConsulCluster, address: str = ADDRESS, **environ: str) -> ConsulAgent:
    """An agent of the product, as the variables say."""
    app = f'[app]\nname = "api"\nenvironment = "test"\nroot = "/srv/api"\naddress = "{address}"\n'
    config = configuration(app=app, environ={"RELEASE_AGENT_HOST": "host-1"})
    return ConsulAgent(config.consul, config.app, cluster.environment | environ)


def is_reached(agent: ConsulAgent) -> bool:
    """Tell whether the agent reaches Consul."""
    try:
        agent.reachable()
    except ConsulError:
        return False
    return True


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


def test_no_rule_of_the_policy_is_one_too_many(cluster: ConsulCluster) -> None:
    rules = re.findall(r'\w+ "[^"]+" \{.*?\}', _policy(), re.DOTALL)
    # What `follow = "rollout"` needs is in test_rollout_policy.
    assert [rule.split()[0] for rule in rules] == ["service", "key", "key", "node"]
    without = [cluster.token("".join(rules[:number] + rules[number + 1 :])) for number in (0, 1, 3)]
    no_service, no_key, no_node = (_agent(cluster, CONSUL_HTTP_TOKEN=token["SecretID"]) for token in without)

    with pytest.raises(ConsulError, match=r"refused the token.*docs/guides/consul\.md"):
        no_service.register(None, Health.of(), 30)
    with pytest.raises(ConsulError, match=r"refused the token.*docs/guides/consul\.md"):
        no_key.put({})
    cluster.put("/v1/agent/maintenance?enable=true&reason=kernel")
    assert (no_key.in_maintenance(), no_node.in_maintenance()) == ("kernel", None)


# Two containers of one host name


def test_a_second_container_of_the_host_name_at_another_consul_agent_is_told_whose_record_it_replaces(
    watched: Host, cluster: ConsulCluster
) -> None:
    certificate = {
        "CONSUL_CLIENT_CERT": str(cluster.certificate),
        "CONSUL_CLIENT_KEY": str(cluster.certificate.with_suffix(".key")),
    }
    elsewhere = {"CONSUL_HTTP_ADDR": f"https://127.0.0.11:{cluster.ports['https']}", "CONSUL_HTTP_TOKEN": cluster.master}
    second = _agent(cluster, "192.0.2.8", **elsewhere, **certificate)
    second.register(None, Health.of(), 30)  # not refused: the ids of services are an agent's own
    try:
        why = second.put({"id": "theirs", "address": second.address})
        ran = watched.deploy("v1.1.0")
    finally:
        ConsulClient(cluster.environment | elsewhere | certificate).put(f"/v1/agent/service/deregister/{SERVICE}")

    own_host = "give each container an [app] host of its own"
    assert why == f"host host-1 of api was reported from {ADDRESS} before, not from 192.0.2.8; {own_host}"
    (warning,) = ran.events("report.replaced")
    assert (warning["level"], ran.code) == ("warning", 0)
    assert f"was reported from 192.0.2.8 before, not from {ADDRESS}" in warning["why"]
    assert cluster.record(KEY)["id"] == ran.json["id"]
    assert not watched.deploy("v1.0.0").events("report.replaced"), "the agent logs it once"


@pytest.mark.parametrize("there", ["no JSON", "[1]", '"text"', '{"id": "of an older agent"}', ""])
def test_what_is_no_record_of_another_address_is_replaced_without_a_word(cluster: ConsulCluster, there: str) -> None:
    cluster.put(f"/v1/kv/{KEY}", there)
    agent = _agent(cluster, CONSUL_HTTP_TOKEN=cluster.master)

    assert agent.put({"id": "ours", "address": agent.address}) == ""
    assert cluster.record(KEY) == {"id": "ours", "address": ADDRESS}


# Maintenance


@pytest.mark.parametrize("mode", [f"service/maintenance/{SERVICE}", "maintenance"], ids=["of the service", "of the node"])
def test_maintenance_mode_of_a_person_is_shown_and_survives_a_deployment(
    watched: Host, cluster: ConsulCluster, token: dict[str, Any], mode: str
) -> None:
    agent = _agent(cluster, CONSUL_HTTP_TOKEN=token["SecretID"])
    assert agent.in_maintenance() is None
    cluster.put(f"/v1/agent/{mode}?enable=true&reason=disk+is+swapped")
    watched.supervisorctl("start", "nudge")
    eventually(lambda: watched.rpc.release.getStatus()["maintenance"], "it is shown")

    ran = watched.deploy("v1.1.0")

    assert ran.code == 0
    _is_right(cluster, "v1.1.0")
    assert agent.in_maintenance() == "disk is swapped"
    eventually(lambda: cluster.resolve("api.service.consul") == [], "DNS leaves it out")
    cluster.put(f"/v1/agent/{mode}?enable=false")
    eventually(lambda: cluster.resolve("api.service.consul") == [ADDRESS], "DNS has it again")
    watched.supervisorctl("start", "nudge")
    eventually(lambda: not watched.rpc.release.getStatus()["maintenance"], "it is shown no more")


# DNS


def test_dns_names_the_container_while_it_is_well_and_not_while_it_is_critical(watched: Host, cluster: ConsulCluster) -> None:
    eventually(lambda: cluster.resolve("api.service.consul") == [ADDRESS], "well")
    assert cluster.resolve("test.api.service.consul") == [ADDRESS]  # by a tag

    (watched.path / "sick").touch()
    eventually(lambda: cluster.resolve("api.service.consul") == [], "critical")

    (watched.path / "sick").unlink()
    eventually(lambda: cluster.resolve("api.service.consul") == [ADDRESS], "well again")


# Ways to it


def test_every_form_of_the_address_reaches_it_for_every_call(cluster: ConsulCluster, token: dict[str, Any]) -> None:
    plain, tls = cluster.ports["http"], cluster.ports["https"]
    there = [f"127.0.0.14:{plain}", f"http://127.0.0.14:{plain}", f"[::1]:{plain}", f"http://[::1]:{plain}"]
    for given in [*there, f"https://127.0.0.14:{tls}", f"https://[::1]:{tls}", f"unix://{cluster.socket}"]:
        agent = _agent(cluster, CONSUL_HTTP_ADDR=given, CONSUL_HTTP_TOKEN=token["SecretID"])
        agent.reachable()
        said = Health(HealthState.PASSING, (given,))
        assert agent.health() is None
        assert not agent.update(None, said), "it does not know the check yet"
        agent.register(None, said, 30)
        assert agent.update(None, said)
        assert agent.health() == said
        agent.put({"by": given})
        assert cluster.record(KEY) == {"by": given}
        cluster.put(f"/v1/agent/service/deregister/{SERVICE}")


_CERTIFICATE = {"CONSUL_CLIENT_CERT": "{certificate}", "CONSUL_CLIENT_KEY": "{key}"}


@pytest.mark.parametrize(
    ("reached", "variables"),
    [
        (True, {}),
        (False, {"CONSUL_HTTP_ADDR": "{tls}"}),
        (True, {"CONSUL_HTTP_ADDR": "{tls}", "CONSUL_HTTP_SSL": "true"}),
        (True, {"CONSUL_HTTP_ADDR": "http://{tls}", "CONSUL_HTTP_SSL": "1"}),
        (True, {"CONSUL_HTTP_ADDR": "https://{tls}", "CONSUL_HTTP_SSL": "false"}),
        (True, {"CONSUL_HTTP_ADDR": "{plain}"}),
        (False, {"CONSUL_HTTP_ADDR": "{plain}", "CONSUL_HTTP_SSL": "true"}),
        (True, {"CONSUL_HTTP_ADDR": "unix://{socket}"}),
        (True, {"CONSUL_HTTP_ADDR": "https://[::1]:{port}"}),
        (False, {"CONSUL_CACERT": ""}),
        (False, {"CONSUL_CACERT": "{wrong}"}),
        (False, {"CONSUL_CACERT": "{wrong}", "CONSUL_CAPATH": "{folder}"}),
        (True, {"CONSUL_CACERT": "", "CONSUL_CAPATH": "{folder}"}),
        (True, {"CONSUL_CACERT": "", "CONSUL_HTTP_SSL_VERIFY": "false"}),
        (False, {"CONSUL_CACERT": "", "CONSUL_HTTP_SSL_VERIFY": "true"}),
        (True, {"CONSUL_TLS_SERVER_NAME": "server.dc1.consul"}),
        (False, {"CONSUL_TLS_SERVER_NAME": "other.example"}),
        (False, {"CONSUL_HTTP_ADDR": "https://{server}"}),
        (True, {"CONSUL_HTTP_ADDR": "https://{server}", **_CERTIFICATE}),
        (False, {"CONSUL_HTTP_ADDR": "https://{server}", "CONSUL_CLIENT_CERT": "{certificate}"}),
    ],
    ids=str,
)
def test_variables_mean_what_they_mean_to_hashicorps_own_tool(
    cluster: ConsulCluster, tmp_path: Path, variables: dict[str, str], *, reached: bool
) -> None:
    shutil.copy(cluster.ca, tmp_path / "private.pem")
    places = {
        "tls": f"127.0.0.14:{cluster.ports['https']}",
        "plain": f"127.0.0.14:{cluster.ports['http']}",
        "server": f"127.0.0.11:{cluster.ports['https']}",
        "port": cluster.ports["https"],
        "socket": cluster.socket,
        "wrong": cluster.wrong_ca,
        "folder": tmp_path,
        "certificate": cluster.certificate,
        "key": cluster.certificate.with_suffix(".key"),
    }
    given = cluster.environment | {name: value.format(**places) for name, value in variables.items()}
    asked = [binary(), "catalog", "datacenters"]
    theirs = subprocess.run(asked, capture_output=True, text=True, check=False, env=clean_environment() | given)

    # On a busy machine an answer may take longer than the agent waits. A Consul that cannot be reached fails each time.
    ours = any(is_reached(_agent(cluster, **given)) for _ in range(5))

    assert (theirs.returncode == 0, ours) == (reached, reached), theirs.stderr


def test_a_private_authority_is_trusted_where_it_is_named_alone(cluster: ConsulCluster, tmp_path: Path) -> None:
    shutil.copy(cluster.ca, tmp_path / "private.crt")

    _agent(cluster).reachable()
    _agent(cluster, CONSUL_CACERT="", CONSUL_CAPATH=str(tmp_path)).reachable()
    _agent(cluster, CONSUL_CACERT="", CONSUL_HTTP_SSL_VERIFY="false").reachable()
    _agent(cluster, CONSUL_HTTP_SSL_VERIFY="1").reachable()
    for trusted in ("", str(cluster.wrong_ca)):
        with pytest.raises(ConsulError, match=r"certificate is not trusted: .*; set CONSUL_CACERT"):
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


# Faults


def test_leader_that_is_killed_changes_no_outcome(watched: Host, cluster: ConsulCluster) -> None:
    address = cluster.leader()
    cluster.servers[address].kill()
    try:
        ran = watched.deploy("v1.1.0")

        _is_unmoved(watched, ran)
        # The fault ends with the election, not with the return of who fell.
        eventually(lambda: cluster.leader() not in ("", address), "another leads")
        _is_whole_again(cluster, ran)
    finally:
        cluster.servers[address].start()


def test_cluster_without_a_leader_changes_no_outcome(watched: Host, cluster: ConsulCluster) -> None:
    fallen = list(cluster.servers.values())[:2]
    for server in fallen:
        server.kill()
    try:
        ran = watched.deploy("v1.1.0")
        _is_noticed(watched)
    finally:
        for server in fallen:
            server.start()
    _is_unmoved(watched, ran)
    assert ran.events("report.spooled")
    eventually(cluster.leader, "the fault has ended")
    _is_whole_again(cluster, ran)


@pytest.mark.parametrize("forgets", [False, True], ids=["and keeps its data", "and loses its data"])
def test_agent_that_is_killed_changes_no_outcome(watched: Host, cluster: ConsulCluster, *, forgets: bool) -> None:
    cluster.client.kill()
    try:
        ran = watched.deploy("v1.1.0")
        _is_noticed(watched)
        if forgets:
            cluster.client.forget()
    finally:
        cluster.client.start()

    _is_unmoved(watched, ran)
    assert "cannot connect to Consul at" in ran.events("report.spooled")[0]["why"]
    _is_whole_again(cluster, ran)


def test_agent_that_hangs_changes_no_outcome(watched: Host, cluster: ConsulCluster) -> None:
    cluster.client.hang()
    try:
        ran = watched.deploy("v1.1.0")
        _is_noticed(watched)
    finally:
        cluster.client.go_on()

    _is_unmoved(watched, ran)
    assert ran.events("report.spooled")
    _is_whole_again(cluster, ran)


def test_token_that_is_revoked_changes_no_outcome(watched: Host, cluster: ConsulCluster, token: dict[str, Any]) -> None:
    cluster.delete(f"/v1/acl/token/{token['AccessorID']}")
    eventually(lambda: cluster.refuses("GET", "/v1/agent/checks", token["SecretID"]), "it is revoked")

    ran = watched.deploy("v1.1.0")

    _is_unmoved(watched, ran)
    assert "refused the token" in ran.events("report.spooled")[0]["why"]
    assert token["SecretID"] not in ran.out + ran.err
    _is_noticed(watched)
    another = cluster.token(_policy())
    (watched.path / "consul-token").write_text(another["SecretID"])
    _is_whole_again(cluster, ran)


def test_wrong_authority_is_told_and_changes_no_outcome(watched: Host, cluster: ConsulCluster) -> None:
    shutil.copy(cluster.wrong_ca, watched.path / "ca.pem")
    watched.supervisorctl("restart", "monitor")  # it has a connection that was trusted

    ran = watched.deploy("v1.1.0")

    _is_unmoved(watched, ran)
    assert "Consul's certificate is not trusted" in ran.events("report.spooled")[0]["why"]
    _is_noticed(watched)
    shutil.copy(cluster.ca, watched.path / "ca.pem")
    _is_whole_again(cluster, ran)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (answers(500, "rpc error: TTL of the lease expired"), "500 rpc error: TTL of the lease expired"),
        (answers(429, "Your IP is issuing too many concurrent connections"), "429 Your IP"),
        (answers(503, "<h1>Service Unavailable</h1>", "text/html"), "not from a Consul agent: 503 Service Unavailable"),
        (answers(200, "<h1>Who are you?</h1>", "text/html"), "not from a Consul agent: 200 OK"),
        (breaks_off, "Connection broken"),
        (resets, "Connection broken|cannot connect to Consul at"),
    ],
    ids=["500s", "429s", "503s and a page", "a page", "broken off", "reset"],
)
def test_agent_that_answers_wrongly_changes_no_outcome(
    behind: Host, cluster: ConsulCluster, proxy: Proxy, fault: Fault, said: str
) -> None:
    proxy.fault = fault

    ran = behind.deploy("v1.1.0")

    _is_unmoved(behind, ran)
    assert re.search(said, ran.events("report.spooled")[0]["why"]), ran.err
    _is_noticed(behind)
    assert cluster.record(KEY)["id"] != ran.json["id"]
    proxy.fault = None
    _is_whole_again(cluster, ran)


def test_agent_that_is_slow_costs_no_more_than_five_seconds_in_all(behind: Host, cluster: ConsulCluster, proxy: Proxy) -> None:
    proxy.fault = Proxy.is_slow

    ran = behind.deploy("v1.1.0")

    _is_unmoved(behind, ran)
    assert "no answer within" in ran.events("report.failed")[0]["why"]
    assert "no answer within" in ran.events("report.spooled")[0]["why"]
    proxy.fault = None
    _is_whole_again(cluster, ran)
