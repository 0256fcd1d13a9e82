"""Encryption of what Temporal stores for us: inputs, results, updates, memos, summaries and error texts.

AES-256-GCM with a random 96-bit nonce for each payload (rotate a key long before 2**32 payloads). The key's
id is in the metadata, so that old payloads stay readable after a rotation: never drop a key while a workflow
that used it may run. Format version, key id and namespace are bound as associated data: a payload moved to
another namespace does not open.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from pydantic import SecretBytes
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
_NONCE_BYTES = 12


class PayloadRefusedError(Exception):
    """A payload that is not encrypted, was changed, or was encrypted under a key that we do not have."""


class EncryptionCodec(PayloadCodec):
    """`keys` are (id, 32 bytes) pairs: the first encrypts, all decrypt."""

    def __init__(self, keys: Sequence[tuple[str, SecretBytes]], namespace: str) -> None:
        if not keys:
            raise ValueError("a codec needs a key")
        self._ciphers = {key_id: AESGCM(key.get_secret_value()) for key_id, key in keys}
        self._newest = keys[0][0]
        self._namespace = namespace

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Whole payloads, metadata included, become ciphertext."""
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises PayloadRefusedError for anything that `encode` did not make."""
        return [self._decrypt(payload) for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        nonce = os.urandom(_NONCE_BYTES)
        plain = payload.SerializeToString()
        sealed = self._ciphers[self._newest].encrypt(nonce, plain, self._bound(self._newest))
        return Payload(metadata={"encoding": ENCODING, KEY_ID: self._newest.encode()}, data=nonce + sealed)

    def _decrypt(self, payload: Payload) -> Payload:
        if not is_encrypted(payload):
            raise PayloadRefusedError("a payload is not encrypted")
        key_id = payload.metadata[KEY_ID].decode(errors="replace")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise PayloadRefusedError("a payload was encrypted under a key that is not configured")
        nonce, sealed = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, sealed, self._bound(key_id)))
        except (InvalidTag, DecodeError, ValueError):
            raise PayloadRefusedError("a payload was changed, or belongs to another namespace") from None

    def _bound(self, key_id: str) -> bytes:
        return f"liushui/payload/1|{key_id}|{self._namespace}".encode()


def is_encrypted(payload: Payload) -> bool:
    """Whether a payload claims to be one of ours."""
    return payload.metadata.get("encoding") == ENCODING
