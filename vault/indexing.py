"""Keyed digests: equal values give equal digests, and nobody without the key can guess a value from one.

An ID number has too few possibilities for a plain hash to hide it, so every digest is an HMAC under a subkey.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection
from enum import StrEnum

from domain.identity import normalise_field
from domain.personal_data import PersonalField
from vault.sealing import derive_key

# Names of one-time codes in requests. A stored digest of a six-digit code would be a stored code.
CODE_FIELDS = frozenset({"code"})
MAX_PAYLOAD_DEPTH = 32


class IndexKind(StrEnum):
    """What a blind index links: a person across merchants by ID number, the cards of one user, payees of whomever,
    and to whom a remittance goes."""

    PERSON = "person"
    USER_CARD = "user_card"
    PAYEE_ACCOUNT = "payee_account"
    PAYEE_NAME = "payee_name"
    RECEIVING_ACCOUNT = "receiving_account"
    RECEIVER_NAME = "receiver_name"


_FIELD_OF = {
    IndexKind.PERSON: PersonalField.ID_NUMBER,
    IndexKind.USER_CARD: PersonalField.CARD_NUMBER,
    IndexKind.PAYEE_ACCOUNT: PersonalField.ACCOUNT_NUMBER,
    IndexKind.PAYEE_NAME: PersonalField.NAME,
    IndexKind.RECEIVING_ACCOUNT: PersonalField.ACCOUNT_NUMBER,
    IndexKind.RECEIVER_NAME: PersonalField.NAME,
}


class KeyedDigests:
    """Blind indexes and fingerprints under one 32-byte index key, a subkey for each use."""

    def __init__(self, index_key: bytes) -> None:
        self._index_keys = {kind: derive_key(index_key, f"blind index {kind.value}") for kind in IndexKind}
        self._fingerprint_key = derive_key(index_key, "fingerprint")

    def blind_index(self, kind: IndexKind, value: str, *, user_id: str | None = None) -> str:
        """64 hexadecimal digits for a number or name, written in whichever way.

        `USER_CARD` needs the user, the others must not have one. Raises ValueError.
        """
        if (kind is IndexKind.USER_CARD) != (user_id is not None):
            raise ValueError("a card index needs a user, and no other index may have one")
        canonical = normalise_field(_FIELD_OF[kind], value)
        if kind in (IndexKind.PAYEE_NAME, IndexKind.RECEIVER_NAME):
            canonical = canonical.casefold()
        return _digest(self._index_keys[kind], [user_id or "", canonical])

    def fingerprint(self, payload: object, *, leave_out: Collection[str] = CODE_FIELDS) -> str:
        """64 hexadecimal digits for a JSON value, whatever the order of its keys.

        Fields named in `leave_out` do not count, at any depth: one-time codes are stored in no form.
        Raises ValueError or TypeError for what is not JSON or lies deeper than 32 levels.
        """
        return _digest(self._fingerprint_key, _without(payload, frozenset(leave_out), MAX_PAYLOAD_DEPTH))


def _digest(key: bytes, content: object) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hmac.new(key, text.encode("ascii"), hashlib.sha256).hexdigest()


def _without(payload: object, names: frozenset[str], levels: int) -> object:
    if levels == 0:
        raise ValueError("the payload is nested too deeply")
    if isinstance(payload, dict):
        return {key: _without(value, names, levels - 1) for key, value in payload.items() if key not in names}
    if isinstance(payload, list | tuple):
        return [_without(value, names, levels - 1) for value in payload]
    return payload
