"""The only writer of instructions: each method is one call of one SQL function, and answers after its commit.

A refusal comes back as the `DomainError` of its code; everything it should leave behind is already recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.decisions import CheckedDecision
from domain.error_codes import ERROR_TEXTS, ErrorKind
from domain.errors import (
    ConflictError,
    DomainError,
    EffectRefusedError,
    ErrorCode,
    NotAllowedError,
    NotFoundError,
    RefusedError,
    SettlementRefusedError,
    UnavailableError,
)
from domain.instructions import (
    AcceptBinding,
    AcceptPayment,
    AcceptRefund,
    AcceptUnbinding,
    AcceptUser,
    ApplyForWaiver,
    ClaimCodeAttempt,
    ClaimCodeResend,
    ClaimedEffect,
    ClaimEffect,
    CodeAttempt,
    OpenAttempt,
    RecordConsent,
    ReportUser,
    ResolveCodeAttempt,
)
from domain.payouts import AcceptPayee, AcceptPayout, ConfirmPayout, PayoutStanding, RemovePayee
from domain.settlement import Settlement

Resource = dict[str, Any]

_ERRORS: Mapping[ErrorKind, type[DomainError]] = {
    ErrorKind.NOT_FOUND: NotFoundError,
    ErrorKind.CONFLICT: ConflictError,
    ErrorKind.UNAUTHENTICATED: NotAllowedError,
    ErrorKind.FORBIDDEN: NotAllowedError,
    ErrorKind.UNAVAILABLE: UnavailableError,
}


_STATE_OF = sa.text(
    "SELECT state FROM app.payment WHERE id = :id UNION ALL SELECT state FROM app.binding WHERE id = :id"
)
_CODE_DECLINED = sa.text(
    "SELECT EXISTS (SELECT 1 FROM app.code_attempt WHERE subject_id = :id AND verdict = 'declined')"
)
_OPEN_ATTEMPTS = sa.text(
    "SELECT a.id AS attempt_id, a.request_number, a.claimed_at, e.bank_code, coalesce(p.user_id, b.user_id) AS user_id"
    " FROM app.code_attempt a JOIN app.effect e ON e.request_number = a.request_number"
    " LEFT JOIN app.payment p ON p.id = a.subject_id LEFT JOIN app.binding b ON b.id = a.subject_id"
    " WHERE a.subject_id = :id AND a.verdict IS NULL"
)

_CHECK_DECISION = (
    sa.text("SELECT app.check_decision(:item) AS answer")
    .bindparams(sa.bindparam("item", type_=JSONB))
    .columns(answer=JSONB)
)

_PAYOUT_STANDING = sa.text("SELECT app.payout_standing(:id, :at) AS standing").columns(standing=JSONB)


class Submitter(Protocol):
    """Something that calls a batched SQL function with one item and answers its result after the commit."""

    async def submit(self, item: dict[str, Any]) -> dict[str, Any]: ...


def refusal(result: Mapping[str, Any]) -> DomainError:
    """The domain error of a refused result."""
    code = ErrorCode(str(result["error"]).upper())
    kind = ERROR_TEXTS[code].kind
    retry_after = result.get("retry_after_seconds")
    return _ERRORS.get(kind, RefusedError)(
        code,
        subject_id=result.get("subject_id"),
        retry_after_seconds=int(retry_after) if retry_after is not None else None,
    )


class Instructions:
    """Accepts, claims and settles, over the batchers of the hot path and the engine for the rest."""

    def __init__(self, engine: AsyncEngine, batchers: Mapping[str, Submitter]) -> None:
        self._engine = engine
        self._batchers = batchers

    async def accept_user(self, command: AcceptUser) -> Resource:
        return await self._accept("app.accept_user", command)

    async def record_consent(self, command: RecordConsent) -> Resource:
        return await self._accept("app.record_consent", command)

    async def report_user(self, command: ReportUser) -> Resource:
        """From its commit on nothing more is collected from the user."""
        return await self._accept("app.report_user", command)

    async def accept_binding(self, command: AcceptBinding) -> Resource:
        return await self._accept("app.accept_binding", command)

    async def accept_unbinding(self, command: AcceptUnbinding) -> Resource:
        return await self._accept("app.accept_unbinding", command)

    async def apply_for_waiver(self, command: ApplyForWaiver) -> Resource:
        return await self._accept("app.apply_for_waiver", command)

    async def accept_payment(self, command: AcceptPayment) -> Resource:
        return await self._accept_batched("app.accept_payments", command)

    async def accept_refund(self, command: AcceptRefund) -> Resource:
        return await self._accept_batched("app.accept_refunds", command)

    async def accept_payee(self, command: AcceptPayee) -> Resource:
        return await self._accept("app.accept_payee", command)

    async def remove_payee(self, command: RemovePayee) -> Resource:
        return await self._accept("app.remove_payee", command)

    async def accept_payout(self, command: AcceptPayout) -> Resource:
        """From its commit on amount and fee are held."""
        return await self._accept_batched("app.accept_payouts", command)

    async def confirm_payout(self, command: ConfirmPayout) -> Resource:
        return await self._accept("app.confirm_payout", command)

    async def payout_standing(self, payout_id: str, now: datetime) -> PayoutStanding | None:
        """Where a payout stands and what holds it up; None if there is no such payout."""
        async with self._engine.connect() as connection:
            found = await connection.scalar(_PAYOUT_STANDING, {"id": payout_id, "at": now})
        return None if found is None else PayoutStanding.model_validate(found)

    async def claim_effect(self, command: ClaimEffect) -> ClaimedEffect:
        """Raises `EffectRefusedError` where something stands in the way."""
        result = await self._batchers["app.claim_effects"].submit(command.model_dump(mode="json"))
        if not result["ok"]:
            raise EffectRefusedError(result["error"], result.get("state"), sent_before=bool(result.get("sent_before")))
        result.pop("ok")
        return ClaimedEffect.model_validate(result)

    async def settle(self, settlement: Settlement) -> str | None:
        """Answers the state that now holds; a replay answers it too. Raises `SettlementRefusedError`."""
        item = settlement.model_dump(mode="json", exclude_none=True)
        result = await self._batchers["app.settle"].submit(item)
        if not result["ok"]:
            raise SettlementRefusedError(result["error"], result.get("state"))
        state: str | None = result["state"]
        return state

    async def claim_code_attempt(self, command: ClaimCodeAttempt) -> CodeAttempt:
        result = await self._call("app.claim_code_attempt", command)
        if not result["ok"]:
            raise refusal(result)
        result.pop("ok")
        return CodeAttempt.model_validate(result)

    async def claim_code_resend(self, command: ClaimCodeResend) -> int:
        """Answers the number of the send (1 for the first resend)."""
        result = await self._call("app.claim_code_resend", command)
        if not result["ok"]:
            raise refusal(result)
        return int(result["attempt"])

    async def resolve_code_attempt(self, command: ResolveCodeAttempt) -> tuple[str, str]:
        """Answers the verdict that now stands (the first one given) and the state of its instruction."""
        result = await self._call("app.resolve_code_attempt", command)
        if not result["ok"]:
            raise SettlementRefusedError(result["error"], None)
        return result["verdict"], result["state"]

    async def open_attempts(self, subject_id: str) -> tuple[str, list[OpenAttempt]]:
        """The state of a payment or binding and its code attempts without a verdict."""
        async with self._engine.connect() as connection:
            state = await connection.scalar(_STATE_OF, {"id": subject_id})
            rows = (await connection.execute(_OPEN_ATTEMPTS, {"id": subject_id})).mappings().all()
        return str(state), [OpenAttempt.model_validate(dict(row)) for row in rows]

    async def is_code_declined(self, subject_id: str) -> bool:
        """Whether the issuer said a final no to a code of a payment or binding."""
        async with self._engine.connect() as connection:
            return bool(await connection.scalar(_CODE_DECLINED, {"id": subject_id}))

    async def check_decision(self, subject_id: str, decision_id: str, now: datetime) -> CheckedDecision:
        """Whether a decision holds for an instruction now; that it was looked up is recorded."""
        item = {"subject_id": subject_id, "decision_id": decision_id, "now": now.isoformat()}
        async with self._engine.begin() as connection:
            return CheckedDecision.model_validate(await connection.scalar(_CHECK_DECISION, {"item": item}))

    async def _accept(self, function: str, command: BaseModel) -> Resource:
        return _resource(await self._call(function, command))

    async def _accept_batched(self, function: str, command: BaseModel) -> Resource:
        return _resource(await self._batchers[function].submit(command.model_dump(mode="json")))

    async def _call(self, function: str, command: BaseModel) -> dict[str, Any]:
        statement = sa.text(f"SELECT {function}(CAST(:item AS jsonb)) AS answer")
        async with self._engine.begin() as connection:
            rows = await connection.execute(statement.columns(answer=JSONB), {"item": command.model_dump_json()})
            answer: dict[str, Any] = rows.scalar_one()
        return answer


def _resource(result: Mapping[str, Any]) -> Resource:
    if not result["ok"]:
        raise refusal(result)
    resource: Resource = result["resource"]
    return resource
