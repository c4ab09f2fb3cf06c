"""The adapters of a deployment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from release_agent.config.blueprint import Blueprint, combine_from

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from release_agent.config.sections import Config
    from release_agent.deploy.ports import (
        Examiner,
        FollowedRollout,
        HookRunner,
        Journal,
        OutputCache,
        Plugin,
        Programs,
        Reporter,
        Services,
        Source,
        Store,
    )
    from release_agent.model import Release
    from release_agent.system.clock import Clock
    from release_agent.system.logs import RunLog


@dataclass(frozen=True)
class Context:
    """The adapters of a deployment, from the composition root."""

    config: Config
    environ: Mapping[str, str]
    clock: Clock
    log: RunLog
    redact: Callable[[str], str]
    source: Source
    store: Store
    cache: OutputCache
    journal: Journal
    hooks: HookRunner
    services: Services
    plugin: Plugin
    programs: Programs
    examiner: Examiner
    reporter: Reporter
    followed: FollowedRollout

    def blueprint(self, release: Release) -> Blueprint:
        """Return the blueprint of an existing release, from its own files; raises Refused (release-toml-invalid)."""
        read, find = partial(self.store.read, release.name), partial(self.store.programs, release.name)
        return combine_from(self.config, read, release.into, find)
