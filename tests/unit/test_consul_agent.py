"""Where Consul is, as the CONSUL_* variables say it; what it is told is tested against a real one."""

from __future__ import annotations

import pytest

from release_agent.consul_agent import ConsulAgent, ConsulError, address
from unit.configuration import configuration
from unit.servers import listening, refusing


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("", ("http", "127.0.0.1", 8500)),
        ("10.0.0.1:8501", ("http", "10.0.0.1", 8501)),
        ("consul", ("http", "consul", 8500)),
        ("localhost:8500", ("http", "localhost", 8500)),
        ("http://consul:8501", ("http", "consul", 8501)),
        ("https://consul:8501", ("https", "consul", 8501)),
        ("https://consul:8501/", ("https", "consul", 8501)),
        ("[::1]:8501", ("http", "[::1]", 8501)),
        ("http://[fe80::1]:8500", ("http", "[fe80::1]", 8500)),
    ],
)
def test_addresses(given: str, meant: tuple[str, str, int]) -> None:
    assert address({"CONSUL_HTTP_ADDR": given}) == meant


def test_without_the_variable_it_is_this_machines_agent() -> None:
    assert address({}) == ("http", "127.0.0.1", 8500)


@pytest.mark.parametrize(
    ("value", "scheme"), [("true", "https"), ("1", "https"), ("TRUE", "https"), ("false", "http"), ("", "http")]
)
def test_tls_may_be_switched_on_by_a_variable(value: str, scheme: str) -> None:
    assert address({"CONSUL_HTTP_ADDR": "consul:8501", "CONSUL_HTTP_SSL": value}) == (scheme, "consul", 8501)


def test_a_scheme_outranks_the_variable() -> None:
    assert address({"CONSUL_HTTP_ADDR": "http://consul:8501", "CONSUL_HTTP_SSL": "true"})[0] == "http"


@pytest.mark.parametrize("given", ["unix:///run/consul.sock", "ftp://consul:8500", "http://", ":8500", "::1"])
def test_what_is_no_address_is_said_with_what_would_be_one(given: str) -> None:
    with pytest.raises(ValueError, match="must be host:port, http://host:port or https://host:port"):
        address({"CONSUL_HTTP_ADDR": given})


@pytest.mark.parametrize("given", ["consul:http", "consul:99999", "http://consul:-1"])
def test_what_is_no_port_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"[Pp]ort"):
        address({"CONSUL_HTTP_ADDR": given})


def agent(**environ: str) -> ConsulAgent:
    config = configuration(environ={"RELEASE_AGENT_HOST": "blue"})
    return ConsulAgent(config.consul, config.app, environ)


def test_a_host_has_a_key_of_its_own() -> None:
    assert agent().key == "release-agent/production/api/hosts/blue"


def test_consul_that_refuses_is_told_so() -> None:
    with refusing() as closed, pytest.raises(ConsulError, match="Consul cannot be connected to"):
        agent(CONSUL_HTTP_ADDR=closed).reachable()


def test_something_else_at_consuls_address_is_an_error_of_consul() -> None:
    with listening(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as there, pytest.raises(ConsulError):
        agent(CONSUL_HTTP_ADDR=there).reachable()


def test_an_address_that_is_none_is_an_error_of_consul() -> None:
    with pytest.raises(ConsulError, match="must be host:port"):
        agent(CONSUL_HTTP_ADDR="unix:///run/consul.sock").reachable()


def test_a_token_file_that_is_missing_is_an_error_of_consul() -> None:
    with pytest.raises(ConsulError, match="cannot read CONSUL_HTTP_TOKEN_FILE /nowhere/token"):
        agent(CONSUL_HTTP_TOKEN_FILE="/nowhere/token").reachable()
