"""The nouns of a fleet: hosts, their stages, rollouts and their phases."""

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
ASKED = "asked for"  # reason of a revert without a failure


class HostStage(StrEnum):
    """The stage of a host."""

    PENDING = "pending"  # its turn has not come
    SKIPPED = "skipped"  # the host needed no change
    STARTING = "starting"  # the deployment was requested; the host may not have received it
    DEPLOYING = "deploying"  # it reported the id of its deployment
    DONE = "done"  # it took the revision and was proved healthy
    FAILED = "failed"  # it did not take it, or became unhealthy during the bake
    UNREACHABLE = "unreachable"  # its state is unknown
    REVERTING = "reverting"  # the rollback was requested
    REVERTED = "reverted"  # runs its previous release again, proved healthy
    STUCK = "stuck"  # could not be rolled back
    CONVERGED = "converged"  # was unreachable or late, and has reported since then that it runs the revision


class Phase(StrEnum):
    """The phase of a rollout; the last six are ends."""

    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting"  # a person must approve the next wave
    REVERTING = "reverting"
    INTERRUPTED = "interrupted"  # abandoned by its operator: `rollout resume`
    COMPLETED = "completed"  # every host runs it
    PARTIAL = "partial"  # all other hosts took it; failed and unreachable ones were within their budgets
    FAILED = "failed"
    REVERTED = "reverted"
    ABORTED = "aborted"
    UNKNOWN = "unknown"  # only a newer agent knows its phase, or nobody can read its plan; this agent does not change it
    SUPERSEDED = "superseded"  # another rollout started after this one was abandoned


ENDED = (Phase.UNKNOWN, Phase.COMPLETED, Phase.PARTIAL, Phase.FAILED, Phase.REVERTED, Phase.ABORTED, Phase.SUPERSEDED)


@dataclass(frozen=True)
class InventoryHost:
    """A host of an inventory: its name, the URL of its supervisor's RPC, and its rank.

    ``rank``: hosts of a lower rank finish before those of a higher rank start.
    """

    name: str
    url: str
    service: str = ""
    zone: str = ""
    rank: int = 0


@dataclass
class Host:
    """One host of a rollout, which has its own key in the record."""

    name: str
    url: str
    service: str = ""
    zone: str = ""
    rank: int = 0
    app: str = ""  # the application that runs there; empty if unknown, because the host never answered
    order: int = 0  # its place in the inventory
    wave: int = -1  # -1: the host is in no wave
    stage: HostStage = HostStage.PENDING
    before: str | None = None  # the release that was live before; a revert rolls back to it
    before_revision: str | None = None
    unwell: bool = False  # whether it was unhealthy before the rollout
    deployment: str | None = None  # the id of the deployment, or of the rollback
    phase: str = ""  # phase of that deployment at the last question
    release: str | None = None  # the release of the deployment
    code: str = ""  # the cause of its failure as a stable name
    why: str = ""  # the cause in words

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of the record."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Host:
        """Read the JSON of an older or a newer agent. A stage that only a newer agent knows becomes unreachable."""
        stage = known_member(body.get("stage", HostStage.PENDING), HostStage.UNREACHABLE)
        return cls(**known_fields(cls, body) | {"stage": stage})


@dataclass
class Application:
    """One application of a rollout: the commits of its revision."""

    name: str
    commits: dict[str, str]
    replaced: Completed | None = None  # the revision for its fleet before the rollout completed

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Application:
        """Read the JSON of an older or a newer agent; raises TypeError, KeyError or AttributeError for anything else."""
        replaced = Completed.from_json(body["replaced"]) if body.get("replaced") else None
        return cls(**known_fields(cls, body) | {"replaced": replaced})


@dataclass
class Rollout:
    """One rollout: its fixed plan, and its progress. Hosts are by name, in the order of the inventory."""

    id: str
    applications: list[Application]  # in the order of their deployment
    environment: str
    revision: str
    options: Options
    hosts: dict[str, Host]
    who: str
    started_at: str
    phase: Phase = Phase.RUNNING
    wave: int = 0  # the current one, from 0
    staged: bool = False  # whether every host has staged the revision, with --stage
    approved: bool = False
    asked: int = -1  # the wave after which its gate last asked for a person
    why: str = ""
    step: str = ""  # the current step beside deployments: staging, bake, gate or verification
    step_at: str = ""  # when the step started
    stopping: str = ""  # the reason why no more hosts start, until the rollout ends or is rolled back
    reverting: str = ""  # reason of the rollback of hosts; empty without one
    aborted: str = ""  # the person who aborted it; no operator starts more hosts
    ended_at: str | None = None
    user: str = ""  # the user of the hosts' supervisors
    password_file: str = ""  # the path of the password on the machine that started the rollout
    service: str = ""  # the service of Consul's catalog, if the hosts come from Consul
    whole: bool = True  # whether no host of the inventory was left out
    reason: str = ""  # the reason that the person gave who started it
    promoted_from: str = ""  # the environment from which the revision is promoted

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
        """Return the commits for a host; none if its application is unknown."""
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

    @property
    def is_staging(self) -> bool:
        """Return whether hosts still have to stage the revision before the first wave."""
        return self.options.stage and not self.staged and bool(self.waves)

    def at(self, *stages: HostStage) -> list[Host]:
        """Return the hosts at some stages."""
        return [host for host in self.hosts.values() if host.stage in stages]

    def begin(self, step: str) -> None:
        """Set the current step; empty: hosts deploy."""
        self.step, self.step_at = step, timestamp()

    def enter(self, phase: Phase, why: str = "") -> None:
        """Set the phase and its reason, and the time of the end for a final phase."""
        self.phase, self.why = phase, why
        if phase not in (Phase.RUNNING, Phase.PAUSED):
            self.begin("")
            self.stopping = ""
        self.ended_at = timestamp() if phase in ENDED else None

    @property
    def counts(self) -> bool:
        """Return whether the fleet follows the rollout after its completion."""
        return self.whole or self.options.follow

    @property
    def has_ended(self) -> bool:
        """Return whether the rollout has ended."""
        return self.phase in ENDED

    def to_json(self) -> dict[str, Any]:
        """Return the JSON without the hosts. An older agent can read it if there is only one application."""
        body = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("hosts", "options")}
        several = [asdict(one) for one in self.applications]
        of_one = {} if len(several) != 1 else {"app" if name == "name" else name: value for name, value in several[0].items()}
        return {**body, "options": self.options.to_json(), "applications": several, **of_one}

    @classmethod
    def unreadable(cls, identity: str, why: str) -> Rollout:
        """Return the place in a list of a rollout whose plan cannot be read: of no application, and never continued."""
        return cls(identity, [], "", "", Options(), {}, who="", started_at="", phase=Phase.UNKNOWN, why=why)

    @classmethod
    def from_json(cls, body: dict[str, Any], hosts: list[dict[str, Any]]) -> Rollout:
        """Read the JSON of an older or a newer agent. This agent does not continue a phase that only a newer agent has."""
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
    """The holder of a fleet's lock: the rollout, its operator, its revision, its start."""

    id: str
    who: str
    revision: str
    since: str

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Holder:
        """Read the lock of an older or a newer agent; raises TypeError for anything else."""
        return cls(**known_fields(cls, body))


@dataclass(frozen=True)
class Order:
    """An order to a rollout from elsewhere: ``pause``, ``resume``, ``approve`` or ``abort``."""

    verb: str
    who: str
    at: str = field(default_factory=timestamp)
    id: str = field(default_factory=new_id)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Order:
        """Read the order of an older or a newer agent; raises TypeError for anything else."""
        return cls(**known_fields(cls, body))


def same_supervisor(hosts: Sequence[str]) -> Misconfigured:
    """Make the error for hosts of an inventory that are the same supervisor."""
    return Misconfigured(
        Code.INVENTORY_INVALID,
        f"several hosts are the same supervisor: {', '.join(hosts)}",
        hint="name each host once, or give it an address of its own: `url` in fleet.toml, `rpc_url` in its [app], "
        "or the port `supervisor` in a maestro-ng file",
    )


def rollout_id(after: str = "") -> str:
    """Return a new rollout's id, which sorts after the id ``after``."""
    return f"{ROLLOUT}{new_id(after.removeprefix(ROLLOUT))}"


def who_am_i() -> str:
    """Return the user and the machine of this process, for people."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = "?"
    return f"{user}@{socket.gethostname()}"
