"""What the shop shows, in this version: it starts well, and under load it runs out of connections."""

import itertools

VERSION = "v1.3.0"
_CONNECTIONS = 300
_used = itertools.count(1)
_last = 0


def front() -> str:
    """Return the front page; each one takes a connection to the database, and none is given back."""
    global _last  # noqa: PLW0603 - the mistake of this version
    _last = next(_used)
    return f"{VERSION}: welcome to the shop, now with orders that work"


def health() -> str:
    """Return if all is healthy; raises otherwise."""
    if _last > _CONNECTIONS:
        message = f"all {_CONNECTIONS} connections to the database are taken"
        raise LookupError(message)
    return "ok"
