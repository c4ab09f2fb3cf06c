"""Convert values between clients and the plugin: check arguments, and make answers and faults that XML-RPC can carry.

Only the standard library and supervisor are imported: supervisord loads this module.
"""

from __future__ import annotations

import math
import re
import traceback
import xmlrpc.client
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from supervisor.xmlrpc import Faults, RPCError

from release_agent.config import readers
from release_agent.config.programs import ProgramFile
from release_agent.errors import FAULTS, ReleaseError
from release_agent.model import Trigger
from release_agent.repository.revision import check_revision
from release_agent.text import person

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_LONGEST_NAME = 1000  # characters
# Triggers of runs that no caller starts. A freeze lets boots pass, and rollouts read them in the history.
_NO_CALLERS = (Trigger.BOOT, Trigger.RECOVERY, Trigger.REBUILT)
# Not allowed in XML: the client could not read the answer, and a lone surrogate would cause an HTTP 500.
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Supervisor cuts a deferred answer after as many bytes as it has characters.
NO_ASCII = re.compile("[^\t\n\r -~]")


@contextmanager
def faulting(log: Callable[[str], None], foreign: re.Pattern[str] = _NO_XML) -> Iterator[None]:
    """Turn every error into a fault with a message; otherwise the client would get an HTTP 500."""
    try:
        yield
    except RPCError:
        raise
    except Exception as error:
        if not isinstance(error, ReleaseError):
            log(traceback.format_exc())
        raise _fault(error, foreign) from error


def sendable(value: Any, foreign: re.Pattern[str] = _NO_XML) -> Any:
    """Return a value that XML-RPC can carry: without None, large numbers as doubles, ``foreign`` characters escaped."""
    if isinstance(value, dict):
        return {sendable(key, foreign): sendable(member, foreign) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [sendable(member, foreign) for member in value]
    if isinstance(value, str):
        return foreign.sub(lambda found: found[0].encode("unicode_escape").decode(), value)
    return float(value) if isinstance(value, int) and abs(value) > xmlrpc.client.MAXINT else value


def revision_of(name: Any) -> str:
    """Return a revision, or "" for none; raises RPCError unless it is a name, Refused unless it can be a revision."""
    text = name_of(name)
    return check_revision(text) if text else ""


def line_of(text: Any) -> str:
    """Return a text as one line; raises RPCError for anything else."""
    return " ".join(name_of(text).split())


def trigger_of(text: Any) -> str:
    """Return the name of a trigger, as line_of(); raises RPCError for one that means a run of the agent itself."""
    named = line_of(text)
    if named in _NO_CALLERS:
        raise RPCError(Faults.INCORRECT_PARAMETERS, f"the trigger {named} is for runs that the agent starts itself")
    return named


def name_of(value: Any) -> str:
    """Return a name, which may be a release's number; raises RPCError for anything else."""
    if isinstance(value, str | int) and not isinstance(value, bool) and len(str(value)) <= _LONGEST_NAME:
        return str(value)
    raise RPCError(Faults.INCORRECT_PARAMETERS, f"a name must be a string of at most {_LONGEST_NAME} characters")


def person_of(named: Any, servers: Sequence[Mapping[str, Any]]) -> str:
    """Return the requesting person: the named one, or the user of all HTTP servers.

    Supervisor does not tell which user logged in, only which ones may. Raises RPCError for an invalid name.
    """
    users = {str(server.get("username") or "") for server in servers}
    return person(name_of(named)) or (person(users.pop()) if len(users) == 1 else "")


def boolean_of(value: Any, name: str) -> bool:
    """Return a boolean, for which some clients send 0 and 1; raises RPCError for anything else."""
    if value is None or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise RPCError(Faults.INCORRECT_PARAMETERS, f"{name} has to be a boolean")


def count_of(value: Any, name: str) -> int:
    """Return a number that XML-RPC can carry; raises RPCError unless it is a whole number from 0 on."""
    # Some clients send a number as a string, and a large one as a double.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool | float) or not str(value).isdecimal() or len(str(value)) > _LONGEST_NAME:
        raise RPCError(Faults.INCORRECT_PARAMETERS, f"{name} has to be a number, 0 or more")
    return min(int(value), xmlrpc.client.MAXINT)


def program_files_of(value: Any) -> list[ProgramFile]:
    """Return files with programs; raises RPCError for anything but a list of structs with a path and a text."""
    given = value if isinstance(value, list) else [value]
    members = [(each.get("path"), each.get("text")) for each in given if isinstance(each, dict)]
    files = [ProgramFile(path, text) for path, text in members if isinstance(path, str) and isinstance(text, str)]
    if not isinstance(value, list) or len(files) != len(given):
        raise RPCError(Faults.INCORRECT_PARAMETERS, "files must be a list of structs with path and text")
    return files


def duration_of(value: Any, name: str) -> float:
    """Return the seconds of a duration such as 2m, 0 for the empty string; raises RPCError for anything else."""
    try:
        return readers.optional_duration(value) or 0.0
    except readers.WrongValueError as error:
        raise RPCError(Faults.INCORRECT_PARAMETERS, f"{name} {error}") from error


def moment_of(value: Any, name: str) -> float:
    """Return a time in seconds since 1970; raises RPCError unless it is a number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise RPCError(Faults.INCORRECT_PARAMETERS, f"{name} has to be a number of seconds")


def _fault(error: Exception, foreign: re.Pattern[str]) -> RPCError:
    if not isinstance(error, ReleaseError):
        return RPCError(Faults.FAILED, f"a bug in the release plugin: {error!a}")
    fault = RPCError(FAULTS + error.exit_code)
    # Supervisor would put "UNKNOWN: " before it.
    fault.text = sendable(error.message, foreign)
    return fault
