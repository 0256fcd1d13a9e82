"""The steps at a bank. Each claims its effect first, sends once, and answers what is known; nobody retries it here.

A step that finds its effect claimed already answers UNKNOWN without sending: the process then asks the bank, and sends
again only when the bank has said that it never got the first (`resend`), under the same request number.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities import names
from activities.interfaces import AttemptQuestion, AttemptVerdicts, EffectQuery, EffectRequest, EffectResult
from activities.ports import BankDirectory, InstructionBook, PersonalVault
from domain.banking import (
    BankAnswer,
    BankCapabilities,
    BankConnector,
    BankOutcome,
    DebitRequest,
    FourElements,
    PaymentCodeRequest,
    PayoutRequest,
    RefundRequest,
    SignApplication,
    UnsignRequest,
)
from domain.codes import verdict_of
from domain.errors import EffectRefusedError, ErrorCode
from domain.identifiers import BankStep, request_number
from domain.instructions import ClaimedEffect, ClaimEffect, OpenAttempt, ResolveCodeAttempt
from domain.personal_data import PersonalField

log = logging.getLogger(__name__)

# Sent again this long before the bank may have forgotten the number, at the latest.
RESEND_MARGIN = timedelta(hours=1)
# A worker that was stopped for a while between claim and sending lets it be. Together with the longest bank exchange
# (checked in wiring.py) it stays under the activity's start-to-close time-out of 20 s.
_LONGEST_WAIT_BEFORE_SENDING_SECONDS = 4.0
# Money has moved: believed only if it is the amount that was asked for.
_BOOKED = frozenset({BankOutcome.SUCCEEDED, BankOutcome.RETURNED})
MAINLAND = "CN"
T = TypeVar("T")
Opened = Mapping[PersonalField, str]
Send = Callable[[BankConnector, ClaimedEffect, Opened], Awaitable[BankAnswer]]


class BankSteps:
    """Activities that reach a bank."""

    def __init__(self, book: InstructionBook, vault: PersonalVault, banks: BankDirectory) -> None:
        self._book = book
        self._vault = vault
        self._banks = banks

    @activity.defn(name=names.APPLY_TO_SIGN)
    async def apply_to_sign(self, request: EffectRequest) -> EffectResult:
        """The issuer verifies the four elements and texts a code (A2.1a)."""

        async def send(bank: BankConnector, _: ClaimedEffect, opened: Opened) -> BankAnswer:
            elements = FourElements(
                name=opened[PersonalField.NAME],
                id_number=opened[PersonalField.ID_NUMBER],
                card_number=opened[PersonalField.CARD_NUMBER],
                mobile=opened[PersonalField.MOBILE],
            )
            return await bank.apply_to_sign(SignApplication(request_number=request.request_number, elements=elements))

        return await self._perform(request, BankStep.SIGN, send)

    @activity.defn(name=names.UNSIGN)
    async def unsign(self, request: EffectRequest) -> EffectResult:
        """The agreement ends at the bank."""

        async def send(bank: BankConnector, _: ClaimedEffect, opened: Opened) -> BankAnswer:
            return await bank.unsign(
                UnsignRequest(
                    request_number=request.request_number, agreement_number=opened[PersonalField.AGREEMENT_NUMBER]
                )
            )

        return await self._perform(request, BankStep.UNSIGN, send)

    @activity.defn(name=names.SEND_PAYMENT_CODE)
    async def send_payment_code(self, request: EffectRequest) -> EffectResult:
        """The issuer texts a code that is bound to this debit's number, amount and payee (A3.7b)."""

        async def send(bank: BankConnector, claimed: ClaimedEffect, opened: Opened) -> BankAnswer:
            return await bank.send_payment_code(
                PaymentCodeRequest(
                    request_number=request.request_number,
                    debit_request_number=request_number(BankStep.DEBIT, request.subject_id),
                    agreement_number=opened[PersonalField.AGREEMENT_NUMBER],
                    amount_minor=_known(claimed.amount_minor),
                    currency=_known(claimed.currency),
                    payee=_known(claimed.payee),
                )
            )

        return await self._perform(request, BankStep.PAYMENT_CODE, send)

    @activity.defn(name=names.DEBIT)
    async def debit(self, request: EffectRequest) -> EffectResult:
        """The payer's account is debited, once (A2.1d)."""

        async def send(bank: BankConnector, claimed: ClaimedEffect, opened: Opened) -> BankAnswer:
            return await bank.debit(
                DebitRequest(
                    request_number=request.request_number,
                    agreement_number=opened[PersonalField.AGREEMENT_NUMBER],
                    amount_minor=_known(claimed.amount_minor),
                    currency=_known(claimed.currency),
                    payee=_known(claimed.payee),
                    authorisation=claimed.authorisation,
                )
            )

        return await self._perform(request, BankStep.DEBIT, send)

    @activity.defn(name=names.REFUND)
    async def refund(self, request: EffectRequest) -> EffectResult:
        """All or part of a debit goes back to the payer's card."""
        return await self._perform(request, BankStep.REFUND, _refund_of(request))

    @activity.defn(name=names.REFUND_LATE_SUCCESS)
    async def refund_late_success(self, request: EffectRequest) -> EffectResult:
        """A debit that succeeded after its order was over goes back whole."""
        return await self._perform(request, BankStep.LATE_REFUND, _refund_of(request))

    @activity.defn(name=names.PAY_OUT)
    async def pay_out(self, request: EffectRequest) -> EffectResult:
        """Money leaves for the payee's account, once under one number (A2.5a, P2.1.3-1a)."""

        async def send(bank: BankConnector, claimed: ClaimedEffect, opened: Opened) -> BankAnswer:
            return await bank.pay_out(
                PayoutRequest(
                    request_number=request.request_number,
                    amount_minor=_known(claimed.amount_minor),
                    currency=_known(claimed.currency),
                    region=_known(claimed.region),
                    payee_name=opened[PersonalField.NAME],
                    account_number=opened[PersonalField.ACCOUNT_NUMBER],
                    bank_id_kind=_known(claimed.bank_id_kind),
                    bank_id=_known(claimed.bank_id),
                )
            )

        return await self._perform(request, BankStep.PAYOUT, send)

    @activity.defn(name=names.ASK_BANK)
    async def ask_bank(self, query: EffectQuery) -> EffectResult:
        """What the bank knows of a request number. No answer is retried for as long as the process wants to know."""
        bank = self._banks.connector_for_sent(query.bank_code)
        answer = await bank.query(query.request_number)
        if answer.outcome in _BOOKED and _is_other_amount(answer, query):
            # Neither success nor failure of what was asked for: it stays pending, for a person to see.
            raise ApplicationError(f"{query.bank_code} booked another amount", type="BANK_AMOUNT_DIFFERS")
        if answer.outcome is BankOutcome.UNKNOWN:
            raise ApplicationError(
                f"{query.bank_code} did not answer",
                type=ErrorCode.BANK_NO_ANSWER.value,
                category=ApplicationErrorCategory.BENIGN,
            )
        return _about(query.request_number, _result(answer, bank))

    @activity.defn(name=names.ASK_ABOUT_CODE)
    async def ask_about_code(self, question: AttemptQuestion) -> AttemptVerdicts:
        """Learns the verdicts that nobody learned because the process that asked died in between."""
        _, attempts = await self._book.open_attempts(question.subject_id)
        for attempt in attempts:
            await self._learn_verdict(attempt, question.now)
        state, left = await self._book.open_attempts(question.subject_id)
        declined = await self._book.is_code_declined(question.subject_id)
        return AttemptVerdicts(state=state, open_attempts=len(left), declined=declined)

    async def _perform(self, request: EffectRequest, step: BankStep, send: Send) -> EffectResult:
        return _about(request.request_number, await self._claim_and_send(request, step, send))

    async def _claim_and_send(self, request: EffectRequest, step: BankStep, send: Send) -> EffectResult:
        bank = self._banks.connector_for_sent(request.bank_code)
        request = request.model_copy(update={"now": request.now + waited_for_a_worker()})
        began = time.monotonic()
        try:
            claimed = await self._book.claim_effect(self._claim(request, step, bank))
        except EffectRefusedError as refused:
            return blocked(refused)
        if claimed.already and not request.resend:
            return unsent(claimed.claimed_at)
        opened = await self._opened(step, claimed)
        if time.monotonic() - began > _LONGEST_WAIT_BEFORE_SENDING_SECONDS:
            # The process has given this attempt up, or is about to: what it sent now, nobody would expect.
            return unsent(claimed.claimed_at)
        answer = await send(bank, claimed, opened)
        return _result(answer, bank).model_copy(update={"claimed_at": claimed.claimed_at})

    async def _opened(self, step: BankStep, claimed: ClaimedEffect) -> Opened:
        """What of the payer's data a step sends, in the clear."""
        if step is BankStep.SIGN:
            return await self._vault.open_elements(claimed.user_id, claimed.sealed)
        if step is BankStep.PAYOUT:
            return await self._vault.open_payee(claimed.user_id, claimed.sealed)
        if step in (BankStep.REFUND, BankStep.LATE_REFUND):
            return {}
        return {PersonalField.AGREEMENT_NUMBER: await self._vault.open_agreement(claimed.user_id, claimed.sealed)}

    def _claim(self, request: EffectRequest, step: BankStep, bank: BankConnector) -> ClaimEffect:
        return ClaimEffect(
            now=request.now,
            kind=request.kind,
            id=request.subject_id,
            step=step.value,
            request_number=request.request_number,
            attempt=request.attempt,
            resend=request.resend,
            remembered_since=request.now - surely_remembered(bank.capabilities),
            disclosures=self._disclosures(request, step),
        )

    def _disclosures(self, request: EffectRequest, step: BankStep) -> tuple[dict[str, Any], ...] | None:
        """What of whose data the step discloses, for the record that is made before it leaves."""
        if step is BankStep.SIGN:
            return self._vault.disclose_elements(_known(request.user_id), request.bank_code, request.request_number)
        if step is BankStep.PAYOUT:
            return self._vault.disclose_payee(
                _known(request.user_id), request.bank_code, request.request_number,
                cross_border=_known(request.region) != MAINLAND,
            )  # fmt: skip
        return None

    async def _learn_verdict(self, attempt: OpenAttempt, now: datetime) -> None:
        bank = self._banks.connector_for_sent(attempt.bank_code)
        answer = await bank.query(attempt.request_number)
        verdict = verdict_of(answer)
        # Twice the validity, because the attempt was claimed a little before it was signed.
        lost_after = 2 * timedelta(seconds=bank.capabilities.request_validity_seconds)
        if answer.outcome is BankOutcome.NOT_FOUND and now > attempt.claimed_at + lost_after:
            verdict = "lost"
        if verdict is None:
            return
        agreement = None
        if answer.agreement_number is not None:
            agreement = await self._vault.seal_agreement(attempt.user_id, answer.agreement_number)
        await self._book.resolve_code_attempt(
            ResolveCodeAttempt(
                now=now,
                attempt_id=attempt.attempt_id,
                verdict=verdict,
                authorisation=answer.authorisation,
                agreement=agreement,
                raw_code=answer.raw_code,
                reason=answer.reason,
            )
        )


def _is_other_amount(answer: BankAnswer, query: EffectQuery) -> bool:
    return None not in (answer.amount_minor, query.amount_minor) and answer.amount_minor != query.amount_minor


def waited_for_a_worker() -> timedelta:
    """By Temporal's clock: while no worker ran, the order may have expired, and then nothing is sent for it."""
    if not activity.in_activity():
        return timedelta(0)
    info = activity.info()
    return max(info.started_time - info.current_attempt_scheduled_time, timedelta(0))


def surely_remembered(capabilities: BankCapabilities) -> timedelta:
    """How long after its claim a number is safely inside the bank's memory."""
    memory = timedelta(seconds=capabilities.remembers_request_numbers_seconds)
    return max(memory - RESEND_MARGIN, memory / 2)


def _about(request_number: str, result: EffectResult) -> EffectResult:
    return result.model_copy(update={"request_number": request_number})


def unsent(claimed_at: datetime) -> EffectResult:
    """It was claimed, and nothing was sent now: the bank is to be asked."""
    return EffectResult(outcome=BankOutcome.UNKNOWN, claimed_at=claimed_at)


def blocked(refused: EffectRefusedError) -> EffectResult:
    """Nothing was sent now. Whether something was sent before is still for the bank to say, unless it has ended."""
    if refused.sent_before and refused.error != "state_conflict":
        return EffectResult(outcome=BankOutcome.UNKNOWN, reason=refused.error)
    return EffectResult(outcome=BankOutcome.DECLINED, blocked=refused.error, blocked_state=refused.state)


def _refund_of(request: EffectRequest) -> Send:
    async def send(bank: BankConnector, claimed: ClaimedEffect, _: Opened) -> BankAnswer:
        return await bank.refund(
            RefundRequest(
                request_number=request.request_number,
                debit_request_number=request_number(BankStep.DEBIT, _known(claimed.payment_id)),
                amount_minor=_known(claimed.amount_minor),
                currency=_known(claimed.currency),
            )
        )

    return send


def _result(answer: BankAnswer, bank: BankConnector) -> EffectResult:
    return EffectResult(
        outcome=answer.outcome,
        reason=answer.reason,
        raw_code=answer.raw_code,
        bank_reference=answer.bank_reference,
        booked_at=answer.booked_at,
        return_reference=answer.return_reference,
        returned_at=answer.returned_at,
        code_expires_at=answer.code_expires_at,
        request_validity_seconds=bank.capabilities.request_validity_seconds,
        remembered_seconds=int(surely_remembered(bank.capabilities).total_seconds()),
    )


def _known(value: T | None) -> T:
    """What the send claim always answers for this step; its absence is a defect of ours, not a bank's answer."""
    if value is None:
        raise ApplicationError("the send claim lacks a value that this step needs", non_retryable=True)
    return value
