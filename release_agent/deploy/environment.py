"""Make the environment variables of hooks and exec probes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.model import Action
from release_agent.system.urls import Address
from release_agent.variables import URLS, WITHHELD, Variable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from release_agent.config.sections import Config
    from release_agent.model import Release


@dataclass(frozen=True)
class Occasion:
    """The reason why a command runs: the run, its action, the release that was live before it, and the person."""

    id: str
    action: Action = Action.DEPLOY
    previous: str | None = None
    by: str = ""


@dataclass(frozen=True)
class Place:
    """The directory of a release now and when live, and the repository's path in it for a hook."""

    directory: Path
    published: Path
    cwd: str = "."


def environment(config: Config, environ: Mapping[str, str], release: Release, occasion: Occasion, place: Place) -> dict[str, str]:
    """Return the agent's environment without its secrets, and every RELEASE_* variable that docs/reference/hooks.md lists."""
    return {
        **{name: _shown(name, value) for name, value in environ.items() if name not in WITHHELD},
        Variable.RELEASE_ACTION: str(occasion.action),
        Variable.RELEASE_ID: occasion.id,
        Variable.RELEASE_BY: occasion.by,
        Variable.RELEASE_APP: config.app.name,
        Variable.RELEASE_ENVIRONMENT: config.app.environment,
        Variable.RELEASE_HOST: config.app.host,
        Variable.RELEASE_NAME: release.name,
        Variable.RELEASE_NUMBER: str(release.number),
        Variable.RELEASE_REVISION: release.revision,
        Variable.RELEASE_COMMIT: commit_of(config, release, place.cwd),
        Variable.RELEASE_PREVIOUS: occasion.previous or "",
        Variable.RELEASE_ROOT: config.app.root,
        Variable.RELEASE_SHARED: f"{config.app.root}/shared",
        Variable.RELEASE_DIRECTORY: str(place.directory),
        Variable.RELEASE_PATH: str(place.published),
        **{_commit_variable(name): commit for name, commit in release.commits.items()},
    }


def commit_of(config: Config, release: Release, cwd: str) -> str:
    """Return the commit of the repository at a path within the release; of the first repository if none is there."""
    places = release.into or {repository.name: repository.into for repository in config.repositories}
    own = next((name for name, into in places.items() if into == cwd), next(iter(places)))
    return release.commits.get(own, "")


def _shown(name: str, value: str) -> str:
    return Address.of(value).url if name in URLS else value


def _commit_variable(repository: str) -> str:
    return f"{Variable.RELEASE_COMMIT}_{re.sub('[^A-Z0-9]', '_', repository.upper())}"
