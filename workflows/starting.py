"""Starts processes and tells running ones that there is something to look at; used by the API and the sweeper.

Never the last word: whatever fails here is found in the database by the sweeper and done again, under the same ids.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.interfaces import BankRecord, BankRecordQuestion
from domain import chart
from domain.money import format_amount
from domain.states import PaymentState, PayoutState, RefundState
from workflows import names
from workflows.messages import (
    BindingOrder,
    CodeResendMessage,
    CodeVerdictMessage,
    DecisionMessage,
    PaymentOrder,
    PayoutOrder,
    RefundOrder,
    ReplanOrder,
)
from workflows.payout_settlements import STOPS
from workflows.starting_closures import ClosureProcesses
from workflows.starting_fx import FxProcesses

log = logging.getLogger(__name__)

# Some statements take a while.
_PATIENCE_FOR_STATEMENTS_SECONDS = 15.0

# What has stopped a payout, as its resource says it; which one it is its process finds out when it looks.
_STOPPED_BY = {reason.value: obstacle for obstacle, reason in STOPS.items()}

Resource = Mapping[str, Any]


class Processes(FxProcesses, ClosureProcesses):
    """The running processes as the rest of the house reaches them."""

    def __init__(self, client: Client, *, patience_seconds: float = 5.0) -> None:
        self._client = client
        self._patience_seconds = patience_seconds

    async def collect_payment(self, order: PaymentOrder) -> bool:
        """True once the process runs (or has run); False if Temporal did not answer and the sweeper has to do it."""
        summary = f"Collect {format_amount(order.amount_minor, order.currency)} for {order.order_number}"
        return await self._start(
            names.Process.COLLECT_PAYMENT, order.payment_id, order, summary, order_number=order.order_number
        )

    async def correct_payment(self, order: PaymentOrder) -> bool:
        """A bank speaks up about a payment that had ended: look again, and correct on the record (A4.1c)."""
        summary = (
            f"Correct {format_amount(order.amount_minor, order.currency)} of {order.order_number} by the bank's word"
        )
        return await self._start(
            names.Process.CORRECT_PAYMENT,
            order.payment_id,
            order,
            summary,
            order_number=order.order_number,
            # As often as the bank speaks up; one that is looking already is told to look once more.
            reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            signal=names.BANK_NOTICE_SIGNAL,
        )

    async def refund_payment(self, order: RefundOrder) -> bool:
        summary = f"Refund {format_amount(order.amount_minor, order.currency)} of {order.payment_id}"
        return await self._start(names.Process.REFUND_PAYMENT, order.refund_id, order, summary)

    async def send_payout(self, order: PayoutOrder) -> bool:
        return await self._start(
            names.Process.SEND_PAYOUT,
            order.payout_id,
            order,
            f"Pay {format_amount(order.amount_minor, order.currency)} out for {order.order_number}",
            order_number=order.order_number,
        )

    async def return_payout(self, order: PayoutOrder) -> bool:
        """A bank announces that a payout which was paid has come back: ask it, and book the return."""
        return await self._start(
            names.Process.RETURN_PAYOUT,
            order.payout_id,
            order,
            f"Take back {format_amount(order.amount_minor, order.currency)} of {order.order_number}",
            order_number=order.order_number,
            # As often as the bank speaks up; one that is looking already is told to look once more.
            reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            signal=names.BANK_NOTICE_SIGNAL,
        )

    async def tell_payout(self, payout_id: str) -> bool:
        """Something that a payout waits for may have changed: it looks for itself. False if nobody was told."""
        return await self._signal(names.Process.SEND_PAYOUT, payout_id, names.LOOK_AGAIN_SIGNAL)

    async def replan_payouts(self, version: int) -> bool:
        """Plan all payouts that wait by calendars older than this version; one run of it is enough."""
        return await self._start(
            names.Process.REPLAN_PAYOUTS,
            str(version),
            ReplanOrder(version=version),
            f"Plan what waits by calendars before version {version}",
            reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )

    async def settle_merchants(self, on: date) -> bool:
        """Settle a business date, also once more; a run that is under way goes around again."""
        return await self._start(
            names.Process.SETTLE_MERCHANTS,
            on.isoformat(),
            None,
            f"Settle merchants on {on.isoformat()}",
            reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            signal=names.LOOK_AGAIN_SIGNAL,
        )

    async def bind_card(self, order: BindingOrder) -> bool:
        return await self._start(names.Process.BIND_CARD, order.binding_id, order, f"Bind a card at {order.bank_code}")

    async def unbind_card(self, order: BindingOrder) -> bool:
        return await self._start(
            names.Process.UNBIND_CARD, order.binding_id, order, f"Unbind a card at {order.bank_code}"
        )

    async def revive(self, process: names.Process, subject_id: str, order: BaseModel) -> bool:
        """Runs the process of something that has not ended, if none runs; True if there was none.

        Also after one that ended well: what it left behind unfinished is finished by another. Also in the place of
        another workflow that somebody started under its id: that one is terminated.
        """
        conflict = WorkflowIDConflictPolicy.FAIL
        if await self._is_occupied(process, subject_id):
            log.error("another workflow has taken the place of a process", extra={"subject_id": subject_id})
            conflict = WorkflowIDConflictPolicy.TERMINATE_EXISTING
        started = await self._try_to_start(
            process,
            subject_id,
            order,
            f"Go on with {subject_id}",
            order_number=order.order_number if isinstance(order, PaymentOrder | PayoutOrder) else None,
            reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            conflict=conflict,
        )
        return started == "started"

    async def _is_occupied(self, process: names.Process, subject_id: str) -> bool:
        """Whether what runs under the id of a process is no process of ours: another type, or where no worker is."""
        handle = self._client.get_workflow_handle(names.workflow_id(process, subject_id))
        try:
            found = await asyncio.wait_for(handle.describe(), self._patience_seconds)
        except (RPCError, TimeoutError):
            return False
        runs = found.status is WorkflowExecutionStatus.RUNNING
        return runs and (found.workflow_type, found.task_queue) != (process.value, names.TASK_QUEUE)

    async def tell_verdict(
        self, kind: Literal["payment", "binding"], subject_id: str, message: CodeVerdictMessage
    ) -> bool:
        """True once the process has taken the verdict."""
        return await self._update(
            _code_process(kind),
            subject_id,
            names.CODE_VERDICT_UPDATE,
            message,
            f"{message.attempt_id}:{message.verdict}",
        )

    async def tell_resend(
        self, kind: Literal["payment", "binding"], subject_id: str, message: CodeResendMessage
    ) -> bool:
        return await self._update(
            _code_process(kind), subject_id, names.CODE_RESEND_UPDATE, message, f"resend:{message.attempt}"
        )

    async def tell_decision(self, resource: Resource, decision_id: str) -> bool:
        """Tells the process of an instruction (its resource) of a committed decision. True once it has looked.

        Told again, a process answers what it answered first.
        """
        message = DecisionMessage(decision_id=decision_id)
        return await self._update(process_of(resource), resource["id"], names.DECISION_UPDATE, message, decision_id)

    async def tell_bank_notice(self, process: names.Process, subject_id: str) -> bool:
        """Wakes a process that waits for its bank. It asks the bank itself; the notice alone changes nothing."""
        return await self._signal(process, subject_id, names.BANK_NOTICE_SIGNAL)

    async def _signal(self, process: names.Process, subject_id: str, signal: str) -> bool:
        handle = self._client.get_workflow_handle(names.workflow_id(process, subject_id))
        try:
            await asyncio.wait_for(handle.signal(signal), self._patience_seconds)
        except (RPCError, TimeoutError):
            return False
        return True

    async def read_bank_record(self, bank_code: str, request_number: str, days: tuple[date, ...]) -> BankRecord | None:
        """What the bank's own books say, learned by a worker; None if nobody could tell in time."""
        question = BankRecordQuestion(bank_code=bank_code, request_number=request_number, days=days)
        try:
            return await asyncio.wait_for(
                self._client.execute_workflow(
                    names.Process.READ_BANK_RECORD.value,
                    question,
                    id=names.workflow_id(names.Process.READ_BANK_RECORD, question.request_number),
                    task_queue=names.TASK_QUEUE,
                    result_type=BankRecord,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    static_summary=f"Look for {question.request_number} at {question.bank_code}",
                ),
                self._patience_seconds + _PATIENCE_FOR_STATEMENTS_SECONDS,
            )
        except (RPCError, TimeoutError, WorkflowFailureError) as error:
            log.warning(
                "no record of the bank", extra={"subject_id": question.request_number, "reason": type(error).__name__}
            )
            return None

    async def _start(
        self,
        process: names.Process,
        subject_id: str,
        order: BaseModel | None,
        summary: str,
        *,
        order_number: str | None = None,
        # A process that was terminated may be started again; one that ended well may not.
        reuse: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
        signal: str | None = None,
    ) -> bool:
        started = await self._try_to_start(
            process, subject_id, order, summary, order_number=order_number, reuse=reuse, signal=signal
        )
        return started != "no_answer"

    async def _try_to_start(
        self,
        process: names.Process,
        subject_id: str,
        order: BaseModel | None,
        summary: str,
        *,
        order_number: str | None,
        reuse: WorkflowIDReusePolicy,
        conflict: WorkflowIDConflictPolicy = WorkflowIDConflictPolicy.UNSPECIFIED,
        signal: str | None = None,
    ) -> Literal["started", "known", "no_answer"]:
        try:
            await asyncio.wait_for(
                self._client.start_workflow(
                    process.value,
                    args=[] if order is None else [order],
                    id=names.workflow_id(process, subject_id),
                    task_queue=names.TASK_QUEUE,
                    id_reuse_policy=reuse,
                    id_conflict_policy=conflict,
                    start_signal=signal,
                    search_attributes=_search_attributes(order, order_number),
                    static_summary=summary,
                ),
                self._patience_seconds,
            )
        except WorkflowAlreadyStartedError:
            return "known"
        except (RPCError, TimeoutError) as error:
            log.warning("process not started yet", extra={"subject_id": subject_id, "reason": type(error).__name__})
            return "no_answer"
        return "started"

    async def _update(
        self, process: names.Process, subject_id: str, update: str, message: BaseModel, update_id: str
    ) -> bool:
        handle = self._client.get_workflow_handle(names.workflow_id(process, subject_id))
        try:
            await asyncio.wait_for(handle.execute_update(update, message, id=update_id), self._patience_seconds)
        except (
            Exception
        ) as error:  # no answer, a refusal, or a reply that no key here opens: the sweeper tells it again
            log.warning("process not told yet", extra={"subject_id": subject_id, "reason": type(error).__name__})
            return False
        return True


def _search_attributes(order: BaseModel | None, order_number: str | None) -> TypedSearchAttributes:
    values = order.model_dump() if order is not None else {}
    named = {
        names.MERCHANT: values.get("merchant_id"), names.USER: values.get("user_id"), names.ORDER: order_number,
        names.BANK: values.get("bank_code") or values.get("desk"),
    }  # fmt: skip
    return TypedSearchAttributes([SearchAttributePair(key, value) for key, value in named.items() if value is not None])


def _code_process(kind: Literal["payment", "binding"]) -> names.Process:
    return names.Process.COLLECT_PAYMENT if kind == "payment" else names.Process.BIND_CARD


_PROCESS_OF = {
    "refund": names.Process.REFUND_PAYMENT, "payout": names.Process.SEND_PAYOUT, "fx": names.Process.SETTLE_FX,
    "inbound_return": names.Process.RETURN_INBOUND,
}  # fmt: skip


def process_of(resource: Resource) -> names.Process:
    """Which process a payment, refund, payout, conversion or return (its resource) goes on in."""
    if (process := _PROCESS_OF.get(resource["object"])) is not None:
        return process
    return names.Process.CORRECT_PAYMENT if resource["corrected_at"] else names.Process.COLLECT_PAYMENT


def payment_order(payment: Resource, merchant_id: str) -> PaymentOrder:
    """The order of a payment's process from its resource (`app.payment_view`)."""
    owed = chart.merchant_pending(merchant_id, payment["currency"])
    account = owed if payment["payee_kind"] == "merchant" else chart.user(payment["user_id"], payment["currency"])
    return PaymentOrder(
        payment_id=payment["id"],
        merchant_id=merchant_id,
        user_id=payment["user_id"],
        order_number=payment["order_number"],
        bank_code=payment["bank_code"],
        amount_minor=payment["amount_minor"],
        fee_minor=payment["fee_minor"],
        currency=payment["currency"],
        payee_account=account,
        verification=payment["verification"],
        order_expires_at=payment["order_expires_at"],
        resumed=payment["state"] == PaymentState.UNKNOWN,
        state=payment["state"],
    )


def refund_order(refund: Resource, merchant_id: str) -> RefundOrder:
    """The order of a refund's process from its resource (`app.refund_view`)."""
    return RefundOrder(
        refund_id=refund["id"],
        payment_id=refund["payment_id"],
        merchant_id=merchant_id,
        bank_code=refund["bank_code"],
        amount_minor=refund["amount_minor"],
        fee_back_minor=refund["fee_back_minor"],
        currency=refund["currency"],
        resumed=refund["state"] == RefundState.UNKNOWN,
    )


def payout_order(payout: Resource, merchant_id: str) -> PayoutOrder:
    """The order of a payout's process from its resource (`app.payout_view`).

    `attempt`: how many numbers its bank has declined; whoever starts what was just accepted need not say.
    """
    awaited = payout["waiting_for"] or {}
    return PayoutOrder(
        payout_id=payout["id"],
        merchant_id=merchant_id,
        user_id=payout["user_id"],
        kind=payout["kind"],
        bank_code=payout["bank_code"],
        amount_minor=payout["amount_minor"],
        fee_minor=payout["fee_minor"],
        currency=payout["currency"],
        order_number=payout["order_number"],
        state=payout["state"],
        region=payout["region"],
        confirmation_deadline=(payout["confirmation"] or {}).get("deadline"),
        review_id=payout.get("review_id"),
        cool_until=payout["cool_until"],
        attempt=payout.get("attempt", 0),
        answer_by=awaited.get("deadline") if payout["state"] == PayoutState.UNKNOWN else None,
        stopped_by=_STOPPED_BY.get(awaited.get("reason", "")) if payout["state"] == PayoutState.SCHEDULED else None,
    )


def binding_order(binding: Resource, merchant_id: str, deadline: datetime) -> BindingOrder:
    """The order of a binding's process from its resource (`app.binding_view`)."""
    return BindingOrder(
        binding_id=binding["id"],
        merchant_id=merchant_id,
        user_id=binding["user_id"],
        bank_code=binding["bank_code"],
        deadline=deadline,
    )
