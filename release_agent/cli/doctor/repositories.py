"""Checks of git, the repositories, the signers and the revision of a bare deploy."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from release_agent.cli.doctor.finding import FAULT, OK, Finding, fault
from release_agent.config import blueprint
from release_agent.deploy.programs import blueprint_of
from release_agent.deploy.resolve import resolve
from release_agent.errors import Code, ReleaseError
from release_agent.model import Request
from release_agent.repository.process import GitCall, GitFailedError, output
from release_agent.repository.view import is_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Revision
    from release_agent.deploy.context import Context
    from release_agent.repository.source import GitSource
    from release_agent.system.clock import Clock

_OLDEST_GIT = (2, 38)


def examine(source: GitSource, clock: Clock) -> Iterator[Finding]:
    """Check that git is installed and that every repository can be read."""
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
    """Check the version of git."""
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
    """Check the files of allowed and revoked signers, if tags have to be signed."""
    if not revision.signed:
        return
    hint = "write the signers' public keys into it, in the format of ssh-keygen(1), ALLOWED SIGNERS"
    yield _list_of("signers", revision.allowed_signers, hint)
    if revision.revoked_signers:
        hint = "write the revoked public keys into it, each on its own line; or unset [revision] revoked_signers"
        yield _list_of("revoked signers", revision.revoked_signers, hint)
    if not shutil.which("ssh-keygen"):
        yield Finding("signers", FAULT, "ssh-keygen is not installed; git checks signatures with it", "install openssh-client")


def _list_of(check: str, file: str, hint: str) -> Finding:
    if is_regular(file):
        return Finding(check, OK, f"{file} is readable")
    return Finding(check, FAULT, f"{file} is missing or unreadable: without it, the agent deploys no tag", hint)


def revision(context: Context, edit: str) -> tuple[Finding, Blueprint]:
    """Resolve the revision of a bare deploy; also returns its blueprint, or the container's if the revision is refused.

    ``edit``: the edit that gives the program `deploy` the right user, if its user is wrong.
    """
    try:
        target = resolve(context, Request("doctor"))
        combined = blueprint_of(context, target.commits)
    except ReleaseError as error:
        closed = error.code in (Code.ROOT_UNUSABLE, Code.JOURNAL_BROKEN)
        return fault("revision", error, edit if closed else ""), blueprint.combine(context.config, {})
    return Finding("revision", OK, f"a bare deploy takes {target.revision}"), combined
