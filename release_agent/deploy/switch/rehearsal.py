"""Rehearse: prove a copy of each service with a rehearsal on the new release, before the live release changes."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from release_agent.config.sections import Probe
from release_agent.deploy.environment import Place, environment
from release_agent.deploy.look import of_other_releases, with_commits
from release_agent.deploy.policy.proof import prove
from release_agent.deploy.policy.rehearsal import copied
from release_agent.errors import Code, Failed, SupervisorGone, Unhealthy
from release_agent.health import Look, ServiceLook
from release_agent.model import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Rehearsal, RehearsalProbe, Service
    from release_agent.deploy.run import Run
    from release_agent.health import Process, Rehearsed
    from release_agent.model import Release

_NAME = "release-rehearsal"  # the plugin's name for the copy
_POLL = 0.05
_STOP_MARGIN = 10.0  # seconds, above the program's own stopwaitsecs
_HINT = (
    "fix the release, or [service.rehearsal]: the copy must listen at {port}, its probes must ask there, and "
    "its section must name <root>/current exactly as [app] root does"
)
_NO_LOG = " (process log may have details)"  # supervisor also adds this for a copy, which has no log
_ENDED = ("EXITED", "FATAL", "UNKNOWN")


def rehearse(run: Run, release: Release, blueprint: Blueprint) -> None:
    """Prove a copy of each service with a ``[service.rehearsal]``, one after the other; raises Failed (rehearsal-failed)."""
    for service in blueprint.services:
        if service.rehearsal:
            with run.phase("rehearse"):
                _Rehearsal(run, release, service, blueprint).prove(service.rehearsal)


class _Rehearsal:
    """The rehearsal of one service."""

    def __init__(self, run: Run, release: Release, service: Service, blueprint: Blueprint) -> None:
        self._context = run.context
        self._release = release
        self._service = service
        self._health = blueprint.health
        self._stop_seconds = 0
        self._untouched = _untouched(blueprint)
        directory = self._context.store.directory(release.name)
        self._directory = directory
        self._environment = environment(
            self._context.config, self._context.environ, release.as_built(), run.occasion, Place(directory, published=directory)
        )

    def prove(self, settings: Rehearsal) -> None:
        """Start the copy, prove it, and stop it in any case; raises Failed (rehearsal-failed)."""
        context, service = self._context, self._service
        self._end()  # the copy of a run that was killed may still be stopping
        began = time.time()
        try:
            original = copied(service, settings, context.plugin.candidates(service.name, self._release.name))
            self._stop_seconds = original.stopwaitsecs
            there = context.plugin.rehearse(self._release.name, service.name)
            probes = with_commits(context.config, self._release.as_built(), probes_of(service, settings, there, original.name))
            prove(lambda: self._look(there, probes), replace(self._health, deadline=settings.deadline), context.clock)
        except Unhealthy as unhealthy:
            end, lines = context.plugin.last_words(_NAME, began)
            unhealthy.say(f"the copy of {service.name}", end, [context.redact(line) for line in lines])
            failed = Failed(
                Code.REHEARSAL_FAILED,
                f"{service.name} failed its rehearsal on {self._release.revision}, and {self._untouched}: {unhealthy.message}",
                hint=self._hint(),
            )
            raise failed.caused_by(unhealthy) from unhealthy
        finally:
            self._end()
        context.log.info("rehearsal.passed", service=service.name, release=self._release.name)

    def _look(self, there: Rehearsed, probes: Sequence[Probe]) -> Look:
        """Look once at the copy, and run its probes if it runs; raises Unhealthy if it has ended, Failed, SupervisorGone."""
        name, process = self._service.name, self._context.services.look(there.process)
        if process is None or process.state == "STOPPED":
            raise self._stopped(there.process)
        if process.state in _ENDED:
            why = f" ({process.why.removesuffix(_NO_LOG)})" if process.why else ""
            raise Unhealthy(Code.CRASH_LOOPING, f"its copy is {process.state}{why}")
        problems = [] if process.running else [f"its copy is {process.state}"]
        if process.running:
            problems = self._other_code() or self._context.examiner.probe(probes, self._directory, self._environment)
        return Look({name: ServiceLook((process,), tuple(problems))})

    def _stopped(self, copy: Process) -> Failed:
        """Make the error for a copy that somebody else stopped or removed, which is no fault of the release."""
        return Failed(
            Code.REHEARSAL_FAILED,
            f"{self._service.name} did not finish its rehearsal on {self._release.revision}, and {self._untouched}: "
            "somebody stopped its copy",
            hint=f"deploy again; do not stop {copy.full_name} or update its group during the rehearsal",
        )

    def _hint(self) -> str:
        """Return the hint for a failure. A release that an earlier run built may be damaged."""
        if self._release.state is State.BUILT:
            return _HINT
        return (
            f"build it again, because its files may be damaged: release-agent deploy --force {self._release.revision}; or {_HINT}"
        )

    def _other_code(self) -> list[str]:
        """Return the problem if the copy runs the code of another release, which its probes cannot see."""
        other = of_other_releases(self._context, _NAME, self._release)
        return [f"its copy runs the code of another release: process {other}"] if other else []

    def _end(self) -> None:
        """Stop the copy, and wait until it is gone; the plugin also does that when this run has ended."""
        context = self._context
        with context.clock.shielded():
            # Supervisor does not know a program that comes with the release.
            longest = max(self._stop_seconds, context.services.stop_seconds(self._service.name))
            deadline = context.clock.now() + longest + _STOP_MARGIN
            try:
                while not context.plugin.end_rehearsal():
                    if context.clock.now() > deadline:
                        context.log.warning("rehearsal.stuck", service=self._service.name)
                        return
                    context.clock.sleep(_POLL)
            except SupervisorGone:
                raise
            except Failed as failed:
                context.log.warning("rehearsal.stuck", service=self._service.name, why=failed.message)


def _untouched(blueprint: Blueprint) -> str:
    """Describe what a failed rehearsal did not change; a migration in a ``before_publish`` hook may have changed live data."""
    if blueprint.hooks.before_publish:
        return "neither `current` nor a process was changed, but the release's before_publish hooks had run"
    return "the live release is unchanged"


def probes_of(service: Service, settings: Rehearsal, there: Rehearsed, original: str) -> list[Probe]:
    """Return the probes of a copy: its own ones, or those of the service that have an address.

    ``original``: the copied process.
    """
    values = {"{port}": str(there.port), "{socket}": there.socket}
    if settings.probes:
        return [_filled(probe, values) for probe in settings.probes]
    here = f"127.0.0.1:{there.port}"
    return [_moved(probe.of_process(original), here) for probe in service.probes if probe.http or probe.tcp]


def _filled(probe: RehearsalProbe, values: Mapping[str, str]) -> Probe:
    given = {field.name: getattr(probe, field.name) for field in fields(probe)}
    for placeholder, value in values.items():
        for name in ("http", "tcp", "command"):
            given[name] = given[name].replace(placeholder, value)
    return Probe(**given)


def _moved(probe: Probe, here: str) -> Probe:
    return replace(probe, http=urlsplit(probe.http)._replace(netloc=here).geturl()) if probe.http else replace(probe, tcp=here)
