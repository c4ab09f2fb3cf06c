"""A rollback by command: which release, and back to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.deploy.line import behind
from release_agent.deploy.publication import Publication
from release_agent.errors import Code, NoTarget
from release_agent.model import Outcome, Release, State, find_release

if TYPE_CHECKING:
    from release_agent.deploy.run import Run


class Rollback:
    """Goes back to a release that was live before, for one run."""

    def __init__(self, run: Run) -> None:
        """Nothing happens yet."""
        self._run = run
        self._context = run.context

    def roll_back(self) -> Outcome:
        """Publish the target and prove it; raises NoTarget, RolledBack, RollbackFailed."""
        with self._run.phase("plan"):
            target = self._target()
            self._run.about(target)
            self._context.services.check(self._context.blueprint(target).services)
        if target.name == self._run.record.previous:
            look = Publication(self._run, target).look()
            self._run.wrong = "; ".join(look.problems)
            if look.well:
                return Outcome.UNCHANGED
        Publication(self._run, target).go_live()
        return Outcome.DEPLOYED

    def _target(self) -> Release:
        live = self._context.store.current()
        named = self._run.request.release
        if named:
            return self._named(named)
        target = behind(self._context.journal, self._context.store, live.name) if live else None
        if target is None:
            raise NoTarget(
                Code.NO_TARGET,
                f"no healthy release lies behind {live.name} ({live.revision})" if live else "no release is live",
                hint="`release-agent releases` lists what is kept; deploy a revision instead",
            )
        return target

    def _named(self, named: str) -> Release:
        """Find a release by its name, its number, or its revision (the newest healthy one)."""
        found = find_release(self._context.store.releases(), named)
        if found is None:
            raise NoTarget(
                Code.RELEASE_UNKNOWN, f"there is no release {named!r}", hint="`release-agent releases` lists what is kept"
            )
        if found.state is not State.HEALTHY:
            raise NoTarget(
                Code.RELEASE_FAILED,
                f"{found.name} ({found.revision}) was never proved healthy"
                if found.state is State.BUILT
                else f"{found.name} ({found.revision}) failed",
                hint="name a healthy release of `release-agent releases`; to try again, deploy its revision",
            )
        return found
