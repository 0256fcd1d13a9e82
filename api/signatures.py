"""Whether a request is signed, and by whom: RFC 9421 and RFC 9530, under the profile of `domain/signing.py` (A3.3b).

Parsing, the signature base and the verification are the library's. What is found goes into the request's first
commit, which alone decides: it knows the merchant, the keys in use and the nonces that are spent.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol, cast

import http_sf
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    HTTPSignatureAlgorithm,
    HTTPSignatureKeyResolver,
    VerifyResult,
    algorithms,
)
from http_message_signatures.digests import ContentDigest
from starlette.datastructures import Headers
from starlette.requests import Request

from domain import signing
from domain.errors import ErrorCode
from domain.identifiers import IdPrefix, is_identifier
from domain.signing import SigningAlgorithm, SigningKey
from storage.public_keys import PublicKey, load_public_key
from storage.requests import GivenSignature
from vault.evidence import EvidenceSeal

INPUT_HEADER, HEADER, DIGEST_HEADER = "Signature-Input", "Signature", "Content-Digest"
MAX_HEADER_CHARACTERS = 2048
ALGORITHMS: dict[SigningAlgorithm, type[HTTPSignatureAlgorithm]] = {
    SigningAlgorithm.ED25519: algorithms.ED25519,
    SigningAlgorithm.ECDSA_P256_SHA256: algorithms.ECDSA_P256_SHA256,
}
# A host and perhaps a port and nothing else: whatever could begin a path, a query or a fragment in a Host would be read
# as the address that was signed, while the request goes to another one.
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_NONCE = re.compile(rf"[!-~]{{{signing.MIN_NONCE_CHARACTERS},{signing.MAX_NONCE_CHARACTERS}}}")
_NEEDED_PARAMETERS = frozenset({"created", "keyid", "nonce", "alg", "tag"})
_SINGLE_HEADERS = ("content-type", "content-digest", "idempotency-key")

_load = lru_cache(maxsize=1024)(load_public_key)


class KeyBook(Protocol):
    """Where registered public keys are found."""

    async def find(self, key_id: str) -> SigningKey | None: ...


class _FaultError(Exception):
    def __init__(self, code: ErrorCode, key_id: str | None = None) -> None:
        super().__init__(code.value)
        self.code = code
        self.key_id = key_id


@dataclass(frozen=True)
class Message:
    """A request as the library wants it: what came over the wire, undecoded."""

    method: str
    url: str
    headers: Headers


class OneKey(HTTPSignatureKeyResolver):
    """Resolves to the key that was found, whatever the id: it was found by that id."""

    def __init__(self, key: PublicKey) -> None:
        self._key = key

    def resolve_public_key(self, key_id: str) -> PublicKey:
        return self._key


class Verifier(HTTPMessageVerifier):
    """The library's verifier; whether a signature is in time is asked of the injected clock, afterwards."""

    def validate_created_and_expires(self, sig_input: Any, max_age: timedelta | None = None) -> None:
        return None


class Signatures:
    """Verifies what a request says about itself, from memory once a key was seen."""

    def __init__(self, keys: KeyBook, seal: EvidenceSeal) -> None:
        self._keys = keys
        self._seal = seal

    async def check(
        self, request: Request, body: bytes, now: datetime, request_id: str, *, keeps_evidence: bool
    ) -> GivenSignature | None:
        """The signature of a request, or the fault in it; None for a request that is not signed.

        A Content-Digest is compared also where nothing is signed. `keeps_evidence` is False where the body holds a
        one-time code, which a stored digest would give away.
        """
        headers = request.headers
        try:
            if INPUT_HEADER not in headers and HEADER not in headers:
                _check_digest(headers, body)
                return None
            return await self._verified(request, body, now, request_id, keeps_evidence)
        except _FaultError as fault:
            return GivenSignature(fault=fault.code.value.lower(), key_id=fault.key_id)

    async def _verified(
        self, request: Request, body: bytes, now: datetime, request_id: str, keeps_evidence: bool
    ) -> GivenSignature:
        parameters, signature = _read(request.headers)
        key_id = parameters["keyid"]
        key = await self._keys.find(key_id) if is_identifier(key_id, IdPrefix.SIGNING_KEY) else None
        if key is None:
            raise _FaultError(ErrorCode.SIGNING_KEY_UNKNOWN)
        try:
            result = verify(message_of(request), _load(key.public_key), key.algorithm, required(request, body))
            _check_time(parameters, now)
            _check_digest(request.headers, body)
        except _FaultError as fault:
            raise _FaultError(fault.code, key_id) from None
        except HTTPMessageSignaturesException:
            raise _FaultError(ErrorCode.SIGNATURE_INVALID, key_id) from None
        created = _instant(parameters["created"])
        given = GivenSignature(
            key_id=key_id,
            nonce_hash=hashlib.sha256(parameters["nonce"].encode()).hexdigest(),
            # One made ahead of our clock is in time for longer.
            nonce_expires_at=max(now, created) + signing.NONCE_MEMORY,
            created=created,
        )
        if not keeps_evidence:
            return given
        sealed = self._seal.seal(request_id, base_of(result))
        evidence = {"signature": signature.hex(), "sealed_base": sealed.hex(), "seal_key_id": self._seal.current_id}
        return given.model_copy(update=evidence)


def verify(message: Any, key: PublicKey, algorithm: SigningAlgorithm, components: tuple[str, ...]) -> VerifyResult:
    """The one signature of the profile. Raises the library's exceptions."""
    verifier = Verifier(signature_algorithm=ALGORITHMS[algorithm], key_resolver=OneKey(key))
    [result] = verifier.verify(
        message, max_age=None, expect_tag=signing.TAG, expect_label=signing.LABEL, require_components=components
    )
    return result


def base_of(result: VerifyResult) -> str:
    """What was signed, as text (RFC 9421, 2.5)."""
    return "\n".join(f"{name}: {value}" for name, value in result.covered_components.items())


def required(request: Request, body: bytes) -> tuple[str, ...]:
    """The components that a signature of this request must cover."""
    components: tuple[str, ...] = signing.COVERED
    if body:
        components += signing.COVERED_OF_A_BODY
    if "idempotency-key" in request.headers:
        components += signing.COVERED_OF_A_COMMAND
    return components


def message_of(request: Request) -> Message:
    """Raises _FaultError where the request's address cannot be told."""
    hosts, path = request.headers.getlist("host"), request.scope.get("raw_path")
    query = request.scope["query_string"]
    if len(hosts) != 1 or _AUTHORITY.fullmatch(hosts[0]) is None or not path or b"#" in path + query:
        raise _FaultError(ErrorCode.SIGNATURE_INVALID)
    forwarded = request.headers.get("x-forwarded-proto", "").strip().lower()
    scheme = "https" if forwarded == "https" else request.scope["scheme"]
    target = (path + (b"?" + query if query else b"")).decode("latin-1")
    return Message(request.method, f"{scheme}://{hosts[0]}{target}", request.headers)


def _read(headers: Headers) -> tuple[dict[str, Any], bytes]:
    """Parameters and bytes of the only signature. Raises _FaultError for anything outside of the profile."""
    inputs, signatures = _dictionary(headers, INPUT_HEADER), _dictionary(headers, HEADER)
    if list(inputs) != [signing.LABEL] or list(signatures) != [signing.LABEL]:
        raise _FaultError(ErrorCode.SIGNATURE_INVALID)
    components, parameters = inputs[signing.LABEL]
    signature = signatures[signing.LABEL][0]
    allowed = {*signing.COVERED, *signing.COVERED_OF_A_BODY, *signing.COVERED_OF_A_COMMAND}
    is_plain = isinstance(components, list) and all(name in allowed and not extra for name, extra in components)
    has_parameters = _NEEDED_PARAMETERS <= set(parameters) <= _NEEDED_PARAMETERS | {"expires"}
    if not is_plain or not has_parameters or not isinstance(signature, bytes):
        raise _FaultError(ErrorCode.SIGNATURE_INVALID)
    if any(len(headers.getlist(name)) > 1 for name in _SINGLE_HEADERS):
        raise _FaultError(ErrorCode.SIGNATURE_INVALID)
    texts = [parameters[name] for name in ("keyid", "nonce", "alg", "tag")]
    times = [parameters[name] for name in ("created", "expires") if name in parameters]
    if not all(type(text) is str for text in texts) or not all(type(time) is int for time in times):
        raise _FaultError(ErrorCode.SIGNATURE_INVALID)
    if _NONCE.fullmatch(parameters["nonce"]) is None:
        raise _FaultError(ErrorCode.SIGNATURE_INVALID)
    return parameters, signature


def _dictionary(headers: Headers, name: str) -> dict[str, Any]:
    given = headers.getlist(name)
    if len(given) != 1 or len(given[0]) > MAX_HEADER_CHARACTERS:
        raise _FaultError(ErrorCode.SIGNATURE_INVALID)
    try:
        parsed = http_sf.parse(given[0].encode("latin-1"), tltype="dictionary", on_duplicate_key=_refuse_duplicate)
    except ValueError:
        raise _FaultError(ErrorCode.SIGNATURE_INVALID) from None
    return cast(dict[str, Any], parsed)


def _refuse_duplicate(_key: str, _context: str) -> None:
    raise ValueError("a name occurs twice")


def _check_digest(headers: Headers, body: bytes) -> None:
    given = headers.getlist(DIGEST_HEADER)
    if not given:
        return
    try:
        if len(given) > 1 or len(given[0]) > MAX_HEADER_CHARACTERS:
            raise ValueError("not one digest")
        ContentDigest.verify(given[0].encode("latin-1"), body)
    except (HTTPMessageSignaturesException, ValueError):
        raise _FaultError(ErrorCode.CONTENT_DIGEST_MISMATCH) from None


def _check_time(parameters: dict[str, Any], now: datetime) -> None:
    created = _instant(parameters["created"])
    expires = _instant(parameters["expires"]) if "expires" in parameters else None
    if abs(now - created) > signing.CLOCK_DIFFERENCE or (expires is not None and expires < now):
        raise _FaultError(ErrorCode.SIGNATURE_EXPIRED)


def _instant(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise _FaultError(ErrorCode.SIGNATURE_EXPIRED) from None
