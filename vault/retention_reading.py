"""Opening what is retained: for an authority's order, by a decision of two people, never for business (A4.4a, P4.5e).

Only the operators' API has the two things that it takes: the role of disclosures, and the private half of the keys.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pyrage import DecryptError, IdentityError, decrypt, x25519
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import ErrorCode
from vault import sealing
from vault.errors import SealBrokenError, VaultError
from vault.retention import RetainedRecord, place_of

_OPEN = sa.text("SELECT retention.open_for_order(:decision_id, :operator_id, :at)")
_KEYS = sa.text("SELECT key_id, wrapped_key FROM keys.read_retention_keys(CAST(:ids AS text[]))")
_CODES = {
    "decision_not_found": ErrorCode.DECISION_NOT_FOUND,
    "second_person_required": ErrorCode.SECOND_PERSON_REQUIRED,
    "permission_missing": ErrorCode.PERMISSION_MISSING,
    "order_not_found": ErrorCode.ORDER_NOT_IN_FORCE,
    "order_of_another": ErrorCode.ORDER_NOT_IN_FORCE,
    "order_demands_no_query": ErrorCode.ORDER_NOT_IN_FORCE,
    "order_not_as_decided": ErrorCode.ORDER_NOT_IN_FORCE,
    "order_not_in_force": ErrorCode.ORDER_NOT_IN_FORCE,
}


class RetentionRefusedError(VaultError):
    """Nothing was opened, and the attempt is on record; `reason` says what is wrong with decision or order."""

    def __init__(self, reason: str) -> None:
        self.code_of_kind = _CODES.get(reason, ErrorCode.DECISION_NOT_APPLICABLE)
        super().__init__(reason)


class RetentionKeyMissingError(VaultError):
    """A record is there and its key is not: the databases are not of one time."""

    def __init__(self, key_id: str) -> None:
        super().__init__("retention_key_missing", field=key_id)


class RetentionReader:
    """Opens records; `main` is an engine of the role of disclosures, `keys` one of the ops role of the key database.

    `private_key` is the identity `AGE-SECRET-KEY-…`. Raises ValueError if it is none.
    """

    def __init__(self, main: AsyncEngine, keys: AsyncEngine, private_key: str, clock: Callable[[], datetime]) -> None:
        self._main = main.execution_options(isolation_level="AUTOCOMMIT")
        self._keys = keys.execution_options(isolation_level="AUTOCOMMIT")
        try:
            self._identity = x25519.Identity.from_str(private_key)
        except IdentityError:
            raise ValueError("the retention key is not a secret key of age, as in AGE-SECRET-KEY-…") from None
        self._clock = clock

    async def open_for_order(self, decision_id: str, operator_id: str) -> list[RetainedRecord]:
        """What a committed `retention.disclose` names, oldest first; recorded before anything is opened.

        Raises RetentionRefusedError, RetentionKeyMissingError, SealBrokenError.
        """
        asked = {"decision_id": decision_id, "operator_id": operator_id, "at": self._clock()}
        async with self._main.connect() as connection:
            answer = _parsed((await connection.execute(_OPEN, asked)).scalar_one())
        if not answer["ok"]:
            raise RetentionRefusedError(answer["error"])
        wrapped = await self._wrapped_keys({row["key_id"] for row in answer["records"]})
        return self._opened(answer["records"], wrapped)

    async def _wrapped_keys(self, ids: set[str]) -> dict[str, bytes]:
        async with self._keys.connect() as connection:
            rows = (await connection.execute(_KEYS, {"ids": sorted(ids)})).all()
        if missing := ids - {row.key_id for row in rows}:
            raise RetentionKeyMissingError(min(missing))
        return {row.key_id: row.wrapped_key for row in rows}

    def _opened(self, rows: Sequence[Mapping[str, Any]], wrapped: Mapping[str, bytes]) -> list[RetainedRecord]:
        keys = {key_id: self._unwrap(value) for key_id, value in wrapped.items()}
        return [_opened(row, keys[row["key_id"]]) for row in rows]

    def _unwrap(self, wrapped: bytes) -> bytes:
        try:
            data_key: bytes = decrypt(wrapped, [self._identity])
        except DecryptError:
            raise SealBrokenError from None
        return data_key


def _opened(row: Mapping[str, Any], data_key: bytes) -> RetainedRecord:
    columns = {name: value for name, value in row.items() if name not in ("key_id", "ciphertext")}
    empty = RetainedRecord.model_validate(columns | {"content": {}})
    plain = sealing.decrypt(data_key, base64.b64decode(row["ciphertext"]), place_of(empty, row["key_id"]))
    return empty.model_copy(update={"content": json.loads(plain)})


def _parsed(value: Any) -> Any:
    """A JSON column that was read through plain text SQL comes as text with some drivers, parsed with others."""
    return json.loads(value) if isinstance(value, str) else value
