"""Handle URLs with a user and a password, which must never be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)?(.*)", re.DOTALL)


@dataclass(frozen=True)
class Address:
    """A URL without credentials; ``credentials``: the original ``user:password``, percent-encoded, empty if it had none."""

    url: str
    credentials: str = field(default="", repr=False)

    @classmethod
    def of(cls, given: str) -> Self:
        """Take the credentials out of a URL, or of ``host:port``. A password may contain a plain ``@`` or ``/``."""
        found = _SCHEME.fullmatch(given)
        scheme, rest = (found[1] or "", found[2]) if found else ("", given)
        credentials, at, place = rest.rpartition("@")
        if not at or (scheme == "unix://" and rest.startswith("/")):  # the path of a socket
            return cls(given)
        return cls(scheme + place, credentials)

    @property
    def login(self) -> tuple[str, str] | None:
        """The decoded user and password; None if there are none."""
        from urllib.parse import unquote  # few have credentials in a URL

        user, _, password = self.credentials.partition(":")
        return (unquote(user), unquote(password)) if self.credentials else None

    def secrets(self) -> Iterator[str]:
        """Yield every form of the credentials in text, the longest first."""
        if self.login:
            user, password = self.login
            yield self.credentials
            yield f"{user}:{password}"
            yield self.credentials.partition(":")[2] or self.credentials
            yield password or user
