"""The nouns of the agent: requests, releases, records, processes."""

from __future__ import annotations

import os
import re
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from release_agent.errors import ENDINGS, Exit
from release_agent.members import known_fields, known_member

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Prefix of a rollout's id, which is the trigger of its deployments in a host's history. Later ids of a fleet sort after earlier
# ones, whatever the clocks of their operators say.
ROLLOUT = "rollout-"

# Stands for the name of a release in Request.expected.
NOTHING_LIVE = "none"

_SECONDS = len("2026-11-22T22:20:46")
_ID_TIME = "%Y%m%dT%H%M%SZ"
_RELEASE_NAME = re.compile(r"([0-9]{6,})-([0-9a-f]{12})")


class Action(StrEnum):
    """The action of a run; hooks see it as RELEASE_ACTION (a boot deploys or recovers)."""

    DEPLOY = "deploy"
    STAGE = "stage"
    ROLLBACK = "rollback"
    RECOVER = "recover"


class Outcome(StrEnum):
    """The outcomes of a successful run; any other outcome is that of its error (errors.py)."""

    DEPLOYED = "deployed"
    UNCHANGED = "unchanged"
    STAGED = "staged"


# The named release is live and healthy.
SUCCESSES = frozenset({Outcome.DEPLOYED, Outcome.UNCHANGED})


def exit_of(outcome: str | None) -> Exit:
    """Return the exit code of an outcome."""
    exits = {kind.outcome: kind.exit_code for kind in ENDINGS} | dict.fromkeys(Outcome, Exit.OK)
    return exits.get(outcome or "", Exit.ERROR)


class Trigger(StrEnum):
    """The trigger of a run in the history. A rollout's trigger is its id; callers of the RPC may name others."""

    COMMAND = "command"
    SUPERVISOR = "supervisor"  # a command that supervisord started
    SUPERVISORCTL = "supervisorctl"
    RPC = "rpc"
    BOOT = "boot"
    POLL = "poll"
    WATCH = "watch"
    RECOVERY = "recovery"
    REBUILT = "rebuilt"  # written by a repair of the journal, from the releases on disk


class State(StrEnum):
    """The state of a release: built, perhaps staged for a later deployment, then proved healthy or failed."""

    BUILT = "built"
    STAGED = "staged"
    HEALTHY = "healthy"
    FAILED = "failed"


# States before the proof. A release in one of them is live only from its publication to the proof.
UNPROVED = frozenset({State.BUILT, State.STAGED})


class Stage(StrEnum):
    """How far an open deployment got, which determines its recovery."""

    PREPARING = "preparing"
    PUBLISHING = "publishing"
    REVERTING = "reverting"


class Kind(StrEnum):
    """The kind of a resolved revision."""

    TAG = "tag"
    BRANCH = "branch"
    COMMIT = "commit"


@dataclass(frozen=True)
class Request:
    """The action of a run, and its trigger."""

    id: str
    action: Action = Action.DEPLOY
    revision: str = ""
    release: str = ""
    force: bool = False
    accept_moved_tag: bool = False
    allow_lower: bool = False
    trigger: str = Trigger.COMMAND
    expected: str = ""  # the release that must be live, or NOTHING_LIVE; empty: any
    despite_freeze: bool = False
    wait_for: float = 0.0  # seconds for a revision that the repositories do not have yet
    by: str = ""  # the requesting person, as text.person() returns it; empty if unknown; decides nothing


@dataclass(frozen=True)
class Target:
    """A resolved revision: one commit of each repository, by the repository's name. ``signers``: empty if unchecked."""

    revision: str
    kind: Kind
    commits: dict[str, str]
    signers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Completed:
    """A fleet's last completed rollout, which hosts with ``follow = "rollout"`` deploy: its id, revision and commits."""

    id: str
    revision: str
    commits: dict[str, str]

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Completed:
        """Read the JSON of an older or a newer agent; raises TypeError, KeyError or AttributeError for anything else."""
        commits = {str(name): str(commit) for name, commit in body["commits"].items()}
        return cls(str(body["id"]), str(body["revision"]), commits)


@dataclass(frozen=True)
class Release:
    """A release, as in its note ``releases/<name>.json``.

    ``previous``: the name of the release that was live before it. ``built``: the digests of the files that shared links and
    build hooks made or changed, by path. ``signers``: the signers of its tag by repository, if they were checked. ``into``:
    the places of the repositories in it, by name; older notes have none. ``built_as``: the revision that its build hooks saw,
    if its revision has changed since, because two tags may name one commit. ``built_from``: the commits of that revision, if
    they differ, because commits may share a part. ``parts``: the repositories of which it has only one directory, and that
    directory. ``published_at`` and ``created_at`` are RFC 3339, UTC. ``by``: the person who published it last, empty if
    unknown. ``protected``: a person keeps it from pruning.
    """

    name: str
    revision: str
    kind: Kind
    commits: dict[str, str]
    fingerprint: str
    state: State
    created_at: str
    previous: str | None = None
    published_at: str | None = None
    built: dict[str, str] = field(default_factory=dict)
    signers: dict[str, str] = field(default_factory=dict)
    into: dict[str, str] = field(default_factory=dict)
    built_as: str = ""
    by: str = ""
    protected: bool = False
    built_from: dict[str, str] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)

    def as_built(self) -> Release:
        """Return the release with the revision that its build hooks saw, which is the revision that its probes find."""
        return replace(self, revision=self.built_as or self.revision, commits=self.built_from or self.commits)

    @property
    def number(self) -> int:
        """The number in its name; releases are ordered by it, never by time."""
        return release_number(self.name)

    def to_json(self) -> dict[str, Any]:
        """Return what ``releases/<name>.json`` keeps."""
        return asdict(self) | {"number": self.number}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Release:
        """Read the JSON of an older or a newer agent; raises TypeError, KeyError, AttributeError or ValueError for anything else.

        A state that only a newer agent has counts as failed: the release is listed and not removed as one that was never live,
        and no rollback goes to it. A kind that only a newer agent has counts as a commit, which cannot move.
        """
        state, kind = known_member(body["state"], State.FAILED), known_member(body["kind"], Kind.COMMIT)
        release = cls(**known_fields(cls, body) | {"state": state, "kind": kind})
        _require_usable(release)
        return release


def _require_usable(release: Release) -> None:
    """Raise ValueError for an invalid moment, a place outside the release, or text that UTF-8 cannot encode."""
    for moment in filter(None, (release.created_at, release.published_at)):
        _require_moment(moment)
    for place in release.into.values():
        if "\0" in place or place.startswith("/") or ".." in place.split("/"):
            message = f"{place!r} is not a path inside a release"
            raise ValueError(message)
    for text in (release.revision, release.fingerprint, *release.commits, *release.commits.values(), *release.into.values()):
        text.encode()  # a lone surrogate


def _require_moment(text: str) -> None:
    if datetime.fromisoformat(text).tzinfo is None:
        message = f"{text} has no time zone"
        raise ValueError(message)


def release_name(number: int, fingerprint: str) -> str:
    """Return ``000042-1f3c9ab2d4e5``: the number and the first 12 digits of the fingerprint."""
    return f"{number:06d}-{fingerprint[:12]}"


def unknown_release(name: str) -> Release:
    """Return a stand-in for a release without a note: only its name is known."""
    return Release(name, revision="", kind=Kind.COMMIT, commits={}, fingerprint="", state=State.BUILT, created_at="")


def find_release(releases: Sequence[Release], named: str) -> Release | None:
    """Find a release by its name, number or revision; of a revision, the newest healthy release, otherwise the newest."""
    exact = [release for release in releases if named in (release.name, str(release.number), f"{release.number:06d}")]
    alike = [release for release in releases if release.revision == named]
    healthy = [release for release in alike if release.state is State.HEALTHY]
    return next(iter([*exact, *reversed(healthy), *reversed(alike)]), None)


def is_release_name(name: str) -> bool:
    """Return whether ``name`` is the name of a release."""
    return bool(_RELEASE_NAME.fullmatch(name))


def release_number(name: str) -> int:
    """Return the number in a release's name."""
    return int(name.split("-", maxsplit=1)[0])


@dataclass
class Record:
    """The record of a deployment: the JSON of ``deploy --json``."""

    id: str
    outcome: str | None = None
    release: str | None = None
    revision: str | None = None
    commits: dict[str, str] = field(default_factory=dict)
    previous: str | None = None
    seconds: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    error: dict[str, str] | None = None
    signers: dict[str, str] = field(default_factory=dict)
    by: str = ""

    @classmethod
    def of(cls, request: Request) -> Record:
        """Return the record of a run at its start."""
        return cls(request.id, revision=request.revision or None, by=request.by)

    def to_json(self) -> dict[str, Any]:
        """Return the record in the shape that docs/reference/commands.md promises."""
        return {
            "id": self.id,
            "outcome": self.outcome,
            "release": self.release,
            "revision": self.revision,
            "commits": self.commits,
            "signers": self.signers,
            "previous": self.previous,
            "by": self.by,
            "seconds": round(self.seconds, 3),
            "phases": [{"name": name, "seconds": round(spent, 3)} for name, spent in self.phases.items()],
            "error": self.error,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Record:
        """Read the record of an older or a newer agent, with or without members that are None.

        Raises TypeError or KeyError for anything else.
        """
        known = known_fields(cls, body)
        phases = {phase["name"]: phase["seconds"] for phase in known.get("phases", ())}
        return cls(**known | {"phases": phases})


@dataclass(frozen=True)
class UnfinishedDeployment:
    """A deployment without an outcome, as recovery needs it."""

    request: Request
    stage: Stage
    record: Record
    kind: Kind | None


@dataclass(frozen=True)
class Freeze:
    """A freeze, which refuses requested deployments. ``since`` and ``until`` are RFC 3339, UTC.

    ``until``: empty if only a person ends it.
    """

    why: str
    by: str
    since: str
    until: str = ""

    @classmethod
    def now(cls, why: str, by: str, lasts: float | None) -> Freeze:
        """Return a freeze that starts now and ends after ``lasts`` seconds; None: a person ends it."""
        now = datetime.now(UTC)
        return cls(why, by, timestamp(now), "" if lasts is None else timestamp(now + timedelta(seconds=lasts)))

    @property
    def is_over(self) -> bool:
        """Return whether the freeze has ended by now."""
        return bool(self.until) and datetime.fromisoformat(self.until) <= datetime.now(UTC)

    def describe(self) -> str:
        """Return the person, the start, the end and the reason, to follow the word "frozen"."""
        by = f"by {self.by} " if self.by else ""
        return f"{by}since {self.since[:_SECONDS]}Z{f', until {self.until[:_SECONDS]}Z' if self.until else ''}: {self.why}"

    def to_json(self) -> dict[str, str]:
        """Return the JSON that the journal keeps and ``status --json`` shows."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Freeze:
        """Read the JSON of an older or a newer agent; raises TypeError or ValueError for anything else."""
        frozen = cls(**known_fields(cls, body))
        for moment in filter(None, (frozen.since, frozen.until)):
            _require_moment(moment)
        return frozen


@dataclass(frozen=True)
class Deployed:
    """A run that made its release live: the release's name, the run's action and its trigger."""

    release: str
    action: str
    trigger: str


def timestamp(moment: datetime | None = None) -> str:
    """Return a moment (default: now) in RFC 3339, UTC."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_since(moment: str) -> float:
    """Return the seconds since a moment of timestamp(); 0 for a future moment and for any other text."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def new_id(after: str = "") -> str:
    """Return a new id: the time, for people, and random digits. It sorts after ``after``, even if that id is of the future."""
    identity = _id_at(time.time())
    return identity if identity > after else _id_at(_moment_of(after) + 1)


def _id_at(moment: float) -> str:
    return f"{time.strftime(_ID_TIME, time.gmtime(moment))}-{os.urandom(3).hex()}"


def _moment_of(identity: str) -> float:
    """Return the time of an id; now for an id that a person made up."""
    try:
        return datetime.strptime(identity.partition("-")[0], _ID_TIME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return time.time()
