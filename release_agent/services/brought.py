"""The programs that come with a release: checked, and made known to supervisord, over the plugin's RPC."""

from __future__ import annotations

import re
import xmlrpc.client
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from release_agent.errors import Code, Failed, SupervisorGone
from release_agent.health import BroughtGroup, ProgramsChange
from release_agent.services import answers
from release_agent.services.faults import strange
from release_agent.services.plugin import PLUGIN_HINT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from release_agent.config.programs import ProgramFile
    from release_agent.services.rpc import Rpc

_T = TypeVar("_T")
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HINT = "fix it in the repository and tag again"


class ReleasePrograms:
    """The programs of releases in one supervisord. Every method may raise SupervisorGone."""

    def __init__(self, rpc: Rpc) -> None:
        """``rpc`` reaches supervisord."""
        self._rpc = rpc

    def check(self, files: Sequence[ProgramFile]) -> list[BroughtGroup]:
        """Return the groups that files make; raises Failed (plugin-needed, service-refused, programs-invalid)."""
        if not files:
            return []
        self._require()
        given = [{"path": file.path, "text": _sendable(file.text)} for file in files]
        problems, groups = self._call(answers.checked_programs, "release.checkPrograms", given)
        if problems:
            count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            message = "\n".join([f"{count} in the programs of the release:", *(f"  {problem}" for problem in problems)])
            raise Failed(Code.PROGRAMS_INVALID, message, hint=_HINT)
        return groups

    def update(self, files: Sequence[ProgramFile]) -> ProgramsChange:
        """Let supervisord have the programs of the live release, which are in these files; raises Failed."""
        if self._is_there or files:
            self._require()
            return self._call(answers.programs_change, "release.updatePrograms")
        return ProgramsChange()

    def renew(self, group: str) -> None:
        """Let supervisord have a group that has stopped as the live release has it, or not at all; raises Failed."""
        self._call(bool, "release.renewGroup", group)

    def _require(self) -> None:
        if not self._is_there:
            raise Failed(
                Code.PLUGIN_NEEDED,
                "programs that come with a release need the plugin inside supervisord, and it is not there, or an older one",
                hint=f"{PLUGIN_HINT}, or remove `programs` from release.toml",
            )

    @cached_property
    def _is_there(self) -> bool:
        try:
            methods = self._rpc("system.listMethods")
        except SupervisorGone:
            raise
        except (xmlrpc.client.Fault, Failed):
            return False
        return isinstance(methods, list) and "release.updatePrograms" in methods

    def _call(self, read: Callable[[object], _T], method: str, *arguments: object) -> _T:
        try:
            answer = self._rpc(method, *arguments)
        except xmlrpc.client.Fault as fault:
            hint = "see [rpcinterface:release] in supervisor.d/plugin.conf, and supervisord's own log"
            raise Failed(Code.SERVICE_REFUSED, str(fault.faultString), hint=hint) from fault
        try:
            return read(answer)
        except ValueError as error:
            raise strange(self._rpc.url, method, error) from error


def _sendable(text: str) -> str:
    """Return a text as XML can carry it: what it cannot becomes a character that the check refuses."""
    return _NO_XML.sub("\x7f", text)
