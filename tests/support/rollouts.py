"""Make rollouts for tests."""

from __future__ import annotations

from typing import Any

from release_agent.rollout.model import Application, Host, Rollout
from release_agent.rollout.options import Amount, Options


def a_rollout(  # noqa: PLR0913 - each test names what it is about
    identity: str = "rollout-20261122T100000Z-aaaaaa",
    *,
    app: str = "api",
    environment: str = "production",
    revision: str = "v1.4.0",
    hosts: int = 3,
    who: str = "ada@desk",
) -> Rollout:
    """Return a planned rollout of hosts host-1, host-2 and so on."""
    named = [Host(f"host-{n}", f"http://10.0.0.{n}:9001", app=app, order=n, wave=0 if n == 1 else 1) for n in range(1, hosts + 1)]
    options = Options(max_failed=Amount(10, percent=True))
    found = {host.name: host for host in named}
    of = [Application(app, {"api": "c" * 40})]
    return Rollout(identity, of, environment, revision, options, found, who, "2026-11-22T10:00:00.000000Z")


def a_system(identity: str, *apps: str) -> Rollout:
    """Return a planned rollout of several applications, with one host per application."""
    rollout = a_rollout(identity, hosts=len(apps))
    rollout.applications = [Application(app, {app: "c" * 40}) for app in apps]
    for app, host in zip(apps, rollout.hosts.values(), strict=True):
        host.app = app
    return rollout


def a_wave(count: int, **options: Any) -> Rollout:
    """Return a rollout over hosts h0, h1, … in one wave; none of them has started."""
    hosts = {f"h{number}": Host(f"h{number}", "http://", app="api", order=number, wave=0) for number in range(count)}
    of = [Application("api", {})]
    return Rollout("rollout-1", of, "production", "v1.4.2", Options(**options), hosts, "joe@laptop", "2024-01-01T00:00:00.0Z")
