"""The interfaces that a deployment needs; the adapters implement them without importing them."""

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
    """The difference between two releases."""

    @property
    def size(self) -> int:
        """The bytes of the new files."""

    @property
    def files(self) -> int:
        """The number of the new files."""

    @property
    def paths(self) -> Sequence[str]:
        """The paths in the release of all files that are added or removed."""

    def apply(self, directory: Path) -> None:
        """Turn the files of the older release, as write() left them, into those of the newer one; raises Failed."""


class Source(Protocol):
    """The repositories."""

    def look_again(self) -> None:
        """Drop all cached answers, because the repositories may have changed."""

    def tags(self) -> set[str]:
        """Return the union of all tags."""

    def resolve(self, revision: str, kinds: Sequence[Kind]) -> Target:
        """Resolve a revision; raises Refused."""

    def verify_signatures(self, target: Target, allowed_signers: str, revoked_signers: str = "") -> dict[str, str]:
        """Return the signers of the tag by repository; raises Refused unless it is signed."""

    def read(self, commits: dict[str, str], path: str) -> dict[str, str]:
        """Return a file at each repository's root, by repository."""

    def programs(self, commits: Mapping[str, str], repository: str, pattern: str) -> dict[str, str]:
        """Return the texts of the programs in a repository by path; raises Failed."""

    def identities(self, commits: Mapping[str, str]) -> dict[str, str]:
        """Return the identity of the content by repository: the commit, or the tree of the part; raises Refused."""

    def size(self, commits: dict[str, str]) -> tuple[int, int]:
        """Return bytes and files of a release."""

    def difference(self, old: Mapping[str, str], into: Mapping[str, str] | None, new: Mapping[str, str]) -> Difference | None:
        """Return the difference between two releases; raises Refused.

        Returns None if the files of the older one cannot become those of the newer one.
        ``into``: the place of each repository in the older one.
        """

    def share(self, commits: Mapping[str, str], old: Path, directory: Path, sharing: Sharing) -> int:
        """Write the files, sharing those that an older release also has; returns the number of written files; raises Failed."""

    def restore(self, commits: Mapping[str, str], directory: Path) -> None:
        """Restore all files of a release to the result of write() for its commits; raises Failed, Refused."""

    def changes(self, old: dict[str, str], new: dict[str, str]) -> dict[str, dict[str, object]]:
        """Return the commits between two releases, by repository."""

    def write(self, commits: dict[str, str], directory: Path) -> None:
        """Write the files; raises Failed."""

    def drift(
        self,
        commits: dict[str, str],
        directory: Path,
        into: Mapping[str, str] | None = None,
        only: Collection[str] | None = None,
    ) -> dict[str, str]:
        """Return the differences from the commits; ``into``: the places of the repositories, if its note has them.

        ``only``: the paths that can differ, if known.
        """


class Store(Protocol):
    """The root: releases, current, shared."""

    def lock(self, holder: Request, *, wait: bool) -> AbstractContextManager[None]:
        """Hold the root's lock; raises Busy."""

    def describe(self, revision: str) -> None:
        """Write the current deployment into the lock for its readers; do nothing if this process does not hold the lock."""

    def clean(self) -> dict[str, str]:
        """Remove the leftovers of a killed run; returns the paths that could not be removed, and the reasons."""

    def next_number(self) -> int:
        """Return a number higher than that of any existing release."""

    def check_room(self, size: int, files: int) -> None:
        """Raise Failed (disk-full) if a release does not fit, and make_room() could remove nothing."""

    def make_room(self, size: int, files: int) -> None:
        """Remove the parked release, then cached outputs, if a release does not fit otherwise; raises Failed (disk-full)."""

    def fits(self, size: int, files: int) -> bool:
        """Return whether so many bytes and files fit."""

    def parked(self) -> Release | None:
        """Return the parked release, whose files the next one may take."""

    def take_parked(self, name: str) -> Path | None:
        """Turn the parked release into the build directory; None if there is none, or a process uses it."""

    def remove_parked(self) -> str | None:
        """Remove the parked release; returns its name."""

    def can_clone(self) -> bool:
        """Return whether releases can share files by clones."""

    def free(self) -> int:
        """Return the free bytes on the disk of the releases."""

    def build(self, name: str, write: Callable[[Path], None]) -> Path:
        """Make the build directory of a release and write its files into it."""

    def check_built(self, name: str) -> None:
        """Raise Failed if a hook removed or replaced the directory that build() made."""

    def take_back(self) -> None:
        """Restore the agent's access to its own directories after a hook, best effort."""

    def link_shared(self, directory: Path, shared: Shared) -> bool:
        """Replace the shared paths by links, and fill ``shared`` from the release; returns whether it filled anything."""

    def sync(self, directory: Path, written: Sequence[str] | None = None) -> None:
        """Make a directory durable; ``written``: the paths in it that are not yet durable, None if unknown."""

    def install(self, release: Release) -> None:
        """Move the built directory among the releases and write its note, both durable."""

    def discard(self, name: str) -> None:
        """Remove a release that was never live, complete or not; raises Failed."""

    def prepare_return(self, name: str) -> None:
        """Prepare everything that publishing a release again needs; raises Failed."""

    def publish(self, name: str) -> None:
        """Make ``current`` name the release, atomically; raises Failed."""

    def save(self, release: Release) -> None:
        """Write the note of a release, durable."""

    def current(self) -> Release | None:
        """Return the live release."""

    def unnoted(self) -> Release | None:
        """Return the release that ``current`` names, even without a note."""

    def get(self, name: str) -> Release | None:
        """Return a release that exists and is complete."""

    def releases(self) -> list[Release]:
        """Return all releases by number."""

    def directory(self, name: str) -> Path:
        """Return the directory of a release."""

    def programs(self, name: str, place: str, pattern: str) -> dict[str, str]:
        """Return the texts of the programs in a release, by their path in a place of it; raises Refused."""

    def read(self, name: str, path: str) -> str | None:
        """Return a regular file of a release, or None."""

    def sharers(self, name: str, path: str) -> list[str]:
        """Return the other releases in which a path is the same file, by hard link."""

    def surplus(
        self, keep: int, protected: set[str], live_at: Callable[[float], str | None], serving: Iterable[int] = ()
    ) -> list[str]:
        """Return the names of the releases beyond ``keep``.

        ``serving``: pids of the services. A release that was live when one of these processes started stays:
        an interpreter may use the release without an open file of it.
        """

    def used(self, live_at: Callable[[float], str | None], serving: Iterable[int] = ()) -> set[str]:
        """Return the releases that processes use; ``serving``: as for surplus()."""

    def park(self, name: str, restore: Callable[[Path], None]) -> None:
        """Move a release out of the releases and park it for the next one; ``restore`` restores the files of its commits.

        Removes the release if that fails; raises ReleaseError, OSError.
        """


class OutputCache(Protocol):
    """The outputs of build hooks, by a key of all that they depend on."""

    def take(self, key: str, directory: Path, paths: Sequence[str], sharing: Sharing) -> bool:
        """Restore the outputs of a key to their paths in a release; returns False if there are none.

        Raises OSError if the outputs are damaged or do not fit, and Cancelled. After an error, none of them is there.
        """

    def keep(self, key: str, directory: Path, paths: Sequence[str], sharing: Sharing, most: int) -> int:
        """Cache the outputs of a hook from their paths in a release; keep at most ``most`` bytes of all outputs.

        Returns the number of other outputs that were removed; raises OSError, Failed, Cancelled.
        """

    def forget(self, key: str) -> None:
        """Remove the outputs of a key; raises OSError."""

    def prune(self, most: int) -> int:
        """Remove the outputs unused for longest until at most ``most`` bytes are left; returns their number; raises OSError."""


class Journal(Protocol):
    """The history of all runs, and the state of the current one."""

    def begin(self, request: Request, started_at: str) -> None:
        """Write down the start of a deployment; ``started_at`` is RFC 3339."""

    def phase(self, name: str, record: Record) -> None:
        """Note the phase of a deployment, and its record so far."""

    def stage(self, stage: Stage, record: Record) -> None:
        """Note the stage of a deployment, durable; recovery acts by it."""

    def reserve(self) -> None:
        """Reserve disk space for the writes of a rollback; raises Failed (disk-full)."""

    def published(self, release: str, moment: float) -> None:
        """Note the live release from a moment on (seconds since 1970)."""

    def end(self, record: Record, kind: Kind | None) -> None:
        """Write down the end of a deployment; may be called again with more facts."""

    def unfinished(self) -> list[UnfinishedDeployment]:
        """Return the unfinished deployments, oldest first."""

    def line(self) -> list[str]:
        """Return the line of releases for rollbacks: oldest first, current last."""

    def live_at(self, moment: float) -> str | None:
        """Return the release that was live at a time (seconds since 1970)."""

    def deployed_commits(self, tag: str) -> dict[str, str] | None:
        """Return the commits that a tag named when it was last deployed."""

    def last_deployed(self) -> Deployed | None:
        """Return the newest run that made its release live; a run without changes does not count."""

    def last_number(self) -> int:
        """Return the highest release number ever used."""

    def pinned(self) -> str | None:
        """Return the pinned revision."""

    def pin(self, revision: str | None) -> None:
        """Pin a revision, or remove the pin."""

    def freeze(self, frozen: Freeze | None) -> None:
        """Start a freeze, or end it."""

    def frozen(self) -> Freeze | None:
        """Return the current freeze."""

    def answer(self, request: str, body: dict[str, Any]) -> None:
        """Keep the answer of a check."""

    def found(self, health: Health) -> None:
        """Keep the latest verdict on the live release."""

    def hook(self, deployment: str, stage: str, run: str, ended: str, output: str) -> None:
        """Keep the last output of a hook."""


class HookRunner(Protocol):
    """Runs a command with a time-out (seconds) for its whole process group."""

    def run_hook(self, hook: HookCommand, stage: str, directory: Path, environment: Mapping[str, str]) -> CommandResult:
        """Run a command to its end; raises Failed only if it cannot start, Cancelled if a signal ended it."""


class Services(Protocol):
    """The processes under supervisor, one at a time; every call may raise SupervisorGone.

    stop() and start() return before the process has stopped or started: the caller looks until it has.
    """

    def check(self, services: Sequence[Service]) -> None:
        """Raise Failed if a service cannot be restarted."""

    def alive(self) -> None:
        """Raise SupervisorGone if supervisor does not answer or is shutting down."""

    def supervisor_pid(self) -> int:
        """Return supervisord's process id."""

    def processes(self) -> dict[str, list[Process]]:
        """Return every service's processes."""

    def look(self, process: Process) -> Process | None:
        """Return the state of a process now; None if supervisor no longer knows it."""

    def stop(self, process: Process) -> None:
        """Ask supervisor to stop a process, which may already have stopped; raises Unhealthy (restart-failed)."""

    def start(self, process: Process) -> None:
        """Ask supervisor to start a process, which may already run, or end at once; raises Unhealthy (restart-failed)."""

    def signal(self, process: Process, signal: Signals) -> None:
        """Send a signal to a process, which may have stopped; raises Unhealthy (restart-failed)."""

    def migrates_requests(self) -> bool:
        """Return whether the kernel gives the requests of a closed SO_REUSEPORT socket to another one."""

    def smallest_program(self, service: str) -> int:
        """Return the number of processes of the service's smallest program, 0 if there are none."""

    def stop_seconds(self, service: str) -> float:
        """Return the seconds after which supervisor kills a process of the service that does not stop."""

    def start_seconds(self, service: str) -> float:
        """Return the seconds that a process of the service must run to count as started."""


class Sockets(Protocol):
    """The sockets that supervisord listens on for its fcgi-programs; every call may raise SupervisorGone."""

    def hold_socket(self, service: str) -> bool:
        """Hold the socket of a service if it has one and the plugin is loaded; returns whether it holds it."""

    def let_go_socket(self, service: str) -> None:
        """Release the socket."""


class Plugin(Sockets, Protocol):
    """The plugin inside supervisord; every call may raise SupervisorGone."""

    def require(self) -> None:
        """Raise Failed (plugin-needed) without the plugin."""

    def socket_of(self, service: str) -> str | None:
        """Return the socket that supervisord holds for a service, empty if it holds none; None without the plugin."""

    def candidates(self, service: str, release: str = "") -> list[Candidate]:
        """Return the processes that a rehearsal may copy; raises Failed. ``release``: may bring the service."""

    def rehearse(self, release: str, service: str) -> Rehearsed:
        """Start a copy of a service's process from a release that is not live; raises Failed."""

    def end_rehearsal(self) -> bool:
        """Stop the copy; returns whether it has stopped. Raises Failed."""

    def last_words(self, service: str, since: float) -> tuple[str, list[str]]:
        """Return the end of a service's process, and the last lines of those started since a time (seconds since 1970).

        Either is empty if unknown.
        """

    def releases_in_use(self, service: str) -> dict[str, list[int]]:
        """Return the pids of a service's processes by the release whose code they run; empty if unknown.

        Processes that the plugin may not inspect have an empty name.
        """


class Programs(Protocol):
    """The programs that come with a release; every call may raise SupervisorGone."""

    def check(self, files: Sequence[ProgramFile]) -> list[BroughtGroup]:
        """Return the groups that files make; raises Failed (plugin-needed, service-refused, programs-invalid)."""

    def update(self, files: Sequence[ProgramFile]) -> ProgramsChange:
        """Give supervisor the programs of the live release, from these files; raises Failed."""

    def renew(self, group: str) -> None:
        """Give supervisor the live release's section of a stopped group, or remove the group; raises Failed."""


class Examiner(Protocol):
    """Looks whether all services are healthy."""

    def probe(self, probes: Sequence[Probe], directory: Path, environment: Mapping[str, str]) -> list[str]:
        """Run probes once; returns the problems."""

    def look(self, blueprint: Blueprint, directory: Path, environment: Mapping[str, str], without: Collection[str] = ()) -> Look:
        """Look once at supervisor's states and run the probes once.

        ``without``: the full names of processes that do not count.
        """


class FollowedRollout(Protocol):
    """The rollouts of the hosts of the same app in the same environment."""

    def completed(self) -> Completed | None:
        """Return the last completed rollout, or None. Raises Refused (consul-unreachable)."""


class Reporter(Protocol):
    """Reports to Consul. No method raises, and together they take at most five seconds per run."""

    def begin(self) -> None:
        """Keep the health check alive while the lock is held."""

    def deploying(self, release: Release) -> None:
        """Report that a release is live and not proved yet."""

    def draining(self, release: Release) -> None:
        """Take the host out of Consul's DNS before processes of the services stop."""

    def finish(self, told: dict[str, object] | None, live: Release | None, health: Health | None) -> None:
        """Report the end of a run, unless ``told`` is None, and the live release's health, if known.

        A report that cannot be sent is queued.
        """
