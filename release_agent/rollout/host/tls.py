"""TLS to hosts with an https RPC."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.errors import Code, Misconfigured
from release_agent.system.disk import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST = 1 << 20  # bytes of certificates


def client_context(ca_file: str, client_cert: str) -> ssl.SSLContext:
    """Return the context of all calls; raises Misconfigured for an unusable file.

    ``ca_file``: the authorities to trust (empty: those of the system). ``client_cert``: a certificate and its key for the hosts.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file:
        with _explained("--ca-file", ca_file, "certificates in PEM"):
            context.load_verify_locations(cadata=read_regular(Path(ca_file), _LARGEST).decode())
    else:
        context.load_default_certs()
    if client_cert:
        with _explained("--client-cert", client_cert, "a certificate and its key in PEM, without a passphrase"):
            read_regular(Path(client_cert), _LARGEST)  # OpenSSL would wait for a pipe
            context.load_cert_chain(client_cert, password="")  # never ask for a passphrase
    return context


@contextmanager
def _explained(option: str, path: str, wanted: str) -> Iterator[None]:
    try:
        yield
    except (ssl.SSLError, ValueError) as error:
        raise _unusable(option, path, f"it does not hold {wanted}") from error
    except OSError as error:
        raise _unusable(option, path, error.strerror or str(error)) from error


def _unusable(option: str, path: str, why: str) -> Misconfigured:
    message = f"{option} {path} cannot be used: {why}"
    return Misconfigured(Code.INVENTORY_INVALID, message, hint="name a file in PEM that this user can read")
