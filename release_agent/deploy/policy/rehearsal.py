"""Choose the process that a rehearsal copies, and refuse impossible rehearsals before the build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.errors import Code, Failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.config.sections import Rehearsal, Service
    from release_agent.health import Candidate

_PORT = "{port}"


def copied(service: Service, settings: Rehearsal, candidates: Sequence[Candidate]) -> Candidate:
    """Return the process to copy, the first of the program; raises Failed (service-unknown, service-refused)."""
    named = [candidate for candidate in candidates if settings.means(candidate.name)]
    if not named:
        known = ", ".join(candidate.name for candidate in candidates)
        message = f"service {service.name} has no program {settings.program} to rehearse; it has {known}"
        raise Failed(Code.SERVICE_UNKNOWN, message, hint="fix `program` in [service.rehearsal]")
    if not named[0].of_release:
        # Otherwise a repository could run any command as the user of a foreign program.
        raise Failed(
            Code.SERVICE_REFUSED,
            f"service {service.name} cannot be rehearsed: the section of {named[0].name} does not name <root>/current",
            hint="let `command`, `directory` or `environment` of its section name it exactly as [app] root does, "
            "or remove [service.rehearsal]",
        )
    return named[0]


def check(service: Service, settings: Rehearsal, candidates: Sequence[Candidate], socket: str | None) -> None:
    """Raise Failed (service-unknown, service-refused) for a rehearsal that is not allowed, or cannot pass.

    ``socket``: the one that supervisord holds for the service; empty without one.
    """
    process = copied(service, settings, candidates)
    if settings.deadline <= process.startsecs:
        raise Failed(
            Code.SERVICE_REFUSED,
            f"the rehearsal of {service.name} cannot pass: {process.name} counts as started after its startsecs, "
            f"{process.startsecs} s, and `deadline` is {settings.deadline:g} s",
            hint="raise `deadline` in [service.rehearsal]",
        )
    if not socket and _asked_at_port(service, settings) and not _told_of_port(settings):
        raise Failed(
            Code.SERVICE_REFUSED,
            f"the rehearsal of {service.name} cannot pass: its probes ask at {_PORT}, and no setting makes it listen there",
            hint=f'add `environment = {{ PORT = "{_PORT}" }}` to [service.rehearsal], under the name that the program reads',
        )


def _asked_at_port(service: Service, settings: Rehearsal) -> bool:
    if settings.probes:
        return any(_PORT in probe.http + probe.tcp + probe.command for probe in settings.probes)
    return any(probe.http or probe.tcp for probe in service.probes)


def _told_of_port(settings: Rehearsal) -> bool:
    return any(_PORT in text for text in (settings.command, *(value for _, value in settings.environment)))
