"""The retention store: what has to outlive an account goes in sealed; business code gets counts out, no more (P4.5d-f).

Every group of records has a data key of its own, wrapped with age for the institution's retention key pair. Here is its
public half alone: who seals cannot open.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from pyrage import RecipientError, encrypt, x25519
from sqlalchemy.ext.asyncio import AsyncEngine
from ulid import ULID

from domain.identifiers import ULID_PATTERN, IdPrefix, identifier
from domain.retention import (
    EARLIEST_EVENT,
    LATEST_EVENT,
    KeptLine,
    RetainedKind,
    RetentionRules,
    earliest_purge,
    ground_of,
)
from vault import sealing

MAX_CONTENT_BYTES = 200_000
# So that one entry of the erasure list has room for what a page of the purge takes away.
RECORDS_A_KEY = 100
_RECORDS_AT_ONCE = 500
DESTROYED_BECAUSE = "purged"

_UNKEPT = sa.text("SELECT kind, source_id FROM retention.unkept(CAST(:items AS jsonb))")
_KEEP = sa.text("SELECT retention.keep(CAST(:items AS jsonb))")
_KEEP_KEYS = sa.text("SELECT keys.keep_retention_keys(CAST(:items AS jsonb))")
_KEPT = sa.text("SELECT kind, event_year, consent_until, records FROM retention.kept(:user_id)")
_DESTROY_KEYS = sa.text("SELECT keys.destroy_retention_keys(CAST(:ids AS text[]), :reason, :at)")
_PURGE = sa.text("SELECT retention.purge_records(CAST(:ids AS text[]), :at)")

_Day = Annotated[date, Field(ge=EARLIEST_EVENT, le=LATEST_EVENT)]


class RetainedRecord(BaseModel):
    """One thing to keep, with the personal values in plain words: `content` goes in sealed and into nothing else.

    `event_on`: the Shanghai date on which it was booked or, of identity data, on which the agreement ended. `source_id`
    names what it is a copy of, so that it is kept once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    record_id: str = Field(pattern=rf"^{IdPrefix.RETAINED_RECORD.value}_{ULID_PATTERN}$")
    user_id: str = Field(min_length=1, max_length=40)
    merchant_id: str = Field(min_length=1, max_length=40)
    person_index: str | None = Field(default=None, min_length=1, max_length=80, repr=False)
    kind: RetainedKind
    source_id: str = Field(min_length=1, max_length=80)
    event_on: _Day
    consent_until: _Day | None = None
    content: dict[str, Any] = Field(repr=False)


class RetentionStore:
    """Keeps, counts and, at the word of the erasure list, purges; `main` and `keys` are engines of the app roles.

    `public_key` is the recipient `age1…` of the institution's retention keys. Raises ValueError if it is none.
    """

    def __init__(
        self,
        main: AsyncEngine,
        keys: AsyncEngine,
        public_key: str,
        clock: Callable[[], datetime],
        rules: RetentionRules | None = None,
    ) -> None:
        self._main = main.execution_options(isolation_level="AUTOCOMMIT")
        self._keys = keys.execution_options(isolation_level="AUTOCOMMIT")
        try:
            self._recipient = x25519.Recipient.from_str(public_key)
        except RecipientError:
            raise ValueError("the retention public key is not one of age, as in age1…") from None
        self._clock, self._rules = clock, rules or RetentionRules()

    async def keep(self, records: Iterable[RetainedRecord]) -> int:
        """Keeps what is not kept yet, by kind and source, and answers how much that was; may be repeated.

        Keys first, then rows: a crash in between leaves a key that opens nothing. Raises ValueError by a content's
        size, and IntegrityError if a source is kept for another user.
        """
        wanted = {(record.kind, record.source_id): record for record in records}
        new = await self._unkept(list(wanted.values()))
        kept = 0
        for start in range(0, len(new), _RECORDS_AT_ONCE):
            kept += await self._keep(new[start : start + _RECORDS_AT_ONCE])
        return kept

    async def unkept(self, user_id: str, kind: RetainedKind, source_ids: Collection[str]) -> set[str]:
        """Of these sources of a user, those of which nothing is kept yet."""
        items = [{"user_id": user_id, "kind": kind.value, "source_id": source_id} for source_id in source_ids]
        return {source_id for _, source_id in await self._missing(items)}

    async def kept(self, user_id: str) -> list[KeptLine]:
        """What is kept of a user by kind, year and last day; no content."""
        async with self._main.connect() as connection:
            rows = (await connection.execute(_KEPT, {"user_id": user_id})).all()
        return [self._line(RetainedKind(row.kind), row.event_year, row.consent_until, row.records) for row in rows]

    async def purge(self, record_ids: Collection[str], key_ids: Collection[str], at: datetime) -> int:
        """Destroys keys, then takes the records away; may be repeated. Answers how many records went now.

        For the erasure list alone (`vault.forgetting`): it asks for no clock and no hold.
        """
        async with self._keys.connect() as connection:
            asked = {"ids": list(key_ids), "reason": DESTROYED_BECAUSE, "at": at}
            await connection.execute(_DESTROY_KEYS, asked)
        async with self._main.connect() as connection:
            return int((await connection.execute(_PURGE, {"ids": list(record_ids), "at": at})).scalar_one())

    async def _unkept(self, records: Sequence[RetainedRecord]) -> list[RetainedRecord]:
        items = [record.model_dump(mode="json", include={"user_id", "kind", "source_id"}) for record in records]
        missing = await self._missing(items)
        return [record for record in records if (record.kind.value, record.source_id) in missing]

    async def _missing(self, items: list[dict[str, Any]]) -> set[tuple[str, str]]:
        async with self._main.connect() as connection:
            rows = (await connection.execute(_UNKEPT, {"items": json.dumps(items)})).all()
        return {(row.kind, row.source_id) for row in rows}

    async def _keep(self, records: Sequence[RetainedRecord]) -> int:
        now = self._clock().isoformat()
        keys: list[dict[str, str]] = []
        rows: list[dict[str, Any]] = []
        for group in _groups(records):
            key_id, data_key = identifier(IdPrefix.RETENTION_KEY, str(ULID())), sealing.new_key()
            keys.append(
                {
                    "key_id": key_id,
                    "user_id": group[0].user_id,
                    "kind": group[0].kind.value,
                    "wrapped_key": _base64(encrypt(data_key, [self._recipient])),
                    "created_at": now,
                }
            )
            for record in group:
                sealed = {"key_id": key_id, "ciphertext": _base64(_sealed(data_key, key_id, record)), "kept_at": now}
                rows.append(_without_content(record) | sealed)
        async with self._keys.connect() as connection:
            await connection.execute(_KEEP_KEYS, {"items": json.dumps(keys)})
        async with self._main.connect() as connection:
            return int((await connection.execute(_KEEP, {"items": json.dumps(rows)})).scalar_one())

    def _line(self, kind: RetainedKind, year: int, consent_until: date | None, records: int) -> KeptLine:
        event_on = date(year, 1, 1)
        return KeptLine(
            kind=kind,
            event_year=year,
            records=records,
            until=earliest_purge(kind, event_on, self._rules, consent_until),
            ground=ground_of(kind, event_on, self._rules, consent_until),
        )


def place_of(record: RetainedRecord, key_id: str) -> tuple[str, ...]:
    """Where a ciphertext belongs: it opens for this record, user, source and date under this key, and nowhere else."""
    return (
        "retained",
        record.record_id,
        record.user_id,
        record.merchant_id,
        record.kind.value,
        record.source_id,
        record.event_on.isoformat(),
        key_id,
    )


def _groups(records: Sequence[RetainedRecord]) -> list[list[RetainedRecord]]:
    """Those that fall due on one day share a key, so that a destroyed key takes nothing else with it."""
    due_together: dict[tuple[str, str, int, date | None], list[RetainedRecord]] = defaultdict(list)
    for record in records:
        due_together[record.user_id, record.kind, record.event_on.year, record.consent_until].append(record)
    return [
        group[start : start + RECORDS_A_KEY]
        for group in due_together.values()
        for start in range(0, len(group), RECORDS_A_KEY)
    ]


def _sealed(data_key: bytes, key_id: str, record: RetainedRecord) -> bytes:
    plain = json.dumps(record.content, ensure_ascii=True, sort_keys=True).encode("ascii")
    if len(plain) > MAX_CONTENT_BYTES:
        raise ValueError(f"a retained record has at most {MAX_CONTENT_BYTES} bytes")
    return sealing.encrypt(data_key, plain, place_of(record, key_id))


def _without_content(record: RetainedRecord) -> dict[str, Any]:
    return record.model_dump(mode="json", exclude={"content"})


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
