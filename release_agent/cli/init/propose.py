"""Propose the files that a container lacks, with the open points and the next commands; writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.cli.init import configuration, notes, sections

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from release_agent.cli.init.seen import Note, SeenContainer


@dataclass(frozen=True)
class Proposal:
    """The files that `init` would write, by path; the existing files; the open points; the next commands.

    ``make_root``: the command that makes the root directory.
    """

    files: dict[Path, str]
    kept: Sequence[str]
    notes: Sequence[Note]
    steps: Sequence[tuple[str, str]]
    make_root: str


def propose(container: SeenContainer) -> Proposal:
    """Return the whole proposal."""
    is_there, missing = container.is_there, sections.proposed(container)
    proposed = {} if is_there else {container.config: configuration.text_of(container)}
    kept = [str(container.config)] if is_there else []
    kept += [f"[{section}]" for section in sections.SECTIONS.values() if section in container.supervisor.own]
    kept += ["[unix_http_server]"] if sections.keeps_socket(container) else []
    deployer = container.deployer
    make_root = f"install -d -o {deployer.name} -g {deployer.group} {container.root}"
    return Proposal(proposed | missing, kept, list(notes.of(container)), _steps(container), make_root)


def _steps(container: SeenContainer) -> list[tuple[str, str]]:
    control, waiting = container.supervisor.control, set(sections.waiting(container))
    boots = "; boot does the first deployment" if "boot" in waiting else ""
    steps = [("release-agent doctor", "checks the whole set-up")]
    if "deploy" not in container.supervisor.taken:
        steps += [(f"{control} start deploy", "deploys, now and later")]
    if sections.restarts(container):
        return [(f"{control} reload", f"restarts supervisord and all programs{boots}"), *steps]
    if waiting - {"plugin"}:
        return [(f"{control} update", f"starts the new programs{boots}"), *steps]
    return steps
