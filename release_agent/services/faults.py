"""Make errors for people from supervisor's faults and from failed calls."""

from __future__ import annotations

import http.client
import stat
import xmlrpc.client
from enum import IntEnum
from pathlib import Path

from release_agent.errors import Code, Failed, SupervisorGone
from release_agent.system.user import group_name, name_of
from release_agent.variables import Variable

_UNAUTHORIZED = 401


class FaultCode(IntEnum):
    """The relevant numbers of supervisor.xmlrpc.Faults; supervisor itself takes long to import."""

    UNKNOWN_METHOD = 1
    INCORRECT_PARAMETERS = 2
    SHUTDOWN_STATE = 6
    BAD_NAME = 10
    SPAWN_ERROR = 50
    ALREADY_STARTED = 60
    NOT_RUNNING = 70


def check_url(url: str) -> None:
    """Raise SupervisorGone without a URL, Failed (supervisor-refused) for a URL that cannot be supervisor's."""
    if not url:
        raise SupervisorGone(
            Code.SUPERVISOR_UNREACHABLE,
            f"the address of supervisor is unknown: neither [supervisor] url nor {Variable.SUPERVISOR_SERVER_URL} is set",
            hint=f"set [supervisor] url, or export {Variable.SUPERVISOR_SERVER_URL}=unix:///run/supervisor.sock; "
            "supervisord sets it for its programs",
        )
    if not url.startswith(("unix:///", "http://")):
        raise _no_supervisor(url, "is not a valid URL: it must be unix:///path or http://host:port")


def check_state(state: str) -> None:
    """Raise SupervisorGone if supervisor's state shows that it shuts down."""
    if state in ("RESTARTING", "SHUTDOWN"):
        raise _going()


def strange(url: str, method: str, error: ValueError | xmlrpc.client.Fault) -> Failed:
    """Make the error for an answer, or a fault, that does not come from supervisor."""
    what = f"fault {error.faultCode}: {error.faultString!a:.200}" if isinstance(error, xmlrpc.client.Fault) else error
    return _no_supervisor(url, f"answers {method} with something else: {what}")


def of_fault(url: str, method: str, fault: xmlrpc.client.Fault) -> Failed | None:
    """Return the error for an unexpected fault; None for a fault that answers the call."""
    if fault.faultCode == FaultCode.SHUTDOWN_STATE:
        return _going()
    if fault.faultCode == FaultCode.UNKNOWN_METHOD and "." not in method:
        return _no_supervisor(url, f"does not know supervisor.{method}")
    return None


def of_failure(url: str, error: Exception) -> Failed:
    """Return the error for a call without an XML-RPC answer: a refusal, another program's answer, or silence."""
    if isinstance(error, xmlrpc.client.ProtocolError):
        return _refused(url, error)
    if isinstance(error, http.client.IncompleteRead | http.client.RemoteDisconnected | OSError):
        return _silent(url, error)
    said = str(error) or type(error).__name__
    return _no_supervisor(url, f"does not speak XML-RPC: {said!a:.200}")


def _going() -> SupervisorGone:
    return SupervisorGone(
        Code.SUPERVISOR_UNREACHABLE,
        "supervisor is shutting down",
        hint="wait for `boot`, which finishes the run when supervisor is back",
    )


def _silent(url: str, error: Exception) -> SupervisorGone:
    hint = "start supervisord, or fix [supervisor] url; `release-agent doctor` checks the whole set-up"
    return SupervisorGone(
        Code.SUPERVISOR_UNREACHABLE,
        f"supervisor at {url} does not answer: {error or type(error).__name__}",
        hint=(isinstance(error, PermissionError) and _who_may_use(url.removeprefix("unix://"))) or hint,
    )


def _who_may_use(socket: str) -> str:
    """Return a hint that names the user who may use a socket; empty if the socket cannot be inspected."""
    try:
        there = Path(socket).stat()
    except OSError:
        return ""
    if there.st_mode & stat.S_IWGRP:
        return f"run it as root, or as a user in the group {group_name(there.st_gid)}, who may use {socket}"
    return f"run it as {name_of(there.st_uid)}, who owns {socket}, or set chown and chmod of [unix_http_server]"


def _no_supervisor(url: str, why: str) -> Failed:
    return Failed(
        Code.SUPERVISOR_REFUSED,
        f"the program at {url} is not a supervisor with [rpcinterface:supervisor]: it {why}",
        hint=f"fix [supervisor] url or {Variable.SUPERVISOR_SERVER_URL}, or supervisord's own configuration",
    )


def _refused(url: str, error: xmlrpc.client.ProtocolError) -> Failed:
    if error.errcode == _UNAUTHORIZED:
        return Failed(
            Code.SUPERVISOR_REFUSED,
            f"supervisor at {url} wants a user and a password",
            hint=f"set {Variable.SUPERVISOR_USERNAME} and {Variable.SUPERVISOR_PASSWORD} in the program's environment",
        )
    return Failed(
        Code.SUPERVISOR_REFUSED,
        f"supervisor at {url} answered {error.errcode} {error.errmsg}",
        hint="check that this is supervisor's URL",
    )
