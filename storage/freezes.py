"""Looks after funds that are frozen: what is over is freed, what a freeze still lacks is taken, who waited is told."""

from __future__ import annotations

import logging
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

log = logging.getLogger(__name__)

_NEXT = sa.text("SELECT app.owner_to_look_after(:at, :after)")
_LOOK_AFTER = sa.text("SELECT app.look_after_funds(:at, :owner)")
_TO_TELL = sa.text(
    "SELECT t.payout_id, o.state IN ('awaiting_confirmation', 'checking', 'under_review', 'cooling_off', 'scheduled')"
    " AS waits FROM app.payout_to_tell t JOIN app.payout o ON o.id = t.payout_id ORDER BY t.since LIMIT :most"
)
_TOLD = sa.text("SELECT app.payouts_told(CAST(:ids AS text[]))")


async def look_after_funds(engine: AsyncEngine, now: datetime, most: int = 50) -> int:
    """Frees what freezes held that are over, and takes what others lack (A8.3, L12); answers of how many owners.

    One owner a transaction: what cannot be put right of one keeps no other's money frozen.
    """
    after, done = "", 0
    for _ in range(most):
        async with engine.begin() as connection:
            owner = await connection.scalar(_NEXT, {"at": now, "after": after})
        if owner is None:
            break
        try:
            async with engine.begin() as connection:
                await connection.execute(_LOOK_AFTER, {"at": now, "owner": owner})
            done += 1
        except SQLAlchemyError as error:
            log.warning("funds not looked after", extra={"subject_id": owner, "reason": type(error).__name__})
        after = owner
    return done


async def payouts_to_tell(engine: AsyncEngine, most: int = 100) -> dict[str, bool]:
    """Payouts that may go on or were ended, the longest ago first; and whether each of them still waits."""
    async with engine.connect() as connection:
        return {row.payout_id: row.waits for row in await connection.execute(_TO_TELL, {"most": most})}


async def payouts_told(engine: AsyncEngine, ids: list[str]) -> None:
    async with engine.begin() as connection:
        await connection.execute(_TOLD, {"ids": ids})
