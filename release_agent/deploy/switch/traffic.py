"""Take processes out of the traffic before their stop, and let new ones in after their proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.config.sections import DEFAULT_HOOK_TIMEOUT, Hook
from release_agent.errors import Failed
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from release_agent.config.sections import Service
    from release_agent.deploy.run import Run
    from release_agent.deploy.switch.leaving import Side
    from release_agent.health import Process
    from release_agent.model import Release


_WITHOUT = "to ignore a failed before_stop: `release-agent deploy --force`, or `release-agent rollback`"


class NotTakenOut(Failed):
    """A process of the old release could not be taken out of the traffic, which is no fault of the new release."""


class Traffic:
    """Takes processes out of the traffic as the old release says, and lets new ones in as the new release says.

    ``out``: the pids of the processes whose ``before_stop`` has run. ``arrived``: the full names of those let in.
    """

    def __init__(self, run: Run, leaving: Side | None, arriving: Side, *, leaves: bool = False, forgiving: bool = False) -> None:
        """``leaving``: the old release, None if there was none or it is unknown.

        ``leaves``: only log a ``before_stop`` that fails. ``forgiving``: only log any command that fails.
        """
        self.out: set[int] = set()
        self.arrived: set[str] = set()
        self._run = run
        self._leaving = leaving
        self._arriving = arriving
        self._leaves = leaves or forgiving
        self._forgiving = forgiving

    def take_out(self, processes: Sequence[Process], *, all_but_some: bool = False) -> None:
        """Run ``before_stop`` for each running process that will stop, then wait for ``drain``; raises Failed.

        ``all_but_some``: other processes of the service keep running, so that the host stays in Consul's DNS.
        """
        if self._leaving is None:
            return
        services = self._leaving.services
        known = [process for process in processes if process.alive and process.service in services]
        for process in known:
            service = services[process.service]
            if service.before_stop and process.pid:
                self.out.add(process.pid)
            try:
                self._command("before_stop", service.before_stop, service, self._leaving.release, process)
            except Failed as failed:
                if not self._leaves:
                    raise NotTakenOut(failed.code, failed.message, hint=f"{failed.hint}; {_WITHOUT}") from failed
                self._run.context.log.warning("hook.ignored", release=self._leaving.release.name, why=failed.message)
        seconds = max((services[process.service].drain for process in known), default=0.0)
        if seconds:
            with self._run.phase("restart"):
                if not all_but_some:
                    self._run.context.reporter.draining(self._arriving.release)
                self._run.context.log.info(
                    "service.draining", processes=[process.short_name for process in known], seconds=seconds
                )
                self._run.context.clock.sleep(seconds)

    def let_in(self, processes: Sequence[Process]) -> None:
        """Run ``after_start`` for each of these proved processes; raises Failed."""
        services = self._arriving.services
        for process in processes:
            service = services[process.service]
            self.arrived.add(process.full_name)
            try:
                self._command("after_start", service.after_start, service, self._arriving.release, process)
            except Failed as failed:
                if not self._forgiving:
                    raise
                self._run.context.log.warning("hook.ignored", release=self._arriving.release.name, why=failed.message)

    def let_in_again(self, out: Collection[int]) -> set[int]:
        """Let in the processes with these pids, which were taken out and kept running; returns those without a command."""
        services = self._arriving.services
        groups = self._run.context.services.processes()
        names = [name for name, service in services.items() if service.after_start]
        again = [process for name in names for process in groups.get(name, ()) if process.pid in out]
        self.let_in(again)
        return set(out).difference(process.pid for process in again)

    def _command(self, stage: str, command: str, service: Service, release: Release, process: Process) -> None:
        if not command:
            return
        hook = Hook(command, DEFAULT_HOOK_TIMEOUT, cwd=service.cwd)
        about: dict[str, str] = {
            Variable.RELEASE_SERVICE: process.service,
            Variable.RELEASE_PROCESS: process.name,
            Variable.RELEASE_PROCESS_NUM: process.number,
        }
        try:
            self._run.command(stage, hook, release, about)
        except Failed as failed:
            raise Failed(failed.code, f"{process.short_name}: {failed.message}", hint=failed.hint) from failed
