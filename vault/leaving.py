"""What becomes of a user's data: what the law keeps is sealed anew and apart, then the key is destroyed.

The values are in this process for as long as it takes to seal them, and go nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from domain.business_time import business_date
from domain.identifiers import IdPrefix, identifier
from domain.personal_data import Purpose
from domain.retention import RetainedKind
from storage.closures import ClosureBook
from vault.erasures import MOST_IDS, Erasure, ErasureDetail, erasure_id
from vault.errors import UserErasedError
from vault.forgetting import Forgetting
from vault.retention import RetainedRecord, RetentionStore
from vault.vault import Vault

ACTOR = "close_account"
PAGE = 50
Known = dict[str, str | None]


class Retaining:
    """Copies what the law keeps into the retention store. Every step may be repeated: a source is kept once."""

    def __init__(self, book: ClosureBook, vault: Vault, retention: RetentionStore, new_ulid: Callable[[], str]) -> None:
        self._book, self._vault, self._retention, self._new_ulid = book, vault, retention, new_ulid

    async def identity(self, user_id: str, closure_id: str, ended_on: date) -> int:
        """Who the user was, from the day on which the agreement ended (P4.5e)."""
        found = await self._book.identity(user_id)
        if found is None:
            return 0
        values = [
            {"binding_id": binding["id"]} | await self._values(user_id, binding["tokens"])
            for binding in found["bindings"]
        ]
        record = self._record(
            user_id,
            found,
            kind=RetainedKind.IDENTITY,
            source_id=closure_id,
            event_on=ended_on,
            content=found["content"] | {"verified": values},
        )
        return await self._retention.keep([record])

    async def transactions(self, user_id: str, after: str) -> str | None:
        """A page of what was booked, each from the year of its booking (A4.4a); the last id, or None at the end."""
        identity = await self._book.identity(user_id)
        rows = await self._book.transactions(user_id, after, PAGE)
        if identity is None or not rows:
            return None
        records = []
        known: Known = {}
        for row in rows:
            values = await self._values(row["sealed_under"], row["tokens"], known)
            content = {"record": row["content"], "personal": values, "signatures": row["signatures"]}
            booked_on = date.fromisoformat(row["event_on"])
            what = {"kind": RetainedKind.TRANSACTION, "source_id": row["id"], "event_on": booked_on, "content": content}
            records.append(self._record(user_id, identity, **what))
        await self._retention.keep(records)
        return str(rows[-1]["id"]) if len(rows) == PAGE else None

    async def everything(self, entry: Erasure) -> None:
        """Before a person of the list of erasures is forgotten once more, on data that may be older than the copies."""
        if entry.user_id is None:
            return
        ended_on = entry.detail.ended_on or business_date(entry.at)
        await self.identity(entry.user_id, entry.subject_id, ended_on)
        after: str | None = ""
        while after is not None:
            after = await self.transactions(entry.user_id, after)

    async def _values(self, sealed_under: str, tokens: dict[str, Any], known: Known | None = None) -> dict[str, str]:
        """By their labels: a remittance names two people. `known`: what was opened already, by token."""
        known = {} if known is None else known
        found = {}
        for label, token in sorted(tokens.items()):
            if not isinstance(token, str):
                continue
            if token not in known:
                known[token] = await self._value(sealed_under, token)
            if (value := known[token]) is not None:
                found[label] = value
        return found

    async def _value(self, sealed_under: str, token: str) -> str | None:
        try:
            [value] = (await self._vault.reveal(sealed_under, [token], Purpose.LEGAL_RETENTION, ACTOR)).values()
        except UserErasedError:
            # Erased earlier, at the user's wish: what was to be kept of it was kept then.
            return None
        return value

    def _record(self, user_id: str, whose: dict[str, Any], **what: Any) -> RetainedRecord:
        return RetainedRecord(
            record_id=identifier(IdPrefix.RETAINED_RECORD, self._new_ulid()),
            user_id=user_id,
            merchant_id=whose["merchant_id"],
            person_index=whose["person_index"],
            consent_until=whose["consent_until"],
            **what,
        )


class Leaving:
    """What the activities of a closure do with personal data (`activities.closing.LeavingVault`)."""

    def __init__(
        self, book: ClosureBook, retaining: Retaining, retention: RetentionStore, forgetting: Forgetting
    ) -> None:
        self._book, self._retaining, self._retention, self._forgetting = book, retaining, retention, forgetting

    async def retain_identity(self, user_id: str, closure_id: str, ended_on: date) -> None:
        """See `Retaining.identity`."""
        await self._retaining.identity(user_id, closure_id, ended_on)

    async def retain_transactions(self, user_id: str, after: str) -> str | None:
        """See `Retaining.transactions`."""
        return await self._retaining.transactions(user_id, after)

    async def forget_person(self, user_id: str, closure_id: str, ended_on: date, at: datetime) -> None:
        """Into the list of erasures first, then carried out: keys, ciphertexts, and what is in the books.

        The user's own key comes first: until then what was sealed under another can be read as the user's.
        """
        for key in await self._book.keys_of(user_id):
            await self._forgetting.apply(
                Erasure(
                    entry_id=erasure_id(at, "person", f"{closure_id}:{key}"),
                    kind="person",
                    user_id=key,
                    subject_id=closure_id,
                    detail=ErasureDetail(ended_on=ended_on),
                    at=at,
                )
            )

    async def forget_items(self, user_id: str, closure_id: str, at: datetime) -> None:
        """The items that a closure of quick pay or a deletion names."""
        tokens = await self._book.items_to_forget(closure_id)
        for start in range(0, len(tokens), MOST_IDS):
            some = tuple(tokens[start : start + MOST_IDS])
            await self._forgetting.apply(
                Erasure(
                    entry_id=erasure_id(at, "items", f"{closure_id}:{some[0]}"),
                    kind="items",
                    user_id=user_id,
                    subject_id=closure_id,
                    detail=ErasureDetail(tokens=some),
                    at=at,
                )
            )

    async def kept(self, user_id: str) -> list[dict[str, Any]]:
        """What is kept of the user, counted, until when and why."""
        return [line.model_dump(mode="json") for line in await self._retention.kept(user_id)]
