"""Who asks and what was asked before: the first commit of every request (house: how a payment flows, step 1)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.instructions import RequestContext
from storage.instructions import Submitter, refusal


class StartedRequest(BaseModel):
    """A request as it came in. `record` is False for reads, which leave a record only when they are denied."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    now: datetime
    request_id: str
    action: str
    scope: str
    key_id: str
    secret_hash: str
    record: bool
    idempotency_key: str | None = None
    fingerprint: str | None = None
    resource_id: str | None = None
    lease_seconds: int = 30


class KnownRequest(BaseModel):
    """The merchant behind a request; `replay` is the first answer if this was asked and answered before.

    `resource_id` is the one to work under: the first request's, should that one have died on the way.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    merchant_id: str
    merchant_name: str
    merchant_state: str
    resource_id: str | None = None
    replay: dict[str, Any] | None = None


class Requests:
    """Authenticates, records and recognises requests; refusals decided outside the database are recorded here too."""

    def __init__(self, engine: AsyncEngine, begin: Submitter) -> None:
        self._engine = engine
        self._begin = begin

    async def begin(self, request: StartedRequest) -> KnownRequest:
        """Raises `NotAllowedError` or `ConflictError`; the attempt is recorded either way."""
        result = await self._begin.submit(request.model_dump(mode="json"))
        if not result["ok"]:
            raise refusal(result)
        return KnownRequest.model_validate(result)

    async def record_refusal(
        self,
        request: RequestContext | None,
        now: datetime,
        action: str,
        subject_id: str | None,
        answer: dict[str, Any],
    ) -> None:
        """Records a refusal and keeps `answer` ({"ok": false, "error": snake_code, …}) for replays."""
        item = {
            "request": request.model_dump() if request else {},
            "now": now.isoformat(),
            "action": action,
            "subject_id": subject_id,
            "answer": answer,
        }
        async with self._engine.begin() as connection:
            await connection.execute(
                sa.text("SELECT app.record_refusal(CAST(:item AS jsonb))").bindparams(
                    sa.bindparam("item", item, type_=sa.JSON())
                )
            )
