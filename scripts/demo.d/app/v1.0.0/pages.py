"""What the shop shows, in this version."""

VERSION = "v1.0.0"


def front() -> str:
    """Return the front page."""
    return f"{VERSION}: welcome to the shop"


def health() -> str:
    """Return if all is healthy; raises otherwise."""
    return "ok"
