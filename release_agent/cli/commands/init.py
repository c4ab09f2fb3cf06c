"""``release-agent init``."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.cli.call import note, say
from release_agent.cli.init import look
from release_agent.cli.init.propose import propose
from release_agent.cli.init.repositories import repositories_in
from release_agent.cli.init.seen import SeenContainer, root_of
from release_agent.cli.init.write import make_root, write_all
from release_agent.config.load import chosen_path
from release_agent.errors import Code, Exit, Misconfigured
from release_agent.system.user import acting_as
from release_agent.text import plain
from release_agent.variables import Variable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from release_agent.cli.call import Call
    from release_agent.cli.init.propose import Proposal
    from release_agent.cli.init.seen import Deployer, SeenRepository

_REPOSITORIES = "/repos"

EXAMPLES = {
    "release-agent init --dry-run": "show the files that it would write",
    "release-agent init": "write the missing files",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the directories to read and to write."""
    parser.set_defaults(json=False)  # only a person can answer its questions
    parser.add_argument(
        "--repositories", metavar="DIR", default=_REPOSITORIES, help=f"look for repositories here (default: {_REPOSITORIES})"
    )
    parser.add_argument("--output", metavar="DIR", help="write all files into this directory; change nothing else")
    parser.add_argument("--dry-run", action="store_true", help="print the files that it would write; write nothing")


def run(call: Call) -> int:
    """Write the files that the container lacks; print the open points and the next commands."""
    container = _look(call)
    proposal = propose(container)
    texts = _in(call.arguments.output, proposal.files)
    if call.arguments.dry_run:
        written: list[Path] = []
        _print(texts)
    else:
        if not call.arguments.output:
            _make_root(container, proposal)
        written, failed = write_all(texts)
        if failed:
            raise _not_written(texts, failed)
    moved = {path: place for place, path in zip(proposal.files, texts, strict=True) if path != place}
    say(_said(proposal, written, moved))
    return Exit.OK


def _look(call: Call) -> SeenContainer:
    """Look at the container; an existing configuration names the root and supervisor."""
    path = Path(chosen_path(call.arguments.config)).absolute()
    there = call.config if os.path.lexists(path) else None
    seen = look.supervisor(there.supervisor.url if there else "", os.environ, call.clock, note)
    root = Path(there.app.root if there else root_of(seen.programs))
    deployer = look.deployer(root, seen)
    return SeenContainer(
        supervisor=seen,
        deployer=deployer,
        root=root,
        repositories=() if there else _repositories(call, deployer),
        config=path,
        is_there=there is not None,
        has_consul=Variable.CONSUL_HTTP_ADDR in seen.environment,  # programs inherit it
        has_address=there is None or bool(there.supervisor.url or os.environ.get(Variable.SUPERVISOR_SERVER_URL)),
    )


def _repositories(call: Call, deployer: Deployer) -> list[SeenRepository]:
    """Look at the repositories with the rights of the deployer, who has to read them; raises Misconfigured, Refused, Failed."""
    with acting_as(pwd.getpwnam(deployer.name).pw_uid, "is to deploy"):
        return repositories_in(Path(call.arguments.repositories).absolute(), call.clock)


def _in(directory: str | None, files: Mapping[Path, str]) -> dict[Path, str]:
    return {Path(directory) / path.name: text for path, text in files.items()} if directory else dict(files)


def _make_root(container: SeenContainer, proposal: Proposal) -> None:
    """Make the root directory; raises Misconfigured."""
    root, name = container.root, container.deployer.name
    why = f"{root} does not belong to {name}, who is to deploy"
    try:
        if make_root(root, container.deployer):
            return
    except OSError as error:
        why = f"{root} cannot be made for {name}, who is to deploy: {error.strerror}"
    raise Misconfigured(Code.MISCONFIGURED, why, hint=f"as root: {proposal.make_root}; then run init again")


def _not_written(texts: Mapping[Path, str], failed: Mapping[Path, OSError]) -> Misconfigured:
    """Print the files that could not be written, and return the error."""
    _print({path: texts[path] for path in failed})
    return Misconfigured(
        Code.MISCONFIGURED,
        "\n".join(f"cannot write {path}: {error.strerror}" for path, error in failed.items()),
        hint="their texts are printed above; `release-agent init --output DIR` writes them into another directory",
    )


def _print(texts: Mapping[Path, str]) -> None:
    for path, text in texts.items():
        say(f"# ---- {path}\n{text}")


def _said(proposal: Proposal, written: Sequence[Path], moved: Mapping[Path, Path]) -> str:
    lines = [f"wrote   {path}" + (f"    belongs to {moved[path]}" if path in moved else "") for path in written]
    lines += [f"kept    {name}" for name in proposal.kept]
    lines += ["", "init does not know:"] if proposal.notes else []
    for open_point in proposal.notes:
        lines += [f"- {plain(open_point.what)}", f"    -> {plain(open_point.do)}"]
    wide = max(len(command) for command, _ in proposal.steps)
    first = f"copy each file to its place, run `{proposal.make_root}`, and " if moved else ""
    steps = [f"  {command:<{wide}}    # {does}" for command, does in proposal.steps]
    return "\n".join([*lines, "", f"{first}go on with:", *steps])
