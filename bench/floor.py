"""What payments, payouts, conversions and closings cannot do without: processes of the same shape as ours, with nothing
and with raw calls.

The floor books the same money as ours: a signed debit, payout or deal at the bank simulator and the ledger's postings
for it. It has no API, no acceptance, no send claim, no vault, no operation records, no events: what ours adds is what
the ratio shows.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict
from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from workflows.names import WAITING_FOR

REMOTE_TIMEOUT = timedelta(seconds=20)
LOCAL_TIMEOUT = timedelta(seconds=5)
ONCE = RetryPolicy(maximum_attempts=1)
# The same worker process serves both queues: one with our data converter and codec, one with the SDK's own.
QUEUE, PLAIN_QUEUE = "bench", "bench-plain"
# What a sleeper shows that it waits for; it sleeps longer than any benchmark takes.
SLEEPS = "bench"
_SLEEP = timedelta(days=30)


class RawOrder(BaseModel):
    """As many fields as the order of a payment's process has."""

    model_config = ConfigDict(frozen=True)

    payment_id: str
    request_number: str
    agreement_number: str
    bank_code: str
    amount_minor: int
    fee_minor: int
    currency: str
    payee: str
    payee_account: str


@workflow.defn(name="bench-bare")
class Bare:
    """One remote and one local activity that do nothing."""

    @workflow.run
    async def run(self, number: str) -> str:
        answer: str = await workflow.execute_activity(
            "bench-nothing", number, result_type=str, start_to_close_timeout=REMOTE_TIMEOUT, retry_policy=ONCE
        )
        again: str = await workflow.execute_local_activity(
            "bench-nothing", answer, result_type=str, schedule_to_close_timeout=LOCAL_TIMEOUT
        )
        return again


@workflow.defn(name="bench-floor")
class Floor:
    """One signed debit over HTTP, one call of the ledger."""

    @workflow.run
    async def run(self, order: RawOrder) -> str:
        reference: str = await workflow.execute_activity(
            "bench-debit", order, result_type=str, start_to_close_timeout=REMOTE_TIMEOUT, retry_policy=ONCE
        )
        await workflow.execute_local_activity("bench-book", order, schedule_to_close_timeout=LOCAL_TIMEOUT)
        return reference


class BareOrder(BaseModel):
    """How many remote activities, each of which does nothing, before the local one."""

    model_config = ConfigDict(frozen=True)

    number: str
    remote: int


class BareWaiting(BaseModel):
    """How many remote activities there are before the first word, between two words, and after the last."""

    model_config = ConfigDict(frozen=True)

    number: str
    remote: tuple[int, ...]


class RawPayout(BaseModel):
    """As many fields as the order of a payout's process has."""

    model_config = ConfigDict(frozen=True)

    payout_id: str
    request_number: str
    bank_code: str
    amount_minor: int
    fee_minor: int
    currency: str
    source_account: str
    name: str
    account_number: str
    bank_id_kind: str
    bank_id: str
    region: str


class RawConversion(BaseModel):
    """As many fields as the order of a conversion's process has, and what a deal takes beside them."""

    model_config = ConfigDict(frozen=True)

    fx_id: str
    request_number: str
    desk: str
    held_at: str
    amount_minor: int
    currency: str
    purpose_code: str
    user_id: str
    name: str
    id_number: str


class RawDeal(BaseModel):
    """A conversion with what the desk gave for it."""

    model_config = ConfigDict(frozen=True)

    order: RawConversion
    cny_minor: int


@workflow.defn(name="bench-sleeper")
class Sleeper:
    """One remote activity that does nothing, and a timer; its search attribute says when it sleeps."""

    @workflow.run
    async def run(self, number: str) -> str:
        await _nothing(number)
        workflow.upsert_search_attributes([WAITING_FOR.value_set(SLEEPS)])
        await workflow.sleep(_SLEEP)
        return number


@workflow.defn(name="bench-bare-series")
class BareSeries:
    """Remote activities one after another and a local one; none does anything."""

    @workflow.run
    async def run(self, order: BareOrder) -> str:
        for _ in range(order.remote):
            await _nothing(order.number)
        again: str = await workflow.execute_local_activity(
            "bench-nothing", order.number, result_type=str, schedule_to_close_timeout=LOCAL_TIMEOUT
        )
        return again


@workflow.defn(name="bench-bare-closing")
class BareClosing:
    """Remote activities that do nothing, and between them a word that is waited for, no longer than a timer lasts."""

    def __init__(self) -> None:
        self._words = 0

    @workflow.run
    async def run(self, order: BareWaiting) -> str:
        for words, remote in enumerate(order.remote):
            await self._told(words)
            for _ in range(remote):
                await _nothing(order.number)
        return order.number

    @workflow.signal(name="bench-word")
    def word(self) -> None:
        """One of those that are waited for."""
        self._words += 1

    async def _told(self, words: int) -> None:
        if words:
            await workflow.wait_condition(lambda: self._words >= words, timeout=_SLEEP)


@workflow.defn(name="bench-payout-floor")
class PayoutFloor:
    """A payout is assessed, planned, paid and booked: two that do nothing, one signed payout over HTTP, one posting."""

    @workflow.run
    async def run(self, order: RawPayout) -> str:
        await _nothing(order.payout_id)
        await _nothing(order.payout_id)
        reference: str = await workflow.execute_activity(
            "bench-pay-out", order, result_type=str, start_to_close_timeout=REMOTE_TIMEOUT, retry_policy=ONCE
        )
        await workflow.execute_local_activity("bench-book-payout", order, schedule_to_close_timeout=LOCAL_TIMEOUT)
        return reference


@workflow.defn(name="bench-conversion-floor")
class ConversionFloor:
    """A conversion is planned, dealt and booked: one that does nothing, a quote and a deal over HTTP, one posting."""

    @workflow.run
    async def run(self, order: RawConversion) -> int:
        await _nothing(order.fx_id)
        cny_minor: int = await workflow.execute_activity(
            "bench-convert", order, result_type=int, start_to_close_timeout=REMOTE_TIMEOUT, retry_policy=ONCE
        )
        deal = RawDeal(order=order, cny_minor=cny_minor)
        await workflow.execute_local_activity("bench-book-deal", deal, schedule_to_close_timeout=LOCAL_TIMEOUT)
        return cny_minor


async def _nothing(number: str) -> None:
    await workflow.execute_activity(
        "bench-nothing", number, result_type=str, start_to_close_timeout=REMOTE_TIMEOUT, retry_policy=ONCE
    )
