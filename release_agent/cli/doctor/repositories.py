"""Checks of git, the repositories, the signers, and of the revision that a bare deploy would take."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from release_agent.cli.doctor.finding import FAULT, OK, Finding, fault
from release_agent.config import blueprint
from release_agent.deploy.resolve import resolve
from release_agent.errors import ReleaseError
from release_agent.model import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_agent.config.sections import Revision, Service
    from release_agent.deploy.context import Context
    from release_agent.repository.source import GitSource


def examine(source: GitSource) -> Iterator[Finding]:
    """Check that git is there and that every repository can be read."""
    if not shutil.which("git"):
        yield Finding("git", FAULT, "git is not installed", "install git 2.38 or newer")
        return
    for repository in source.repositories:
        try:
            count = len(repository.tags())
        except ReleaseError as error:
            yield fault(f"repository {repository.name}", error)
        else:
            yield Finding(f"repository {repository.name}", OK, f"{repository.path} is readable, {count} tags")


def signers(revision: Revision) -> Iterator[Finding]:
    """Check the file of allowed signers, if tags have to be signed."""
    if not revision.signed:
        return
    if not os.access(revision.allowed_signers, os.R_OK):
        yield Finding(
            "signers",
            FAULT,
            f"{revision.allowed_signers} is missing or unreadable",
            "list the signers' public keys there, as ssh-keygen(1) ALLOWED SIGNERS",
        )
    elif not shutil.which("ssh-keygen"):
        yield Finding("signers", FAULT, "ssh-keygen is not installed; git checks signatures with it", "install openssh-client")
    else:
        yield Finding("signers", OK, f"{revision.allowed_signers} is readable")


def revision(context: Context) -> tuple[Finding, tuple[Service, ...]]:
    """Resolve the revision of a bare deploy; returns also its services, or the container's if that fails."""
    try:
        target = resolve(context, Request("doctor"))
        services = blueprint.combine(context.config, context.source.read(target.commits, blueprint.FILE)).services
    except ReleaseError as error:
        return fault("revision", error), context.config.services
    return Finding("revision", OK, f"a bare deploy takes {target.revision}"), services
