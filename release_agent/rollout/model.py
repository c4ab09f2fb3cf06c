"""The nouns of a fleet: where a host is, what became of it, how a rollout is to go, and how it went."""

from __future__ import annotations

import getpass
import socket
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from release_agent.errors import Code, Misconfigured
from release_agent.members import known_fields, known_member
from release_agent.model import ROLLOUT, Completed, new_id, timestamp
from release_agent.rollout.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REVERT = "revert"
STAGE = "stage"
ASKED = "asked for"  # why a rollout is reverted that did not fail


class HostStage(StrEnum):
    """How far a host is."""

    PENDING = "pending"  # its turn has not come
    SKIPPED = "skipped"  # there was nothing to do
    STARTING = "starting"  # asked to deploy; perhaps it has not heard
    DEPLOYING = "deploying"  # it said which deployment it runs
    DONE = "done"  # it took the revision and was proved healthy
    FAILED = "failed"  # it did not take it, or became unhealthy while it was watched
    UNREACHABLE = "unreachable"  # nobody knows
    REVERTING = "reverting"  # asked to go back to what it ran before
    REVERTED = "reverted"  # runs that again, proved healthy
    STUCK = "stuck"  # could not be rolled back
    CONVERGED = "converged"  # was unreachable or late, and has told Consul since that it runs the revision


class Phase(StrEnum):
    """How far a rollout is; the last six are ends."""

    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting"  # for a person's approval
    REVERTING = "reverting"
    INTERRUPTED = "interrupted"  # left as it was by its operator: `rollout resume`
    COMPLETED = "completed"  # every host runs it
    PARTIAL = "partial"  # all others took it; failed and unreachable ones were within their budgets
    FAILED = "failed"
    REVERTED = "reverted"
    ABORTED = "aborted"
    UNKNOWN = "unknown"  # only a newer agent knows its phase; this one leaves it alone
    SUPERSEDED = "superseded"  # another rollout was started after it was left


ENDED = (Phase.UNKNOWN, Phase.COMPLETED, Phase.PARTIAL, Phase.FAILED, Phase.REVERTED, Phase.ABORTED, Phase.SUPERSEDED)


@dataclass(frozen=True)
class InventoryHost:
    """A host of an inventory: its name, where its supervisor's RPC is, and the order it belongs into.

    ``rank``: hosts of a lower one are through before those of a higher one begin.
    """

    name: str
    url: str
    service: str = ""
    zone: str = ""
    rank: int = 0


@dataclass
class Host:
    """One host of a rollout, as the record keeps it under a key of its own."""

    name: str
    url: str
    service: str = ""
    zone: str = ""
    rank: int = 0
    app: str = ""  # the application that runs there; empty: it never answered, and nobody knows
    order: int = 0  # its place in the inventory
    wave: int = -1  # -1: in none
    stage: HostStage = HostStage.PENDING
    before: str | None = None  # the release that was live before; a revert goes back to it
    before_revision: str | None = None
    unwell: bool = False  # before
    deployment: str | None = None  # the id of the deployment, or of the rollback
    phase: str = ""  # of that, when it was last asked
    release: str | None = None  # what the deployment made live
    code: str = ""  # why it failed: a stable name …
    why: str = ""  # … and words

    def to_json(self) -> dict[str, Any]:
        """Return what the record keeps."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Host:
        """Read what an older or a newer agent kept. Nobody knows how a host is whose stage only a newer agent has."""
        stage = known_member(body.get("stage", HostStage.PENDING), HostStage.UNREACHABLE)
        return cls(**known_fields(cls, body) | {"stage": stage})


@dataclass
class Application:
    """One application of a rollout: the commits that the revision names there."""

    name: str
    commits: dict[str, str]
    replaced: Completed | None = None  # what its fleet was to run before the rollout was completed

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Application:
        """Read what an older or a newer agent kept; raises TypeError, KeyError or AttributeError for anything else."""
        replaced = Completed.from_json(body["replaced"]) if body.get("replaced") else None
        return cls(**known_fields(cls, body) | {"replaced": replaced})


@dataclass
class Rollout:
    """One rollout: its plan, which does not change, and how far it is. Hosts are by name, in the order of the inventory."""

    id: str
    applications: list[Application]  # in the order in which they are deployed to
    environment: str
    revision: str
    options: Options
    hosts: dict[str, Host]
    who: str
    started_at: str
    phase: Phase = Phase.RUNNING
    wave: int = 0  # the one it is in, from 0
    staged: bool = False  # whether every host has staged the revision, if that was asked for
    approved: bool = False
    asked: int = -1  # the wave after which its gate last asked for a person
    why: str = ""
    reverting: str = ""  # why hosts are rolled back; empty: they are not
    aborted: str = ""  # by whom; no further host is begun, whoever runs it
    ended_at: str | None = None
    user: str = ""  # of the hosts' supervisors …
    password_file: str = ""  # … and where its password was, on the machine it was started on
    service: str = ""  # of Consul's catalog, where the hosts come from it
    whole: bool = True  # of the whole inventory
    reason: str = ""  # in the words of whoever started it
    promoted_from: str = ""  # the environment in which the revision had completed

    @property
    def apps(self) -> str:
        """The names of its applications, for people."""
        return ", ".join(application.name for application in self.applications)

    @property
    def is_of_several(self) -> bool:
        """Return whether it is of more than one application."""
        return len(self.applications) > 1

    @property
    def fleets(self) -> list[tuple[str, str]]:
        """App and environment of each of its fleets, in the order in which their locks are taken."""
        return sorted((application.name, self.environment) for application in self.applications)

    def commits_of(self, host: Host) -> dict[str, str]:
        """Return the commits that a host is to run; none if nobody knows which application runs there."""
        return next((application.commits for application in self.applications if application.name == host.app), {})

    @property
    def waves(self) -> list[list[Host]]:
        """The hosts of each wave, in order."""
        count = max((host.wave for host in self.hosts.values()), default=-1) + 1
        waves: list[list[Host]] = [[] for _ in range(count)]
        for host in self.hosts.values():
            if host.wave >= 0:
                waves[host.wave].append(host)
        return waves

    def at(self, *stages: HostStage) -> list[Host]:
        """Return the hosts that are that far."""
        return [host for host in self.hosts.values() if host.stage in stages]

    def enter(self, phase: Phase, why: str = "") -> None:
        """Set the phase and the reason for it, and since when it has ended, if that is an end."""
        self.phase, self.why = phase, why
        self.ended_at = timestamp() if phase in ENDED else None

    @property
    def counts(self) -> bool:
        """Return whether the fleet follows it once it is completed."""
        return self.whole or self.options.follow

    @property
    def has_ended(self) -> bool:
        """Return whether nothing more will be done."""
        return self.phase in ENDED

    def to_json(self) -> dict[str, Any]:
        """Return all but the hosts. Of one application it is what an agent reads, too, that knows no others."""
        body = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("hosts", "options")}
        several = [asdict(one) for one in self.applications]
        of_one = {} if self.is_of_several else {"app" if name == "name" else name: value for name, value in several[0].items()}
        return {**body, "options": self.options.to_json(), "applications": several, **of_one}

    @classmethod
    def from_json(cls, body: dict[str, Any], hosts: list[dict[str, Any]]) -> Rollout:
        """Read what an older or a newer agent kept. This one does not go on with a phase that only a newer agent has."""
        # An older agent's is of one application, which its hosts do not name.
        of = [Application.from_json(one) for one in body.get("applications") or [{**body, "name": body["app"]}]]
        named = {} if len(of) > 1 else {"app": of[0].name}
        read = sorted((Host.from_json(named | host) for host in hosts), key=lambda host: host.order)
        return cls(
            **known_fields(cls, body)
            | {
                "options": Options.from_json(body["options"]),
                "hosts": {host.name: host for host in read},
                "phase": known_member(body.get("phase", Phase.RUNNING), Phase.UNKNOWN),
                "applications": of,
            }
        )


@dataclass(frozen=True)
class Holder:
    """Who holds a fleet's lock: the rollout, who runs it, what of, since when."""

    id: str
    who: str
    revision: str
    since: str

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Holder:
        """Read what an older or a newer agent wrote into the lock; raises TypeError for anything else."""
        return cls(**known_fields(cls, body))


@dataclass(frozen=True)
class Order:
    """What a person asked of a rollout from elsewhere: ``pause``, ``resume``, ``approve`` or ``abort``."""

    verb: str
    who: str
    at: str = field(default_factory=timestamp)
    id: str = field(default_factory=new_id)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Order:
        """Read what an older or a newer agent left; raises TypeError for anything else."""
        return cls(**known_fields(cls, body))


def same_supervisor(hosts: Sequence[str]) -> Misconfigured:
    """Make the error for hosts of an inventory that are one."""
    return Misconfigured(
        Code.INVENTORY_INVALID,
        f"several hosts are one and the same supervisor: {', '.join(hosts)}",
        hint='give each its own url, rpc_url in its [app], or in a maestro file its own port "supervisor"; or name it once',
    )


def rollout_id() -> str:
    """Return a new rollout's id; later ones sort after earlier ones."""
    return f"{ROLLOUT}{new_id()}"


def who_am_i() -> str:
    """Return who runs this process, for others to read."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = "?"
    return f"{user}@{socket.gethostname()}"
