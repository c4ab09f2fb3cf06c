"""``supervisorctl release`` calls the plugin, and prints its answers."""

from __future__ import annotations

import http.client
import xmlrpc.client
from types import SimpleNamespace
from typing import Any

import pytest
from supervisor.supervisorctl import Controller, DefaultControllerPlugin, LSBInitExitStatuses
from supervisor.xmlrpc import Faults

from release_agent.plugin.supervisorctl import make_controller

UNKNOWN = object()  # the plugin is older, and knows no getOutput
DEPLOYED = {"id": "d-1", "outcome": "deployed", "revision": "v1", "release": "000001-v1", "phases": []}


def _is_event(answer: Any) -> bool:
    return isinstance(answer, dict) and "event" in answer


class Release:
    """The plugin: answers what a test says, one after the other, and keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = [answer for answer in answers if answer is not UNKNOWN and not _is_event(answer)]
        self.events = [answer for answer in answers if _is_event(answer)]
        self.faulty = UNKNOWN in answers
        self.asked: list[tuple[Any, ...]] = []

    def getOutput(self, _identity: str, after: int) -> Any:
        """Answer one event at a time; there is none about most deployments."""
        if self.faulty:
            raise xmlrpc.client.Fault(Faults.UNKNOWN_METHOD, "UNKNOWN_METHOD")
        return {"events": self.events[after : after + 1], "next": min(after + 1, len(self.events))}

    def __getattr__(self, method: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.asked.append((method, *arguments))
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def run(line: str, *answers: Any, words: list[str] | None = None) -> tuple[list[str], list[tuple[Any, ...]], int]:
    """Return what is printed, what the plugin was asked, and the exit code; ``words``: those of a shell's command line."""
    release, printed = Release(*answers), []
    ctl = SimpleNamespace(
        output=printed.append,
        upcheck=lambda: True,
        get_server_proxy=lambda _name: release,
        exitstatus=0,
        options=SimpleNamespace(plugins=[], args=[] if words is None else words),
    )
    make_controller(ctl).do_release(line)
    return printed, release.asked, ctl.exitstatus


def phase(name: str, seconds: float) -> dict[str, object]:
    return {"event": "phase.finished", "phase": name, "seconds": seconds}


def test_supervisord_that_goes_before_a_run_is_known_leaves_the_history() -> None:
    printed, _, code = run("deploy v1", BrokenPipeError(32, "Broken pipe"))

    told = "when it runs again, `release-agent history` shows all runs"
    assert printed == [f"release: supervisord has gone ([Errno 32] Broken pipe); {told}"]
    assert code == LSBInitExitStatuses.GENERIC


def test_a_rollback_that_is_over_is_well_though_supervisord_goes_then() -> None:
    printed, _, code = run("rollback", {**DEPLOYED, "outcome": "deployed"}, http.client.RemoteDisconnected("gone"))

    assert (code, len(printed)) == (0, 1)


def test_hooks_and_phases_are_printed_in_the_order_they_went_and_each_phase_once_a_sum() -> None:
    hook = {"stage": "build", "run": "make"}
    events = [
        phase("build", 0.5),
        {"event": "hook.started", **hook},
        {"event": "hook.output", "line": "größer\x1b[31m"},
        {"event": "hook.finished", **hook, "how": "exited with 0"},
        phase("hooks", 1.0),
        phase("sync", 0.1),
        phase("hooks", 3.0),
    ]
    phases = [{"name": name, "seconds": seconds} for name, seconds in {"build": 0.5, "hooks": 3.0, "sync": 0.1}.items()]

    printed, _, code = run("deploy v1", {**DEPLOYED, "phases": phases}, *events)

    assert printed[:-1] == [
        "build         0.50 s",
        "build `make`",
        "  | größer?[31m",
        "  exited with 0",
        "hooks         1.00 s",
        "sync          0.10 s",
        "hooks         3.00 s",
    ]
    assert code == 0


def test_phases_that_no_event_told_are_printed_at_the_end() -> None:
    ended = {**DEPLOYED, "phases": [{"name": "build", "seconds": 0.5}, {"name": "sync", "seconds": 0.1}]}

    printed, _, _ = run("deploy v1", {"id": "d-1", "phases": []}, ended, phase("build", 0.5))

    assert printed[:-1] == ["build         0.50 s", "sync          0.10 s"]


def test_an_older_plugin_that_knows_no_output_is_followed_all_the_same() -> None:
    printed, _, code = run("deploy v1", UNKNOWN, DEPLOYED)

    assert (printed, code) == (["deployed: v1 as 000001-v1 is live and healthy (0.0 s)"], 0)


@pytest.mark.parametrize("line", ["deploy --force v1", "deploy v1 --force"])
def test_force_is_asked_for(line: str) -> None:
    assert run(line, DEPLOYED)[1] == [("deploy", "v1", False, "supervisorctl", True)]


def test_a_dry_run_is_a_check_and_says_what_it_would_do() -> None:
    found = {"id": "c-1", "outcome": "checked", "revision": "v1", "release": "000001-v1", "commits": {"api": "c0ffee"}}
    takes = {"live": True, "build": False, "changes": {}}

    printed, asked, code = run("deploy --dry-run v1", {"id": "c-1"}, found | takes)

    assert [method for method, *_ in asked] == ["check", "getDeployment"]
    assert (printed, code) == (["v1 (api c0ffee): 000001-v1 is live already"], 0)


def test_a_dry_run_with_force_is_a_check_of_that() -> None:
    assert run("deploy --dry-run --force v1", {**DEPLOYED, "outcome": "refused"})[1] == [("check", "v1", False, True)]


@pytest.mark.parametrize(
    "line",
    ["deploy --dryrun v1", "rollback --force", "deploy v1 v2", "", "help", "history x", "history -1", "history 1 2", "status v1"],
)
def test_what_it_does_not_know_is_not_done(line: str) -> None:
    printed, asked, code = run(line)

    assert (asked, code) == ([], LSBInitExitStatuses.INVALID_ARGS)
    assert printed[0].startswith("release deploy [REVISION]")


@pytest.mark.parametrize("verb", ["deploy", "rollback"])
def test_an_empty_argument_is_an_unset_variable_and_no_wish_for_the_default(verb: str) -> None:
    # supervisorctl joins the words of its command line, and strips them.
    printed, asked, code = run(verb, words=["release", verb, ""])

    assert (asked, code) == ([], LSBInitExitStatuses.INVALID_ARGS)
    assert printed == [f"release {verb}: an argument is empty; leave it out"]


@pytest.mark.parametrize(
    ("limit", "asked"), [("7", 7), ("99999999999", xmlrpc.client.MAXINT), ("9" * 5000, xmlrpc.client.MAXINT)]
)
def test_history_asks_for_any_number_that_xml_rpc_can_carry(limit: str, asked: int) -> None:
    assert run(f"history {limit}", [])[1] == [("getHistory", asked)]


def test_history_shows_what_was_done() -> None:
    entry = {**DEPLOYED, "trigger": "rpc", "started_at": "2026-01-01T12:00:00.000000Z", "action": "rollback"}

    assert "  rollback  deployed" in run("history 1", [entry])[0][0]


def helped(capsys: pytest.CaptureFixture[str], topic: str) -> str:
    """Return what supervisorctl prints as help on a topic."""
    factories = [("supervisor", DefaultControllerPlugin, {}), ("release", make_controller, {})]
    Controller(SimpleNamespace(prompt="", plugin_factories=factories, plugins=[])).onecmd(f"help {topic}")
    return capsys.readouterr().out


def test_help_on_release_is_its_usage_only(capsys: pytest.CaptureFixture[str]) -> None:
    printed = helped(capsys, "release")

    assert printed.startswith("release deploy [REVISION]")
    assert printed.count("release deploy [REVISION]") == 1
    assert "No help" not in printed


def test_help_on_another_command_is_supervisors_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert "No help" not in helped(capsys, "stop")


def test_the_list_of_commands_has_release_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert helped(capsys, "").split().count("release") == 2  # its heading, and itself


def test_help_on_what_nobody_knows_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert helped(capsys, "nonsense") == "*** No help on nonsense\n"


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)


def test_who_typed_it_is_told_to_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")

    assert run("deploy v1", DEPLOYED)[1][0] == ("deploy", "v1", False, "supervisorctl", False, "", "ada")
    assert run("deploy --by=bob --force v1", DEPLOYED)[1][0] == ("deploy", "v1", False, "supervisorctl", True, "", "bob")
    assert run("stage v1", DEPLOYED)[1][0] == ("stage", "v1", False, "supervisorctl", "ada")
    assert run("rollback", DEPLOYED, {"follow": "tag"})[1][0] == ("rollback", "", False, "supervisorctl", "ada")


def test_a_name_of_two_words_is_no_revision() -> None:
    words = ["release", "deploy", "--by=Ada Lovelace"]

    assert run("deploy --by=Ada Lovelace", DEPLOYED, words=words)[1][0][1::5] == ("", "Ada Lovelace")


@pytest.mark.parametrize(
    "line",
    ["deploy --by ada", "deploy --wait-for v1", "deploy --wait-for= v1", "deploy --force=no", "deploy --despite-freeze=no v1"],
)
def test_an_option_with_a_value_that_it_does_not_take_or_without_its_own_starts_nothing(line: str) -> None:
    assert run(line)[1:] == ([], LSBInitExitStatuses.INVALID_ARGS)


def test_an_older_plugin_deploys_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    unknown = xmlrpc.client.Fault(Faults.INCORRECT_PARAMETERS, "too many arguments")

    _, asked, exit_code = run("stage v1", unknown, DEPLOYED)

    assert (asked, exit_code) == ([("stage", "v1", False, "supervisorctl", "ada"), ("stage", "v1", False, "supervisorctl")], 0)


def test_only_what_is_asked_for_is_told_to_the_plugin() -> None:
    assert run("deploy --despite-freeze", DEPLOYED)[1][0] == ("deploy", "", False, "supervisorctl", False, "", "", True)
    assert run("rollback --despite-freeze", DEPLOYED, {})[1][0] == ("rollback", "", False, "supervisorctl", "", True)
    assert run("rollback", DEPLOYED, {})[1][0] == ("rollback", "", False, "supervisorctl")
    assert run("stage --despite-freeze")[2] == LSBInitExitStatuses.INVALID_ARGS


def test_how_long_to_wait_is_told_to_the_plugin() -> None:
    assert run("deploy --wait-for=2m v2", DEPLOYED)[1][0] == ("deploy", "v2", False, "supervisorctl", False, "", "", False, "2m")
    refused = DEPLOYED | {"outcome": "refused", "error": {"code": "busy", "message": "", "hint": ""}}
    assert run("deploy --dry-run --wait-for=2m v2", refused)[1][0] == ("check", "v2", False, False, False, "2m")
