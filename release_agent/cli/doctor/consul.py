"""Check of Consul."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.doctor.finding import FAULT, OK, Finding
from release_agent.consul.connection import ConsulError, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_agent.wiring import Parts


def examine(parts: Parts) -> Iterator[Finding]:
    """Check Consul, if the agent reports to it."""
    if not parts.config.consul.enabled:
        return
    where = ""
    try:
        where = place(parts.environ)
        parts.consul().reachable()
    except (ConsulError, ValueError) as error:
        message = str(error) if where in str(error) else f"{where}: {error}"
        yield Finding("consul", FAULT, message, "start a Consul agent, fix CONSUL_HTTP_ADDR, or set [consul] enabled = false")
    else:
        yield Finding("consul", OK, f"the agent at {where} answers and has a leader")
