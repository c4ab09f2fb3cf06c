"""Run the build hooks of a release, or restore the cached outputs of those that ran with the same inputs before."""

from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING

from release_agent.config.readers import joined
from release_agent.deploy.hook_inputs import HookInputs
from release_agent.deploy.policy import outputs
from release_agent.deploy.policy.sharing import sharing_of_outputs
from release_agent.errors import Failed
from release_agent.system.disk import means_full, told
from release_agent.system.surroundings import own_umask, surroundings, words
from release_agent.system.trees import require_own_parents

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import BuildHook
    from release_agent.deploy.run import Run
    from release_agent.model import Release


def build_hooks(run: Run, release: Release, directory: Path, plans: Blueprint) -> None:
    """Run the build hooks in order, or restore their cached outputs. Raises Failed (hook-failed, hook-timed-out)."""
    if not plans.hooks.build:
        return
    with run.phase("hooks"):
        for hook in plans.hooks.build:
            if hook.makes and run.context.config.release.cache_size:
                _CachedHook(run, release, directory, hook).run()
            else:
                run.hook(hook, "build", release, directory)


class _CachedHook:
    """One hook whose outputs may be in the cache."""

    def __init__(self, run: Run, release: Release, directory: Path, hook: BuildHook) -> None:
        self._run = run
        self._context = run.context
        self._release = release
        self._directory = directory
        self._hook = hook
        self._paths = [joined(hook.cwd, path) for path in hook.makes]
        self._sharing = sharing_of_outputs(run.context.config.release.share)
        self._base = directory / hook.cwd
        self._environment = run.environment(hook, release, directory)
        self._words = words(hook.run, self._environment)
        self._inputs = HookInputs(hook, self._words, self._base, run.context.clock)
        self._held: dict[str, object] = {}

    def run(self) -> None:
        """Restore the outputs of the hook, or run it and cache them."""
        self._context.store.check_built(self._release.name)
        key = self._key()
        if key and self._take(key):
            return
        self._run.hook(self._hook, "build", self._release, self._directory)
        if key:
            self._context.store.check_built(self._release.name)
            self._keep(key)

    def _key(self) -> str | None:
        """Return the key of the hook's inputs; None if they are unknown."""
        hook = self._hook
        try:
            for path in self._paths:
                _require_absent(self._directory, path)
            umask = own_umask() if hook.umask is None else hook.umask
            self._held = self._inputs.held()
            programs = surroundings(self._words, self._inputs.places, self._base, self._environment)
            variables = outputs.counting(hook.run, self._environment, self._inputs.variables())
            return outputs.key(hook, umask, self._held, variables, programs)
        except OSError as error:
            self._skip(told(error))
        except subprocess.SubprocessError as error:
            self._skip(str(error))
        return None

    def _take(self, key: str) -> bool:
        run, context, hook = self._run, self._context, self._hook
        try:
            taken = context.cache.take(key, self._directory, self._paths, self._sharing)
        except OSError as error:
            if means_full(error):  # forget the cached outputs: the hook makes new ones, which need their space
                self._skip(told(error))
            else:
                context.log.warning("cache.damaged", run=hook.run, why=told(error))
            self._forget(key)
            return False
        if taken:
            run.note(lambda: context.journal.hook(run.request.id, "build", hook.run, "did not run: its outputs were cached", ""))
            context.log.info("hook.cached", stage="build", run=hook.run, makes=self._paths)
        return taken

    def _keep(self, key: str) -> None:
        most = self._context.config.release.cache_size
        try:
            self._inputs.require_unchanged(self._held)
            removed = self._context.cache.keep(key, self._directory, self._paths, self._sharing, most)
            if removed:
                self._context.log.info("cache.pruned", removed=removed)
        except OSError as error:
            self._skip(told(error))
        except Failed as failed:
            self._skip(failed.message)

    def _forget(self, key: str) -> None:
        try:
            self._context.cache.forget(key)
        except OSError as error:
            self._context.log.warning("cache.failed", why=told(error))

    def _skip(self, why: str) -> None:
        self._context.log.info("cache.skipped", run=self._hook.run, why=why)


def _require_absent(directory: Path, path: str) -> None:
    """Raise OSError if a path exists before the hook has run, or if a parent directory of it is a link."""
    require_own_parents(directory, path)
    if os.path.lexists(directory / path):
        raise FileExistsError(errno.EEXIST, "it exists before the hook has run", str(directory / path))
