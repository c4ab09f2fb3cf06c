"""Everything a deployment talks to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.config.blueprint import FILE, Blueprint, combine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from release_agent.config.sections import Config
    from release_agent.deploy.ports import Examiner, FollowedRollout, HookRunner, Journal, Reporter, Services, Source, Store
    from release_agent.model import Release
    from release_agent.system.clock import Clock
    from release_agent.system.logs import Log


@dataclass(frozen=True)
class Context:
    """Everything a deployment talks to, as the composition root put it together."""

    config: Config
    environ: Mapping[str, str]
    clock: Clock
    log: Log
    redact: Callable[[str], str]
    source: Source
    store: Store
    journal: Journal
    hooks: HookRunner
    services: Services
    examiner: Examiner
    reporter: Reporter
    followed: FollowedRollout

    def blueprint(self, release: Release) -> Blueprint:
        """What a release that exists says of itself, from its own files."""
        files = {}
        for repository in self.config.repositories:
            text = self.store.read(release.name, f"{repository.into}/{FILE}")
            if text is not None:
                files[repository.name] = text
        return combine(self.config, files)
