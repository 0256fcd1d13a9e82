"""What banks send unasked. A callback only says that there is something to ask about: the process asks its bank."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.documentation import ANYWHERE, documented
from api.problems import RecordedAs
from api.resources import Resource
from api.services import Services, services_of
from domain.banking import BankNotice, BankOutcome, CallbackRejectedError
from domain.error_codes import ErrorCode
from domain.errors import NotAllowedError, RefusedError, UnavailableError
from domain.identifiers import BankStep
from domain.states import (
    FX_FINAL_STATES,
    INBOUND_RETURN_FINAL_STATES,
    PAYMENT_FINAL_STATES,
    PAYOUT_FINAL_STATES,
    REFUND_FINAL_STATES,
    FxState,
    PaymentState,
    PayoutState,
    ReceivingAccountState,
)
from workflows.names import Process
from workflows.starting import payment_order, payout_order

log = logging.getLogger(__name__)
router = APIRouter(tags=["banks"])
C = ErrorCode
_AT_THE_BANK = frozenset({PayoutState.SENDING, PayoutState.UNKNOWN})
_DEALT = frozenset({FxState.CONVERTED, FxState.SETTLED})
_OPENED_OR_NOT = frozenset(ReceivingAccountState) - {ReceivingAccountState.OPENING}
_FINAL = frozenset(
    {
        *PAYMENT_FINAL_STATES,
        *REFUND_FINAL_STATES,
        *PAYOUT_FINAL_STATES,
        *FX_FINAL_STATES,
        *INBOUND_RETURN_FINAL_STATES,
        *_OPENED_OR_NOT,
    }
)
# Which process asks the bank about a step; one that has ended, or does not answer, has no need to any more.
_PROCESS_OF = {
    BankStep.DEBIT: Process.COLLECT_PAYMENT,
    BankStep.LATE_REFUND: Process.COLLECT_PAYMENT,
    BankStep.REFUND: Process.REFUND_PAYMENT,
    BankStep.PAYOUT: Process.SEND_PAYOUT,
    BankStep.FX_CONVERSION: Process.SETTLE_FX,
    BankStep.FX_REVERSAL: Process.SETTLE_FX,
    BankStep.INBOUND_RETURN: Process.RETURN_INBOUND,
    BankStep.RECEIVING_ACCOUNT: Process.OPEN_RECEIVING_ACCOUNT,
}
# A process in doubt asks its bank by itself for as long as this.
_ANSWER_UNDER_WAY_SECONDS = 1.0


class Taken(Resource):
    """The callback is authentic and kept."""

    status: str


@router.post(
    "/bank-callbacks/{bank_code}",
    **documented("For banks: something has happened", None, {200: Taken}, [C.CALLBACK_REJECTED, *ANYWHERE]),
)
async def take_callback(request: Request, bank_code: str) -> Response:
    services, now = services_of(request), services_of(request).clock.now()
    body = await request.body()
    try:
        notice = _authentic(request, bank_code, body)
    except CallbackRejectedError as rejected:
        partner = bank_code if rejected.reason != "bank_unknown" else None
        raise _ForgedError(RecordedAs("bank_callback", rejected.reason, partner)) from None
    if notice.inbound_reference is not None:
        await _take_announcement(services, bank_code, notice.inbound_reference, notice.notice_id)
        return JSONResponse({"status": "ok"})
    found = await services.requests.record_callback(now, bank_code, notice)
    if not await services.work.finish(_nudge(services, found, notice)):
        # A correction would otherwise be forgotten: the bank will call again.
        raise UnavailableError(C.SERVICE_UNAVAILABLE)
    return JSONResponse({"status": "ok"})


class _ForgedError(NotAllowedError):
    """CALLBACK_REJECTED, and what goes on record about it."""

    def __init__(self, recorded_as: RecordedAs) -> None:
        super().__init__(C.CALLBACK_REJECTED)
        self.recorded_as = recorded_as


def _authentic(request: Request, bank_code: str, body: bytes) -> BankNotice:
    services = services_of(request)
    try:
        connector = services.banks.connector_for_sent(bank_code)
    except RefusedError:
        raise CallbackRejectedError("bank_unknown") from None
    query = request.url.query
    target = f"{request.url.path}?{query}" if query else request.url.path
    return connector.read_callback(request.method, target, request.headers, body, services.clock.now())


async def _take_announcement(services: Services, bank_code: str, reference: str, notice_id: str) -> None:
    """A remittance has arrived: the announcement is kept, and counts for nothing until the bank was asked (A5.1a)."""
    is_to_be_asked = await services.fx.announce_inbound(bank_code, reference, notice_id, services.clock.now())
    if is_to_be_asked:
        # Should this not get through, the sweeper starts it under the same id.
        services.work.begin(services.processes.receive_inbound(bank_code, reference))


async def _nudge(services: Services, found: dict[str, Any], notice: BankNotice) -> bool:
    """Wakes whoever waits for this bank's answer; False if a correction, a return or the reversal of an excess that is
    due could not be started.
    """
    step, state = found["step"], found["state"]
    if step == BankStep.PAYOUT and state == PayoutState.SUCCEEDED:
        # A bank that announces the success which we know already has nothing to take back.
        return notice.announces not in (BankOutcome.RETURNED, None) or await _take_back(services, found["subject_id"])
    if step == BankStep.PAYOUT and state in _AT_THE_BANK and notice.announces is BankOutcome.RETURNED:
        # It was paid, and its process may have heard so already: that would not ask the bank again.
        _tell(services, found)
        return await _take_back(services, found["subject_id"])
    if step == BankStep.DEBIT and state == PaymentState.FAILED:
        # A bank that announces the decline which we know already has nothing to correct.
        return notice.announces is BankOutcome.DECLINED or await _correct(services, found["subject_id"])
    if step == BankStep.FX_CONVERSION and notice.is_excess:
        # The desk has found a part of it to be above the quota since (A5.2c); that it was dealt may not be booked yet.
        if state not in _DEALT:
            _tell(services, found)
        return await services.processes.learn_excess(found["subject_id"])
    if step == BankStep.DEBIT and state == PaymentState.SENDING:
        services.work.begin(_nudge_unless_answered(services, found, notice))
    elif state not in _FINAL:
        _tell(services, found)
    return True


async def _nudge_unless_answered(services: Services, found: dict[str, Any], notice: BankNotice) -> None:
    """Most callbacks come while the bank's own answer is under way, and the process needs none then."""
    await asyncio.sleep(_ANSWER_UNDER_WAY_SECONDS)
    payment = await services.reading.payment_of_any(found["subject_id"])
    state = payment[1]["state"] if payment is not None else None
    if state == PaymentState.SENDING:
        _tell(services, found)
    else:
        await _nudge(services, {**found, "state": state}, notice)


def _tell(services: Services, found: dict[str, Any]) -> None:
    process = _PROCESS_OF.get(found["step"])
    if process is not None:
        services.work.begin(services.processes.tell_bank_notice(process, found["subject_id"]))


async def _correct(services: Services, payment_id: str) -> bool:
    """The bank's word prevails over a failure that we recorded (A4.1c)."""
    found = await services.reading.payment_of_any(payment_id)
    if found is None:
        return True
    merchant_id, payment = found
    order = payment_order(payment, merchant_id).model_copy(update={"resumed": True})
    return await services.processes.correct_payment(order)


async def _take_back(services: Services, payout_id: str) -> bool:
    """The payee's bank has sent a payout back: its bank is asked, and what it says is booked."""
    found = await services.payouts.payout_for_process(payout_id)
    if found is None:
        return True
    merchant_id, payout = found
    return await services.processes.return_payout(payout_order(payout, merchant_id))
