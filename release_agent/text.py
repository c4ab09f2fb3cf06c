"""Format the commands' answers as text for people; scripts read the JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from release_agent.model import Freeze, Outcome, exit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from release_agent.model import Record

_SHORT = 12
_SHOWN_LINES = 5
_LONGEST_PERSON, _LONGEST_LINE = 100, 500  # characters
# As in "rolled-back: 000002-d36c3579ac88 (v1.1.0) failed: the after_deploy hook exited with 1; …".
_PREAMBLE = re.compile(r"(?:rolled-back: )?\d+-[0-9a-f]+ \(\S+\) failed: ")
# The output of a hook or a service must not move a terminal's cursor or change the order of the words on it.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def record(run: Record, *, looked: bool = True) -> str:
    """Return the outcome of a run; ``looked``: whether a run that changed nothing has looked at the live release."""
    if run.error:
        return error(run.error, f"{run.outcome}: ")
    what = plain(f"{run.revision} as {run.release}")
    if run.outcome == Outcome.STAGED:
        return f"staged: {what} is built, and rehearsed if a service has a rehearsal; nothing is published ({run.seconds:.1f} s)"
    if run.outcome == Outcome.UNCHANGED:
        return f"unchanged: {what} is live {'and healthy' if looked else 'already'} ({run.seconds:.1f} s)"
    return f"{run.outcome}: {what} is live and healthy ({run.seconds:.1f} s)"


def what_comes_next(follow: str, run: Record) -> str:
    """Return a note, after a rollback, on the revision that the next bare deploy takes; ``follow``: as in ``[revision]``."""
    if follow == "pin":
        return f"note: a bare deploy takes the pinned revision; to stay on this one, run `release-agent pin {run.revision}`"
    takes = {"branch": "the tip of the branch", "rollout": "the fleet's last completed rollout"}.get(
        follow, "the highest version"
    )
    return (
        f'note: a bare deploy would take {takes} again; to stay on this one, set [revision] follow = "pin" '
        f"and run `release-agent pin {run.revision}`"
    )


def error(what: dict[str, str], outcome: str = "") -> str:
    """Return the message, the code and the hint of an error."""
    code = f" (exit {int(exit_of(outcome.rstrip(': ')))})" if outcome else ""
    message = plain(what["message"]).replace("\n", "\n  ")
    return f"release-agent: {outcome}{message}\n  code: {what['code']}{code}\n  next: {plain(what['hint'])}"


def status(body: dict[str, Any], problems: Iterable[str], maintenance: str) -> str:
    """Return the live release and its health; ``maintenance``: the reason of the host's maintenance mode, or empty."""
    rows = [("app", f"{body['app']} ({body['environment']})"), ("health", body["health"])]
    rows += [("", f"- {problem}") for problem in problems]
    rows += [("", f"in maintenance mode in Consul: {maintenance}")] if maintenance else []
    failure = body.get("failure")  # an older plugin does not send it
    rows += [("failed", failed(failure))] if failure else []
    for name in ("current", "previous"):
        there = body[name]
        rows.append((name, f"{_release(there)}  since {_published(there)}{_then_signed(there)}" if there else "none"))
    for service in body["services"]:
        processes = [f"{p['name']} {p['state']}" + (f" pid {p['pid']}" if p["pid"] else "") for p in service["processes"]]
        rows.append(("service", f"{service['name']}: {', '.join(processes) or 'unknown to supervisor'}"))
    frozen = body.get("frozen")  # an older plugin does not send it
    rows += [("frozen", Freeze.from_json(frozen).describe())] if frozen else []
    if body["deployment"]:
        rows.append(("deploying", f"{body['deployment']['id']} in phase {body['deployment']['phase']}"))
    return "\n".join(plain(f"{name:<10}{text}") for name, text in rows)


def failed(failure: Mapping[str, Any]) -> str:
    """Describe the failure of the newest run, with the command that shows more."""
    what = failure.get("revision") or "the newest run"  # XML-RPC has no null
    return f"{what}: {failure['code']}; `release-agent history {failure['id']}` shows more"


def history(entries: Sequence[dict[str, Any]], limit: int = -1) -> str:
    """Return the deployments, each on its own line; ``limit``: the requested maximum, -1 for all."""
    if not entries:
        return "there are no deployments yet" if limit else "no deployment is listed: the limit is 0"
    lines = []
    for entry in entries:
        outcome = entry["outcome"] or "open"
        why = f"  {entry['error']['code']}" if entry["error"] else ""
        when = f"{entry['started_at'][:19]}Z"
        what = f"{entry['action']:<8}  {outcome:<15}  {_release(entry)}"
        lines.append(plain(f"{when}  {entry['id']}  {what}  {_by(entry)}{_then_signed(entry)}{why}".replace("\n", " ")))
    return "\n".join(lines)


def deployment(body: dict[str, Any]) -> str:
    """Return all details of one deployment, with its hooks' output."""
    phases = ", ".join(f"{phase['name']} {phase['seconds']:.2f} s" for phase in body["phases"])
    lines = [
        f"{body['id']}  {body['outcome'] or 'open'}  {body['revision']}  {body['release']}",
        f"started {body['started_at']} {_by(body)}; {body['seconds']:.1f} s: {phases}",
        *(f"{name}: {commit[:_SHORT]}{_then_signed(body, name)}" for name, commit in body["commits"].items()),
    ]
    if body["error"]:
        lines.append(error(body["error"]))
    for hook in body["hooks"]:
        lines.append(f"{hook['stage']} `{hook['run']}` {hook['ended']}")
        lines += [f"  | {line}" for line in hook["output"].splitlines()]
    return plain("\n".join(lines))


def phase(name: str, seconds: float) -> str:
    """Return a phase that has ended, and the seconds spent in it so far."""
    return f"{name:<10}{seconds:8.2f} s"


def progress(event: dict[str, Any]) -> str:
    """Return an event of a run: the start of a hook, a line of its output, its end, or the end of a phase."""
    match event["event"]:
        case "hook.started":
            return f"{event.get('stage')} `{plain(str(event.get('run')))}`"
        case "hook.cached":
            return f"{event.get('stage')} `{plain(str(event.get('run')))}` did not run: its outputs were cached"
        case "hook.output":
            return f"  | {plain(str(event.get('line')))}"
        case "hook.finished":
            return f"  {event.get('how')}"
        case "phase.finished":
            return phase(event["phase"], event["seconds"])
    return plain(f"{event['event']}: {event.get('why')}")


def releases(found: Sequence[dict[str, Any]]) -> str:
    """Return the kept releases, each on its own line."""
    if not found:
        return "there are no releases yet"
    return "\n".join(
        plain(f"{'*' if r['current'] else ' '} {r['release']}  {r['state']:<8}  {r['revision']}  {_kept(r)}") for r in found
    )


def _kept(release: Mapping[str, Any]) -> str:
    return f"{release['deployed_at'] or 'never live'}{'  protected' if release['protected'] else ''}"


def _shared(item: dict[str, Any]) -> str:
    return f" (the same file in {', '.join(item['shared_with'])})" if item["shared_with"] else ""


def drift(body: dict[str, Any]) -> str:
    """Return the differences between a release and its commit."""
    if not body["drift"]:
        return plain(f"{body['release']} ({body['revision']}) is as it was built")
    lines = [f"{item['change']:<8} {item['path']}{_shared(item)}".replace("\n", "?") for item in body["drift"]]
    return plain("\n".join([f"{body['release']} ({body['revision']}) differs from what was built:", *lines]))


def check(body: dict[str, Any]) -> str:
    """Return what a deployment would do."""
    named = ", ".join(f"{name} {commit[:_SHORT]}{_then_signed(body, name)}" for name, commit in body["commits"].items())
    if body["live"]:
        what = f"{body['release']} is live already"
    elif body["build"]:
        needs = f"{body['needed_bytes'] / (1 << 20):.1f} MiB in {body['files']} files"
        how = " from the parked release" if body.get("way") == "difference" else ""
        what = f"would build {body['release']}{how}: {needs}, {body['free_bytes'] / (1 << 20):.0f} MiB are free"
    else:
        what = f"would publish {body['release']}, which is kept"
    lines = [plain(f"{body['revision']} ({named}): {what}"), *(changes(*item) for item in body["changes"].items())]
    may_go = body.get("may_go")  # an older plugin sends none
    lines += [f"  the disk is nearly full, so the deployment first removes old releases: {', '.join(may_go)}"] if may_go else []
    return "\n".join([*lines, *map(_requests, body.get("services", ()))])  # an older plugin sends no services


def _requests(service: Mapping[str, Any]) -> str:
    """Return whether a deployment can lose requests of a service, why, and how to avoid it."""
    can = {"no": "loses no request", "yes": "can lose requests"}.get(service["loses_requests"], "may lose requests")
    rehearses = "rehearses" if service["rehearses"] else "no rehearsal"
    hint = f"\n    better: {service['hint']}" if service["hint"] else ""
    return f"  service {service['service']} {can}: {service['why']}; {rehearses}{hint}"


def _release(there: Mapping[str, Any]) -> str:
    """Return the revision, the name and the commits of a release, the commits short."""
    return f"{there['revision'] or '-'}  {there['release'] or '-'}  {commits(there) or '-'}"


def commits(there: Mapping[str, Any]) -> str:
    """Return the commit of each repository, short; empty if there are none."""
    of = there.get("commits") or {}
    several = len(of) > 1
    short = [f"{name} {commit[:_SHORT]}" if several else commit[:_SHORT] for name, commit in of.items()]
    return f"commit{'s' if several else ''} {', '.join(short)}" if short else ""


def _by(entry: Mapping[str, Any]) -> str:
    """Return the person who requested a run, if known, and its trigger."""
    person = entry.get("by") or ""  # an older plugin sends no person
    return f"by {person} ({entry['trigger']})" if person else f"by {entry['trigger']}"


def _published(there: Mapping[str, Any]) -> str:
    person = there.get("by") or ""
    return f"{there['deployed_at']}{f' by {person}' if person else ''}"


def signed(there: Mapping[str, Any], repository: str = "") -> str:
    """Return the signers, in one repository or in all; empty if unchecked. An older agent sends none."""
    signers = there.get("signers") or {}
    names = [name for there_in, name in signers.items() if repository in ("", there_in)]
    return f"signed by {', '.join(dict.fromkeys(names))}" if names else ""


def _then_signed(there: Mapping[str, Any], repository: str = "") -> str:
    words = signed(there, repository)
    return f"  {words}" if words else ""


def cause(what: dict[str, str]) -> str:
    """Return the code and the cause of an error in one line, without the name of the release that failed."""
    return f"{what['code']}: {without_preamble(what['message']).partition(chr(10))[0]}"


def without_preamble(message: str) -> str:
    """Return a message without the name of the release that failed: the cause comes first."""
    return _PREAMBLE.sub("", message)


def changes(name: str, between: dict[str, Any]) -> str:
    """Return the commits of one repository that a deployment would add and remove."""
    back = f", {count_of(between['back'], 'commit')} rolled back" if between["back"] else ""
    subjects = [f"    {plain(subject)}" for subject in between["subjects"]]
    more = between["count"] - len(subjects)
    return "\n".join(
        [f"  {name}: {count_of(between['count'], 'new commit')}{back}", *subjects, *([f"    … {more} more"] if more else [])]
    )


def count_of(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 host``, ``2 hosts``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def person(name: str) -> str:
    """Return the name of a person in the form that the agent stores and shows."""
    return one_line(name, _LONGEST_PERSON)


def one_line(text: str, longest: int = _LONGEST_LINE) -> str:
    """Return a text that somebody typed as one printable line of at most ``longest`` characters."""
    return plain(" ".join(text.split()))[:longest].encode(errors="replace").decode()


def plain(text: str) -> str:
    """Replace control and direction characters, which would move the cursor or change the order of the words."""
    return _CONTROL.sub("?", text)


def last_lines(output: str, most: int = _SHOWN_LINES) -> list[str]:
    """Return the last lines of an output, without empty ones."""
    return [line for line in output.splitlines() if line.strip()][-most:]
