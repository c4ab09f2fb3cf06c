"""Whether a deployment can lose requests of a service, and what would change that."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from release_agent.config.sections import RestartKind

if TYPE_CHECKING:
    from release_agent.config.sections import Probe, RehearsalProbe, Service

_HOLD = "make it an [fcgi-program] whose server accepts on its standard input"
_ROLL = 'or give it numprocs=2 and restart = "rolling"'
_PLUGIN = "add supervisor.d/plugin.conf, with the right `config`, and restart supervisord: the plugin holds its socket meanwhile"
_MIGRATE = "start the container with --sysctl net.ipv4.tcp_migrate_req=1, if its processes share a port with SO_REUSEPORT"
_POLITE = "if its server answers what it has accepted before it ends"
_UNSERVED = "no http or tcp probe says that it serves requests"
_OLD_ANSWERS = "a process of the release before may answer its probe: a release that answers wrongly can take over all of them"
_TELL_APART = 'give its probe expect = "{revision}", or add [service.rehearsal]'
_REHEARSE = "add [service.rehearsal]: a release that cannot start is found before anything live is stopped"


class Loss(StrEnum):
    """Whether requests can be lost; ``DEPENDS``: on the server, which the agent cannot see."""

    NO = "no"
    YES = "yes"
    DEPENDS = "depends"


@dataclass(frozen=True)
class Outlook:
    """What a deployment means for the requests of a service; ``hint`` is empty if nothing would be better."""

    service: str
    loses_requests: Loss
    why: str
    rehearses: bool
    hint: str = ""

    @property
    def warns(self) -> bool:
        """Whether requests can be lost, of a service that is known to serve any."""
        return self.loses_requests is not Loss.NO and self.why != _UNSERVED

    def to_json(self) -> dict[str, Any]:
        """Return what ``deploy --dry-run --json`` has of a service."""
        return asdict(self)


def outlook(service: Service, processes: int, socket: str | None, *, migrates: bool) -> Outlook:
    """Judge a service.

    ``processes``: how many its program with the fewest has. ``socket``: where supervisord listens for it, empty if it does
    not, None without the plugin. ``migrates``: whether the kernel gives the requests of a closed SO_REUSEPORT socket to
    another one.
    """
    loss, why, hint = _judged(service, processes, socket, migrates=migrates)
    rehearses = service.rehearsal is not None
    more = "" if rehearses or service.restart.kind is RestartKind.NONE else _REHEARSE
    if not rehearses and _old_may_answer(service, processes):
        loss, why, more = Loss.DEPENDS, f"{why}; {_OLD_ANSWERS}", _TELL_APART
    return Outlook(service.name, loss, why, rehearses, "; ".join(filter(None, (hint, more))))


def of_dropped(service: str) -> Outlook:
    """Judge a service of the live release that the next one does not have."""
    return Outlook(service, Loss.YES, "the release does not have it: it is stopped", rehearses=False)


def _judged(service: Service, processes: int, socket: str | None, *, migrates: bool) -> tuple[Loss, str, str]:
    kind = service.restart.kind
    if kind is RestartKind.NONE:
        return Loss.NO, "it is not restarted", ""
    if not (socket or _serves(service)):
        return Loss.DEPENDS, _UNSERVED, ""
    if kind is RestartKind.SIGNAL:
        return Loss.DEPENDS, f"its server has to keep its socket when it gets {service.restart}", ""
    if socket:
        return Loss.NO, f"the socket {socket} stays open while its processes are replaced, {_POLITE}", ""
    if kind is RestartKind.ROLLING and processes > 1:
        shares = "share its port (they take over its connections: tcp_migrate_req is 1)" if migrates else "share its port"
        why = f"the other processes of a program go on; each has to {shares}, or to be taken out of a balancer first"
        return Loss.DEPENDS, why, "" if migrates else _MIGRATE
    missing = _PLUGIN if socket is None else f"{_HOLD}, {_ROLL}"
    return Loss.YES, "nothing listens between its stop and its start", missing


def _serves(service: Service) -> bool:
    """Whether a probe, its rehearsal's included, asks the service as clients do: a queue worker has none of these."""
    probes: list[Probe | RehearsalProbe] = [*service.probes, *(service.rehearsal.probes if service.rehearsal else ())]
    return any(probe.http or probe.tcp for probe in probes)


def _old_may_answer(service: Service, processes: int) -> bool:
    """Whether a process that is not replaced yet may answer each probe of a rolling service in place of a new one."""
    rolls = service.restart.kind is RestartKind.ROLLING and processes > 1
    return rolls and bool(service.probes) and not any(probe.of_each_process or probe.names_release for probe in service.probes)
