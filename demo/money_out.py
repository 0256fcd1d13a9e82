"""Money out: the scenarios of payouts, one function each. None of them depends on the hour at which it is played."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from banks.simulator.payee_accounts import example_account
from client import Payout
from client.states import PayeeKind, PayoutState
from demo.payer import ACCOUNTS_BANK, Payer
from demo.stage import Stage
from demo.wording import amount, ended, times
from domain.business_time import SHANGHAI
from domain.identifiers import BankStep, request_number

# By this bank payouts leave; it can pay out what was collected from its own cards (config/payout_routes.toml).
PAYS_OUT = "HBRB"
CLOSED_FOR = timedelta(seconds=30)
# Webhooks and bank statements are on their way for a moment.
_LOOKS, _PAUSE_SECONDS = 150, 0.2

Scenario = Callable[[Stage], Awaitable[None]]


async def a_withdrawal(stage: Stage) -> None:
    payer = await _with_balance(stage, "周婷", 30_000)
    payout = await payer.withdraw(await payer.name_account(_account(stage)), 10_000)
    stage.row(
        "Withdraw 100.00 of 300.00, for a fee of 1.00",
        "succeeded, paid once; available 199.00 CNY, held 0.00 CNY, frozen 0.00 CNY;"
        " told: accepted, scheduled, succeeded",
        await _outcome(stage, payer, payout, told=3),
        payout,
    )


async def a_delayed_one(stage: Stage) -> None:
    payer = await _with_balance(stage, "徐浩", 1_500_000)
    payout = await payer.withdraw(await payer.name_account(_account(stage)), 1_000_000)
    cooling = (payout.cool_until or payout.accepted_at) - payout.accepted_at
    if payout.cool_until:
        stage.tell(
            "徐浩",
            f"has to wait until {payout.cool_until.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}: much money, new payee",
        )
    stage.row(
        "Withdraw 10,000.00 to an account named a moment ago",
        "cooling_off for 24 h, paid never; available 4,990.00 CNY, held 10,010.00 CNY, frozen 0.00 CNY;"
        " told: accepted, delayed",
        (await _outcome(stage, payer, payout, told=2)).replace(
            "cooling_off", f"cooling_off for {round(cooling / timedelta(hours=1))} h", 1
        ),
        payout,
    )


async def one_approved_by_two(stage: Stage) -> None:
    payer = await _with_balance(stage, "胡杰", 1_202_000)
    payout = await payer.withdraw(await payer.name_account(_account(stage)), 1_200_000)
    before = ended(payout)
    await stage.institution.approve_review(payout.id)
    payout = await payer.payout(payout)
    stage.row(
        "Withdraw 12,000.00 that has only just come in",
        "under_review, then succeeded, paid once; available 8.00 CNY, held 0.00 CNY, frozen 0.00 CNY;"
        " told: accepted, under_review, scheduled, succeeded",
        f"{before}, then {await _outcome(stage, payer, payout, told=4)}",
        payout,
    )


async def one_refused(stage: Stage) -> None:
    payer = await _with_balance(stage, "朱琳", 50_000, stage.credit_card())
    payout = await payer.withdraw(await payer.name_account(_account(stage)), 40_000)
    before = ended(payout)
    await stage.institution.reject_review(payout.id)
    payout = await payer.payout(payout)
    stage.row(
        "Withdraw what was collected by credit card (套现)",
        "under_review, then refused (review_rejected), paid never;"
        " available 500.00 CNY, held 0.00 CNY, frozen 0.00 CNY; told: accepted, under_review, refused",
        f"{before}, then {await _outcome(stage, payer, payout, told=3)}",
        payout,
    )


async def one_returned(stage: Stage) -> None:
    payer = await _with_balance(stage, "郭涛", 40_000)
    payout = await payer.withdraw(await payer.name_account(_account(stage)), 30_000)
    before = ended(payout)
    stage.tell("bank", "the payee's bank sends the money back")
    await stage.banks.send_back(PAYS_OUT, request_number(BankStep.PAYOUT, payout.id))
    payout = await payer.payout(payout, until=lambda seen: seen.state == PayoutState.RETURNED)
    stage.row(
        "Withdraw 300.00, which the payee's bank sends back",
        "succeeded, then returned (account_closed), paid once and taken back once; available 399.00 CNY, held 0.00 CNY,"
        " frozen 0.00 CNY; told: accepted, scheduled, succeeded, returned",
        f"{before}, then {await _outcome(stage, payer, payout, told=4)}",
        payout,
    )


async def caught_by_a_closed_bank(stage: Stage) -> None:
    """Three wait for the bank to open. In one second there is no order among them; before it opens there is none."""
    payer = await _with_balance(stage, "罗琴", 100_000)
    payees = [await payer.name_account(_account(stage, place)) for place in range(3)]
    shown = [await payer.confirm_payout(payee, 10_000) for payee in payees]
    opens_at = datetime.now(UTC) + CLOSED_FOR
    await stage.institution.close_bank(PAYS_OUT, opens_at)
    accepted = [await stage.merchant.payouts.pay(preview) for preview in shown]
    waiting = [await payer.payout(one, until=lambda seen: seen.state != PayoutState.CHECKING) for one in accepted]
    arrivals = [one.predicted_arrival.at for one in waiting if one.predicted_arrival]
    for one in waiting:
        if one.predicted_arrival:
            arrives = one.predicted_arrival.at.astimezone(SHANGHAI)
            stage.tell("罗琴", f"is told when to expect it: {arrives:%H:%M:%S}, because the bank is closed")
    later = all(at > preview.predicted_arrival.at for at, preview in zip(arrivals, shown, strict=True))
    paid = [await payer.payout(one) for one in waiting]
    waited = all(one.booked_at is not None and one.booked_at >= opens_at for one in paid)
    in_order = arrivals == sorted(arrivals)
    outcomes = {await _ended_and_paid(stage, one) for one in paid}
    got = (
        f"{' and '.join(sorted({one.state for one in waiting}))}, arrival {'later' if later else 'as before'}"
        f" and {'in order' if in_order else 'out of order'}, then {' and '.join(sorted(outcomes))},"
        f" {'after' if waited else 'before'} it opened; {await _purse(stage, payer)}; {await _told(stage, paid[-1], 3)}"
    )
    stage.row(
        "Three withdrawals while the bank is closed for half a minute",
        "scheduled, arrival later and in order, then succeeded, paid once, after it opened;"
        " available 697.00 CNY, held 0.00 CNY, frozen 0.00 CNY; told: accepted, scheduled, succeeded",
        got,
        *paid,
    )


async def the_merchants_own_account(stage: Stage) -> None:
    """What users paid the merchant today is settled to it on the next working day, which no play waits for."""
    proposed = await stage.merchant.settlements.propose_account(
        name="海棠书店", account_number=_account(stage), bank_id=ACCOUNTS_BANK
    )
    stage.tell("merchant", f"proposes the account that it wants to be paid to: {proposed.name} {proposed.account}")
    await stage.institution.approve_account(proposed.id)
    active = (await stage.merchant.settlements.account()).active
    got = f"{proposed.state}, then {active.state if active and active.id == proposed.id else 'not in force'}"
    stage.row("The account to which the merchant is settled, approved by two", "proposed, then active", got)


SCENARIOS: tuple[Scenario, ...] = (
    a_withdrawal,
    a_delayed_one,
    one_approved_by_two,
    one_refused,
    one_returned,
    the_merchants_own_account,
)
# What keeps every payout waiting is played when the others are done.
AFTER_THEM: tuple[Scenario, ...] = (caught_by_a_closed_bank,)


async def _with_balance(stage: Stage, name: str, amount_minor: int, card_number: str | None = None) -> Payer:
    """Somebody who has just paid into the own balance."""
    payer = await stage.payer(name)
    binding = await payer.bind(card_number or stage.card(PAYS_OUT))
    await payer.pay(binding, amount_minor, payee_kind=PayeeKind.USER)
    return payer


def _account(stage: Stage, place: int = 0) -> str:
    """An account that nobody else of the play has; a payer's next ones are far from everybody's first."""
    return example_account("CN", serial=stage.number + place * 1_000_000)


async def _outcome(stage: Stage, payer: Payer, payout: Payout, told: int) -> str:
    ended_so = await _ended_and_paid(stage, payout)
    return f"{ended_so}; {await _purse(stage, payer)}; {await _told(stage, payout, told)}"


async def _ended_and_paid(stage: Stage, payout: Payout) -> str:
    paid, taken_back = await stage.banks.times_paid_out(payout.bank_code, payout.id)
    back = f" and taken back {times(taken_back)}" if taken_back else ""
    return f"{ended(payout)}, paid {times(paid)}{back}"


async def _purse(stage: Stage, payer: Payer) -> str:
    balance = await stage.merchant.users.balance(payer.user_id)
    parts = {"available": balance.available_minor, "held": balance.held_minor, "frozen": balance.frozen_minor}
    return ", ".join(f"{name} {amount(minor)}" for name, minor in parts.items())


async def _told(stage: Stage, payout: Payout, at_least: int) -> str:
    """What the merchant's webhooks said of it, in their order; the last is on its way for a moment."""
    for _ in range(_LOOKS):
        if len(found := _events_of(stage, payout)) >= at_least:
            break
        await asyncio.sleep(_PAUSE_SECONDS)
    return f"told: {', '.join(found)}"


def _events_of(stage: Stage, payout: Payout) -> list[str]:
    found = {event.sequence: event.type for event in stage.receiver.events() if event.object_id == payout.id}
    return [kind.removeprefix("payout.") for _, kind in sorted(found.items())]
