"""Signs instructions by RFC 9421, so that nobody between you and the institution can alter, repeat or invent one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver
from http_message_signatures.algorithms import ECDSA_P256_SHA256, ED25519

LABEL, TAG = "liushui", "liushui-v1"
_REQUEST = ("@method", "@authority", "@path", "@query")
_CONTENT = ("content-type", "content-digest")
_KEY = ("idempotency-key",)


class SigningKey:
    """Your private key and the id under which the institution knows the public one (`sgk_…`)."""

    def __init__(self, key_id: str, private_key: Ed25519PrivateKey | EllipticCurvePrivateKey) -> None:
        if isinstance(private_key, EllipticCurvePrivateKey) and not isinstance(private_key.curve, SECP256R1):
            raise ValueError("an elliptic key has to be on P-256")
        self.key_id = key_id
        self._private_key = private_key
        is_edwards = isinstance(private_key, Ed25519PrivateKey)
        self._signer = HTTPMessageSigner(
            signature_algorithm=ED25519 if is_edwards else ECDSA_P256_SHA256,
            key_resolver=MappingKeyResolver(public_keys={}, private_keys={key_id: private_key}),
        )

    @classmethod
    def from_pem(cls, key_id: str, pem: str | bytes, password: bytes | None = None) -> SigningKey:
        """From PKCS 8 PEM: Ed25519 or ECDSA P-256. Raises ValueError."""
        data = pem.encode() if isinstance(pem, str) else pem
        found = serialization.load_pem_private_key(data, password)
        if not isinstance(found, Ed25519PrivateKey | EllipticCurvePrivateKey):
            raise ValueError("a signing key is Ed25519 or ECDSA P-256")
        return cls(key_id, found)

    @classmethod
    def from_raw(cls, key_id: str, seed: bytes) -> SigningKey:
        """From the 32 bytes of an Ed25519 key. Raises ValueError."""
        return cls(key_id, Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def public_key_pem(self) -> str:
        """What the institution registers."""
        public = self._private_key.public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, request: httpx.Request, *, created: datetime, nonce: str) -> None:
        """Adds `Content-Digest`, `Signature-Input` and `Signature`; covers everything that makes the instruction."""
        body: bytes | None = request.content or None
        covered = _REQUEST + (_CONTENT if body else ())
        if "idempotency-key" in request.headers:
            covered += _KEY
        # The library's interface for a message is untyped.
        message: Any = request
        self._signer.sign(
            message,
            key_id=self.key_id,
            created=created,
            nonce=nonce,
            label=LABEL,
            tag=TAG,
            covered_component_ids=covered,
            body=body,
        )

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id!r})"
