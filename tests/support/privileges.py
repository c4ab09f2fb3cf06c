"""To be a user to whom permissions mean something: root ignores them."""

from __future__ import annotations

import codecs
import importlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
# Python reads modules when it first needs them, and they may not be nobody's to read.
for _encoding in ("ascii", "idna"):
    codecs.lookup(_encoding)
for _module in ("git", "structlog", "xmlrpc.client"):
    importlib.import_module(_module)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be nobody for a while, where the tests run as root; what is started meanwhile stays nobody's."""
    users = os.getresuid()
    if users[1] != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(*users)
