"""The play: all scenarios at the same time, then what they come to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx

from banks.simulator.payer import NoMessageError
from client import LiushuiError, StillWaitingError
from client.models import AccountBalance
from client.states import PayeeKind, PaymentState, RefundState
from demo import closing, foreign_currency, money_out, scenarios
from demo.receiver import is_without_gap
from demo.recipient import CURRENCY, DESK
from demo.stage import Row, Stage
from demo.traces import TracesError
from demo.wording import amount

_INTO, _OUT, _FX = len(scenarios.SCENARIOS), len(money_out.SCENARIOS), len(foreign_currency.SCENARIOS)
_BEFORE_FX = _INTO + _OUT + len(money_out.AFTER_THEM)
_BEFORE_LEAVING = _BEFORE_FX + _FX + len(foreign_currency.AFTER_THEM)
PAYERS = _BEFORE_LEAVING + 1
# A bank that says yes after an order of a minute is over; and people who have enough on their cards for a large payout.
LATE_SUCCESS_SECONDS, ON_EACH_CARD_MINOR = 65.0, 5_000_000
# What was decided last is on its way for a moment.
_LOOKS, _PAUSE_SECONDS = 100, 0.2
_EXPECTED_TROUBLE = (
    LiushuiError,
    StillWaitingError,
    NoMessageError,
    TracesError,
    httpx.HTTPError,
    KeyError,
    ValueError,
)


async def play(stage: Stage) -> list[Row]:
    """Everything; the rows in the order of the lists of scenarios."""
    stages = [replace(stage, number=stage.number + place, rows=[]) for place in range(PAYERS)]
    paying_in, paying_out = stages[:_INTO], stages[_INTO:_BEFORE_FX]
    abroad, [leaving] = stages[_BEFORE_FX:_BEFORE_LEAVING], stages[_BEFORE_LEAVING:]
    async with stage.banks.set_to(late_success_seconds=LATE_SUCCESS_SECONDS, opening_balance_minor=ON_EACH_CARD_MINOR):
        await asyncio.gather(
            *map(_guarded, paying_in, scenarios.SCENARIOS), _pay_out(paying_out, leaving), _convert(abroad)
        )
    await _guarded(stage, what_the_merchant_is_owed)
    await _guarded(stage, what_the_merchant_was_told)
    return [row for played in (*stages, stage) for row in played.rows]


async def _pay_out(stages: list[Stage], leaving: Stage) -> None:
    """A bank that is closed keeps everybody waiting, so it is closed when the others are done."""
    act = closing.Leaving()
    await asyncio.gather(*map(_guarded, stages[:_OUT], money_out.SCENARIOS), _guarded(leaving, act.an_account_closes))
    await asyncio.gather(_wait_for_a_bank(stages[_OUT:]), _look_for_traces(leaving, act))


async def _wait_for_a_bank(stages: list[Stage]) -> None:
    for stage, scenario in zip(stages, money_out.AFTER_THEM, strict=True):
        await _guarded(stage, scenario)


async def _look_for_traces(leaving: Stage, act: closing.Leaving) -> None:
    """Before the merchant's reference is given anew: after that it is in the books again."""
    await _guarded(leaving, act.nothing_readable_is_left)
    await _guarded(leaving, act.who_comes_back_starts_from_nothing)


async def _convert(stages: list[Stage]) -> None:
    """At any hour of any day: the offices work, and the desk's rates are those of the play for as long as it lasts."""
    banks, institution = stages[0].banks, stages[0].institution
    await institution.keep_open((foreign_currency.DESK_OFFICE, foreign_currency.AUTHORITY_OFFICE))
    rates = {"buys": foreign_currency.BUYS, "sells": foreign_currency.SELLS}
    async with banks.dealing_at(DESK, CURRENCY, **rates):
        await asyncio.gather(*map(_guarded, stages[:_FX], foreign_currency.SCENARIOS))
        for stage, scenario in zip(stages[_FX:], foreign_currency.AFTER_THEM, strict=True):
            await _guarded(stage, scenario)


async def what_the_merchant_is_owed(stage: Stage) -> None:
    """The balance is what was paid to the merchant, less fees, less what went back."""
    owed = 0
    async for payment in stage.merchant.payments.list():
        if payment.state == PaymentState.SUCCEEDED and payment.payee_kind == PayeeKind.MERCHANT:
            owed += payment.amount_minor - payment.fee_minor
            async for refund in stage.merchant.refunds.list(payment.id):
                if refund.state == RefundState.SUCCEEDED:
                    owed -= refund.amount_minor - refund.fee_back_minor
    balances = (await stage.merchant.balances.get()).balances
    pending = next(balance for balance in balances if balance.account == "pending")
    got = f"{amount(pending.posted_minor)}, {_held(pending)}"
    stage.row("The merchant's balance", f"{amount(owed)}, none held", got)


async def what_the_merchant_was_told(stage: Stage) -> None:
    """Every event came as a signed webhook, those of each thing in order and without a gap."""
    told = {event.id async for event in stage.merchant.events.list()}
    for _ in range(_LOOKS):
        if told <= {event.id for event in stage.receiver.events()}:
            break
        await asyncio.sleep(_PAUSE_SECONDS)
    came = {event.id for event in stage.receiver.events()}
    stage.tell("merchant", f"was told {len(came)} events, each signed")
    order = "in order" if is_without_gap(stage.receiver.sequences()) else "with a gap or out of order"
    got = f"{len(told & came)} of {len(told)} events, {order}, {len(stage.receiver.rejected)} rejected"
    stage.row("Webhooks to the merchant", f"{len(told)} of {len(told)} events, in order, 0 rejected", got)


async def _guarded(stage: Stage, scenario: Callable[[Stage], Awaitable[None]]) -> None:
    """A scenario that breaks off is a row too, and stops no other."""
    try:
        await scenario(stage)
    except _EXPECTED_TROUBLE as error:
        name = scenario.__name__.replace("_", " ")
        stage.row(name.capitalize(), "plays to its end", f"{type(error).__name__}: {error}")


def _held(balance: AccountBalance) -> str:
    return f"{amount(balance.held_minor)} held" if balance.held_minor else "none held"
