"""What the shop shows, in this version: it starts and it is not well."""

VERSION = "v1.2.0"


def front() -> str:
    """Return the front page."""
    return f"{VERSION}: welcome to the shop, now with orders"


def health() -> str:
    """Say that all is well; raises where it is not."""
    message = "no such table: orders"
    raise LookupError(message)
