"""Wait for a supervisord that has been started and does not listen yet, as after `docker run --detach`."""

from __future__ import annotations

import os
import xmlrpc.client
from typing import TYPE_CHECKING

from release_agent.errors import Failed, SupervisorGone
from release_agent.services.sections import Sections, UnknownSectionsError, running
from release_agent.system.processes import environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.services.rpc import Rpc
    from release_agent.system.clock import Clock

_LONGEST = 30  # seconds; a supervisord that ends before has no more to wait for
_POLL = 0.1


def await_start(rpc: Rpc, clock: Clock, tell: Callable[[str], object]) -> None:
    """Wait until supervisord listens, but only while one runs here whose configuration has its URL, and at most 30 s.

    ``tell`` gets one sentence if this has to wait. The next call tells whether supervisord answers.
    """
    end = clock.now() + _LONGEST
    told = False
    while not _listens(rpc) and _runs(rpc.url) and clock.now() < end:
        if not told:
            tell(f"supervisord runs and does not listen at {rpc.url} yet: waiting at most {_LONGEST} s")
        told = True
        clock.sleep(_POLL)


def _listens(rpc: Rpc) -> bool:
    try:
        rpc("getState")
    except SupervisorGone as gone:
        return not isinstance(gone.__cause__, FileNotFoundError | ConnectionRefusedError)
    except (Failed, xmlrpc.client.Fault):  # a refusal is an answer
        return True
    return True


def _runs(url: str) -> bool:
    """Return whether a supervisord runs here that listens at a URL once it has started."""
    return any(_plain(url) in map(_plain, _urls(pid)) for pid in running())


def _urls(pid: int) -> list[str]:
    try:
        return Sections(pid, environment(pid)).urls
    except UnknownSectionsError:
        return []


def _plain(url: str) -> str:
    path = url.removeprefix("unix://")
    return url.replace("//localhost:", "//127.0.0.1:") if path == url else os.path.realpath(path)
