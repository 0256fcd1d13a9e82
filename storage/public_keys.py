"""Which public keys are fit to be registered: Ed25519 or P-256, a point that exists, and no private key by mistake."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from domain.errors import ErrorCode, FieldError, ValidationRefusedError
from domain.signing import SigningAlgorithm

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey
MAX_CHARACTERS = 1024
_ED25519_BYTES = 32
_PRIME = 2**255 - 19
_D = (-121_665 * pow(121_666, -1, _PRIME)) % _PRIME
# The y of every point of order 1, 2, 4 or 8: signatures under such a key can be made by anybody.
_Y_OF_LOW_ORDER = frozenset(
    {
        0,
        1,
        _PRIME - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)


def read_public_key(text: str, algorithm: SigningAlgorithm) -> bytes:
    """The key as SubjectPublicKeyInfo in DER. `text` is PEM, or for Ed25519 also the 32 bytes in base64.

    Raises ValidationRefusedError: SIGNING_KEY_INVALID with a code for the field `public_key`.
    """
    if len(text) > MAX_CHARACTERS:
        raise _invalid("too_long")
    if "PRIVATE" in text:
        raise _invalid("private_key")
    key = _read_pem(text) if "-----BEGIN" in text else _read_raw(text)
    expected = Ed25519PublicKey if algorithm is SigningAlgorithm.ED25519 else EllipticCurvePublicKey
    if not isinstance(key, expected):
        raise _invalid("wrong_algorithm")
    if isinstance(key, EllipticCurvePublicKey) and not isinstance(key.curve, SECP256R1):
        raise _invalid("wrong_curve")
    if isinstance(key, Ed25519PublicKey):
        _check_point(key.public_bytes_raw())
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def load_public_key(der: bytes) -> PublicKey:
    """A registered key, to verify with."""
    key = load_der_public_key(der)
    if not isinstance(key, PublicKey):
        raise TypeError("no registered key is of another kind")
    return key


def _read_pem(text: str) -> object:
    try:
        return load_pem_public_key(text.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm):
        raise _invalid("wrong_format") from None


def _read_raw(text: str) -> Ed25519PublicKey:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _invalid("wrong_format") from None
    if len(raw) != _ED25519_BYTES:
        raise _invalid("wrong_length")
    return Ed25519PublicKey.from_public_bytes(raw)


def _check_point(raw: bytes) -> None:
    """RFC 8032, 5.1.3: the library takes any 32 bytes for a key."""
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _PRIME or y in _Y_OF_LOW_ORDER:
        raise _invalid("weak")
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _PRIME) % _PRIME
    if pow(x_squared, (_PRIME - 1) // 2, _PRIME) != 1:
        raise _invalid("not_on_the_curve")


def _invalid(code: str) -> ValidationRefusedError:
    return ValidationRefusedError(ErrorCode.SIGNING_KEY_INVALID, fields=[FieldError("public_key", code)])
