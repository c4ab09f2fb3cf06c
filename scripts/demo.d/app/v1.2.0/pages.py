"""The pages of the shop in this version, which starts and is unhealthy."""

VERSION = "v1.2.0"


def front() -> str:
    """Return the front page."""
    return f"{VERSION}: welcome to the shop, now with orders"


def health() -> str:
    """Raise if the shop is not healthy."""
    message = "no such table: orders"
    raise LookupError(message)
