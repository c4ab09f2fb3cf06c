"""Check the programs that come with a release, and give them to supervisord, over the plugin's RPC."""

from __future__ import annotations

import re
import xmlrpc.client
from typing import TYPE_CHECKING, TypeVar

from release_agent.config.load import describe
from release_agent.config.schema import Problem
from release_agent.errors import Code, Failed
from release_agent.health import BroughtGroup, ProgramsChange
from release_agent.services import answers
from release_agent.services.faults import FaultCode, strange
from release_agent.services.plugin import PLUGIN_HINT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from release_agent.config.programs import ProgramFile
    from release_agent.services.rpc import Rpc

_T = TypeVar("_T")
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HINT = "fix the file in the repository and tag again"


class ReleasePrograms:
    """The programs of releases in one supervisord. Every method may raise SupervisorGone."""

    def __init__(self, rpc: Rpc) -> None:
        """``rpc`` reaches supervisord."""
        self._rpc = rpc

    def check(self, files: Sequence[ProgramFile]) -> list[BroughtGroup]:
        """Return the groups that files make; raises Failed (plugin-needed, service-refused, programs-invalid)."""
        if not files:
            return []
        given = [{"path": file.path, "text": _sendable(file.text)} for file in files]
        problems, groups = self._call(answers.checked_programs, "release.checkPrograms", given)
        if problems:
            message = describe("the programs of the release", [Problem("", problem) for problem in problems])
            raise Failed(Code.PROGRAMS_INVALID, message, hint=_HINT)
        return groups

    def update(self, files: Sequence[ProgramFile]) -> ProgramsChange:
        """Give supervisord the programs of the live release, from these files; raises Failed."""
        try:
            return self._call(answers.programs_change, "release.updatePrograms")
        except Failed as failed:
            if files or failed.code is not Code.PLUGIN_NEEDED:
                raise
            return ProgramsChange()  # without the plugin no release has brought programs

    def renew(self, group: str) -> None:
        """Give supervisord the live release's section of a stopped group, or remove the group; raises Failed."""
        self._call(bool, "release.renewGroup", group)

    def _call(self, read: Callable[[object], _T], method: str, *arguments: object) -> _T:
        try:
            answer = self._rpc(method, *arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == FaultCode.UNKNOWN_METHOD:
                raise Failed(
                    Code.PLUGIN_NEEDED,
                    "programs that come with a release need the plugin inside supervisord, which is missing or too old",
                    hint=f"{PLUGIN_HINT}, or remove `programs` from release.toml",
                ) from fault
            hint = "check [rpcinterface:release] in supervisor.d/plugin.conf, and supervisord's log"
            raise Failed(Code.SERVICE_REFUSED, str(fault.faultString), hint=hint) from fault
        try:
            return read(answer)
        except ValueError as error:
            raise strange(self._rpc.url, method, error) from error


def _sendable(text: str) -> str:
    """Return a text that XML can carry, with every other character replaced by one that the check refuses."""
    return _NO_XML.sub("\x7f", text)
