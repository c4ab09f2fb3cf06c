"""What a deployment needs of the world, and no more; the adapters fulfil it without knowing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from signal import Signals

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.programs import ProgramFile
    from release_agent.config.sections import Probe, Service, Shared
    from release_agent.health import BroughtGroup, Candidate, Health, Look, Process, ProgramsChange, Rehearsed
    from release_agent.model import (
        Completed,
        Deployed,
        Freeze,
        Kind,
        Record,
        Release,
        Request,
        Stage,
        Target,
        UnfinishedDeployment,
    )
    from release_agent.system.command import CommandResult, HookCommand
    from release_agent.system.sharing import Sharing


class Difference(Protocol):
    """What lies between two releases."""

    @property
    def size(self) -> int:
        """The bytes of the files that come."""

    @property
    def files(self) -> int:
        """Their number."""

    @property
    def paths(self) -> Sequence[str]:
        """The paths in the release of all files that come or go."""

    def apply(self, directory: Path) -> None:
        """Turn the files of the older release, as write() left them, into those of the newer one; raises Failed."""


class Source(Protocol):
    """The repositories."""

    def look_again(self) -> None:
        """Forget what was read: the repositories may have changed."""

    def tags(self) -> set[str]:
        """Return the union of all tags."""

    def resolve(self, revision: str, kinds: Sequence[Kind]) -> Target:
        """Resolve a revision; raises Refused."""

    def verify_signatures(self, target: Target, allowed_signers: str, revoked_signers: str = "") -> dict[str, str]:
        """Return who signed the tag, by repository; raises Refused unless it is signed."""

    def read(self, commits: dict[str, str], path: str) -> dict[str, str]:
        """Return a file at each repository's root, by repository."""

    def programs(self, commits: Mapping[str, str], repository: str, pattern: str) -> dict[str, str]:
        """Return the texts of the programs in a repository by path; raises Failed."""

    def identities(self, commits: Mapping[str, str]) -> dict[str, str]:
        """Return what makes releases the same, by repository: the commit, or the tree of the part; raises Refused."""

    def size(self, commits: dict[str, str]) -> tuple[int, int]:
        """Return bytes and files of a release."""

    def difference(self, old: Mapping[str, str], into: Mapping[str, str] | None, new: Mapping[str, str]) -> Difference | None:
        """Return what lies between two releases; None if one cannot be made of the other's files; raises Refused.

        ``into``: where the older one has each repository.
        """

    def share(self, commits: Mapping[str, str], old: Path, directory: Path, sharing: Sharing) -> int:
        """Write the files, sharing those that an older release has as well; returns how many were written; raises Failed."""

    def restore(self, commits: Mapping[str, str], directory: Path) -> None:
        """Turn a release, whatever was done to it, into what write() makes of its commits; raises Failed, Refused."""

    def changes(self, old: dict[str, str], new: dict[str, str]) -> dict[str, dict[str, object]]:
        """Return what lies between two releases, by repository."""

    def write(self, commits: dict[str, str], directory: Path) -> None:
        """Write the files; raises Failed."""

    def drift(
        self,
        commits: dict[str, str],
        directory: Path,
        into: Mapping[str, str] | None = None,
        only: Collection[str] | None = None,
    ) -> dict[str, str]:
        """Return what differs from the commits; ``into``: where the release has each, if it has noted that.

        ``only``: the paths that can differ, if they are known.
        """


class Store(Protocol):
    """The root: releases, current, shared."""

    def lock(self, holder: Request, *, wait: bool) -> AbstractContextManager[None]:
        """Hold the root's lock; raises Busy."""

    def describe(self, revision: str) -> None:
        """Write into the lock what is being deployed, for readers of the lock; do nothing if this process does not hold it."""

    def clean(self) -> dict[str, str]:
        """Remove what a killed run left half done; returns what could not be removed, and why."""

    def next_number(self) -> int:
        """Return a number higher than any release there is."""

    def check_room(self, size: int, files: int) -> None:
        """Raise Failed (disk-full) where a release does not fit, and there is nothing that make_room() would remove."""

    def make_room(self, size: int, files: int) -> None:
        """Remove what is parked, then what build hooks made, if a release does not fit else; raises Failed (disk-full)."""

    def fits(self, size: int, files: int) -> bool:
        """Return whether so many bytes and files fit."""

    def parked(self) -> Release | None:
        """Return the release whose files the next one may take."""

    def take_parked(self, name: str) -> Path | None:
        """Make the directory a release is built in of the parked one; None if there is none, or a process uses it."""

    def remove_parked(self) -> str | None:
        """Remove what is parked; returns its name."""

    def can_clone(self) -> bool:
        """Return whether releases can share files by clones."""

    def free(self) -> int:
        """Return the bytes that are free where releases go."""

    def build(self, name: str, write: Callable[[Path], None]) -> Path:
        """Make the directory a release is built in and write its files into it."""

    def check_built(self, name: str) -> None:
        """Raise Failed if a hook removed or replaced the directory that build() made."""

    def take_back(self) -> None:
        """Undo what a hook did to the agent's rights in its own directories, as far as that goes."""

    def link_shared(self, directory: Path, shared: Shared) -> bool:
        """Replace the shared paths by links, seeding ``shared`` from the release; returns whether it was seeded."""

    def sync(self, directory: Path, written: Sequence[str] | None = None) -> None:
        """Make a directory durable; ``written``: the paths in it that are not, None if that is not known."""

    def install(self, release: Release) -> None:
        """Move the built directory among the releases and write down what it is, both durable."""

    def discard(self, name: str) -> None:
        """Remove a release that was never live, whole or half built; raises Failed."""

    def prepare_return(self, name: str) -> None:
        """Make beforehand what publishing a release again needs; raises Failed."""

    def publish(self, name: str) -> None:
        """Make ``current`` name the release, in one step; raises Failed."""

    def save(self, release: Release) -> None:
        """Write down what a release is, durable."""

    def current(self) -> Release | None:
        """Return the release that is live."""

    def unnoted(self) -> Release | None:
        """Return the release that ``current`` names, of which nothing but its name need be known."""

    def get(self, name: str) -> Release | None:
        """Return a release that is there, whole."""

    def releases(self) -> list[Release]:
        """Return all releases by number."""

    def directory(self, name: str) -> Path:
        """Return where a release is."""

    def programs(self, name: str, place: str, pattern: str) -> dict[str, str]:
        """Return the texts of the programs in a release, by their path in a place of it; raises Refused."""

    def read(self, name: str, path: str) -> str | None:
        """Return a regular file of a release, or None."""

    def sharers(self, name: str, path: str) -> list[str]:
        """Return the other releases in which a path is the same file, by hard link."""

    def surplus(
        self, keep: int, protected: set[str], live_at: Callable[[float], str | None], serving: Iterable[int] = ()
    ) -> list[str]:
        """Return the names of what ``keep`` does not keep.

        ``serving``: pids of the services. The release that was live when one of them
        started stays: an interpreter shows no file of its release.
        """

    def used(self, live_at: Callable[[float], str | None], serving: Iterable[int] = ()) -> set[str]:
        """Return the releases that processes use; ``serving``: as for surplus()."""

    def park(self, name: str, restore: Callable[[Path], None]) -> None:
        """Take a release out of the releases, let ``restore`` give it the files of its commits, and keep them for the next one.

        Nothing of it is left if that fails; raises ReleaseError, OSError.
        """


class OutputCache(Protocol):
    """What build hooks made, by a key of all that it was made of."""

    def take(self, key: str, directory: Path, paths: Sequence[str], sharing: Sharing) -> bool:
        """Put the outputs of a key at their paths in a release; returns False if there are none.

        Raises OSError if they are damaged or do not fit, and Cancelled; nothing is left of them then.
        """

    def keep(self, key: str, directory: Path, paths: Sequence[str], sharing: Sharing, most: int) -> int:
        """Keep what a hook made at its paths in a release, and at most ``most`` bytes of this and all others.

        Returns how many others were removed for it; raises OSError, Failed, Cancelled.
        """

    def forget(self, key: str) -> None:
        """Remove the outputs of a key; raises OSError."""

    def prune(self, most: int) -> int:
        """Remove what was not used for longest until at most ``most`` bytes are left; returns how many; raises OSError."""


class Journal(Protocol):
    """What was done and is being done."""

    def begin(self, request: Request, started_at: str) -> None:
        """Write down a deployment that begins; ``started_at`` is RFC 3339."""

    def phase(self, name: str, record: Record) -> None:
        """Note what a deployment does now, and what is known of it so far."""

    def stage(self, stage: Stage, record: Record) -> None:
        """Note, durably, how far it got: what recovery would have to do."""

    def reserve(self) -> None:
        """Keep room for what a rollback writes; raises Failed (disk-full)."""

    def published(self, release: str, moment: float) -> None:
        """Note what is live from a moment on (seconds since 1970)."""

    def end(self, record: Record, kind: Kind | None) -> None:
        """Write down how a deployment ended; again, when more is known."""

    def unfinished(self) -> list[UnfinishedDeployment]:
        """Return the deployments that never ended, oldest first."""

    def line(self) -> list[str]:
        """Return the releases one could go back along: oldest first, current last."""

    def live_at(self, moment: float) -> str | None:
        """Return the release that was live at a time (seconds since 1970)."""

    def deployed_commits(self, tag: str) -> dict[str, str] | None:
        """Return the commits that a tag named when it was last deployed."""

    def last_deployed(self) -> Deployed | None:
        """Return the newest run that ended with its release live; one that changed nothing is none."""

    def last_number(self) -> int:
        """Return the highest release number ever given."""

    def pinned(self) -> str | None:
        """Return what ``pin`` set."""

    def pin(self, revision: str | None) -> None:
        """Set it, or nothing."""

    def freeze(self, frozen: Freeze | None) -> None:
        """Keep a freeze, or end it."""

    def frozen(self) -> Freeze | None:
        """Return the freeze that holds now."""

    def answer(self, request: str, body: dict[str, Any]) -> None:
        """Keep what a check found."""

    def found(self, health: Health) -> None:
        """Keep the last verdict on the live release."""

    def hook(self, deployment: str, stage: str, run: str, ended: str, output: str) -> None:
        """Keep a hook's last output."""


class HookRunner(Protocol):
    """Runs a command with a time-out (seconds) for its whole process group."""

    def run_hook(self, hook: HookCommand, stage: str, directory: Path, environment: Mapping[str, str]) -> CommandResult:
        """Run it to its end; raises Failed only where it cannot be started, Cancelled where a signal ended it."""


class Services(Protocol):
    """The processes under supervisor, one at a time; every call may raise SupervisorGone.

    Stopping and starting only begin here: the caller looks until they are done.
    """

    def check(self, services: Sequence[Service]) -> None:
        """Raise Failed if a service cannot be restarted."""

    def alive(self) -> None:
        """Raise SupervisorGone if supervisor does not answer or is shutting down."""

    def processes(self) -> dict[str, list[Process]]:
        """Return every service's processes."""

    def look(self, process: Process) -> Process | None:
        """Return a process as it is now; None if supervisor no longer knows it."""

    def stop(self, process: Process) -> None:
        """Ask supervisor to stop a process, which may already have stopped; raises Unhealthy (restart-failed)."""

    def start(self, process: Process) -> None:
        """Ask supervisor to start a process, which may already run; raises Unhealthy (restart-failed)."""

    def signal(self, process: Process, signal: Signals) -> None:
        """Send a signal to a process, which may have stopped; raises Unhealthy (restart-failed)."""

    def migrates_requests(self) -> bool:
        """Return whether the kernel gives the requests of a closed SO_REUSEPORT socket to another one."""

    def smallest_program(self, service: str) -> int:
        """Return how many processes the service's program with the fewest has, 0 if there are none."""

    def stop_seconds(self, service: str) -> float:
        """Return the seconds after which supervisor kills a process of the service that does not stop."""

    def start_seconds(self, service: str) -> float:
        """Return the seconds that a process of the service must run to count as started."""


class Sockets(Protocol):
    """The sockets that supervisord listens on for its fcgi-programs; every call may raise SupervisorGone."""

    def hold_socket(self, service: str) -> bool:
        """Hold the socket of a service, if it has one and there is the plugin; returns whether."""

    def let_go_socket(self, service: str) -> None:
        """Let go of it."""


class Plugin(Sockets, Protocol):
    """What only the plugin inside supervisord can do; every call may raise SupervisorGone."""

    def require(self) -> None:
        """Raise Failed (plugin-needed) if there is no plugin."""

    def socket_of(self, service: str) -> str | None:
        """Return where supervisord itself listens for a service, empty if it does not; None without the plugin."""

    def candidates(self, service: str, release: str = "") -> list[Candidate]:
        """Return the processes of a service of which a rehearsal copies one; raises Failed. ``release``: may bring it."""

    def rehearse(self, release: str, service: str) -> Rehearsed:
        """Start a copy of a service's process from a release that is not live; raises Failed."""

    def end_rehearsal(self) -> bool:
        """Stop the copy; returns whether it is gone. Raises Failed."""

    def last_words(self, service: str, since: float) -> tuple[str, list[str]]:
        """Return how a process of a service ended, and the last lines of those started since a time (seconds since 1970).

        Either is empty if it is not known.
        """

    def releases_in_use(self, service: str) -> dict[str, list[int]]:
        """Return the pids of a service's processes by the release whose code they run; empty if it is not known.

        Those that nobody may look into stand under an empty name.
        """


class Programs(Protocol):
    """The programs that come with a release; every call may raise SupervisorGone."""

    def check(self, files: Sequence[ProgramFile]) -> list[BroughtGroup]:
        """Return the groups that files make; raises Failed (plugin-needed, service-refused, programs-invalid)."""

    def update(self, files: Sequence[ProgramFile]) -> ProgramsChange:
        """Let supervisor have the programs of the live release, which are in these files; raises Failed."""

    def renew(self, group: str) -> None:
        """Let supervisor have a group that has stopped as the live release has it, or not at all; raises Failed."""


class Examiner(Protocol):
    """Looks whether all services are well."""

    def probe(self, probes: Sequence[Probe], directory: Path, environment: Mapping[str, str]) -> list[str]:
        """Run probes once; returns what was wrong."""

    def look(self, blueprint: Blueprint, directory: Path, environment: Mapping[str, str], without: Collection[str] = ()) -> Look:
        """Return one look at supervisor's states and one pass of the probes.

        ``without``: the full names of processes that do not count.
        """


class FollowedRollout(Protocol):
    """The hosts of the same app in the same environment."""

    def completed(self) -> Completed | None:
        """Return the last completed rollout, or None if there is none. Raises Refused (consul-unreachable)."""


class Reporter(Protocol):
    """Reports to Consul. No method raises, and together they take at most five seconds per run."""

    def begin(self) -> None:
        """Keep the health check alive while the lock is held."""

    def deploying(self, release: Release) -> None:
        """Say that a release is live and not proved yet."""

    def draining(self, release: Release) -> None:
        """Take the host out of Consul's DNS: processes of the services are about to be stopped."""

    def finish(self, told: dict[str, object] | None, live: Release | None, health: Health | None) -> None:
        """Report how a run ended, unless ``told`` is None, and the live release's health, unless nobody looked.

        A report that cannot be sent is kept.
        """
