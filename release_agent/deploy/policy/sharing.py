"""Decide how a release may share its files with the previous one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.system.sharing import Sharing

if TYPE_CHECKING:
    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Probe, RehearsalProbe, Service

_WORTH_A_CLONE = 64 << 10  # bytes; below it a clone costs more than the file


def sharing(share: str, *, clones: bool) -> Sharing | None:
    """Return the way of sharing that ``[release] share`` allows; None: the release shares no file.

    ``clones``: whether the file system can clone files.
    """
    if share == "reflink":
        return Sharing(links=False, clones_from=0) if clones else None
    if share == "hardlink":
        return Sharing(links=True, clones_from=None)
    return None if share == "copy" else Sharing(links=True, clones_from=_WORTH_A_CLONE if clones else None)


def runs_commands(blueprint: Blueprint) -> bool:
    """Return whether a release has hooks, exec probes, or commands of services.

    They run in the release as the owner of its files: one that writes into a file would change every release that has a hard
    link to it.
    """
    return any(vars(blueprint.hooks).values()) or any(map(_has_commands, blueprint.services))


def _has_commands(service: Service) -> bool:
    probes: list[Probe | RehearsalProbe] = [*service.probes, *(service.rehearsal.probes if service.rehearsal else ())]
    return bool(service.before_stop or service.after_start or any(probe.command for probe in probes))


def sharing_of_outputs(share: str) -> Sharing:
    """Return the way of sharing for the outputs of build hooks: no links unless the configuration requires them.

    Later hooks, and programs, write into such files: into ``node_modules``, and into bytecode beside a module.
    """
    return Sharing(links=share == "hardlink", clones_from=0 if share in ("auto", "reflink") else None)
