"""What the shop shows, in this version."""

VERSION = "v1.0.0"


def front() -> str:
    """Return the front page."""
    return f"{VERSION}: welcome to the shop"


def health() -> str:
    """Say that all is well; raises where it is not."""
    return "ok"
