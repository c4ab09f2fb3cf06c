"""The text of release-agent.toml for a container."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from release_agent.cli.init import revision
from release_agent.cli.init.sections import will_have_plugin
from release_agent.cli.init.servers import address_of, recognise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.cli.init.seen import SeenContainer, SeenProgram, SeenRepository
    from release_agent.cli.init.servers import Recipe

_LONGEST_NAME = 63  # of a DNS label


def text_of(container: SeenContainer) -> str:
    """Return the whole file."""
    return "\n".join(
        [
            "# Written by `release-agent init`. docs/reference/configuration.md has every key.",
            "",
            "[app]",
            f"name = {_quoted(name_of(container))}",
            'environment = "production"    # or another name: "staging", "dev"',
            f"root = {_quoted(str(container.root))}",
            "",
            *_repositories(container.repositories),
            *revision.section(container.repositories),
            *_services(container),
            "[consul]",
            "enabled = true    # at CONSUL_HTTP_ADDR"
            if container.has_consul
            else "enabled = false    # true: report to the Consul agent that CONSUL_HTTP_ADDR names",
            "",
            "[supervisor]",
            f"url = {_quoted(container.supervisor.url)}",
            "",
        ]
    )


def name_of(container: SeenContainer) -> str:
    """Return the repository's name, or that of the root directory, as a DNS label."""
    named = container.repositories[0].name if len(container.repositories) == 1 else container.root.name
    return re.sub(r"[^A-Za-z0-9]+", "-", named).strip("-")[:_LONGEST_NAME].strip("-") or "app"


def _repositories(repositories: Sequence[SeenRepository]) -> list[str]:
    lines = []
    for repository in repositories:
        lines += ["[[repository]]", f"name = {_quoted(repository.name)}", f"path = {_quoted(repository.path)}"]
        lines += [f"into = {_quoted(repository.name)}    # its place in the release", ""] if len(repositories) > 1 else [""]
    return lines


def _services(container: SeenContainer) -> list[str]:
    if container.services_are_in_repository:
        return ["# The services are in the release.toml of the repository.", ""]
    return [line for program in container.supervisor.programs for line in [*_service(container, program), ""]]


def _service(container: SeenContainer, program: SeenProgram) -> list[str]:
    recipe, address = recognise(program), address_of(program)
    keys = ["[[service]]", f"name = {_quoted(program.name)}"]
    keys += [f"restart = {_quoted(recipe.restart)}"] if recipe.restart else []
    if address:
        keys += ["  [[service.probe]]", f'  tcp = "{address}"']
        keys += [f'  # http = "http://{address}/health"    # instead of tcp, if it has such a page']
    else:
        keys += ["  # [[service.probe]]", '  # http = "http://127.0.0.1:PORT/health"']
    keys += _rehearsal(recipe, has_plugin=will_have_plugin(container)) if recipe.rehearse else []
    if not container.runs_from_root(program):
        keys = [_commented(key) for key in keys]
    return [f"# {recipe.page}", *([f"# {recipe.advice}"] if recipe.advice else []), *keys]


def _rehearsal(recipe: Recipe, *, has_plugin: bool) -> list[str]:
    keys = ["[service.rehearsal]", *([f"environment = {recipe.rehearsal}"] if recipe.rehearsal else [])]
    why = recipe.doubt or ("" if has_plugin else "uncomment this when supervisord has started again, with the plugin")
    return [f"  # {key}" for key in [why, *keys]] if why else [f"  {key}" for key in keys]


def _commented(line: str) -> str:
    return line if line.lstrip().startswith("#") else f"# {line}"


def _quoted(text: str) -> str:
    """Write a text as a basic string of TOML."""
    return json.dumps(text, ensure_ascii=False)
