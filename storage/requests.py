"""Who asks and what was asked before: the first commit of every request (house: how a payment flows, step 1)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.banking import BankNotice
from domain.errors import DomainError
from domain.instructions import RequestContext
from storage.instructions import Submitter, refusal

_ITEM = sa.bindparam("item", type_=sa.JSON())
_RECORD_ANSWER = sa.text("SELECT app.record_answer(CAST(:item AS jsonb))").bindparams(_ITEM)
_RECORD_CALLBACK = sa.text("SELECT app.record_callback(CAST(:item AS jsonb))").bindparams(_ITEM)
_RECORD_OPERATION = sa.text(
    "SELECT app.record_operation(:at, :actor, :action, :outcome, :reason, :subject, :partner, :request)"
)
_STORED = sa.text("SELECT request_id, answer FROM app.idempotency WHERE merchant_id = :merchant AND key = :key")


class GivenSignature(BaseModel):
    """What a request's signature came to: a `fault` (snake_case code), or what goes on record of a good one.

    `nonce_hash`, `signature` and `sealed_base` are hex; the last two are missing where nothing of them may be kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fault: str | None = None
    key_id: str | None = None
    nonce_hash: str | None = None
    nonce_expires_at: datetime | None = None
    created: datetime | None = None
    signature: str | None = None
    sealed_base: str | None = None
    seal_key_id: str | None = None


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
    must_be_signed: bool = False
    signature: GivenSignature | None = None


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
    first_request_id: str | None = None


class Begun(NamedTuple):
    """What the first commit said: whose key it was, if it was true, and either what is known or why it is refused."""

    merchant_id: str | None
    known: KnownRequest | None = None
    refusal: DomainError | None = None


class Requests:
    """Authenticates, records and recognises requests; refusals decided outside the database are recorded here too."""

    def __init__(self, engine: AsyncEngine, begin: Submitter) -> None:
        self._statements = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._begin = begin

    async def begin(self, request: StartedRequest) -> Begun:
        """Authenticates, checks the signature where one is due, and recognises a repetition; recorded in any case."""
        result = await self._begin.submit(request.model_dump(mode="json", exclude_none=True))
        if not result["ok"]:
            return Begun(result.get("merchant_id"), refusal=refusal(result))
        known = KnownRequest.model_validate(result)
        return Begun(known.merchant_id, known)

    async def stored_answer(self, merchant_id: str, idempotency_key: str) -> tuple[str, dict[str, Any] | None]:
        """The id of the request that is at work under a key, and its answer once it has given one."""
        async with self._statements.connect() as connection:
            row = (await connection.execute(_STORED, {"merchant": merchant_id, "key": idempotency_key})).one()
        return row.request_id, row.answer

    async def record_answer(
        self, request: RequestContext, now: datetime, action: str, subject_id: str | None, answer: dict[str, Any]
    ) -> None:
        """Records an answer that no accepting function gave, and keeps it for replays.

        `answer` is `{"ok": false, "error": snake_code, …}` or `{"ok": true, "resource": …}`; it holds no code, and
        no personal information.
        """
        item = {
            "request": request.model_dump(),
            "now": now.isoformat(),
            "action": action,
            "subject_id": subject_id,
            "answer": answer,
        }
        await self._run(_RECORD_ANSWER, {"item": item})

    async def record_operation(
        self,
        now: datetime,
        actor: str,
        action: str,
        outcome: str,
        reason: str,
        *,
        subject_id: str | None = None,
        partner: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Records what has no merchant behind it, or ended in no answer (A4.1a)."""
        await self._run(
            _RECORD_OPERATION,
            {"at": now, "actor": actor, "action": action, "outcome": outcome, "reason": reason}
            | {"subject": subject_id, "partner": partner, "request": request_id},
        )

    async def record_callback(self, now: datetime, bank_code: str, notice: BankNotice) -> dict[str, Any]:
        """Keeps a bank's notice once: `{fresh, subject_id, step, outcome, state}` of the request it speaks of."""
        item = {"now": now.isoformat(), "bank_code": bank_code} | notice.model_dump()
        async with self._statements.connect() as connection:
            found: dict[str, Any] = await connection.scalar(_RECORD_CALLBACK, {"item": item})
        return found

    async def _run(self, statement: sa.TextClause, parameters: dict[str, Any]) -> None:
        async with self._statements.connect() as connection:
            await connection.execute(statement, parameters)
