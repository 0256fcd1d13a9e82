"""Encryption of single values and of data keys: AES-256-GCM, bound to the place where the result belongs."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, ConfigDict, Field

from domain.personal_data import PersonalField
from vault.errors import MasterKeyMissingError, SealBrokenError

KEY_BYTES = 32
KEY_VERSION = 1
MAX_VALUE_BYTES = 1024
_NONCE_BYTES = 12


class SealedItem(BaseModel):
    """One value as ciphertext, and the row of `vault.item` it becomes; JSON-able (`ciphertext` in base64)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token: str
    user_id: str
    field: PersonalField
    ciphertext: str = Field(repr=False)
    key_version: int
    created_at: datetime


def new_key() -> bytes:
    """A random 256-bit key."""
    return os.urandom(KEY_BYTES)


def derive_key(key: bytes, use: str) -> bytes:
    """A subkey for one use, so that no key serves two. Raises ValueError unless `key` has 32 bytes."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes")
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=f"liushui {use}".encode()).derive(key)


def encrypt(key: bytes, plaintext: bytes, place: Sequence[str | int]) -> bytes:
    """Nonce, ciphertext and tag; only `decrypt` with the same key and place gives the plaintext back."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, _associated_data(place))


def decrypt(key: bytes, sealed: bytes, place: Sequence[str | int]) -> bytes:
    """The plaintext. Raises SealBrokenError."""
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _associated_data(place))
    except (InvalidTag, ValueError) as error:
        raise SealBrokenError from error


def seal_item(
    key: bytes, *, token: str, user_id: str, field: PersonalField, value: str, created_at: datetime
) -> SealedItem:
    """A value as an item that opens only under this token, user and field. Raises ValueError by its size."""
    # Half a surrogate pair has no UTF-8, and the codec's own error would carry the value.
    plaintext = value.encode("utf-8", "replace")
    if plaintext.decode("utf-8") != value or not 0 < len(plaintext) <= MAX_VALUE_BYTES:
        raise ValueError(f"a value of {field.value} has 1 to {MAX_VALUE_BYTES} bytes of UTF-8")
    sealed = encrypt(key, plaintext, _item_place(token, user_id, field, KEY_VERSION))
    return SealedItem(
        token=token,
        user_id=user_id,
        field=field,
        ciphertext=base64.b64encode(sealed).decode("ascii"),
        key_version=KEY_VERSION,
        created_at=created_at,
    )


def open_item(key: bytes, user_id: str, item: SealedItem) -> str:
    """The value. Raises SealBrokenError if the row was changed or swapped, or is another user's."""
    place = _item_place(item.token, user_id, item.field, item.key_version)
    try:
        sealed = base64.b64decode(item.ciphertext)
    except ValueError as error:
        raise SealBrokenError from error
    return decrypt(key, sealed, place).decode("utf-8")


def _item_place(token: str, user_id: str, field: PersonalField, key_version: int) -> Sequence[str | int]:
    return ("item", key_version, token, user_id, field.value)


def _associated_data(place: Sequence[str | int]) -> bytes:
    # JSON keeps the parts apart, whatever they hold.
    return json.dumps(["liushui vault", *place], ensure_ascii=True).encode("ascii")


class MasterKeys:
    """The master keys of the institution: the first wraps, all of them unwrap, so that it can be rotated.

    A key's id follows from the key, so it needs no name of its own and cannot be mixed up with another.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys` are 32 bytes each, the current one first. Raises ValueError."""
        if not keys:
            raise ValueError("at least one master key is needed")
        self._wrapping = {_key_id(key): derive_key(key, "master key wraps user keys") for key in keys}
        self.current_id = _key_id(keys[0])

    def wrap(self, user_id: str, data_key: bytes) -> bytes:
        """The data key under the current master key, bound to the user."""
        return encrypt(self._wrapping[self.current_id], data_key, ("user key", self.current_id, user_id))

    def unwrap(self, user_id: str, wrapped: bytes, master_key_id: str) -> bytes:
        """The data key. Raises MasterKeyMissingError, SealBrokenError."""
        wrapping = self._wrapping.get(master_key_id)
        if wrapping is None:
            raise MasterKeyMissingError(master_key_id)
        return decrypt(wrapping, wrapped, ("user key", master_key_id, user_id))


def _key_id(key: bytes) -> str:
    return "mk_" + derive_key(key, "master key id")[:8].hex()
