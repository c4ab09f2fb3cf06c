"""Find the error of TLS among the errors that libraries wrap around it."""

from __future__ import annotations

import ssl


def tls_error(error: BaseException) -> ssl.SSLError | None:
    """Return the error of ``ssl`` that caused an error of requests; None if TLS was not the cause."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, ssl.SSLError):
            return cause
        # urllib3 does not always set __cause__ to the error that it wraps.
        cause = cause.__cause__ or next((one for one in cause.args if isinstance(one, Exception)), None) or cause.__context__
    return None
