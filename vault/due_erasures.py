"""What no purpose needs any longer while its user stays: erased with the daily purge (P3.3b, `app.due_erasures`).

Claimed in the books, what the law keeps copied, put into the erasure list, erased, finished: whatever was begun goes
on as it was claimed. What cannot be done, as when a ciphertext is broken, keeps nobody else's waiting: it is tried
again by the run of another day, and each report says that it is unfinished.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.business_time import business_date
from domain.retention import ErasureReason, PurgeTooEarlyError, RetentionRules
from vault.erasures import Erasure, ErasureDetail, erasure_id
from vault.errors import VaultError
from vault.forgetting import Forgets

log = logging.getLogger(__name__)

ITEMS_A_PAGE = 500

_CLAIM = sa.text("SELECT * FROM app.claim_due_erasures(:on, CAST(:rules AS jsonb), :most, :at) ORDER BY id")
_FINISH = sa.text("SELECT app.finish_due_erasure(:claim, :at)")
_FAIL = sa.text("SELECT app.fail_due_erasure(:claim, :on, :at)")


class DueErasures:
    """Erases page by page; `main` is an engine of the app role. May be run again at any time, also by two at once."""

    def __init__(self, main: AsyncEngine, forgets: Forgets) -> None:
        self._main = main.execution_options(isolation_level="AUTOCOMMIT")
        self._forgets = forgets

    async def page(self, on: date, rules: RetentionRules, at: datetime, most: int = ITEMS_A_PAGE) -> int:
        """Some of the items that are due; answers how many. Raises PurgeTooEarlyError before the day has come."""
        if on > business_date(at):
            raise PurgeTooEarlyError("what is due is erased on a day that has come")
        while claims := await self._claim(on, rules, at, most):
            # None of a page's can be done: the next page is of others.
            if erased := sum([await self._erase(claim, on, at) for claim in claims]):
                return erased
        return 0

    async def _erase(self, claim: sa.Row[Any], on: date, at: datetime) -> int:
        """How many items it was; none if trying the same again does not help."""
        try:
            await self._forgets.apply(_entry(claim))
        except (VaultError, ValueError) as error:
            extra = {"subject_id": claim.key_owner, "reason": type(error).__name__}
            log.warning("what is due cannot be erased", extra=extra)
            await self._run(_FAIL, {"claim": claim.id, "on": on, "at": at})
            return 0
        await self._run(_FINISH, {"claim": claim.id, "at": at})
        return len(claim.tokens)

    async def _run(self, statement: sa.TextClause, asked: dict[str, Any]) -> None:
        async with self._main.connect() as connection:
            await connection.execute(statement, asked)

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
