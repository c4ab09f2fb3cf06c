"""What the shop shows, in this version: it starts and is unhealthy."""

VERSION = "v1.2.0"


def front() -> str:
    """Return the front page."""
    return f"{VERSION}: welcome to the shop, now with orders"


def health() -> str:
    """Return if all is healthy; raises otherwise."""
    message = "no such table: orders"
    raise LookupError(message)
