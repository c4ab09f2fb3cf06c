"""Read the fleet's last completed rollout from the key in Consul that it has set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from release_agent.consul.client import ConsulClient
from release_agent.consul.connection import ConsulError
from release_agent.consul.keys import FleetKeys
from release_agent.consul.kv import OTHER_SHAPE, read_entry
from release_agent.errors import Code, Refused
from release_agent.model import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from release_agent.config.sections import App, Consul


class ConsulFollowed:
    """The completed rollout of the hosts with the same app and environment; connects at the first call."""

    def __init__(self, settings: Consul, app: App, environ: Mapping[str, str]) -> None:
        self._key = FleetKeys(settings.prefix, app.name, app.environment).completed
        self._consul = ConsulClient(environ)

    def completed(self) -> Completed | None:
        """Return the last completed rollout, or None; takes two seconds at most. Raises Refused (consul-unreachable)."""
        try:
            entry = read_entry(self._consul, self._key)
            if entry is None:
                return None
            return Completed.from_json(json.loads(entry.text))
        except ConsulError as error:
            raise _unknown(str(error)) from error
        except OTHER_SHAPE as error:  # edited by hand, or not Consul's answer
            why = f"{self._key} has nothing that a rollout wrote: {error!r:.80}"
            raise _unknown(why) from error


def _unknown(why: str) -> Refused:
    return Refused(
        Code.CONSUL_UNREACHABLE,
        f"what the fleet last rolled out cannot be known: {why}",
        hint="fix Consul, or the CONSUL_* variables (docs/guides/consul.md); or name a revision: `release-agent deploy REVISION`",
    )
