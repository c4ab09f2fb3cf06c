"""Stop, start and restart services, and wait for their processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.config.sections import RestartKind
from release_agent.deploy.switch.faults import Faults
from release_agent.errors import SERVICE_LOG_HINT, Code, Unhealthy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from signal import Signals

    from release_agent.config.sections import Service
    from release_agent.deploy.ports import Services, Sockets
    from release_agent.health import Process
    from release_agent.system.clock import Clock
    from release_agent.system.logs import Log

    # A service, its processes that still run, and the deadline for their stop in the clock's seconds.
    _Stopping = tuple[str, list[Process], float]

# A look costs almost nothing, and supervisor's own `wait=True` looks once per second.
_POLL = 0.015
# Added to a program's stopwaitsecs: supervisord sends KILL then, and looks at its children once per second.
_STOP_MARGIN = 10.0
_START_TIMEOUT = 10.0


class Restarter:
    """Stops, starts and restarts services side by side.

    Every method raises Unhealthy (restart-failed) if a process does not stop, or supervisor refuses to start it, after all other
    processes are done.
    """

    def __init__(self, services: Services, clock: Clock, log: Log, sockets: Sockets | None = None) -> None:
        """``services``: one process at a time. ``sockets``: supervisord's sockets; None: do not hold them."""
        self._services = services
        self._sockets = sockets
        self._held: list[str] = []
        self._renewed: dict[str, Callable[[str], None]] = {}
        self._clock = clock
        self._log = log

    def hold(self, service: str) -> None:
        """Hold supervisord's socket for a service, if it has one, until let_go()."""
        if self._sockets and service not in self._held and self._sockets.hold_socket(service):
            self._held.append(service)

    def renews(self, services: Collection[str], renew: Callable[[str], None]) -> None:
        """Give services a new supervisor group at their next restart, between their stop and their start."""
        self._renewed = dict.fromkeys(services, renew)

    def _renew(self, service: str) -> None:
        if service in self._renewed:
            self._renewed.pop(service)(service)

    def steps(self, service: str, ran: Collection[int]) -> list[list[Process]]:
        """Return the steps of a rolling replacement: first the processes without a pid together, then one process per step.

        A STARTING process has a pid and may already answer. Processes with a pid in ``ran`` are not replaced.
        """
        left = [process for process in self._processes(service) if not process.pid or process.pid not in ran]
        down = [process for process in left if not process.pid]
        return [*([down] if down else []), *([process] for process in left if process.pid)]

    def replace(self, processes: Sequence[Process]) -> None:
        """Stop and start some processes of a service; the others keep running."""
        faults, service = Faults(), processes[0].service
        self._begin_to_stop(processes, faults)
        with faults:
            self._wait(processes, _has_stopped, self._stop_deadline(service))
        for process in processes:
            with faults:
                self._services.start(process)
                self._log.info("service.restarted", service=process.full_name, how=str(RestartKind.ROLLING))
        if any(map(_is_tired, processes)):
            self._start_afresh(service, faults)
        faults.raise_first()

    def restart(self, services: Sequence[Service]) -> None:
        """Restart services side by side, each as its ``restart`` says; start stopped ones in any case."""
        faults = Faults()
        replaced = [service for service in services if service.restart.kind is RestartKind.RESTART]
        tired = [service for service in replaced if any(map(_is_tired, self._processes(service.name)))]
        for service in replaced:
            self.hold(service.name)
        stopping = self._stopping(replaced, faults)
        for service in services:
            if service.restart.signal:
                self._signal(service.name, service.restart.signal, faults)
        for service in services:
            if service not in replaced:
                self._start(service.name, faults)
        # Start each service as soon as it has stopped, because another one may have a job to finish.
        for name in self._as_they_stop(stopping, faults):
            with faults:
                self._renew(name)
            self._start_stopped(name, faults)
        for service in tired:
            self._start_afresh(service.name, faults)
        faults.raise_first()
        for service in services:
            self._log.info("service.restarted", service=service.name, how=str(service.restart))

    def let_go(self) -> None:
        """Release the held sockets after the replacement of their processes; until then requests wait."""
        while self._sockets and self._held:
            self._sockets.let_go_socket(self._held.pop())

    def stop(self, services: Sequence[Service]) -> None:
        """Stop every process of the services, and return when all have stopped."""
        faults = Faults()
        for _ in self._as_they_stop(self._stopping(services, faults), faults):
            pass
        faults.raise_first()

    def start(self, services: Sequence[Service]) -> None:
        """Start the processes that do not run; does not wait until they run."""
        faults = Faults()
        for service in services:
            self._start(service.name, faults)
        faults.raise_first()

    def _signal(self, service: str, signal: Signals, faults: Faults) -> None:
        for process in self._processes(service):
            if process.state in ("RUNNING", "STARTING"):
                with faults:
                    self._services.signal(process, signal)

    def _stopping(self, services: Sequence[Service], faults: Faults) -> list[_Stopping]:
        """Start to stop the services."""
        stopping = []
        for service in services:
            processes = self._processes(service.name)
            self._begin_to_stop(processes, faults)
            stopping.append((service.name, processes, self._stop_deadline(service.name)))
        return stopping

    def _begin_to_stop(self, processes: Sequence[Process], faults: Faults) -> None:
        for process in processes:
            if process.alive:
                with faults:
                    self._services.stop(process)

    def _as_they_stop(self, stopping: Sequence[_Stopping], faults: Faults) -> Iterator[str]:
        """Yield the name of each service when all of its processes have stopped, or at its deadline."""
        while stopping:
            left = []
            for service, processes, deadline in stopping:
                remaining = self._remaining(processes, _has_stopped)
                if not remaining:
                    yield service
                elif self._clock.now() > deadline:
                    faults.found.append(self._does_not_stop(service, _has_stopped))
                    yield service
                else:
                    left.append((service, remaining, deadline))
            stopping = left
            if stopping:
                self._clock.sleep(_POLL)

    def _stop_deadline(self, service: str) -> float:
        return self._clock.now() + self._services.stop_seconds(service) + _STOP_MARGIN

    def _start(self, service: str, faults: Faults) -> None:
        with faults:
            self._wait(self._processes(service), _is_not_stopping, self._clock.now() + _START_TIMEOUT)
        self._start_stopped(service, faults)

    def _start_stopped(self, service: str, faults: Faults) -> None:
        """Start the stopped processes; supervisor fails to start a process that is stopping."""
        for process in self._processes(service):
            if _has_stopped(process):
                with faults:
                    self._services.start(process)

    def _start_afresh(self, service: str, faults: Faults) -> None:
        """Start processes again that supervisor gave up immediately after their start.

        Supervisor counts the failed starts of a process, also over a stop between two tries or during one. So the
        first failure on the next release would be the last. FATAL resets the count.
        """
        deadline = self._clock.now() + self._services.start_seconds(service) + _START_TIMEOUT
        while self._clock.now() < deadline and any(process.state == "STARTING" for process in self._processes(service)):
            self._clock.sleep(_POLL)
        self._start(service, faults)

    def _wait(self, processes: Sequence[Process], is_done: Callable[[Process], bool], deadline: float) -> None:
        """Wait until all processes of a service are done; raises Unhealthy at the deadline."""
        while processes := self._remaining(processes, is_done):
            if self._clock.now() > deadline:
                raise self._does_not_stop(processes[0].service, is_done)
            self._clock.sleep(_POLL)

    def _remaining(self, processes: Sequence[Process], is_done: Callable[[Process], bool]) -> list[Process]:
        """Return those processes of a service that are not done, as they are now.

        Looks at one process first, which is cheap. When this process is done, the others usually are also done.
        """
        waiting = [process for process in processes if not is_done(process)]
        if not waiting:
            return []
        seen = self._services.look(waiting[0])
        if seen and not is_done(seen):
            return [seen, *waiting[1:]]
        names = {process.name for process in processes}
        now = [process for process in self._processes(waiting[0].service) if process.name in names]
        return [process for process in now if not is_done(process)]

    def _does_not_stop(self, service: str, is_done: Callable[[Process], bool]) -> Unhealthy:
        left = [process for process in self._processes(service) if not is_done(process)]
        states = ", ".join(f"{process.full_name} is {process.state}" for process in left)
        return Unhealthy(Code.RESTART_FAILED, f"could not stop {service}: {states}", hint=SERVICE_LOG_HINT, services=(service,))

    def _processes(self, service: str) -> list[Process]:
        return self._services.processes().get(service, [])


def _is_tired(process: Process) -> bool:
    """Return whether supervisor may have counted failed starts of the process; only RUNNING and FATAL reset the count."""
    return process.state in ("BACKOFF", "STARTING")


def _has_stopped(process: Process) -> bool:
    return not process.alive and not process.stopping


def _is_not_stopping(process: Process) -> bool:
    return not process.stopping
