"""Forgetting, carried out: whatever stands in the erasure list, as often as it takes, and again on restored data."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from vault.erasures import PAGE, Erasure, ErasureList
from vault.retention import RetentionStore
from vault.vault import MAX_ITEMS_AT_ONCE, Vault

ACTOR, REASON = "erasure_list", "forgotten"

# What the law has us keep is copied before keys and items are gone: also on restored data, which may be older than the
# copies. What can be copied no more it reports to people; that is no reason not to forget.
KeepFirst = Callable[[Erasure], Awaitable[None]]

_CATCH_UP = sa.text("SELECT app.catch_up_with_erasure(CAST(:entry AS jsonb))")
_FORGET_USER = sa.text("SELECT app.forget_user(:user_id, :at)")
_FORGET_ITEMS = sa.text("SELECT app.forget_items(:user_id, CAST(:tokens AS text[]), :at)")
_APPLIED = sa.text("SELECT app.erasure_applied(:entry_id, :position, :at)")
_MISSING = sa.text("SELECT app.erasures_missing(CAST(:entry_ids AS text[]))")
_KEYS = sa.text("SELECT app.keys_of_user(:user_id)")


class NotForgottenYetError(Exception):
    """The data are older than the erasure list: what was forgotten is readable in them again."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count} entries of the erasure list have not been carried out on these data (a backup was restored, or an"
            " erasure is under way); nothing starts on them before. The worker, or 'liushui restore', does it."
        )
        self.count = count


class Forgets(Protocol):
    """Carries out erasures (`Forgetting`): each is in the list before anything is destroyed."""

    async def apply(self, entry: Erasure) -> None: ...


class MissingErasures:
    """Which entries of the list these data have not seen; reads only, so that every process may ask."""

    def __init__(self, main: AsyncEngine, erasures: ErasureList) -> None:
        self._main = main.execution_options(isolation_level="AUTOCOMMIT")
        self._erasures = erasures

    async def page(self, position: int) -> tuple[int | None, list[Erasure]]:
        """The missing ones of a page, and the position behind which to go on; None at the end of the list."""
        entries = await self._erasures.after(position, PAGE)
        if not entries:
            return None, []
        async with self._main.connect() as connection:
            asked = {"entry_ids": [entry.entry_id for entry in entries]}
            missing = set((await connection.execute(_MISSING, asked)).scalar_one())
        return entries[-1].position, [entry for entry in entries if entry.entry_id in missing]

    async def count(self) -> int:
        """How many are missing."""
        count, position = 0, 0
        while True:
            following, missing = await self.page(position)
            count += len(missing)
            if following is None:
                return count
            position = following

    async def refuse_until_none(self, *, patience_seconds: float, poll_seconds: float = 0.5) -> None:
        """Returns once nothing is missing; the worker may be at it. Raises NotForgottenYetError."""
        until = asyncio.get_running_loop().time() + patience_seconds
        while count := await self.count():
            if asyncio.get_running_loop().time() >= until:
                raise NotForgottenYetError(count)
            await asyncio.sleep(poll_seconds)


class Forgetting:
    """Carries out entries of the erasure list in the books, the vault, the keys and the retention store.

    Everything it does may be repeated: an entry counts as carried out only when all of it is.
    """

    def __init__(
        self,
        main: AsyncEngine,
        vault: Vault,
        retention: RetentionStore,
        erasures: ErasureList,
        keep_first: KeepFirst | None = None,
    ) -> None:
        self._main = main.execution_options(isolation_level="AUTOCOMMIT")
        self._vault, self._retention, self._erasures = vault, retention, erasures
        self._keep_first = keep_first
        self.missing = MissingErasures(main, erasures)

    async def apply(self, entry: Erasure) -> None:
        """Carries out one entry, which is put into the list first if it is not there. May be repeated.

        What the law keeps is copied before that: nothing starts on data on which an entry cannot be carried out, so one
        of which no copy can be made stays out of the list.
        """
        if self._keep_first is not None and entry.kind != "retention":
            await self._keep_first(entry)
        placed = entry if entry.position is not None else await self._erasures.add(entry)
        match placed.kind:
            case "person":
                await self._forget_person(placed)
            case "items":
                await self._forget_items(placed)
            case "retention":
                await self._retention.purge(placed.detail.record_ids, placed.detail.key_ids, placed.at)
        done = {"entry_id": placed.entry_id, "position": placed.position, "at": placed.at}
        async with self._main.connect() as connection:
            await connection.execute(_APPLIED, done)

    async def apply_missing(self) -> int:
        """Carries out what these data have not seen, in the order of the list, and answers how many it was."""
        applied, position = 0, 0
        while True:
            following, missing = await self.missing.page(position)
            for entry in missing:
                await self.apply(entry)
            applied += len(missing)
            if following is None:
                return applied
            position = following

    async def _forget_person(self, entry: Erasure) -> None:
        assert entry.user_id is not None  # noqa: S101
        await self._catch_up(entry)
        async with self._main.connect() as connection:
            found = (await connection.execute(_KEYS, {"user_id": entry.user_id})).scalar_one()
        # Of a user that these data do not know, too: no key of that name is made any more.
        for key_owner in {entry.user_id, *(found or ())}:
            await self._vault.destroy_user_key(key_owner, ACTOR, REASON)
        async with self._main.connect() as connection:
            await connection.execute(_FORGET_USER, {"user_id": entry.user_id, "at": entry.at})

    async def _catch_up(self, entry: Erasure) -> None:
        """Data that are older than the entry come to where it was made."""
        what = {"entry_id", "kind", "user_id", "subject_id", "at"}
        item = entry.model_dump(mode="json", include=what) | entry.detail.model_dump(
            mode="json", include={"tokens", "ended_on"}
        )
        async with self._main.connect() as connection:
            await connection.execute(_CATCH_UP, {"entry": json.dumps(item)})

    async def _forget_items(self, entry: Erasure) -> None:
        assert entry.user_id is not None  # noqa: S101
        await self._catch_up(entry)
        for some in _in_pieces(entry.detail.tokens):
            await self._vault.erase_items(entry.user_id, some)
        asked = {"user_id": entry.user_id, "tokens": list(entry.detail.tokens), "at": entry.at}
        async with self._main.connect() as connection:
            await connection.execute(_FORGET_ITEMS, asked)


def _in_pieces(tokens: Sequence[str]) -> list[Sequence[str]]:
    return [tokens[start : start + MAX_ITEMS_AT_ONCE] for start in range(0, len(tokens), MAX_ITEMS_AT_ONCE)]
