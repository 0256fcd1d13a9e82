"""What becomes of a user's data: what the law keeps is sealed anew and apart, then the key is destroyed.

The values are in this process for as long as it takes to seal them, and go nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime
from typing import Any

from domain.business_time import business_date
from domain.identifiers import IdPrefix, identifier
from domain.personal_data import Purpose
from domain.retention import RetainedKind
from storage.closures import ClosureBook
from vault.erasures import MOST_IDS, Erasure, ErasureDetail, erasure_id
from vault.errors import UserErasedError, UserKeyDestroyedError
from vault.forgetting import Forgetting
from vault.retention import RetainedRecord, RetentionStore
from vault.vault import Vault

log = logging.getLogger(__name__)

ACTOR = "close_account"
PAGE = 50
# Of consents, cards and what was verified of them: as many as are far from the size of a record, whatever they say.
ENTRIES_A_PART = 100
Known = dict[str, str | None]


class Retaining:
    """Copies what the law keeps into the retention store. Every step may be repeated: a source is kept once.

    On data that are older than the copies the key may be gone already. Of what it sealed no copy is made: it would say
    nothing, and stand in the way of one that is found later. It is counted, and a case for people.
    """

    def __init__(
        self,
        book: ClosureBook,
        vault: Vault,
        retention: RetentionStore,
        new_ulid: Callable[[], str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._book, self._vault, self._retention, self._new_ulid = book, vault, retention, new_ulid
        self._clock = clock
        self._lost: dict[str, set[str]] = {}

    @property
    def lost(self) -> dict[str, int]:
        """Of whom copies could not be made any more, and of how many sources at least."""
        return {user_id: len(sources) for user_id, sources in self._lost.items()}

    async def identity(self, user_id: str, closure_id: str, ended_on: date) -> int:
        """Who the user was, from the day on which the agreement ended (P4.5e); in parts, for a record has its size."""
        found = await self._book.identity(user_id)
        if found is None or _is_emptied(found):
            return 0
        parts = len(_parts(found["content"] | {"verified": found["bindings"]}))
        sources = [f"{closure_id}:{part}" if part else closure_id for part in range(parts)]
        new = await self._retention.unkept(user_id, RetainedKind.IDENTITY, sources)
        if not new:
            return 0
        try:
            values = [
                {"binding_id": binding["id"]} | await self._values(user_id, binding["tokens"])
                for binding in found["bindings"]
            ]
        except UserKeyDestroyedError:
            await self._tell_of_loss(user_id, new)
            return 0
        records = []
        for source_id, content in zip(sources, _parts(found["content"] | {"verified": values}), strict=True):
            what = {"kind": RetainedKind.IDENTITY, "source_id": source_id, "event_on": ended_on, "content": content}
            records.append(self._record(user_id, found, **what))
        return await self._retention.keep(records)

    async def transactions(self, user_id: str, after: str, of: frozenset[str] | None = None) -> str | None:
        """A page of what was booked, each from the year of its booking (A4.4a); the last id, or None at the end.

        `of`: only what names one of these items. Of a user who stays nothing else goes, and what may still change, as
        when a bank sends it back, is copied as it is in the end.
        """
        identity = await self._book.identity(user_id)
        rows = await self._book.transactions(user_id, after, PAGE)
        if identity is None or _is_emptied(identity) or not rows:
            return None
        named = [row["id"] for row in rows if of is None or not of.isdisjoint(row["tokens"].values())]
        new = await self._retention.unkept(user_id, RetainedKind.TRANSACTION, named)
        records, lost = [], []
        known: Known = {}
        for row in rows:
            if row["id"] not in new:
                continue
            try:
                values = await self._values(row["sealed_under"], row["tokens"], known)
            except UserKeyDestroyedError:
                lost.append(row["id"])
                continue
            content = {"record": row["content"], "personal": values, "signatures": row["signatures"]}
            booked_on = date.fromisoformat(row["event_on"])
            what = {"kind": RetainedKind.TRANSACTION, "source_id": row["id"], "event_on": booked_on, "content": content}
            records.append(self._record(user_id, identity, **what))
        await self._retention.keep(records)
        if lost:
            await self._tell_of_loss(user_id, lost)
        return str(rows[-1]["id"]) if len(rows) == PAGE else None

    async def everything(self, entry: Erasure) -> None:
        """Before an entry of the list of erasures is carried out once more, on data that may be older than the copies.

        Whoever is forgotten had a copy at least of who it was; a person whom these data do not know at all has none.
        """
        if entry.user_id is None:
            return
        if await self._book.identity(entry.user_id) is None:
            is_user = entry.user_id.startswith(f"{IdPrefix.USER.value}_")
            if entry.kind == "person" and is_user and not await self._retention.kept(entry.user_id):
                await self._tell_of_loss(entry.user_id, [entry.subject_id])
            return
        if entry.kind == "person" or entry.detail.ended_on is not None:
            ended_on = entry.detail.ended_on or business_date(entry.at)
            await self.identity(entry.user_id, entry.subject_id, ended_on)
        of = None if entry.kind == "person" else frozenset(entry.detail.tokens)
        after: str | None = ""
        while after is not None:
            after = await self.transactions(entry.user_id, after, of)

    async def _values(self, sealed_under: str, tokens: dict[str, Any], known: Known | None = None) -> dict[str, str]:
        """By their labels: a remittance names two people. `known`: what was opened already, by token.

        Raises UserKeyDestroyedError if a value is gone with the key.
        """
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
        except UserKeyDestroyedError:
            raise
        except UserErasedError:
            # Erased earlier, at the user's wish: what was to be kept of it was kept then. With the key all items go.
            await self._vault.require_user_key(sealed_under)
            return None
        return value

    async def _tell_of_loss(self, user_id: str, sources: Collection[str]) -> None:
        self._lost.setdefault(user_id, set()).update(sources)
        await self._book.open_lost_copies_case(user_id, self._clock())
        log.warning("what the law keeps can be copied no more", extra={"subject_id": user_id, "copies": len(sources)})

    def _record(self, user_id: str, whose: dict[str, Any], **what: Any) -> RetainedRecord:
        return RetainedRecord(
            record_id=identifier(IdPrefix.RETAINED_RECORD, self._new_ulid()),
            user_id=user_id,
            merchant_id=whose["merchant_id"],
            person_index=whose["person_index"],
            consent_until=whose["consent_until"],
            **what,
        )


def _is_emptied(found: dict[str, Any]) -> bool:
    """Forgotten in these data: what the rows still say is no copy of anybody."""
    return found["content"]["merchant_user_ref"] is None


def _parts(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The first says who it is, with what fits; the others go on with the lists, under the same user."""
    lists = {name: value for name, value in content.items() if isinstance(value, list)}
    longest = max((len(value) for value in lists.values()), default=0)
    parts = []
    for start in range(0, max(longest, 1), ENTRIES_A_PART):
        some = {name: value[start : start + ENTRIES_A_PART] for name, value in lists.items()}
        whole = content if start == 0 else {"user_id": content["user_id"]}
        parts.append(whole | {name: value for name, value in some.items() if value or start == 0})
    return parts


class Leaving:
    """What the activities of a closure do with personal data (`activities.closing.LeavingVault`)."""

    def __init__(
        self, book: ClosureBook, retaining: Retaining, retention: RetentionStore, forgetting: Forgetting
    ) -> None:
        self._book, self._retaining, self._retention, self._forgetting = book, retaining, retention, forgetting

    async def retain_identity(self, user_id: str, closure_id: str, ended_on: date) -> None:
        """See `Retaining.identity`."""
        await self._retaining.identity(user_id, closure_id, ended_on)

    async def retain_transactions(self, user_id: str, after: str, items_of: str | None) -> str | None:
        """See `Retaining.transactions`; `items_of`: of what this closure erases alone."""
        of = None if items_of is None else frozenset(await self._book.items_to_forget(items_of))
        return await self._retaining.transactions(user_id, after, of)

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

    async def forget_items(self, user_id: str, closure_id: str, ended_on: date | None, at: datetime) -> None:
        """The items that a closure of quick pay or a deletion names; `ended_on`: if an agreement ended."""
        tokens = await self._book.items_to_forget(closure_id)
        for start in range(0, len(tokens), MOST_IDS):
            some = tuple(tokens[start : start + MOST_IDS])
            await self._forgetting.apply(
                Erasure(
                    entry_id=erasure_id(at, "items", f"{closure_id}:{some[0]}"),
                    kind="items",
                    user_id=user_id,
                    subject_id=closure_id,
                    detail=ErasureDetail(tokens=some, ended_on=ended_on),
                    at=at,
                )
            )

    async def kept(self, user_id: str) -> list[dict[str, Any]]:
        """What is kept of the user, counted, until when and why."""
        return [line.model_dump(mode="json") for line in await self._retention.kept(user_id)]
