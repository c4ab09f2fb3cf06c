"""Call the plugin inside supervisord for a deployment, over its RPC."""

from __future__ import annotations

import xmlrpc.client
from functools import cached_property
from typing import TYPE_CHECKING

from release_agent.errors import Code, Failed, SupervisorGone
from release_agent.health import Process, Rehearsed
from release_agent.services import answers
from release_agent.services.faults import strange

if TYPE_CHECKING:
    from release_agent.health import Candidate
    from release_agent.services.rpc import Rpc

PLUGIN_HINT = "add supervisor.d/plugin.conf with the right `config`, and restart supervisord"


def is_loaded(rpc: Rpc) -> bool:
    """Return whether supervisord has this plugin, even without its configuration; raises Failed, xmlrpc.client.Fault."""
    methods = rpc("system.listMethods")
    return isinstance(methods, list) and "release.getCandidates" in methods


class PluginCalls:
    """Calls of the plugin. Every method may raise SupervisorGone."""

    def __init__(self, rpc: Rpc) -> None:
        """``rpc`` reaches supervisord."""
        self._rpc = rpc

    def require(self) -> None:
        """Raise Failed (plugin-needed) unless supervisord has the plugin, and the plugin can read its configuration."""
        if self._trouble is not None:
            raise Failed(
                Code.PLUGIN_NEEDED,
                f"a rehearsal needs the plugin inside supervisord, and {self._trouble}",
                hint=PLUGIN_HINT + ", or remove [service.rehearsal]",
            )

    @cached_property
    def _trouble(self) -> str | None:
        """The reason why the plugin does not work, None if it works."""
        try:
            if not is_loaded(self._rpc):
                return "it is missing or too old"
            self._rpc("release.getReleasesInUse", "release-rehearsal")  # any call that needs the configuration
        except SupervisorGone:
            raise
        except (xmlrpc.client.Fault, Failed) as error:
            why = error.faultString if isinstance(error, xmlrpc.client.Fault) else error.message
            return f"it cannot work: {why}"
        return None

    def candidates(self, service: str, release: str = "") -> list[Candidate]:
        """Return the processes that a rehearsal may copy; raises Failed. ``release``: a release that may bring the service."""
        try:
            return answers.candidates(self._call("release.getCandidates", service, *([release] if release else [])))
        except ValueError as error:
            raise strange(self._rpc.url, "release.getCandidates", error) from error

    def rehearse(self, release: str, service: str) -> Rehearsed:
        """Start a copy of one of a service's processes; raises Failed."""
        try:
            name, port, socket = answers.rehearsed(self._call("release.rehearse", release, service))
        except ValueError as error:
            raise strange(self._rpc.url, "release.rehearse", error) from error
        group, _, process = name.rpartition(":")
        return Rehearsed(Process(group, process, "STARTING", 0), port, socket)

    def end_rehearsal(self) -> bool:
        """Stop the copy; returns whether it has stopped. Raises Failed."""
        return self._call("release.endRehearsal") is True

    def socket_of(self, service: str) -> str | None:
        """Return the socket that supervisord holds for a service, empty if it holds none; None without a working plugin."""
        if self._trouble is not None:
            return None
        try:
            answer = self._rpc("release.getSocket", service)
        except SupervisorGone:
            raise
        except (xmlrpc.client.Fault, Failed):
            return None
        return answer if isinstance(answer, str) else None

    def hold_socket(self, service: str) -> bool:
        """Hold supervisord's socket for a service; returns False if it has none, or without the plugin."""
        return self._asked("release.holdSocket", service)

    def let_go_socket(self, service: str) -> None:
        """Release the socket; the plugin also does that when this run has ended."""
        self._asked("release.letGoSocket", service)

    def last_words(self, service: str, since: float) -> tuple[str, list[str]]:
        """Return the end of a service's process, and the last lines of those started since a time.

        ``since``: seconds since 1970. Both are empty without the plugin, and if they are unknown.
        """
        try:
            return answers.last_words(self._rpc("release.getLastWords", service, since))
        except (xmlrpc.client.Fault, Failed, ValueError):
            return "", []

    def releases_in_use(self, service: str) -> dict[str, list[int]]:
        """Return the pids of a service's processes, children included, by the release that they work in or have mapped.

        Processes that the plugin may not inspect have an empty name. Without the plugin the answer is empty.
        """
        try:
            return answers.releases(self._rpc("release.getReleasesInUse", service))
        except SupervisorGone:
            raise
        except (xmlrpc.client.Fault, Failed, ValueError):
            return {}

    def _asked(self, method: str, service: str) -> bool:
        """Return whether the plugin carried out a method; False without the plugin."""
        try:
            return self._rpc(method, service) is True
        except SupervisorGone:
            raise
        except (xmlrpc.client.Fault, Failed):
            return False

    def _call(self, method: str, *arguments: object) -> object:
        try:
            answer: object = self._rpc(method, *arguments)
        except xmlrpc.client.Fault as fault:
            raise Failed(
                Code.REHEARSAL_FAILED,
                f"supervisor could not rehearse: {fault.faultString}",
                hint="check [service.rehearsal] and supervisord's log",
            ) from fault
        return answer
