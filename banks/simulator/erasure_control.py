"""Control of what the banks reply to notices of erasure. Loopback only, as `control.py`."""

from __future__ import annotations

import json
from typing import Annotated, Self

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Connection, select

from banks.signatures import milliseconds
from banks.simulator.control import Bank, SimulatedBank, only_loopback
from banks.simulator.erasure_notices import NotWaitingError, reply_now
from banks.simulator.protocol import Answer, Erasure, KeptReason
from banks.simulator.tables import erasure_notices

router = APIRouter(prefix="/control", tags=["control"], dependencies=[Depends(only_loopback)])


class ErasureReplyOrder(BaseModel):
    """A bank replies now to a notice that it has taken in. `erased` deletes what may be deleted, and says `kept` of the
    rest; `kept` deletes nothing, for the reason given.
    """

    model_config = ConfigDict(extra="forbid")

    bank_code: SimulatedBank
    request_number: str = Field(max_length=40)
    reply: Erasure
    reason: KeptReason | None = None

    @model_validator(mode="after")
    def _keeps_for_a_reason(self) -> Self:
        if (self.reply == "kept") != (self.reason is not None):
            raise ValueError("`reason` goes with `kept`, and only with it")
        return self


@router.post("/erasure-replies")
async def reply(order: ErasureReplyOrder, bank: Bank) -> Answer:
    """Replies; answers as a query for the notice does from now on. 404: no such notice, 409: it has been replied to."""
    now = milliseconds(bank.clock())
    try:
        with bank.connection.begin():
            return reply_now(bank.connection, order.bank_code, order.request_number, order.reason, now)
    except NotWaitingError as wrong:
        detail = "no such notice" if wrong.status is None else "the notice has been replied to"
        raise HTTPException(404 if wrong.status is None else 409, detail) from None


@router.get("/erasure-notices")
async def read_erasure_notices(
    bank: Bank, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> list[dict[str, object]]:
    """The notices that were taken in, newest first; instants in Unix milliseconds."""
    with bank.connection.begin():
        return newest_notices(bank.connection, limit)


def newest_notices(connection: Connection, limit: int) -> list[dict[str, object]]:
    """As their table has them, with the numbers they name as a list, and how many."""
    newest = select(erasure_notices).order_by(erasure_notices.c.erasure_id.desc()).limit(limit)
    rows = [(row, json.loads(row.disclosed_under)) for row in connection.execute(newest).all()]
    return [dict(row._mapping) | {"disclosed_under": numbers, "named": len(numbers)} for row, numbers in rows]
