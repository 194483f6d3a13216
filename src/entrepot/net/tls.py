"""TLS contexts from certificate files, by the standard library."""

from __future__ import annotations

import ssl
from pathlib import Path

from entrepot.model.errors import Reason, Refused


def server_context(certificate: Path, key: Path, client_authorities: Path | None = None, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """A context of the library's current defaults, TLS 1.2 at least. With `client_authorities`, clients must show a certificate signed by one.

    Raises Refused if a file is missing or is not what it should be; the text names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (certificate, key, client_authorities):
        if path is not None and not path.is_file():
            raise Refused(Reason.INVALID, f"tls: {path} is not a file")
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise Refused(Reason.INVALID, f"tls: {certificate} and {key} are not a certificate chain and its key in PEM: {error}") from None
    if client_authorities is not None:
        try:
            context.load_verify_locations(client_authorities)
        except (ssl.SSLError, OSError) as error:
            raise Refused(Reason.INVALID, f"tls: {client_authorities} holds no certificates in PEM: {error}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context
