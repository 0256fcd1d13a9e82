"""What no purpose needs any longer while its user stays: erased with the daily purge (P3.3b, `app.due_erasures`).

Claimed in the books, put into the erasure list, what the law keeps copied, erased, finished: whatever was begun goes
on as it was claimed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.business_time import business_date
from domain.retention import ErasureReason, PurgeTooEarlyError, RetentionRules
from vault.erasures import Erasure, ErasureDetail, erasure_id
from vault.forgetting import Forgets

ITEMS_A_PAGE = 500

_CLAIM = sa.text("SELECT * FROM app.claim_due_erasures(:on, CAST(:rules AS jsonb), :most, :at) ORDER BY id")
_FINISH = sa.text("SELECT app.finish_due_erasure(:claim, :at)")


class DueErasures:
    """Erases page by page; `main` is an engine of the app role. May be run again at any time, also by two at once."""

    def __init__(self, main: AsyncEngine, forgets: Forgets) -> None:
        self._main = main.execution_options(isolation_level="AUTOCOMMIT")
        self._forgets = forgets

    async def page(self, on: date, rules: RetentionRules, at: datetime, most: int = ITEMS_A_PAGE) -> int:
        """Some of the items that are due; answers how many. Raises PurgeTooEarlyError before the day has come."""
        if on > business_date(at):
            raise PurgeTooEarlyError("what is due is erased on a day that has come")
        claims = await self._claim(on, rules, at, most)
        for claim in claims:
            await self._forgets.apply(_entry(claim))
            async with self._main.connect() as connection:
                await connection.execute(_FINISH, {"claim": claim.id, "at": at})
        return sum(len(claim.tokens) for claim in claims)

    async def _claim(self, on: date, rules: RetentionRules, at: datetime, most: int) -> Sequence[sa.Row[Any]]:
        asked = {"on": on, "rules": rules.model_dump_json(), "most": most, "at": at}
        async with self._main.connect() as connection:
            return (await connection.execute(_CLAIM, asked)).all()


def _entry(claim: sa.Row[Any]) -> Erasure:
    """The same for the same claim: of a user the items; of a remittance that went back the key, which is its own."""
    whole_key = claim.why == ErasureReason.RETURNED_REMITTANCE
    digest = hashlib.sha256("\x00".join(claim.tokens).encode("ascii")).hexdigest()
    kind = "person" if whole_key else "items"
    return Erasure(
        entry_id=erasure_id(claim.claimed_at, kind, f"{claim.key_owner}:{claim.why}:{digest}"),
        kind=kind,
        user_id=claim.key_owner,
        # Of one user, so that what is copied under it is nobody else's.
        subject_id=f"due/{claim.run_on.isoformat()}/{claim.key_owner}",
        detail=ErasureDetail(tokens=() if whole_key else tuple(claim.tokens), ended_on=claim.ended_on),
        at=claim.claimed_at,
    )
