"""Judge whether a deployment can lose requests of a service, and find the setting that avoids it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from release_agent.config.sections import RestartKind

if TYPE_CHECKING:
    from release_agent.config.sections import Probe, RehearsalProbe, Service

_HOLD = "make it an [fcgi-program] whose server accepts on its standard input"
_ROLL = 'or give it numprocs=2 and restart = "rolling"'
_PLUGIN = "add supervisor.d/plugin.conf, with the right `config`, and restart supervisord: the plugin then holds its socket"
_MIGRATE = "start the container with --sysctl net.ipv4.tcp_migrate_req=1, if its processes share a port with SO_REUSEPORT"
_POLITE = "if its server answers all accepted requests before it ends"
_UNSERVED = "it has no http or tcp probe, so it may serve no requests"
_OLD_ANSWERS = "an old process may answer its probe: a release with wrong answers can replace all processes"
_TELL_APART = 'give its probe expect = "{revision}", or add [service.rehearsal]'
_REHEARSE = "add [service.rehearsal]: it finds a release that cannot start before any service stops"


class Loss(StrEnum):
    """The risk of losing requests; ``DEPENDS``: it depends on the server, which the agent cannot see."""

    NO = "no"
    YES = "yes"
    DEPENDS = "depends"


@dataclass(frozen=True)
class Outlook:
    """The outlook for the requests of a service during a deployment; ``hint`` is empty if nothing would improve it."""

    service: str
    loses_requests: Loss
    why: str
    rehearses: bool
    hint: str = ""

    @property
    def warns(self) -> bool:
        """Return whether a service that serves requests can lose them."""
        return self.loses_requests is not Loss.NO and self.why != _UNSERVED

    def to_json(self) -> dict[str, Any]:
        """Return the entry of a service in ``deploy --dry-run --json``."""
        return asdict(self)


def outlook(service: Service, processes: int, socket: str | None, *, migrates: bool) -> Outlook:
    """Judge a service.

    ``processes``: their number in its smallest program. ``socket``: the one that supervisord holds, empty if there is
    none, None without the plugin. ``migrates``: whether the kernel gives the requests of a closed SO_REUSEPORT socket to
    another one.
    """
    loss, why, hint = _judged(service, processes, socket, migrates=migrates)
    rehearses = service.rehearsal is not None
    more = "" if rehearses or service.restart.kind is RestartKind.NONE else _REHEARSE
    if not rehearses and _old_may_answer(service, processes):
        loss, why, more = Loss.DEPENDS, f"{why}; {_OLD_ANSWERS}", _TELL_APART
    return Outlook(service.name, loss, why, rehearses, "; ".join(filter(None, (hint, more))))


def of_dropped(service: str) -> Outlook:
    """Judge a service of the live release that the next release lacks."""
    return Outlook(service, Loss.YES, "the release does not have it, so it stops", rehearses=False)


def _judged(service: Service, processes: int, socket: str | None, *, migrates: bool) -> tuple[Loss, str, str]:
    kind = service.restart.kind
    if kind is RestartKind.NONE:
        return Loss.NO, "a deployment does not restart it", ""
    if not (socket or _serves(service)):
        return Loss.DEPENDS, _UNSERVED, ""
    if kind is RestartKind.SIGNAL:
        return Loss.DEPENDS, f"its server must keep its socket when it receives {service.restart}", ""
    if socket:
        return Loss.NO, f"the socket {socket} stays open during the replacement of its processes, {_POLITE}", ""
    if kind is RestartKind.ROLLING and processes > 1:
        shares = "share its port (and take over its connections: tcp_migrate_req is 1)" if migrates else "share its port"
        why = f"the other processes of a program continue; each must {shares}, or leave a balancer first"
        return Loss.DEPENDS, why, "" if migrates else _MIGRATE
    missing = _PLUGIN if socket is None else f"{_HOLD}, {_ROLL}"
    return Loss.YES, "nothing listens between its stop and its start", missing


def _serves(service: Service) -> bool:
    """Return whether a probe of the service or its rehearsal uses http or tcp; a queue worker has no such probe."""
    probes: list[Probe | RehearsalProbe] = [*service.probes, *(service.rehearsal.probes if service.rehearsal else ())]
    return any(probe.http or probe.tcp for probe in probes)


def _old_may_answer(service: Service, processes: int) -> bool:
    """Return whether an old process of a rolling service may answer each of its probes instead of a new one."""
    rolls = service.restart.kind is RestartKind.ROLLING and processes > 1
    return rolls and bool(service.probes) and not any(probe.of_each_process or probe.names_release for probe in service.probes)
