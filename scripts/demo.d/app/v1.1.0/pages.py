"""The pages of the shop in this version."""

VERSION = "v1.1.0"


def front() -> str:
    """Return the front page."""
    return f"{VERSION}: welcome to the shop, now with a sale"


def health() -> str:
    """Raise if the shop is not healthy."""
    return "ok"
