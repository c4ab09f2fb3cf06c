"""All errors, each with a message, a hint and a stable code.

The class determines the exit code and the outcome of a run; the code names the cause.
docs/reference/exit-and-error-codes.md lists both.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Sequence


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    ERROR = 1
    USAGE = 2
    MISCONFIGURED = 10
    BUSY = 11
    REFUSED = 12
    FAILED = 13
    CANCELLED = 14
    ROLLED_BACK = 20
    ROLLBACK_FAILED = 21
    NO_TARGET = 22
    FAULT_FOUND = 30
    FLEET_FAILED = 40
    FLEET_REVERTED = 41
    FLEET_PARTIAL = 42
    AWAITS_APPROVAL = 43
    LOCKED = 44


# The number of an XML-RPC fault is this plus the exit code, so that it is above supervisor's own numbers.
FAULTS = 100


class Code(StrEnum):
    """Stable names of causes, which scripts may match."""

    # Before any change
    MISCONFIGURED = "misconfigured"
    BUSY = "busy"
    REVISION_INVALID = "revision-invalid"
    REVISION_UNKNOWN = "revision-unknown"
    REVISION_NOT_A_COMMIT = "revision-not-a-commit"
    NO_VERSION = "no-version"
    NOT_PINNED = "not-pinned"
    NO_ROLLOUT = "no-rollout"
    CONSUL_UNREACHABLE = "consul-unreachable"
    TAG_MOVED = "tag-moved"
    WOULD_GO_BACK = "would-go-back"
    TAG_UNSIGNED = "tag-unsigned"
    SIGNATURE_BAD = "signature-bad"
    SIGNERS_MISSING = "signers-missing"
    REPOSITORY_UNREADABLE = "repository-unreadable"
    REPOSITORY_INCOMPLETE = "repository-incomplete"
    SUBDIRECTORY_MISSING = "subdirectory-missing"
    RELEASE_TOML_INVALID = "release-toml-invalid"
    OVERTAKEN = "overtaken"
    FROZEN = "frozen"
    # Before publishing
    ROOT_UNUSABLE = "root-unusable"
    USER_NOT_CHANGED = "user-not-changed"
    NOT_BEGUN = "not-begun"
    DISK_FULL = "disk-full"
    BUILD_FAILED = "build-failed"
    SHARED_MISSING = "shared-missing"
    SHARED_CONFLICT = "shared-conflict"
    HOOK_FAILED = "hook-failed"
    HOOK_TIMED_OUT = "hook-timed-out"
    SUPERVISOR_UNREACHABLE = "supervisor-unreachable"
    SUPERVISOR_REFUSED = "supervisor-refused"
    SERVICE_UNKNOWN = "service-unknown"
    SERVICE_REFUSED = "service-refused"
    CANCELLED = "cancelled"
    PLUGIN_NEEDED = "plugin-needed"
    PROGRAMS_INVALID = "programs-invalid"
    REHEARSAL_FAILED = "rehearsal-failed"
    INTERRUPTED = "interrupted"
    JOURNAL_BROKEN = "journal-broken"
    # After publishing
    RESTART_FAILED = "restart-failed"
    UNHEALTHY = "unhealthy"
    CRASH_LOOPING = "crash-looping"
    OLD_CODE_RUNNING = "old-code-running"
    NOTHING_BEHIND = "nothing-behind"
    ROLLBACK_UNHEALTHY = "rollback-unhealthy"
    # Rollback by command
    NO_TARGET = "no-target"
    RELEASE_UNKNOWN = "release-unknown"
    RELEASE_FAILED = "release-failed"
    RELEASE_NEEDED = "release-needed"
    # A fleet
    INVENTORY_INVALID = "inventory-invalid"
    PACKAGES_MISSING = "packages-missing"
    FLEET_EMPTY = "fleet-empty"
    FLEET_MIXED = "fleet-mixed"
    GATE_UNCONFIRMED = "gate-unconfirmed"
    COMMITS_DIFFER = "commits-differ"
    FLEET_STOPPED = "fleet-stopped"
    ROLLOUT_UNKNOWN = "rollout-unknown"
    ROLLOUT_ENDED = "rollout-ended"
    LOCKED = "locked"
    LOCK_LOST = "lock-lost"
    RECORD_UNREACHABLE = "record-unreachable"
    # One host of a fleet
    HOST_UNREACHABLE = "host-unreachable"
    HOST_UNAUTHORISED = "host-unauthorised"
    HOST_UNFIT = "host-unfit"
    HOST_BUSY = "host-busy"
    HOST_IN_MAINTENANCE = "host-in-maintenance"
    HOST_LATE = "host-late"
    HOST_SICK = "host-sick"
    HOST_MOVED_ON = "host-moved-on"
    # The agent itself
    BUG = "bug"


class ReleaseError(Exception):
    """An error for a person: ``message`` says what failed and why, ``hint`` what to do next."""

    exit_code: ClassVar[Exit] = Exit.ERROR
    outcome: ClassVar[str] = "error"

    def __init__(self, code: Code, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.output = ""
        """The last output of the failing program, each line on its own; empty if unknown."""

    def to_json(self) -> dict[str, str]:
        """Return ``{"code", "message", "hint"}``, as the commands print it, and ``output`` if there is any."""
        said = {"output": self.output} if self.output else {}
        return {"code": str(self.code), "message": self.message, "hint": self.hint, **said}

    def caused_by(self, error: ReleaseError) -> Self:
        """Copy the failing program's output from the error that caused this one; this message already includes that error's."""
        self.output = error.output
        return self


class Misconfigured(ReleaseError):
    """The configuration file is wrong; every problem is in the message."""

    exit_code = Exit.MISCONFIGURED
    outcome = "misconfigured"


class Busy(ReleaseError):
    """Another run holds the lock."""

    exit_code = Exit.BUSY
    outcome = "busy"


class Refused(ReleaseError):
    """The revision, a repository or a signature cannot be used."""

    exit_code = Exit.REFUSED
    outcome = "refused"


class Failed(ReleaseError):
    """A step failed before publishing."""

    exit_code = Exit.FAILED
    outcome = "failed"


class SupervisorGone(Failed):
    """Supervisor does not answer, or is shutting down; the release is not at fault."""


class Cancelled(ReleaseError):
    """A signal stopped the run before publishing."""

    exit_code = Exit.CANCELLED
    outcome = "cancelled"


SERVICE_LOG_HINT = "check the service's log: the container's log, or `supervisorctl tail SERVICE stderr`"


class Unhealthy(ReleaseError):
    """A published release is not healthy; the run then rolls back. ``services``: the names of the unhealthy ones."""

    exit_code = Exit.ROLLED_BACK
    outcome = "rolled-back"

    def __init__(self, code: Code, message: str, *, hint: str = "", services: Sequence[str] = ()) -> None:
        super().__init__(code, message, hint=hint)
        self.services = services

    def say(self, service: str, end: str, lines: Sequence[str]) -> None:
        """Add the end of a service's process to the message, and its last lines to message and output; either may be empty."""
        self.message += f"\n{service} ended with {end}" if end else ""
        if lines:
            self.message += "".join([f"\nlast output of {service}:", *(f"\n  {line}" for line in lines)])
            self.output = "\n".join([*self.output.splitlines(), *lines])


class RolledBack(ReleaseError):
    """The new release was not healthy; the previous one is live again and proved healthy."""

    exit_code = Exit.ROLLED_BACK
    outcome = "rolled-back"


class RollbackFailed(ReleaseError):
    """The live release is not known to be healthy, or no release is live."""

    exit_code = Exit.ROLLBACK_FAILED
    outcome = "rollback-failed"


class NoTarget(ReleaseError):
    """There is no release to roll back to."""

    exit_code = Exit.NO_TARGET
    outcome = "no-target"


class FleetStopped(ReleaseError):
    """A rollout stopped; hosts that changed stay as they are."""

    exit_code = Exit.FLEET_FAILED
    outcome = "stopped"


class RecordUnreachable(FleetStopped):
    """The record of rollouts cannot be read or written."""


class LockLost(FleetStopped):
    """A rollout has lost the lock of its fleet; another one may run now."""


class Locked(ReleaseError):
    """Another rollout of the fleet is running."""

    exit_code = Exit.LOCKED
    outcome = "locked"


class Interrupted(ReleaseError):
    """The run stopped after publishing because supervisor is gone; ``boot`` recovers it from the journal."""


ENDINGS: tuple[type[ReleaseError], ...] = (
    *(Misconfigured, Busy, Refused, Failed, Cancelled, RolledBack, RollbackFailed, NoTarget),
    *(FleetStopped, Locked),
)


def error_of_exit(code: int | None) -> ReleaseError:
    """Make the error for a run that ended before it wrote to the journal. ``code``: its exit code, None if unknown."""
    message = f"the run ended with exit code {code} before it wrote to the journal"
    hint = "`supervisorctl tail deploy stderr` shows its output"
    if code == Exit.FAILED:
        return Failed(Code.NOT_BEGUN, message, hint=hint)
    kind = next((kind for kind in ENDINGS if kind.exit_code == code), ReleaseError)
    known = {Exit.MISCONFIGURED: Code.MISCONFIGURED, Exit.BUSY: Code.BUSY, Exit.CANCELLED: Code.CANCELLED}
    return kind(known.get(Exit(code), Code.BUG) if code in set(Exit) else Code.BUG, message, hint=hint)


def error_of_open_run() -> Interrupted:
    """Make the error for a run whose process has ended before the run has: it was killed, or supervisor was gone.

    A bug that ended a run has an error of its own in the journal.
    """
    return Interrupted(
        Code.INTERRUPTED,
        "the process of the run ended before the run was finished",
        hint="`release-agent boot`, or the next deployment, finishes or undoes the run; "
        "`supervisorctl tail deploy stderr` shows its output",
    )
