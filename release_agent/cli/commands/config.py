"""``release-agent config``, which needs no container: a repository's own CI may run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent import text
from release_agent.cli.call import say
from release_agent.config import json_schema
from release_agent.config.check import CheckedFile, FileKind, check
from release_agent.config.load import chosen_path
from release_agent.errors import Exit

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call
    from release_agent.config.schema import Problem

_CHECKS = {
    "release-agent config check": "check the configuration in use",
    "release-agent config check release.toml": "check a repository's file, also in its CI",
}
_SCHEMAS = {"release-agent config schema release > release.schema.json": "write the schema of release.toml for an editor"}
EXAMPLES = {**_CHECKS, **_SCHEMAS}

_KINDS = {kind.word: kind for kind in FileKind}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verbs."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    said = "show every problem of these files; exit with 10 if there is one"
    checking = verbs.add_parser("check", help=said, description=said, examples=_CHECKS)
    checking.add_argument(
        "file", nargs="*", type=Path, help="check this release-agent.toml or release.toml (default: the configuration in use)"
    )
    checking.add_argument("--json", action="store_true", help="print the answer as one line of JSON (docs/reference/commands.md)")
    said = "print the JSON Schema of release-agent.toml or release.toml, for editors"
    schema = verbs.add_parser("schema", help=said, description=said, examples=_SCHEMAS)
    schema.add_argument(
        "kind",
        nargs="?",
        choices=list(_KINDS),
        default="agent",
        help="print the schema of release-agent.toml (agent) or release.toml (release); default: agent",
    )


def run(call: Call) -> int:
    """Check files, or print a schema; returns the exit code."""
    if call.arguments.verb == "schema":
        say(json.dumps(json_schema.of(_KINDS[call.arguments.kind]), indent=2))
        return Exit.OK
    in_use = Path(chosen_path(call.arguments.config))
    checked = [check(path) for path in call.arguments.file] or [check(in_use, FileKind.AGENT)]
    call.answer([_body(one) for one in checked], "\n".join(map(_shown, checked)))
    return Exit.MISCONFIGURED if any(one.problems for one in checked) else Exit.OK


def _body(one: CheckedFile) -> dict[str, object]:
    problems = [{"key": problem.path, "message": problem.text, "hint": _hint(problem)} for problem in one.problems]
    return {"file": str(one.path), "kind": one.kind.word if one.kind else None, "problems": problems}


def _hint(problem: Problem) -> str:
    return problem.hint or "docs/reference/configuration.md describes the key"


def _shown(one: CheckedFile) -> str:
    if one.kind and not one.problems:
        return f"{one.path}: a valid {one.kind.file}"
    lines = [f"{one.path}: {problem}\n  next: {_hint(problem)}" for problem in one.problems]
    return text.plain("\n".join(lines))
