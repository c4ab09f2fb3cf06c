"""Credentials in a URL."""

from __future__ import annotations

import pytest

from release_agent.system.urls import Address


@pytest.mark.parametrize(
    ("given", "url", "login"),
    [
        ("http://bob:hunter2@10.0.0.1:9001", "http://10.0.0.1:9001", ("bob", "hunter2")),
        ("http://bob:hunter2@10.0.0.1:9001/RPC2", "http://10.0.0.1:9001/RPC2", ("bob", "hunter2")),
        ("http://bob:hun%40ter@host", "http://host", ("bob", "hun@ter")),
        ("http://bob:hun@ter@host", "http://host", ("bob", "hun@ter")),
        ("http://bob:hun/ter@host", "http://host", ("bob", "hun/ter")),
        ("http://bob:a://b@host", "http://host", ("bob", "a://b")),
        ("http://token@host", "http://host", ("token", "")),
        ("bob:hunter2@consul:8500", "consul:8500", ("bob", "hunter2")),
        ("http:/bob:hunter2@host", "host", ("http", "/bob:hunter2")),
        ("unix://bob:hunter2@/run/supervisor.sock", "unix:///run/supervisor.sock", ("bob", "hunter2")),
    ],
)
def test_credentials_are_taken_out_of_a_url(given: str, url: str, login: tuple[str, str]) -> None:
    address = Address.of(given)

    assert (address.url, address.login) == (url, login)
    assert "hunter2" not in repr(address)


@pytest.mark.parametrize("given", ["", "http://127.0.0.1:9001", "unix:///run/user@host/supervisor.sock", "[::1]:8500"])
def test_a_url_without_credentials_stays_as_it_is(given: str) -> None:
    address = Address.of(given)

    assert (address.url, address.login, list(address.secrets())) == (given, None, [])
