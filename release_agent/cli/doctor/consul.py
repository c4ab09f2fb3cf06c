"""Checks of Consul, and of what keeps its health check alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.doctor.finding import FAULT, OK, WARNING, Finding
from release_agent.consul.connection import ConsulError
from release_agent.errors import ReleaseError
from release_agent.services.programs import is_own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_agent.services.supervisor import SupervisorServices
    from release_agent.wiring import Parts


def examine(parts: Parts, services: SupervisorServices) -> Iterator[Finding]:
    """Check Consul and the monitor, if anything is reported."""
    if not parts.config.consul.enabled:
        return
    try:
        parts.consul().reachable()
    except ConsulError as error:
        yield Finding("consul", FAULT, str(error), "start a Consul agent, fix CONSUL_HTTP_ADDR, or set [consul] enabled = false")
    else:
        yield Finding("consul", OK, "answers and has a leader")
    yield from _monitor(services)


def _monitor(services: SupervisorServices) -> Iterator[Finding]:
    try:
        programs = services.programs()
    except ReleaseError:
        return  # reported by the check of supervisor
    if not any(is_own(program, ("monitor",)) for program in programs):
        yield Finding(
            "monitor",
            WARNING,
            "supervisor has no `monitor` program: the health check lives 24 h and only deployments renew it",
            "include supervisor.d/monitor.conf; without it deploy at least once a day, or health in Consul expires",
        )
