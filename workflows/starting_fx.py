"""Starts the processes of foreign currency, and tells running ones that there is something to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from temporalio.common import WorkflowIDReusePolicy

from domain.money import format_amount
from domain.states import FxState, WaitReason
from workflows import names
from workflows.fx_settlements import SENT, STOPS
from workflows.messages import ExcessOrder, FxOrder, InboundOrder, InboundReturnOrder, ReceivingOrder, ReplanOrder

Resource = Mapping[str, Any]

# What has stopped a conversion, as its resource says it; which one it is its process finds out when it looks.
_STOPPED_BY = {reason.value: obstacle for obstacle, reason in STOPS.items() if reason is not WaitReason.OPERATOR}


class FxProcesses:
    """What `Processes` does about foreign currency."""

    async def _start(
        self, process: names.Process, subject_id: str, order: BaseModel | None, summary: str, *,
        order_number: str | None = None,
        reuse: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
        signal: str | None = None,
    ) -> bool:  # fmt: skip
        raise NotImplementedError

    async def _signal(self, process: names.Process, subject_id: str, signal: str) -> bool:
        raise NotImplementedError

    async def settle_fx(self, order: FxOrder) -> bool:
        """True once the process runs (or has run); False if Temporal did not answer and the sweeper has to do it."""
        what = "Convert" if order.kind == "conversion" else "Take back"
        summary = f"{what} {format_amount(order.amount_minor, order.currency)}"
        return await self._start(names.Process.SETTLE_FX, order.fx_id, order, summary, order_number=order.order_number)

    async def tell_fx(self, fx_id: str) -> bool:
        """Something that a conversion waits for may have changed: it looks for itself. False if nobody was told."""
        return await self._signal(names.Process.SETTLE_FX, fx_id, names.LOOK_AGAIN_SIGNAL)

    async def return_inbound(self, order: InboundReturnOrder) -> bool:
        summary = f"Return {format_amount(order.amount_minor, order.currency)} at {order.bank_code}"
        return await self._start(names.Process.RETURN_INBOUND, order.return_id, order, summary)

    async def open_receiving_account(self, order: ReceivingOrder) -> bool:
        summary = f"Open a receiving account at {order.bank_code}"
        return await self._start(names.Process.OPEN_RECEIVING_ACCOUNT, order.account_id, order, summary)

    async def receive_inbound(self, bank_code: str, reference: str) -> bool:
        """Asks a bank about a remittance that it has announced, as often as it announces one that it did not know."""
        return await self._start(
            names.Process.RECEIVE_INBOUND,
            f"{bank_code}-{reference}",
            InboundOrder(bank_code=bank_code, reference=reference),
            f"Receive {reference} of {bank_code}",
            reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )

    async def learn_excess(self, fx_id: str) -> bool:
        """Asks the desk how much of a conversion was above the quota; one that asks already is told to ask again."""
        return await self._start(
            names.Process.LEARN_EXCESS,
            fx_id,
            ExcessOrder(fx_id=fx_id),
            f"Learn how much of {fx_id} was above the quota",
            reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            signal=names.LOOK_AGAIN_SIGNAL,
        )

    async def replan_fx(self, version: int) -> bool:
        """Plan all conversions that wait by calendars older than this version; one run of it is enough."""
        return await self._start(
            names.Process.REPLAN_FX,
            str(version),
            ReplanOrder(version=version),
            f"Plan conversions that wait by calendars before version {version}",
            reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )


def fx_order(fx: Resource, merchant_id: str) -> FxOrder:
    """The order of a conversion's process from its resource (`app.fx_view`).

    `attempt`: how many numbers its desk has turned away; whoever starts what was just accepted need not say.
    """
    awaited = fx["waiting_for"] or {}
    reason = awaited.get("reason", "")
    return FxOrder(
        fx_id=fx["id"],
        merchant_id=merchant_id,
        user_id=fx["user_id"],
        kind=fx["kind"],
        amount_minor=fx["amount_minor"],
        currency=fx["currency"],
        state=fx["state"],
        order_number=fx["order_number"],
        desk=fx["desk"],
        is_enterprise=fx["residency"] == "enterprise",
        attempt=fx.get("attempt", 0),
        # What waits for people is not dealt anew without them.
        is_known_to_desk=fx["state"] in SENT and reason in (WaitReason.BANK_PROCESSING, WaitReason.OPERATOR),
        answer_by=awaited.get("deadline") if fx["state"] == FxState.UNKNOWN else None,
        deliver_by=awaited.get("deadline") if fx["state"] == FxState.CONVERTED else None,
        stopped_by=_STOPPED_BY.get(reason) if fx["state"] == FxState.WAITING else None,
    )


def inbound_return_order(returned: Resource, merchant_id: str | None) -> InboundReturnOrder:
    """The order of a return's process from its resource (`app.inbound_return_view`)."""
    awaited = returned["waiting_for"] or {}
    return InboundReturnOrder(
        return_id=returned["id"],
        bank_code=returned["bank_code"],
        amount_minor=returned["amount_minor"],
        currency=returned["currency"],
        state=returned["state"],
        merchant_id=merchant_id or None,
        answer_by=awaited.get("deadline") if returned["state"] == "unknown" else None,
    )


def receiving_order(account: Resource, merchant_id: str) -> ReceivingOrder:
    """The order of a receiving account's process from its resource (`app.receiving_account_view`)."""
    return ReceivingOrder(
        account_id=account["id"], merchant_id=merchant_id, user_id=account["user_id"], bank_code=account["bank_code"]
    )
