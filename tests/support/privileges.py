"""Become a user who needs permissions: root ignores them."""

from __future__ import annotations

import codecs
import importlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
# Import these now: Python reads a module at its first use, and nobody may be unable to read it.
for _encoding in ("ascii", "idna"):
    codecs.lookup(_encoding)
for _module in ("git", "structlog", "xmlrpc.client"):
    importlib.import_module(_module)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be the user nobody in this context if the tests run as root; processes started in it keep this user."""
    users = os.getresuid()
    if users[1] != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(*users)
