from __future__ import annotations

import json

import pytest

from release_agent.errors import Misconfigured
from release_agent.model import Action, Request
from release_agent.request import PluginRequest

WRITTEN = [
    PluginRequest(Request("1", Action.DEPLOY, revision="v1.0.0", trigger="rpc")),
    PluginRequest(Request("2", Action.DEPLOY, trigger="webhook of the forge")),
    PluginRequest(Request("3", Action.ROLLBACK, release="000001-aaaaaaaaaaaa", trigger="supervisorctl")),
    PluginRequest(Request("4", Action.DEPLOY, revision="main", trigger="rpc"), check=True),
    PluginRequest(Request("5", Action.DEPLOY, revision="v1.0.0", trigger="rollout-1", expected="000001-aaaaaaaaaaaa")),
]


@pytest.mark.parametrize("request_", WRITTEN, ids=lambda wanted: wanted.request.id)
def test_the_program_reads_what_the_plugin_wrote(request_: PluginRequest) -> None:
    assert PluginRequest.from_environ(request_.to_environ()) == request_


def test_a_request_has_the_name_and_the_keys_that_older_and_newer_versions_know() -> None:
    """supervisord may have loaded the plugin before the program was upgraded."""
    written = [wanted.to_environ() for wanted in WRITTEN]

    assert [list(environ) for environ in written] == [["RELEASE_AGENT_REQUEST"]] * 5
    assert [json.loads(environ["RELEASE_AGENT_REQUEST"]) for environ in written] == [
        {"id": "1", "action": "deploy", "revision": "v1.0.0", "trigger": "rpc"},
        {"id": "2", "action": "deploy", "revision": "", "trigger": "webhook of the forge"},
        {"id": "3", "action": "rollback", "release": "000001-aaaaaaaaaaaa", "trigger": "supervisorctl"},
        {"id": "4", "action": "check", "revision": "main", "trigger": "rpc"},
        {"id": "5", "action": "deploy", "revision": "v1.0.0", "trigger": "rollout-1", "expected": "000001-aaaaaaaaaaaa"},
    ]


def test_a_request_with_keys_of_a_newer_plugin_is_read() -> None:
    read = PluginRequest.from_environ({"RELEASE_AGENT_REQUEST": '{"id": "1", "force": true, "unheard_of": 1}'})

    assert read == PluginRequest(Request("1", Action.DEPLOY, force=True, trigger="rpc"))


@pytest.mark.parametrize("environ", [{}, {"RELEASE_AGENT_REQUEST": ""}])
def test_without_a_request_the_command_line_counts(environ: dict[str, str]) -> None:
    assert PluginRequest.from_environ(environ) is None


@pytest.mark.parametrize("value", ["{", "[]", "1", "{}", '{"id": "1", "action": "dance"}'])
def test_what_is_no_request_is_refused(value: str) -> None:
    with pytest.raises(Misconfigured, match="RELEASE_AGENT_REQUEST is not a request"):
        PluginRequest.from_environ({"RELEASE_AGENT_REQUEST": value})


@pytest.mark.parametrize(
    "value",
    [
        '{"id": "1", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"id": "\\ud800"}',
        '{"id": "1", "revision": "v1\\udfff"}',
        '{"id": "1", "revision": "v1\udcff"}',
        '{"id": ' + "9" * 10_000 + "}",
    ],
    ids=["nesting", "surrogate in the id", "surrogate in the revision", "byte that is no text", "digits"],
)
def test_a_request_that_cannot_be_read_or_written_down_is_refused(value: str) -> None:
    with pytest.raises(Misconfigured, match="RELEASE_AGENT_REQUEST is not a request") as failed:
        PluginRequest.from_environ({"RELEASE_AGENT_REQUEST": value})

    failed.value.message.encode()


def test_who_asked_reaches_the_program() -> None:
    wanted = PluginRequest(Request("1", Action.ROLLBACK, release="000001-aaaaaaaaaaaa", trigger="rpc", by="ada"))

    assert PluginRequest.from_environ(wanted.to_environ()) == wanted


def test_how_a_run_is_to_go_reaches_the_program() -> None:
    wanted = PluginRequest(Request("1", revision="v1", trigger="rpc", despite_freeze=True, wait_for=120.0))

    assert PluginRequest.from_environ(wanted.to_environ()) == wanted
