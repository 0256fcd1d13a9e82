"""What was accepted and not started, or asked and never told: read for the sweeper."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.payouts import PAYOUT_FOR_PROCESS

UnattendedKind = Literal[
    "collect_payment",
    "correct_payment",
    "bind_card",
    "unbind_card",
    "refund_payment",
    "send_payout",
    "confirmed_payout",
    "code_attempt",
    "confirmed_payment",
    "decision",
]


class Unattended(BaseModel):
    """One thing that nobody looks after; `resource` is what its process is started from.

    `attempt_id` names the code attempt or, of a `decision`, the decision.
    """

    model_config = ConfigDict(frozen=True)

    kind: UnattendedKind
    id: str
    attempt_id: str | None
    merchant_id: str
    resource: dict[str, Any]


_WITH_RESOURCE = f"""
    SELECT f.kind, f.id, f.attempt_id,
        coalesce(p.merchant_id, b.merchant_id, r.merchant_id, o.merchant_id) AS merchant_id,
        CASE WHEN p.id IS NOT NULL THEN app.payment_view(p) WHEN b.id IS NOT NULL THEN app.binding_view(b)
             WHEN r.id IS NOT NULL THEN app.refund_view(r) ELSE {PAYOUT_FOR_PROCESS} END AS resource
    FROM found f
    LEFT JOIN app.payment p ON p.id = f.id
    LEFT JOIN app.binding b ON b.id = f.id
    LEFT JOIN app.refund r ON r.id = f.id
    LEFT JOIN app.payout o ON o.id = f.id
    ORDER BY f.id
"""  # noqa: S608 - nothing of it comes from outside
_UNATTENDED = "SELECT kind, id, attempt_id FROM app.unattended(:at, :older_than, :most)"
_UNFINISHED = "SELECT kind, id, CAST(NULL AS text) AS attempt_id FROM app.unfinished(:at, :older_than, :after, :most)"
_FIND = sa.text(f"WITH found AS ({_UNATTENDED}) {_WITH_RESOURCE}").columns(resource=JSONB)
_FIND_UNFINISHED = sa.text(f"WITH found AS ({_UNFINISHED}) {_WITH_RESOURCE}").columns(resource=JSONB)
_RECORD_REVIVAL = sa.text(
    "SELECT app.record_operation(:at, 'sweeper', 'revive_process', 'done', 'process_was_gone', :id, NULL, :request)"
)


async def find_unattended(
    engine: AsyncEngine, now: datetime, older_than: timedelta, most: int = 100
) -> list[Unattended]:
    """At most `most` of each kind, oldest first."""
    async with engine.connect() as connection:
        rows = await connection.execute(_FIND, {"at": now, "older_than": older_than, "most": most})
        return [Unattended.model_validate(dict(row)) for row in rows.mappings()]


async def find_unfinished(
    engine: AsyncEngine, now: datetime, older_than: timedelta, after: str, most: int
) -> list[Unattended]:
    """What has not come to an end and has not moved for `older_than`: at most `most`, by id, from `after` on."""
    parameters = {"at": now, "older_than": older_than, "after": after, "most": most}
    async with engine.connect() as connection:
        rows = await connection.execute(_FIND_UNFINISHED, parameters)
        return [Unattended.model_validate(dict(row)) for row in rows.mappings()]


async def record_revival(engine: AsyncEngine, now: datetime, subject_id: str, request_id: str | None) -> None:
    """Records that the process of an instruction was gone and runs again."""
    async with engine.begin() as connection:
        await connection.execute(_RECORD_REVIVAL, {"at": now, "id": subject_id, "request": request_id})


async def record_abandoned(engine: AsyncEngine, now: datetime) -> int:
    """Records the requests that were never answered; answers how many were new."""
    async with engine.begin() as connection:
        return int(await connection.scalar(sa.text("SELECT app.record_abandoned(:at)"), {"at": now}) or 0)


async def lapse_decisions(engine: AsyncEngine, now: datetime) -> int:
    """Ends the requests for a decision that nobody approved in time; answers how many."""
    async with engine.begin() as connection:
        return int(await connection.scalar(sa.text("SELECT app.lapse_decisions(:at)"), {"at": now}) or 0)


async def open_reviews(engine: AsyncEngine, now: datetime) -> int:
    """Opens a case for each restriction whose review is due; it stays in force (A8.3). Answers how many were new."""
    async with engine.begin() as connection:
        return int(await connection.scalar(sa.text("SELECT app.open_reviews(:at)"), {"at": now}) or 0)
