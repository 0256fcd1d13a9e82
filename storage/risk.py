"""Assessments of payouts in the database: the facts that rules judge by, and the verdict with what follows from it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.risk import RiskInputs
from storage.screening import Subject

Resource = dict[str, Any]


def _function(name: str) -> sa.TextualSelect:
    statement = sa.text(f"SELECT {name}(:item) AS answer").bindparams(sa.bindparam("item", type_=JSONB))
    return statement.columns(answer=JSONB)


_BEGIN = _function("app.begin_assessment")
_RECORD = _function("app.record_assessment")


class BegunAssessment(BaseModel):
    """What is known of a payout. `answer`: of the same question before. `settled`: rules it has been through."""

    model_config = ConfigDict(frozen=True)

    state: str
    merchant_id: str
    answer: Resource | None
    inputs: RiskInputs
    settled: tuple[str, ...]
    subjects: tuple[Subject, ...]


class RiskBook:
    """Over an engine of the app role."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def begin(self, payout_id: str, now: datetime) -> BegunAssessment | None:
        """None if there is no such payout."""
        async with self._engine.connect() as connection:
            item = {"payout_id": payout_id, "now": now.isoformat()}
            found = await connection.scalar(_BEGIN, {"item": item})
        return None if found is None else BegunAssessment.model_validate(found)

    async def record(self, item: Resource) -> Resource:
        """Commits a verdict (`app.record_assessment`); the same question again answers the same."""
        async with self._engine.begin() as connection:
            answer: Resource = await connection.scalar(_RECORD, {"item": item})
        return answer
