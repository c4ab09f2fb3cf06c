"""Check the name of a revision before anything uses it."""

from __future__ import annotations

import re

from release_agent.errors import Code, Refused

# The rules of git-check-ref-format(1); also no options or ranges of git.
_BAD_REVISION = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff~^:?*\[\\]|\.\.|@\{|//|^[-/.]|[/.]$|\.lock(/|$)|/\.|^@$")
_LONGEST_REVISION = 200


def check_revision(revision: str) -> str:
    """Return ``revision`` if a tag, branch or commit can have that name; raises Refused (revision-invalid)."""
    if not revision:
        raise Refused(
            Code.REVISION_INVALID,
            "the revision is empty",
            hint="name a revision; to deploy the newest version, leave out the argument",
        )
    if not is_nameable(revision):
        raise Refused(
            Code.REVISION_INVALID,
            f"{revision[:_LONGEST_REVISION]!r} is not the name of a tag, a branch or a full commit id",
            hint="name a tag such as v1.4.2, a branch such as main, or a commit in full",
        )
    return revision


def is_nameable(revision: str) -> bool:
    """Return whether a deployment can ask for a tag, a branch or a commit of this name."""
    return 0 < len(revision) <= _LONGEST_REVISION and not _BAD_REVISION.search(revision)
