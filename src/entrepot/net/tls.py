"""TLS contexts from certificate files, by the standard library."""

from __future__ import annotations

import ssl
from pathlib import Path

from entrepot.model.errors import Reason, Refused
from entrepot.model.listeners import PLAIN


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


_WHY = {
    "WRONG_VERSION_NUMBER": ("it does not begin as TLS does", PLAIN),
    "HTTP_REQUEST": ("a request of HTTP in the clear", PLAIN),
    "HTTPS_PROXY_REQUEST": ("a request of HTTP in the clear", PLAIN),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": ("the client shows no certificate, and tls.client_authorities asks for one", ""),
    "CERTIFICATE_VERIFY_FAILED": ("the client's certificate is signed by none of tls.client_authorities", ""),
    "UNSUPPORTED_PROTOCOL": ("the client offers no TLS 1.2 or later", ""),
    "TLSV1_ALERT_UNKNOWN_CA": ("the client does not trust the certificate (tls.certificate)", ""),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": ("the client does not trust the certificate (tls.certificate)", ""),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("the client does not take the certificate (tls.certificate)", ""),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("for the client the certificate (tls.certificate) has expired", ""),
}


def why_no_handshake(error: OSError) -> tuple[str, str]:
    """Why a connection was not made, and what it looks like: PLAIN, or "" where that says no more."""
    known = _WHY.get(error.reason or "") if isinstance(error, ssl.SSLError) else None
    if known is not None:
        why, look = known
        detail = getattr(error, "verify_message", "")
        return (f"{why}: {detail}" if detail else why), look
    if isinstance(error, ConnectionResetError):
        return "the client ended the connection", ""
    return str(error) or type(error).__name__, ""
