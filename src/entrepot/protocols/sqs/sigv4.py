"""AWS Signature Version 4 as a checker: a request's signature, in its Authorization header or in its query (presigned).

    canonical request   method, path, sorted query, signed headers, their names, hash of the body; a line each
    string to sign      AWS4-HMAC-SHA256, time, scope (date/region/service/aws4_request), hash of the canonical request
    signing key         HMAC-SHA256 chain of "AWS4" + secret over date, region, service, "aws4_request"

Region and service are the signer's: they are part of the scope, and clients may be set up for any region. Session tokens are signed like
any header and otherwise not looked at: there are no temporary credentials here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from entrepot.protocols.sqs.errors import SqsError

if TYPE_CHECKING:
    from entrepot.protocols.sqs.framing import Request

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_S = 15 * 60
EXPIRES_MAX_S = 7 * 24 * 3600
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
KEYS_MAX = 1024  # signing keys, and signers, remembered; one more forgets all
SIGNED_MAX = 100  # headers
CREDENTIAL_MAX = 256  # characters
START_MAX = 1024  # characters of a header before its signature that are remembered
PARAMETERS_MAX = 256

_TIME = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_HEX_64 = re.compile(r"[0-9a-f]{64}")
_SPACES = re.compile(rb" {2,}")


_signers: dict[bytes, Signer] = {}  # by the header up to the signature


class Signer(NamedTuple):
    """What does not change from one request of a client to the next: who signs, for what, and which headers."""

    key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[bytes, ...]  # in the order that they are said in
    names: frozenset[bytes]  # the same

    @property
    def scope(self) -> str:
        """As it is signed."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


class Claim(NamedTuple):
    """What a request says of its signature."""

    signer: Signer
    time: str  # YYYYMMDDTHHMMSSZ
    signature: str
    expires_s: int  # of a presigned one, else -1

    @property
    def key_id(self) -> str:
        """Of the access key."""
        return self.signer.key_id


def incomplete(text: str) -> SqsError:
    """The signature is not all there."""
    return SqsError("IncompleteSignatureException", text)


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request's target, which may be a whole URL."""
    path, _, query = target.partition(b"?")
    if not path.startswith(b"/"):
        _, found, rest = path.partition(b"://")
        path = (b"/" + rest.partition(b"/")[2]) if found else b"/" + path
    return path, query


def query_pairs(query: bytes) -> list[tuple[str, str]]:
    """Names and values of a query, decoded, in order. Raises SqsError."""
    pairs = query.split(b"&") if query else []
    if len(pairs) > PARAMETERS_MAX:
        raise incomplete(f"A query may have {PARAMETERS_MAX} parameters.")
    found = []
    for pair in pairs:
        if pair:
            name, _, value = pair.partition(b"=")
            found.append((unquote_to_bytes(name).decode("latin-1"), unquote_to_bytes(value).decode("latin-1")))
    return found


def read_claim(request: Request) -> Claim | None:
    """What the request says of who signed it; None: nothing. Raises SqsError for what is not whole."""
    if request.authorization:
        return _of_header(request)
    if b"X-Amz-Signature" in request.target or b"X-Amz-Credential" in request.target:
        return _of_query(request)
    return None


def maybe_key_id(request: Request) -> str:
    """The access key that a request names, whoever it is; "" for none that can be read."""
    try:
        claim = read_claim(request)
    except SqsError:
        return ""
    return claim.key_id if claim is not None else ""


def _of_header(request: Request) -> Claim:
    when = request.header(b"x-amz-date")
    start, found, signature = request.authorization.rpartition(b"Signature=")
    signer = _signers.get(start)
    if signer is not None and found and when is not None and b"," not in signature:
        return _claim(signer, when.decode("latin-1"), signature.strip().decode("latin-1"), -1)
    text = request.authorization.decode("latin-1")
    algorithm, _, rest = text.partition(" ")
    if algorithm != ALGORITHM:
        raise incomplete(f"Authorization header requires '{ALGORITHM}'.")
    parts: dict[str, str] = {}
    for part in rest.split(","):
        name, _, value = part.strip().partition("=")
        parts[name] = value
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not parts.get(name):
            raise incomplete(f"Authorization header requires '{name}' parameter.")
    if when is None:
        raise incomplete("Authorization header requires existence of an 'X-Amz-Date' header.")
    signer = _signer(parts["Credential"], parts["SignedHeaders"])
    claim = _claim(signer, when.decode("latin-1"), parts["Signature"], -1)
    if found and b"," not in signature and len(start) <= START_MAX:
        if len(_signers) >= KEYS_MAX:
            _signers.clear()
        _signers[start] = signer
    return claim


def _of_query(request: Request) -> Claim:
    parts = dict(query_pairs(split_target(request.target)[1]))
    for name in ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature"):
        if not parts.get(name):
            raise incomplete(f"AWS query-string parameters must include '{name}'.")
    if parts["X-Amz-Algorithm"] != ALGORITHM:
        raise incomplete(f"X-Amz-Algorithm must be '{ALGORITHM}'.")
    expires = parts.get("X-Amz-Expires", str(EXPIRES_MAX_S))
    if not (expires.isascii() and expires.isdigit() and len(expires) < 9 and 1 <= int(expires) <= EXPIRES_MAX_S):
        raise incomplete(f"X-Amz-Expires must be between 1 and {EXPIRES_MAX_S} seconds.")
    return _claim(_signer(parts["X-Amz-Credential"], parts["X-Amz-SignedHeaders"]), parts["X-Amz-Date"], parts["X-Amz-Signature"], int(expires))


def _signer(credential: str, signed_headers: str) -> Signer:
    if len(credential) > CREDENTIAL_MAX:
        raise incomplete(f"Credential may have {CREDENTIAL_MAX} characters.")
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or parts[4] != "aws4_request":
        raise incomplete("Credential must have exactly 5 slash-delimited elements: KEY_ID/YYYYMMDD/REGION/SERVICE/aws4_request.")
    names = tuple(name.encode("latin-1", "replace") for name in signed_headers.split(";", SIGNED_MAX))
    if len(names) > SIGNED_MAX:
        raise incomplete(f"A signature may be over {SIGNED_MAX} headers.")
    return Signer(parts[0], parts[1], parts[2], parts[3], names, frozenset(names))


def _claim(signer: Signer, when: str, signature: str, expires_s: int) -> Claim:
    if not _TIME.fullmatch(when) or not when.startswith(signer.date):
        raise incomplete("Date must be in ISO-8601 'basic format', YYYYMMDDTHHMMSSZ, and of the day that Credential says.")
    return Claim(signer, when, signature, expires_s)


class Verifier:
    """Checks signatures; keeps signing keys, which change by the day."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str, str, str], bytes] = {}
        self._last_time = ""
        self._last_time_s = 0

    def verify(self, request: Request, claim: Claim, secret: str, now_ms: int) -> None:
        """Return where the signature is right and of now. Raises SqsError."""
        if claim.time != self._last_time:  # requests of one second say the same
            try:
                self._last_time_s = int(datetime.strptime(claim.time, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
            except ValueError:
                raise incomplete("X-Amz-Date is no date.") from None
            self._last_time = claim.time
        signed_s = self._last_time_s
        now_s = now_ms // 1000
        if signed_s > now_s + SKEW_S or now_s > signed_s + (claim.expires_s if claim.expires_s >= 0 else SKEW_S):
            if claim.expires_s >= 0:
                raise SqsError("RequestExpiredException", f"Request has expired: signed {claim.time}, good for {claim.expires_s} s.")
            raise SqsError("InvalidSignatureException", f"Signature expired: {claim.time} is more than {SKEW_S // 60} minutes from the broker's time.")
        signer = claim.signer
        name = (secret, signer.date, signer.region, signer.service)
        key = self._keys.get(name) or self._key(secret, signer)
        if not self._is_right(key, claim, canonical_request(request, claim)) and not (
            b"+" in request.target and self._is_right(key, claim, canonical_request(request, claim, as_sent=True))
        ):
            raise SqsError(
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.",
            )
        if name not in self._keys:  # who cannot sign has nothing remembered
            if len(self._keys) >= KEYS_MAX:
                self._keys.clear()
            self._keys[name] = key

    def forget(self) -> None:
        """Keep no key of before."""
        self._keys.clear()

    def _is_right(self, key: bytes, claim: Claim, canonical: bytes) -> bool:
        to_sign = f"{ALGORITHM}\n{claim.time}\n{claim.signer.scope}\n{hashlib.sha256(canonical).hexdigest()}"
        expected = hmac.digest(key, to_sign.encode("latin-1", "replace"), "sha256").hex()
        return hmac.compare_digest(expected.encode(), claim.signature.encode("latin-1", "replace"))

    def _key(self, secret: str, signer: Signer) -> bytes:
        key = ("AWS4" + secret).encode()
        for part in (signer.date, signer.region, signer.service, "aws4_request"):
            key = hmac.digest(key, part.encode("latin-1", "replace"), "sha256")
        return key


def canonical_request(request: Request, claim: Claim, as_sent: bool = False) -> bytes:
    """The canonical request; `as_sent`: the query is not encoded anew, as some signers leave a `+` in it alone.

    Raises SqsError where a header that must be signed is not, or is not there, or the body is not the one that was hashed.
    """
    signed = claim.signer.signed_headers
    values = _signed_values(request, claim.signer.names)
    path, query = (b"/", b"") if request.target == b"/" else _canonical_target(request, claim, as_sent)
    lines = [b"%b:%b" % (name, values[name]) for name in signed]
    return b"\n".join((request.method, path, query, *lines, b"", b";".join(signed), _body_hash(request).encode()))


def _canonical_target(request: Request, claim: Claim, as_sent: bool) -> tuple[bytes, bytes]:
    """Path and query as they are signed."""
    path, query = split_target(request.target)
    pairs = sorted((quote(name.encode("latin-1"), safe="-_.~"), quote(value.encode("latin-1"), safe="-_.~")) for name, value in query_pairs(query))
    if as_sent:
        pairs = sorted((name, value) for name, _, value in (part.partition("=") for part in query.decode("latin-1").split("&") if part))
    if claim.expires_s >= 0:
        pairs = [pair for pair in pairs if pair[0] != "X-Amz-Signature"]
    # The path as it was sent is encoded once more, as for every service but S3.
    return quote(path, safe="/-_.~").encode(), "&".join(f"{name}={value}" for name, value in pairs).encode("latin-1")


def _signed_values(request: Request, names: frozenset[bytes]) -> dict[bytes, bytes]:
    """The values of the signed headers, by name. Raises SqsError where one that must be signed is not, or is not there."""
    values: dict[bytes, bytes] = {}
    headers = request.headers
    for index in range(0, len(headers), 2):
        name = headers[index].lower()
        if name in names:
            value = headers[index + 1].strip()
            if b"  " in value:
                value = _SPACES.sub(b" ", value)
            values[name] = values[name] + b"," + value if name in values else value
        elif name == b"x-amz-target":  # what decides what the request means must not be anybody's to change
            raise SqsError("InvalidSignatureException", "'x-amz-target' must be a signed header.")
    if b"host" not in names:
        raise SqsError("InvalidSignatureException", "'Host' must be a signed header.")
    for name in names:
        if name not in values:
            raise SqsError("InvalidSignatureException", f"The signed header '{name[:80].decode('latin-1')}' is not in the request.")
    return values


def _body_hash(request: Request) -> str:
    declared = request.header(b"x-amz-content-sha256")
    if declared is not None:
        text = declared.decode("latin-1")
        if text == UNSIGNED_PAYLOAD:
            return text
        if not _HEX_64.fullmatch(text):
            raise SqsError("InvalidSignatureException", "x-amz-content-sha256 must be the SHA-256 of the body, or UNSIGNED-PAYLOAD.")
    found = hashlib.sha256(request.body).hexdigest()
    if declared is not None and text != found:
        raise SqsError("InvalidSignatureException", "The body is not the one that x-amz-content-sha256 says.")
    return found
