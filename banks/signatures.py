"""Ed25519 signatures over HTTP messages of the agreement-payment protocol (`docs/bank_protocol.md`).

Requests and callbacks are signed over method, path with query, timestamp, nonce and body hash. An answer is
signed
over its status, its body hash and the nonce of the request it answers, so an answer cannot be moved to
another request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

TIMESTAMP_HEADER = "X-Bank-Timestamp"
NONCE_HEADER = "X-Bank-Nonce"
SIGNATURE_HEADER = "X-Bank-Signature"

_REQUEST, _RESPONSE, _CALLBACK = (
    "AGREEMENT-PAY-REQUEST-V1",
    "AGREEMENT-PAY-RESPONSE-V1",
    "AGREEMENT-PAY-CALLBACK-V1",
)
_NONCE = re.compile(r"[0-9a-f]{32}")
_MILLISECONDS = re.compile(r"[0-9]{13}")


class SignatureRefusedError(Exception):
    """The message cannot be trusted; `reason` is one of the stable words below."""

    MISSING = "signature_missing"
    MALFORMED = "signature_malformed"
    INVALID = "signature_invalid"
    STALE = "timestamp_outside_window"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_private_key(encoded: str) -> Ed25519PrivateKey:
    """From base64 of the 32 raw bytes. Raises `ValueError` without repeating what was given."""
    return Ed25519PrivateKey.from_private_bytes(_raw_key(encoded))


def read_public_key(encoded: str) -> Ed25519PublicKey:
    """From base64 of the 32 raw bytes. Raises `ValueError` without repeating what was given."""
    return Ed25519PublicKey.from_public_bytes(_raw_key(encoded))


def _raw_key(encoded: str) -> bytes:
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise ValueError("an Ed25519 key is base64 of 32 raw bytes")
    return raw


def milliseconds(instant: datetime) -> int:
    """Unix milliseconds of an aware datetime."""
    return int(instant.timestamp() * 1000)


def instant_from_milliseconds(value: int) -> datetime:
    """An aware UTC datetime of Unix milliseconds."""
    return datetime.fromtimestamp(value / 1000, tz=UTC)


def _text(label: str, *lines: str, body: bytes) -> bytes:
    return "\n".join((label, *lines, hashlib.sha256(body).hexdigest())).encode()


def _headers(timestamp: str, nonce: str, signature: bytes) -> dict[str, str]:
    return {
        TIMESTAMP_HEADER: timestamp,
        NONCE_HEADER: nonce,
        SIGNATURE_HEADER: base64.b64encode(signature).decode(),
    }


def sign_request(key: Ed25519PrivateKey, method: str, target: str, body: bytes, now: datetime) -> dict[str, str]:
    """Headers that sign a request; `target` is the path with its query, as sent."""
    return _sign_with_nonce(_REQUEST, key=key, method=method, target=target, body=body, now=now)


def sign_callback(key: Ed25519PrivateKey, method: str, target: str, body: bytes, now: datetime) -> dict[str, str]:
    """Headers that sign a callback of the bank."""
    return _sign_with_nonce(_CALLBACK, key=key, method=method, target=target, body=body, now=now)


def _sign_with_nonce(
    label: str, *, key: Ed25519PrivateKey, method: str, target: str, body: bytes, now: datetime
) -> dict[str, str]:
    timestamp, nonce = str(milliseconds(now)), secrets.token_hex(16)
    return _headers(timestamp, nonce, key.sign(_text(label, method.upper(), target, timestamp, nonce, body=body)))


def sign_response(
    key: Ed25519PrivateKey, status: int, request_nonce: str, body: bytes, now: datetime
) -> dict[str, str]:
    """Headers that sign an answer and tie it to the nonce of its request."""
    timestamp = str(milliseconds(now))
    signature = key.sign(_text(_RESPONSE, str(status), request_nonce, timestamp, body=body))
    return _headers(timestamp, request_nonce, signature)


def verify_request(
    key: Ed25519PublicKey,
    *,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    validity_seconds: int,
) -> str:
    """The request's nonce, if signature and timestamp hold; the caller then refuses a nonce it has seen."""
    return _verify_with_nonce(
        _REQUEST,
        key=key,
        method=method,
        target=target,
        headers=headers,
        body=body,
        now=now,
        validity_seconds=validity_seconds,
    )


def verify_callback(
    key: Ed25519PublicKey,
    *,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    validity_seconds: int,
) -> str:
    """The callback's nonce, if signature and timestamp hold."""
    return _verify_with_nonce(
        _CALLBACK,
        key=key,
        method=method,
        target=target,
        headers=headers,
        body=body,
        now=now,
        validity_seconds=validity_seconds,
    )


def _verify_with_nonce(
    label: str,
    *,
    key: Ed25519PublicKey,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    validity_seconds: int,
) -> str:
    timestamp, nonce, signature = _read_headers(headers)
    _check(key, signature, _text(label, method.upper(), target, timestamp, nonce, body=body))
    if abs(milliseconds(now) - int(timestamp)) > validity_seconds * 1000:
        raise SignatureRefusedError(SignatureRefusedError.STALE)
    return nonce


def verify_response(
    key: Ed25519PublicKey, status: int, request_nonce: str, headers: Mapping[str, str], body: bytes
) -> None:
    """Raises `SignatureRefusedError` unless the bank signed exactly this answer to exactly this request."""
    timestamp, nonce, signature = _read_headers(headers)
    if not secrets.compare_digest(nonce, request_nonce):
        raise SignatureRefusedError(SignatureRefusedError.INVALID)
    _check(key, signature, _text(_RESPONSE, str(status), request_nonce, timestamp, body=body))


def _read_headers(headers: Mapping[str, str]) -> tuple[str, str, bytes]:
    folded = {name.lower(): value for name, value in headers.items()}
    names = (TIMESTAMP_HEADER, NONCE_HEADER, SIGNATURE_HEADER)
    timestamp, nonce, encoded = (folded.get(name.lower(), "") for name in names)
    if not (timestamp and nonce and encoded):
        raise SignatureRefusedError(SignatureRefusedError.MISSING)
    if not (_MILLISECONDS.fullmatch(timestamp) and _NONCE.fullmatch(nonce)):
        raise SignatureRefusedError(SignatureRefusedError.MALFORMED)
    try:
        return timestamp, nonce, base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise SignatureRefusedError(SignatureRefusedError.MALFORMED) from None


def _check(key: Ed25519PublicKey, signature: bytes, text: bytes) -> None:
    try:
        key.verify(signature, text)
    except InvalidSignature:
        raise SignatureRefusedError(SignatureRefusedError.INVALID) from None
