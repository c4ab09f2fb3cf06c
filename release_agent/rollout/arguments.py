"""The arguments of ``release-agent rollout``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from release_agent.arguments import app, duration, duration_or_none, environment, reason
from release_agent.config.sections import DEFAULT_PREFIX
from release_agent.rollout.options import Amount, Options, amount
from release_agent.usage import HelpfulParser
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALL = 100  # percent
_VERBS = {
    "list": "list the rollouts, newest first",
    "status": "show the progress of a rollout, and the state of each host",
    "pause": "start no more hosts until the rollout is resumed",
    "resume": "continue a rollout that is paused, or whose process has ended",
    "approve": "approve the next wave of a rollout",
    "abort": "start no more hosts; changed hosts stay as they are",
    "revert": "roll back every host that took the revision",
}


_ID = "rollout-20261123T023224Z-64186f"
_EXAMPLES = {
    "start": {
        "release-agent rollout start v1.4.2 --fleet fleet.toml --dry-run": "look at every host and show the plan",
        "release-agent rollout start v1.4.2 --consul api --revert": "deploy; roll back every host if the rollout stops",
    },
    "drift": {"release-agent rollout drift --fleet fleet.toml": "show the live release of each host; exit 30 if one is behind"},
    "list": {"release-agent rollout list": "show the rollouts and their ids"},
    "status": {f"release-agent rollout status {_ID} --watch": "follow a rollout that runs elsewhere"},
    "pause": {f"release-agent rollout pause {_ID}": "start no more hosts for now"},
    "resume": {f"release-agent rollout resume {_ID}": "continue the rollout"},
    "approve": {f"release-agent rollout approve {_ID}": "let the next wave start"},
    "abort": {f"release-agent rollout abort {_ID}": "start no more hosts; roll none back"},
    "revert": {f"release-agent rollout revert {_ID}": "roll back every host that took the revision"},
    "freeze": {'release-agent rollout freeze shop production "the database moves" --until 2h': "refuse rollouts for two hours"},
    "unfreeze": {"release-agent rollout unfreeze shop production": "let rollouts start again"},
}


class _VerbParser(HelpfulParser):
    """The parser of one verb, which also checks that a start has a revision."""

    def parse_known_args(  # type: ignore[override]  # argparse's own has a signature for every kind of namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the arguments; refuse a start that has neither a revision nor --promote-from."""
        found, rest = super().parse_known_args(args, namespace)
        if getattr(found, "promote_from", None) == "" and found.revision is None:
            self.error("a revision is required, or --promote-from")
        return found, rest


def add(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of ``rollout`` and their arguments."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_VerbParser)
    start = _add_verb(verbs, "start", "deploy a revision to a fleet, wave after wave")
    start.add_argument("revision", nargs="?", help="deploy this tag, branch or full commit id (required without --promote-from)")
    start.add_argument("host", nargs="*", help="deploy to this host: 10.0.0.11, 10.0.0.12:9001 or http://10.0.0.13:9001")
    _add_inventory(start)
    _add_options(start)
    start.add_argument("--dry-run", action="store_true", help="look at every host and show the plan; change nothing")
    _add_access(start)
    drift = _add_verb(verbs, "drift", "show the live release of each host, and the hosts that do not run the fleet's revision")
    drift.add_argument("host", nargs="*", help="ask this host: 10.0.0.11, 10.0.0.12:9001 or http://10.0.0.13:9001")
    _add_inventory(drift)
    _add_access(drift)
    for verb, text in _VERBS.items():
        one = _add_verb(verbs, verb, text)
        if verb != "list":
            one.add_argument("id", help="id of the rollout")
        if verb == "status":
            one.add_argument("--watch", action="store_true", help="show each change until the rollout ends")
        if verb == "resume":
            one.add_argument(
                "--gate", type=_command, metavar="COMMAND", help="repeat the command of the gate, if the rollout has one"
            )
        _add_record(one)
    freeze = _add_verb(verbs, "freeze", "refuse to start or resume rollouts of a fleet")
    unfreeze = _add_verb(verbs, "unfreeze", "end a freeze")
    for one in (freeze, unfreeze):
        one.add_argument("app", type=app, help="name of the application, as [app] name has it")
        one.add_argument("environment", type=environment, help="environment of the fleet")
    freeze.add_argument("why", type=reason, help="show this reason in each refusal")
    freeze.add_argument(
        "--until",
        type=duration,
        metavar="TIME",
        help="end the freeze after this long, such as 2h (default: `rollout unfreeze` ends it)",
    )
    for one in (freeze, unfreeze):
        _add_record(one)


def _add_record(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--consul", action="store_true", help=f"use the record in Consul (default: if ${Variable.CONSUL_HTTP_ADDR} is set)"
    )
    _add_access(parser)


def _add_verb(verbs: argparse._SubParsersAction[_VerbParser], verb: str, text: str) -> _VerbParser:
    return verbs.add_parser(verb, help=text, description=text, examples=_EXAMPLES[verb])


def _add_inventory(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("source of the hosts")
    one = group.add_mutually_exclusive_group()
    one.add_argument("--consul", metavar="SERVICE", help="take the hosts of this service from Consul's catalog")
    one.add_argument("--fleet", metavar="FILE", help="take the hosts of this fleet.toml")
    one.add_argument("--maestro", metavar="FILE", help="take the hosts of this maestro-ng file")
    group.add_argument(
        "--service", action="append", default=[], help="with --maestro: take only this service; repeatable (default: all)"
    )
    group.add_argument("--environment", default="", help="with --consul: take only hosts of this environment (default: any)")
    group.add_argument("--tag", action="append", default=[], help="with --consul: take only hosts with this tag; repeatable")
    group.add_argument(
        "--meta",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="with --consul: take only hosts with this meta; repeatable",
    )
    group.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="PATTERN",
        help="take only these hosts, or service=PATTERN, zone=PATTERN; repeatable (default: all)",
    )
    group.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="leave these hosts out; repeatable")


def _add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("course of the rollout")
    _add_pace(group, Options())
    _add_limits(group, Options())
    group.add_argument(
        "--follow",
        action="store_true",
        help='let hosts with follow = "rollout" take the revision even after a rollout to a part of the inventory',
    )
    group.add_argument(
        "--promote-from",
        default="",
        metavar="ENVIRONMENT",
        help="deploy the revision of this environment's last completed rollout, with the same commits",
    )
    group.add_argument("--reason", default="", metavar="TEXT", help="keep and show this reason with the rollout")
    group.add_argument(
        "--wait-for",
        type=duration,
        default=0.0,
        metavar="TIME",
        help="let each host wait this long, before any change, until its repositories have the revision",
    )
    group.add_argument("--despite-freeze", action="store_true", help="start even if the fleet or some of its hosts are frozen")
    group.add_argument("--revert", action="store_true", help="roll back every host that took the revision if the rollout stops")


def _add_pace(group: argparse._ArgumentGroup, default: Options) -> None:
    group.add_argument(
        "--waves",
        type=_waves,
        default=default.waves,
        metavar="SIZES",
        help="deploy to each application in waves of these sizes; the last one repeats (default: 1,25%%,100%%)",
    )
    group.add_argument("--by-zone", action="store_true", help="deploy to one zone after the other, never to two in one wave")
    group.add_argument(
        "--parallel",
        type=_at_least_one,
        default=default.parallel,
        metavar="N",
        help="deploy to at most N hosts at a time; preflight asks four times as many (default: 50)",
    )
    group.add_argument(
        "--stage",
        action="store_true",
        help="let every host build and rehearse the revision first; if one fails, stop without a change",
    )
    group.add_argument(
        "--bake",
        type=duration_or_none,
        default=default.bake,
        metavar="TIME",
        help="watch the hosts' health for this long after each wave (default: 30s)",
    )
    group.add_argument(
        "--gate",
        type=_command,
        metavar="COMMAND",
        help="run this on this machine after each wave: exit 0 goes on, 75 waits for a person, any other stops",
    )
    group.add_argument("--approve", action="store_true", help="wait for approval after the first wave")


def _add_limits(group: argparse._ArgumentGroup, default: Options) -> None:
    group.add_argument(
        "--max-failed",
        type=_amount,
        default=default.max_failed,
        metavar="N",
        help="go on with at most N failed hosts, or N%% (default: 0)",
    )
    group.add_argument(
        "--max-unreachable",
        type=_amount,
        default=default.max_unreachable,
        metavar="N",
        help="go on with at most N unreachable hosts, or N%% (default: 0)",
    )
    group.add_argument(
        "--deadline",
        type=duration,
        default=default.deadline,
        metavar="TIME",
        help="give up on a host after this long (default: 10m)",
    )
    group.add_argument(
        "--progress-deadline",
        type=duration,
        default=default.progress_deadline,
        metavar="TIME",
        help="stop if no host becomes healthy for this long (default: 15m)",
    )


def _add_access(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", help="log in to the hosts' supervisors as this user (default: [fleet] user of fleet.toml)")
    parser.add_argument(
        "--password-file",
        metavar="FILE",
        help="read the password from this file, which has no other content (default: as --user)",
    )
    parser.add_argument(
        "--ca-file",
        metavar="FILE",
        help="for https: trust only these authorities, in PEM (default: those of the system)",
    )
    parser.add_argument(
        "--client-cert", metavar="FILE", help="for https: show this certificate to hosts; the file also has its key, in PEM"
    )
    parser.add_argument(
        "--prefix", default=DEFAULT_PREFIX, help="keep rollouts under this prefix of Consul's KV store (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print each event as one line of JSON")


def options(arguments: argparse.Namespace) -> Options:
    """Return the options of a rollout."""
    given = {name: getattr(arguments, name) for name in Options.__dataclass_fields__}
    return Options(**{name: value for name, value in given.items() if value is not None})


def _waves(text: str) -> tuple[Amount, ...]:
    sizes = tuple(_amount(part) for part in text.split(","))
    if not all(size.number for size in sizes):
        message = f"{text!r} has a wave of size zero"
        raise argparse.ArgumentTypeError(message)
    return sizes


def _amount(text: str) -> Amount:
    try:
        read = amount(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if read.percent and read.number > _ALL:
        message = f"{text!r} is more than {_ALL}%"
        raise argparse.ArgumentTypeError(message)
    return read


def _command(text: str) -> str:
    if not text.strip():
        message = "the command is empty"
        raise argparse.ArgumentTypeError(message)
    return text


def _at_least_one(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        message = f"{text!r} must be a whole number, at least 1"
        raise argparse.ArgumentTypeError(message)
    return int(text)
