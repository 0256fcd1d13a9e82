"""A payer's code, from the request's memory straight to the bank (A3.7): never stored, logged, or put in an error.

The attempt is claimed before the bank is asked, and its verdict is stored and told after. Should anything fail in
between, the process is told that the verdict is unknown and asks the bank itself.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from api.calls import Call, Done
from domain.banking import BankAnswer, BankConnector
from domain.codes import verdict_of
from domain.errors import ErrorCode, RefusedError
from domain.identifiers import BankStep
from domain.instructions import ClaimCodeAttempt, ClaimCodeResend, CodeAttempt, CodeVerdict, ResolveCodeAttempt
from domain.personal_data import PersonalField
from workflows.messages import CodeResendMessage, CodeVerdictMessage

log = logging.getLogger(__name__)
C = ErrorCode
Kind = Literal["payment", "binding"]

# It was withdrawn, or something of the user's or the merchant's was suspended while the code was awaited.
_IN_THE_WAY = (C.WITHDRAWN, C.USER_NOT_ACTIVE, C.FUNCTION_SUSPENDED, C.AUTHORITY_HOLD)
CODE_REFUSALS = (
    *_IN_THE_WAY,
    C.CODE_NOT_AWAITED,
    C.CODE_WRONG,
    C.CODE_EXPIRED,
    C.CODE_ATTEMPTS_EXHAUSTED,
    C.CODE_ATTEMPT_IN_PROGRESS,
    C.PARTNER_NOT_AVAILABLE,
)
RESEND_REFUSALS = (
    *_IN_THE_WAY,
    C.CODE_NOT_AWAITED,
    C.CODE_ATTEMPT_IN_PROGRESS,
    C.CODE_RESEND_TOO_SOON,
    C.CODE_RESENDS_EXHAUSTED,
)


class CodeRefusedError(RefusedError):
    """The bank did not take the code; `attempts_left` is how often another may be tried."""

    def __init__(self, code: ErrorCode, subject_id: str, attempts_left: int) -> None:
        super().__init__(code, field="code", subject_id=subject_id)
        self.attempts_left = attempts_left


@dataclass(frozen=True)
class Judge:
    """What a code is for, and who says whether it is right. `ask` holds the code; it is called once at most."""

    kind: Kind
    resource: Mapping[str, Any]
    ask: Callable[[BankConnector, CodeAttempt], Awaitable[BankAnswer]]
    read: Callable[[], Awaitable[Mapping[str, Any]]]

    @property
    def subject_id(self) -> str:
        subject: str = self.resource["id"]
        return subject


async def confirm_code(call: Call, judge: Judge) -> Done:
    """200 with the resource if the bank took the code, 202 while it has not said. Raises CodeRefusedError."""
    connector = call.services.banks.connector(judge.resource["bank_code"])
    most = call.services.policy.codes.max_attempts
    attempt = await call.services.instructions.claim_code_attempt(
        ClaimCodeAttempt(
            now=call.now,
            kind=judge.kind,
            id=judge.subject_id,
            merchant_id=call.merchant_id,
            attempt_id=call.resource_id,
            max_attempts=most,
            step=BankStep.VERIFY_CODE.value,
        )
    )
    verdict, bank_left = attempt.verdict, None
    if verdict is None:
        verdict, bank_left = await _judged(call, judge, connector, attempt)
    if verdict is None or verdict == "lost":
        return Done(await judge.read(), 202)
    left = most - attempt.number if bank_left is None else min(bank_left, most - attempt.number)
    if verdict == "wrong":
        code = C.CODE_WRONG if left > 0 else C.CODE_ATTEMPTS_EXHAUSTED
        raise CodeRefusedError(code, judge.subject_id, max(0, left))
    if verdict in ("expired", "exhausted"):
        code = C.CODE_EXPIRED if verdict == "expired" else C.CODE_ATTEMPTS_EXHAUSTED
        raise CodeRefusedError(code, judge.subject_id, max(0, left) if verdict == "expired" else 0)
    return Done(await judge.read())


async def _judged(
    call: Call, judge: Judge, connector: BankConnector, attempt: CodeAttempt
) -> tuple[CodeVerdict | None, int | None]:
    """The verdict that now stands, if there is one, and how many attempts the bank leaves."""
    verdict, left = None, None
    try:
        if _may_still_be_sent(call, connector):
            answer = await judge.ask(connector, attempt)
            left, given = answer.attempts_left, verdict_of(answer)
            if given is not None:
                verdict = await _resolve(call, judge, attempt, answer, given)
    except Exception as error:
        # By its type only: what went wrong may hold what was sent.
        log.error(
            "code attempt left to the process",
            extra={"subject_id": judge.subject_id, "reason": type(error).__name__},
        )
    message = CodeVerdictMessage(attempt_id=attempt.attempt_id, verdict=verdict)
    await call.services.processes.tell_verdict(judge.kind, judge.subject_id, message)
    return verdict, left


def _may_still_be_sent(call: Call, connector: BankConnector) -> bool:
    """Whether it arrives before anybody can give the attempt up as lost, which is after twice the validity.

    A process that was stopped since the claim would else open an agreement of which nobody knows any more.
    """
    since_claim = call.services.clock.now() - call.now
    return since_claim < timedelta(seconds=connector.capabilities.request_validity_seconds)


async def _resolve(
    call: Call, judge: Judge, attempt: CodeAttempt, answer: BankAnswer, given: CodeVerdict
) -> CodeVerdict:
    agreement = None
    if judge.kind == "binding" and given == "confirmed":
        agreement = await _sealed_agreement(call, judge.resource["user_id"], answer)
    resolution = ResolveCodeAttempt(
        now=call.services.clock.now(),
        attempt_id=attempt.attempt_id,
        verdict=given,
        authorisation=answer.authorisation,
        agreement=agreement,
        raw_code=answer.raw_code,
        reason=answer.reason.value if answer.reason else None,
    )
    standing, _state = await call.services.instructions.resolve_code_attempt(resolution)
    return _VERDICTS[standing]


async def _sealed_agreement(call: Call, user_id: str, answer: BankAnswer) -> dict[str, Any]:
    if answer.agreement_number is None:
        raise ValueError("a confirmed application without an agreement number")
    [item] = await call.services.vault.seal(user_id, {PersonalField.AGREEMENT_NUMBER: answer.agreement_number})
    return item.model_dump(mode="json")


async def resend_code(call: Call, kind: Kind, subject_id: str) -> None:
    """Has the process ask the issuer for another code, under the cool-down and the cap."""
    codes = call.services.policy.codes
    attempt = await call.services.instructions.claim_code_resend(
        ClaimCodeResend(
            now=call.now,
            kind=kind,
            id=subject_id,
            merchant_id=call.merchant_id,
            cooldown_seconds=codes.resend_cooldown_seconds,
            max_sends=codes.max_sends,
        )
    )
    await call.services.processes.tell_resend(kind, subject_id, CodeResendMessage(attempt=attempt))


_VERDICTS: dict[str, CodeVerdict] = {
    "confirmed": "confirmed",
    "wrong": "wrong",
    "expired": "expired",
    "exhausted": "exhausted",
    "declined": "declined",
    "lost": "lost",
}
