"""What each command does: arguments in, one record or answer out."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from release_agent import text
from release_agent.config import load
from release_agent.errors import Cancelled, Code, Exit, NoTarget, ReleaseError, exit_of
from release_agent.model import Action, Record, Request, find_release, new_id
from release_agent.request import PluginRequest
from release_agent.system.clock import SystemClock
from release_agent.variables import Variable
from release_agent.wiring import Parts

if TYPE_CHECKING:
    import argparse

    from release_agent.config.sections import Config
    from release_agent.journal.journal import StateDatabase


class Call:
    """One call of a command: its arguments and, once asked for, what it works with."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Nothing is read yet."""
        self.arguments = arguments
        self.clock = SystemClock()
        self.id = new_id()
        self._parts: Parts | None = None

    @property
    def parts(self) -> Parts:
        """The adapters; raises Misconfigured."""
        if self._parts is None:
            self._parts = Parts(load.load(self.arguments.config), self.clock)
        return self._parts

    @property
    def config(self) -> Config:
        """The configuration; raises Misconfigured."""
        return self.parts.config

    def asked(self) -> PluginRequest | None:
        """What supervisor's plugin asked for: the run has its id from then on."""
        asked = PluginRequest.from_environ()
        self.id = asked.request.id if asked else self.id
        return asked

    def answer(self, body: Any, said: str) -> None:  # noqa: ANN401 - anything JSON has
        """Print the answer: JSON on one line, or something to read."""
        say(json.dumps(body) if self.arguments.json else said)

    def tell(self, record: Record) -> int:
        """Print how a run ended; a failure goes to stderr where a person reads."""
        if self.arguments.json:
            say(json.dumps(record.to_json()))
        else:
            say(text.record(record), sys.stderr if record.error else sys.stdout)
        return exit_of(record.outcome)


def failed(call: Call, error: ReleaseError) -> int:
    """Tell of an error outside any run: bad configuration, a busy agent, a bug."""
    if call.arguments.command in ("deploy", "rollback", "boot"):
        record = Record(call.id, revision=getattr(call.arguments, "revision", "") or None)
        record.outcome, record.error = error.outcome, error.to_json()
        call.tell(record)
    elif call.arguments.json:
        say(json.dumps({"error": error.to_json()}))
    else:
        say(text.error(error.to_json()), sys.stderr)
    return error.exit_code


def _trigger() -> str:
    """Under supervisor a bare run was started by it; otherwise a person typed the command."""
    return "supervisor" if os.environ.get(Variable.SUPERVISOR_PROCESS_NAME) else "command"


def deploy(call: Call) -> int:
    """Make a revision live, or say what that would take (``--dry-run``)."""
    from release_agent.repository.revision import check_revision

    arguments = call.arguments
    asked = call.asked()
    request = Request(
        call.id,
        # An empty argument is a caller's unset variable, not a wish for the newest tag.
        revision="" if arguments.revision is None or asked else check_revision(arguments.revision),
        force=arguments.force,
        accept_moved_tag=arguments.accept_moved_tag,
        trigger=_trigger(),
    )
    if arguments.dry_run or (asked and asked.check):
        return _check(call, asked.request if asked else request, keep=asked is not None)
    return _change(call, asked.request if asked else request)


def rollback(call: Call) -> int:
    """Go back to the release before, or to the named one."""
    asked = call.asked()
    request = Request(call.id, Action.ROLLBACK, release=call.arguments.release, trigger=_trigger())
    return _change(call, asked.request if asked else request)


def _change(call: Call, request: Request) -> int:
    from release_agent.deploy.agent import Agent

    call.clock.listen()
    with call.parts.locked(request) as context:
        agent = Agent(context)
        record = agent.deploy(request) if request.action is Action.DEPLOY else agent.roll_back(request)
        note = _newest_again(call, record) if request.action is Action.ROLLBACK and not record.error else ""
    code = call.tell(record)
    if note:
        say(note, sys.stderr if call.arguments.json else sys.stdout)
    return code


def _newest_again(call: Call, record: Record) -> str:
    revision = call.config.revision
    if revision.follow == "pin":
        return f"note: a bare deploy takes what is pinned; to stay here: release-agent pin {record.revision}"
    takes = {"branch": f"the tip of {revision.branch}", "rollout": "what the fleet last rolled out"}.get(
        revision.follow, "the newest tag"
    )
    return (
        f'note: a bare deploy would take {takes} again; to stay here, set [revision] follow = "pin" '
        f"and `release-agent pin {record.revision}`"
    )


def _check(call: Call, request: Request, *, keep: bool) -> int:
    """Say what a deployment would do; ``keep``: whoever asked through supervisor reads it from the journal."""
    from release_agent.deploy.deployment import Deployment
    from release_agent.deploy.run import Run

    root = call.parts.root()
    with call.parts.locked(request) if keep else call.parts.looking() as context:
        run = Run(context, request, journaled=False)
        live = root.current()
        run.record.previous = live.name if live else None
        try:
            deployment = Deployment(run)
            plan = deployment.plan(deployment.resolve())
        except ReleaseError as error:
            run.end(error)
            body, code = run.record.to_json(), int(error.exit_code)
        else:
            run.close()
            size, files = (0, 0) if plan.kept else context.source.size(plan.target.commits)
            body, code = {**run.record.to_json(), "outcome": "checked", "build": plan.kept is None}, int(Exit.OK)
            body |= {"live": bool(plan.kept and live and plan.kept.name == live.name)}
            body |= {"needed_bytes": size, "files": files, "free_bytes": root.free()}
            body |= {"changes": context.source.changes(live.commits, plan.target.commits) if live else {}}
        if keep:
            context.journal.answer(request.id, body)
    if code:
        return call.tell(run.record)
    call.answer(body, text.check(body))
    return code


def boot(call: Call) -> int:
    """Recover, deploy if nothing is live, start what does not run: 0 if something healthy is live then, else 21."""
    from release_agent.deploy.agent import Agent, boot_request

    call.clock.listen()
    request = boot_request()
    with call.parts.locked(request, wait=True) as context:
        record, healthy = Agent(context).boot(request)
    call.tell(record)
    if healthy:
        return Exit.OK
    return Exit.CANCELLED if record.outcome == Cancelled.outcome else Exit.ROLLBACK_FAILED


def monitor(call: Call) -> int:
    """Listen to supervisor's events and watch what is live, until supervisor closes."""
    from release_agent.monitor.resident import run

    run(call.parts, sys.stdin, sys.stdout)
    return Exit.OK


def status(call: Call) -> int:
    """What is live and how it is: 0 if it is well, else 30."""
    from release_agent import status

    parts = call.parts
    with parts.looking() as context, parts.journal() as journal:
        found = status.status(context, journal, parts.root().holder(), parts.services().processes)
        maintenance = journal.maintenance()
    call.answer(found.body, text.status(found.body, found.problems, maintenance))
    return Exit.OK if found.body["health"] == "passing" else Exit.FAULT_FOUND


def history(call: Call) -> int:
    """What was done, or one deployment whole."""
    with call.parts.journal() as journal:
        entries = journal.history(call.arguments.limit)
        if call.arguments.id:
            return _deployment(call, journal, [entry for entry in entries if entry["id"] == call.arguments.id])
        call.answer(entries, text.history(entries, journal.action_of))
    return Exit.OK


def _deployment(call: Call, journal: StateDatabase, entries: list[dict[str, Any]]) -> int:
    identity = call.arguments.id
    if not entries:
        raise NoTarget(Code.RELEASE_UNKNOWN, f"there is no deployment {identity}", hint="`release-agent history` lists them")
    body = {**entries[0], "hooks": [vars(hook) for hook in journal.hooks_of(identity)]}
    call.answer(body, text.deployment(body))
    return Exit.OK


def releases(call: Call) -> int:
    """What is kept."""
    from release_agent import status

    with call.parts.looking() as context:
        found = status.releases(context)
    call.answer(found, text.releases(found))
    return Exit.OK


def pin(call: Call) -> int:
    """Set what ``follow = "pin"`` takes; refused where the repositories do not have it."""
    from release_agent.model import Kind

    parts, revision = call.parts, call.arguments.revision
    with parts.source() as source:
        target = source.resolve(revision, tuple(Kind))
    with parts.locked(Request(new_id(), trigger=_trigger())) as context:
        context.journal.pin(revision)
    said = f"pinned {revision}: a bare deploy takes it"
    if call.config.revision.follow != "pin":
        said = f'pinned {revision}; it has no effect while [revision] follow = "{call.config.revision.follow}"'
    call.answer({"pinned": revision, "commits": target.commits}, said)
    return Exit.OK


def unpin(call: Call) -> int:
    """Forget what was pinned."""
    with call.parts.locked(Request(new_id(), trigger=_trigger())) as context:
        context.journal.pin(None)
    call.answer({"pinned": None}, "nothing is pinned")
    return Exit.OK


def verify(call: Call) -> int:
    """Compare a release with its commit: 30 where they differ."""
    from release_agent import status

    parts, named = call.parts, call.arguments.release
    root = parts.root()
    release = find_release(root.releases(), named) if named else root.current()
    if release is None:
        what = f"there is no release {named!r}" if named else "no release is live"
        raise NoTarget(Code.RELEASE_UNKNOWN, what, hint="`release-agent releases` lists what is kept")
    with parts.looking() as context:
        drift = status.drift(context, release)
    body = {"release": release.name, "revision": release.revision, "commits": release.commits, "drift": drift}
    call.answer(body, text.drift(body))
    return Exit.FAULT_FOUND if drift else Exit.OK


def prune(call: Call) -> int:
    """Apply ``keep``."""
    from release_agent.deploy.agent import prune

    with call.parts.locked(Request(new_id(), trigger=_trigger())) as context:
        removed = prune(context)
    call.answer({"removed": removed}, "removed " + ", ".join(removed) if removed else "nothing to remove")
    return Exit.OK


def doctor(call: Call) -> int:
    """Check the whole set-up: 30 where there is a fault."""
    from release_agent.cli.doctor import FAULT, examine, findings

    if call.arguments.repair:
        with call.parts.locked(Request(new_id(), trigger=_trigger())):
            pass  # opening the journal to write it rebuilds one that is lost or broken
    found = examine(call.parts)
    call.answer([finding.to_json() for finding in found], findings(found))
    return Exit.FAULT_FOUND if any(finding.level == FAULT for finding in found) else Exit.OK


def say(text: str, stream: Any = None) -> None:  # noqa: ANN401 - a text stream
    """Print; a reader that has gone changes nothing."""
    try:
        print(text, file=stream or sys.stdout, flush=True)
    except (OSError, ValueError):
        return


def rollout(call: Call) -> int:
    """A revision's deployment across a fleet; needs no configuration."""
    from release_agent.rollout import commands

    return commands.call(call.arguments)
