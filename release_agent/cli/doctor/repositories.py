"""Checks of git, the repositories, the signers, and of the revision that a bare deploy would take."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from release_agent.cli.doctor.finding import FAULT, OK, Finding, fault
from release_agent.config import blueprint
from release_agent.deploy.resolve import resolve
from release_agent.errors import ReleaseError
from release_agent.model import Request
from release_agent.repository.process import GitCall, GitFailedError, output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Revision
    from release_agent.deploy.context import Context
    from release_agent.repository.source import GitSource
    from release_agent.system.clock import Clock

_OLDEST_GIT = (2, 38)


def examine(source: GitSource, clock: Clock) -> Iterator[Finding]:
    """Check that git is there and that every repository can be read."""
    found = git(clock)
    yield found
    if found.level == FAULT:
        return
    for repository in source.repositories:
        try:
            count = len(repository.tags())
        except ReleaseError as error:
            yield fault(f"repository {repository.name}", error)
        else:
            yield Finding(f"repository {repository.name}", OK, f"{repository.path} is readable, {count} tags")


def git(clock: Clock) -> Finding:
    """Check which git there is."""
    hint = f"install git {'.'.join(map(str, _OLDEST_GIT))} or newer"
    try:
        said = output(GitCall(["--version"]), clock).decode("utf-8", "replace").strip()
    except GitFailedError as error:
        return Finding("git", FAULT, str(error), hint)
    version = re.search(r"([0-9]+)\.([0-9]+)", said)
    if not version or (int(version[1]), int(version[2])) < _OLDEST_GIT:
        return Finding("git", FAULT, f"{said} is too old", hint)
    return Finding("git", OK, said)


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


def revision(context: Context) -> tuple[Finding, Blueprint]:
    """Resolve the revision of a bare deploy; returns also its blueprint, or the container's if that fails."""
    try:
        target = resolve(context, Request("doctor"))
        combined = blueprint.combine(context.config, context.source.read(target.commits, blueprint.FILE))
    except ReleaseError as error:
        return fault("revision", error), blueprint.combine(context.config, {})
    return Finding("revision", OK, f"a bare deploy takes {target.revision}"), combined
