"""Encryption of what Temporal stores for us: inputs, results, updates, memos, summaries and error texts.

AES-256-GCM with a random 96-bit nonce for each payload (rotate a key long before 2**32 payloads). The key's
id is in the metadata, so that old payloads stay readable after a rotation: never drop a key while a workflow
that used it may run. Bound as associated data: format version, key id, namespace, and what the payload was made
for (a workflow, or one of its activity types), so that one that is moved elsewhere does not open.

With a serialization context, as in a worker, a payload that does not open becomes a refused one, which raises only
when somebody reads it (`runtime.payloads`): a payload that an outsider sent spoils its own message and nothing else.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from pydantic import SecretBytes
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
MADE_FOR = "made-for"
REFUSED_ENCODING = b"liushui/refused"
_NONCE_BYTES = 12

log = logging.getLogger(__name__)


class Refusal(StrEnum):
    """Why a payload was refused."""

    NOT_ENCRYPTED = "not_encrypted"
    MADE_FOR_ANOTHER = "made_for_another"
    UNKNOWN_KEY = "unknown_key"
    CHANGED = "changed"

    @property
    def is_foreign(self) -> bool:
        """Surely not meant by us for this place; the others may be a key of ours that is missing here."""
        return self in (Refusal.NOT_ENCRYPTED, Refusal.MADE_FOR_ANOTHER)


SENTENCES = {
    Refusal.NOT_ENCRYPTED: "a payload is not encrypted",
    Refusal.MADE_FOR_ANOTHER: "a payload was made for another process or step",
    Refusal.UNKNOWN_KEY: "a payload was encrypted under a key that is not configured",
    Refusal.CHANGED: "a payload was changed, or belongs to another namespace",
}


class PayloadRefusedError(Exception):
    """A payload that is not encrypted, was changed or moved, or was encrypted under a key that we do not have."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(SENTENCES[why])
        self.why = why


# Told the workflow's id and the reason.
RefusalListener = Callable[[str, Refusal], None]


def log_refusal(workflow_id: str, why: Refusal) -> None:
    """A key that is missing here concerns every process, an outsider's payload only this one."""
    level = logging.WARNING if why.is_foreign else logging.ERROR
    log.log(level, SENTENCES[why], extra={"workflow_id": workflow_id, "reason": why.value})


@dataclass(frozen=True)
class _Ciphers:
    by_key: dict[str, AESGCM]
    newest: str
    namespace: str


class EncryptionCodec(PayloadCodec, WithSerializationContext):
    """`keys` are (id, 32 bytes) pairs: the first encrypts, all decrypt. `on_refusal` hears of each refusal in a worker
    or a client; a codec without context raises instead.
    """

    def __init__(
        self,
        keys: Sequence[tuple[str, SecretBytes]],
        namespace: str,
        on_refusal: RefusalListener = log_refusal,
    ) -> None:
        if not keys:
            raise ValueError("a codec needs a key")
        by_key = {key_id: AESGCM(key.get_secret_value()) for key_id, key in keys}
        self._ciphers = _Ciphers(by_key, keys[0][0], namespace)
        self._on_refusal = on_refusal
        self._workflow_id: str | None = None
        self._made_for = ""

    def with_context(self, context: SerializationContext) -> Self:
        """The same codec for one workflow, or for one type of activity of one workflow."""
        if not isinstance(context, WorkflowSerializationContext | ActivitySerializationContext):
            return self
        bound = type(self).__new__(type(self))
        bound._ciphers, bound._on_refusal = self._ciphers, self._on_refusal
        bound._workflow_id = context.workflow_id or ""
        bound._made_for = _place(context)
        return bound

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Whole payloads, metadata included, become ciphertext."""
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Without context raises PayloadRefusedError for anything that `encode` did not make."""
        return [self._decrypt_or_mark(payload) for payload in payloads]

    def _decrypt_or_mark(self, payload: Payload) -> Payload:
        try:
            return self._decrypt(payload)
        except PayloadRefusedError as refused:
            if self._workflow_id is None:
                raise
            self._on_refusal(self._workflow_id, refused.why)
            return Payload(metadata={"encoding": REFUSED_ENCODING}, data=refused.why.value.encode())

    def _encrypt(self, payload: Payload) -> Payload:
        nonce, key_id = os.urandom(_NONCE_BYTES), self._ciphers.newest
        plain, made_for = payload.SerializeToString(), self._made_for.encode()
        sealed = self._ciphers.by_key[key_id].encrypt(nonce, plain, self._bound(key_id, made_for))
        return Payload(
            metadata={"encoding": ENCODING, KEY_ID: key_id.encode(), MADE_FOR: made_for}, data=nonce + sealed
        )

    def _decrypt(self, payload: Payload) -> Payload:
        if not is_encrypted(payload):
            raise PayloadRefusedError(Refusal.NOT_ENCRYPTED)
        key_id = payload.metadata.get(KEY_ID, b"").decode(errors="replace")
        cipher = self._ciphers.by_key.get(key_id)
        if cipher is None:
            raise PayloadRefusedError(Refusal.UNKNOWN_KEY)
        made_for = payload.metadata.get(MADE_FOR)
        nonce, sealed = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            opened = Payload.FromString(cipher.decrypt(nonce, sealed, self._bound(key_id, made_for)))
        except (InvalidTag, DecodeError, ValueError):
            raise PayloadRefusedError(Refusal.CHANGED) from None
        # Payloads of the first format name no place: histories from before it was changed stay readable.
        if self._workflow_id is not None and made_for not in (None, self._made_for.encode()):
            raise PayloadRefusedError(Refusal.MADE_FOR_ANOTHER)
        return opened

    def _bound(self, key_id: str, made_for: bytes | None) -> bytes:
        if made_for is None:
            return f"liushui/payload/1|{key_id}|{self._ciphers.namespace}".encode()
        return f"liushui/payload/2|{key_id}|{self._ciphers.namespace}|".encode() + made_for


def is_encrypted(payload: Payload) -> bool:
    """Whether a payload claims to be one of ours."""
    return payload.metadata.get("encoding") == ENCODING


def _place(context: WorkflowSerializationContext | ActivitySerializationContext) -> str:
    """What both ends of a payload's way know of it; an activity's id is known to one end only."""
    if isinstance(context, ActivitySerializationContext):
        return f"activity|{context.workflow_id or ''}|{context.activity_type or ''}"
    return f"workflow|{context.workflow_id}"
