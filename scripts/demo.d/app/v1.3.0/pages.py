"""The pages of the shop in this version, which starts healthy and runs out of connections under load."""

import itertools

VERSION = "v1.3.0"
# So few that it runs out of them while it is proved, also on a machine that answers few requests.
_CONNECTIONS = 5
_used = itertools.count(1)
_last = 0


def front() -> str:
    """Return the front page; each one takes a connection to the database, and gives none back."""
    global _last  # noqa: PLW0603 - the mistake of this version
    _last = next(_used)
    return f"{VERSION}: welcome to the shop, now with orders that work"


def health() -> str:
    """Raise if the shop is not healthy."""
    if _last > _CONNECTIONS:
        message = f"all {_CONNECTIONS} connections to the database are taken"
        raise LookupError(message)
    return "ok"
