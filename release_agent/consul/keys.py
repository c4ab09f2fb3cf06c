"""The keys of everything that this project keeps in Consul's KV store.

``PREFIX/ENVIRONMENT/APP/hosts/HOST``         a host's record: its last deployment
``PREFIX/ENVIRONMENT/APP/rollout/lock``       held by a session; who holds it
``PREFIX/ENVIRONMENT/APP/rollout/kept``       the ids of the fleet's rollouts, oldest first
``PREFIX/ENVIRONMENT/APP/rollout/completed``  what the fleet is to run
``PREFIX/ENVIRONMENT/APP/rollout/frozen``     why, by whom and until when rollouts of the fleet are refused
``PREFIX/_rollouts/ID/plan``                  all but the hosts; written last: if it is there, the rollout is whole
``PREFIX/_rollouts/ID/hosts/NAME``            one host of a rollout
``PREFIX/_rollouts/ID/orders/ORDER``          an order that the rollout's operator has not obeyed yet
``PREFIX/_rollouts/ID/order``                 the same of an older agent

No environment's name begins with "_".
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class FleetKeys:
    """The keys of one app in one environment."""

    prefix: str
    app: str
    environment: str

    def host(self, name: str) -> str:
        """Return the key of a host's record."""
        return f"{self.prefix}/{self.environment}/{self.app}/hosts/{name}"

    @property
    def lock(self) -> str:
        """The lock of the fleet's rollouts."""
        return self._rollout("lock")

    @property
    def kept(self) -> str:
        """The ids of the fleet's rollouts."""
        return self._rollout("kept")

    @property
    def completed(self) -> str:
        """The revision that the fleet is to run."""
        return self._rollout("completed")

    @property
    def frozen(self) -> str:
        """The freeze of the fleet's rollouts."""
        return self._rollout("frozen")

    def _rollout(self, name: str) -> str:
        return f"{self.prefix}/{self.environment}/{self.app}/rollout/{name}"


@dataclass(frozen=True)
class RolloutKeys:
    """The keys of one rollout."""

    prefix: str
    id: str

    @property
    def folder(self) -> str:
        """The folder of all of them."""
        return f"{rollouts(self.prefix)}{self.id}/"

    @property
    def plan(self) -> str:
        """The rollout without its hosts."""
        return f"{self.folder}plan"

    @property
    def hosts(self) -> str:
        """The folder of its hosts."""
        return f"{self.folder}hosts/"

    def host(self, name: str) -> str:
        """Return the key of one host; a name may have a slash in it."""
        return f"{self.hosts}{quote(name, safe='')}"

    @property
    def orders(self) -> str:
        """What the keys of the orders begin with that wait for the rollout's operator."""
        return f"{self.folder}order"

    def order(self, identity: str) -> str:
        """Return the key of one order; that of an older agent, which left one at most, has the rollout's id."""
        return self.orders if identity == self.id else f"{self.folder}orders/{identity}"


def rollouts(prefix: str) -> str:
    """Return the folder of all rollouts of all fleets."""
    return f"{prefix}/_rollouts/"
