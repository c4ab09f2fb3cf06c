"""The composition root: the only module that knows which adapter is behind which port."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.deploy.context import Context
from release_agent.errors import Code, Failed
from release_agent.journal.database import is_broken, set_aside
from release_agent.journal.journal import StateDatabase, empty_journal
from release_agent.journal.rebuild import rebuild
from release_agent.system.logs import Redactor, RunLog, make_log
from release_agent.system.user import become_owner, not_the_owner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from release_agent.config.sections import Config
    from release_agent.consul.registration import ConsulAgent
    from release_agent.deploy.ports import FollowedRollout, Reporter
    from release_agent.model import Request
    from release_agent.repository.source import GitSource
    from release_agent.services.brought import ReleasePrograms
    from release_agent.services.health import HealthExaminer
    from release_agent.services.plugin import PluginCalls
    from release_agent.services.rpc import Rpc
    from release_agent.services.supervisor import SupervisorServices
    from release_agent.store.root import Root
    from release_agent.system.clock import SystemClock

_PROBE_GRACE = 0.3


class Parts:
    """The adapters of one process, each made at its first use, so that a command imports only the adapters it uses."""

    def __init__(self, config: Config, clock: SystemClock, environ: Mapping[str, str] = os.environ) -> None:
        self.config = config
        self.clock = clock
        self.environ = environ
        self.redact = Redactor(environ)
        self._log: RunLog | None = None
        self._root: Root | None = None

    @property
    def log(self) -> RunLog:
        """The log on stderr."""
        if self._log is None:
            self._log = RunLog(make_log(self.redact), self.config.app.name)
        return self._log

    def root(self) -> Root:
        """Return the store, always the same one, so that there is one lock."""
        if self._root is None:
            from release_agent.store.root import Root

            self._root = Root(Path(self.config.app.root), self.clock)
        return self._root

    def journal(self) -> StateDatabase:
        """Open the journal to read; a context manager."""
        return StateDatabase(self.root().database)

    def services(self) -> SupervisorServices:
        """Make the services under supervisor."""
        from release_agent.services.supervisor import SupervisorServices

        return SupervisorServices(self.rpc())

    def plugin(self) -> PluginCalls:
        """Make the calls of the plugin inside supervisord."""
        from release_agent.services.plugin import PluginCalls

        return PluginCalls(self.rpc())

    def _programs(self) -> ReleasePrograms:
        from release_agent.services.brought import ReleasePrograms

        return ReleasePrograms(self.rpc())

    def rpc(self) -> Rpc:
        """Make the calls to supervisord."""
        from release_agent.services.rpc import Rpc

        return Rpc(self.config.supervisor.url, self.environ)

    def examiner(self, services: SupervisorServices) -> HealthExaminer:
        """Make the examiner of health, which reads supervisor's states and runs the probes."""
        from release_agent.services.health import HealthExaminer
        from release_agent.services.probes import Prober
        from release_agent.system.command import CommandRunner
        from release_agent.text import last_lines

        runner = CommandRunner(self.clock, on_line=lambda _line: None, grace=_PROBE_GRACE)

        def run(command: str, timeout: float, directory: Path, environment: Mapping[str, str]) -> str | None:
            # `boot` and `status` also answer if root cannot become the owner.
            if why := not_the_owner(self.root().path):
                return f"not run, because {why}"
            ended = runner.run(command, timeout, directory, environment)
            said = "\n".join(last_lines(ended.output))
            return None if ended.well else ended.describe(timeout) + (f": {said}" if said else "")

        return HealthExaminer(services, Prober(run))

    def consul(self) -> ConsulAgent:
        """Make the client of this host's Consul agent."""
        from release_agent.consul.registration import ConsulAgent

        return ConsulAgent(self.config.consul, self.config.app, self.environ)

    @contextmanager
    def source(self, scratch: Path | None = None) -> Iterator[GitSource]:
        """Open the repositories; git's own files go to ``scratch`` (default: a temporary directory, removed afterwards)."""
        from release_agent.repository.source import GitSource

        place = scratch or _temporary_directory()
        source = GitSource(self.config.repositories, place, self.clock)
        try:
            yield source
        finally:
            source.close()
            if scratch is None:
                shutil.rmtree(place, ignore_errors=True)

    @contextmanager
    def locked(self, request: Request, *, wait: bool = False) -> Iterator[Context]:
        """Hold the root's lock, as the root's owner, and make a context that may change it.

        Raises Busy unless ``wait``, Failed (user-not-changed, root-unusable).
        """
        # The log is made before the change of user: the new user may not be able to read every secret.
        with self.log.of(request.id), self._locked(request, wait=wait) as context:
            yield context

    @contextmanager
    def _locked(self, request: Request, *, wait: bool) -> Iterator[Context]:
        from release_agent.store.output import RunOutput
        from release_agent.system.left_behind import end_left_behind

        root, log = self.root(), self.log
        user = become_owner(root.path)
        if user:
            log.info("user.changed", user=user, why=f"owns {root.path}")
        with root.lock(request, wait=wait):
            root.claim(self.config.app.name)
            for pid in end_left_behind(root.incoming):
                log.warning("hook.ended", pid=pid, why="its run was killed")
            for name, why in root.clean().items():
                log.warning("leftover.stuck", name=name, why=why)
            with closing(RunOutput(root.output, request.id, self.redact)) as output:
                log.pass_on(output.take)
                with self._telling_of_the_journal(), self.writable_journal(root) as journal, self.source(root.incoming) as source:
                    yield self.context(root, journal, source)

    @contextmanager
    def _telling_of_the_journal(self) -> Iterator[None]:
        """Report an unusable journal to the clients of a run: without an entry in the journal, they see nothing else of it."""
        from release_agent.store.output import JOURNAL_UNUSABLE

        try:
            yield
        except Failed as error:
            if error.code is Code.JOURNAL_BROKEN:
                self.log.tell(JOURNAL_UNUSABLE, why=error.message, hint=error.hint)
            raise

    @contextmanager
    def starting(self, request: Request) -> Iterator[Context]:
        """Make a context for starting services if locked() fails: it takes no lock and writes nothing into the root.

        Raises Failed (root-unusable) if the root is another app's.
        """
        root = self.root()
        root.require_not_anothers(self.config.app.name)
        # No repository is read, so git writes no files of its own.
        with self.log.of(request.id), self.source(root.incoming) as source, empty_journal() as journal:
            yield self.context(root, journal, source)

    @contextmanager
    def looking(self) -> Iterator[Context]:
        """Make a context for reading: it takes no lock and writes nothing into the root.

        Raises Failed (root-unusable) if the root is another app's.
        """
        self.root().require_not_anothers(self.config.app.name)
        with self.source() as source, self.journal() as journal:
            yield self.context(self.root(), journal, source)

    def context(self, root: Root, journal: StateDatabase, source: GitSource) -> Context:
        """Make a context of the given store, journal and repositories, and of the other adapters."""
        from release_agent.system.command import CommandRunner

        services = self.services()
        return Context(
            config=self.config,
            environ=self.environ,
            clock=self.clock,
            log=self.log,
            redact=self.redact,
            source=source,
            store=root,
            cache=root.cache,
            journal=journal,
            hooks=CommandRunner(self.clock, lambda line: self.log.info("hook.output", line=line), notes=root.incoming),
            services=services,
            plugin=self.plugin(),
            programs=self._programs(),
            examiner=self.examiner(services),
            reporter=self._reporter(journal, services),
            followed=self._followed(),
        )

    def _followed(self) -> FollowedRollout:
        from release_agent.consul.followed import ConsulFollowed

        return ConsulFollowed(self.config.consul, self.config.app, self.environ)

    @contextmanager
    def writable_journal(self, root: Root) -> Iterator[StateDatabase]:
        """Open the journal to write, under the lock; rebuild a lost or broken one from the releases on disk, with a warning."""
        if is_broken(root.database):
            self.log.warning("journal.set_aside", kept_as=str(set_aside(root.database)))
        with StateDatabase(root.database, write=True) as journal:
            # The file is missing or empty.
            releases = [release for release in root.releases() if release.published_at] if journal.is_empty() else []
            if releases:
                live = root.current()
                rebuild(journal, releases, live.name if live else None)
                self.log.warning("journal.rebuilt", releases=len(releases))
            yield journal

    def _reporter(self, journal: StateDatabase, services: SupervisorServices) -> Reporter:
        from release_agent.consul.reporter import ConsulReporter, NoReporter
        from release_agent.services.programs import is_monitored

        settings = self.config.consul
        if not settings.enabled:
            return NoReporter()
        return ConsulReporter(
            self.consul(), journal, self.clock, self.log, watched=is_monitored(services.programs), ttl=settings.ttl
        )


def _temporary_directory() -> Path:
    """Make a directory that the caller removes; raises Failed (root-unusable)."""
    try:
        return Path(tempfile.mkdtemp(prefix="release-agent-"))
    except OSError as error:
        raise Failed(
            Code.ROOT_UNUSABLE,
            f"no temporary directory can be made: {error.strerror}",
            hint="set TMPDIR to a directory that this user may write to",
        ) from error
