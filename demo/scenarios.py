"""The scenarios, one function each. They run at the same time; each notes what had to come out and what did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx

from banks.simulator.payer import NoMessageError
from demo.merchant import RefusedError, Resource, StillWaitingError, new_key
from demo.stage import Row, Stage
from domain.identifiers import BankStep
from domain.money import format_amount

# An order lives for a minute at least; the bank's late word comes a little after that.
SHORT_ORDER_MINUTES = 61.5 / 60
LATE_SUCCESS_SECONDS = 65.0
WAIVER_LIMIT_MINOR = 10_000

Scenario = Callable[[Stage], Awaitable[None]]


async def pay_with_a_code(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("王芳")
    stage.row("Bind a card with the four elements and a code", "open", _state(binding), binding)
    payment = await payer.pay(binding, 12_800)
    got = f"{await _debited(stage, payment)}, fee {_amount(payment['fee_minor'])}"
    stage.row("Pay 128.00 with a code", "succeeded, debited once, fee 0.77 CNY", got, payment)
    unbound = await payer.unbind(binding)
    stage.row("Unbind the card", "unbound", _state(unbound), unbound)
    got = await _refusal(payer.pay(binding, 100))
    stage.row("Pay with the unbound card", "refused: BINDING_NOT_OPEN", got)


async def the_same_request_twice(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("李伟", "WLWB")
    _, order = await payer.confirm(binding, 5_000)
    key = new_key()
    both = await asyncio.gather(*(stage.merchant.send("POST", "/v1/payments", order, key) for _ in range(2)))
    first, second = (answer.json() for answer in both)
    replayed = sum("Idempotency-Replayed" in answer.headers for answer in both)
    stage.tell("李伟", "taps twice: the merchant's two requests with one Idempotency-Key get one answer")
    payment = await payer.finish(first)
    got = (
        f"{'one payment' if first == second else 'two payments'}, {replayed} replayed, {await _debited(stage, payment)}"
    )
    stage.row(
        "The same request twice at the same instant",
        "one payment, 1 replayed, succeeded, debited once",
        got,
        payment,
    )


async def a_wrong_code_first(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("张敏")
    _, order = await payer.confirm(binding, 3_000)
    payment = await stage.merchant.post("/v1/payments", order)
    await payer.wait_for_code(payment)
    code = await payer.read_code("payment")
    wrong = f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"
    first = await _refusal(payer.enter_code(payment, wrong))
    await payer.enter_code(payment, code)
    payment = await payer.final(payment)
    stage.row(
        "A wrong code, then the right one",
        "refused: CODE_WRONG (code code_wrong), then succeeded, debited once",
        f"{first}, then {await _debited(stage, payment)}",
        payment,
    )


async def pay_free_of_a_code(stage: Stage) -> None:
    body = {"limit_minor": WAIVER_LIMIT_MINOR, "currency": "CNY"}
    application = await stage.merchant.post("/v1/waiver/applications", body)
    stage.tell("merchant", f"applies for payment without a code up to {_amount(WAIVER_LIMIT_MINOR)}")
    payer, binding = await stage.payer_with_card("刘洋", "WLWB")
    before, _ = await payer.confirm(binding, WAIVER_LIMIT_MINOR)
    await stage.approve(application["id"])
    version = (await stage.merchant.get("/v1/waiver"))["version"]
    await payer.consent("waiver_authorisation", version)
    stage.tell("刘洋", "authorises payment without a code (小额免密)")
    authorised, _ = await payer.confirm(binding, WAIVER_LIMIT_MINOR)
    await payer.consent("waiver_notice", version)
    stage.tell("刘洋", "is shown the notice before the first use (首次免密风险提示)")
    ready, _ = await payer.confirm(binding, WAIVER_LIMIT_MINOR)
    steps = [preview["verification"] for preview in (before, authorised, ready)]
    stage.row("Waiver: applied for, approved and authorised, notice shown", "code, notice, waived", ", ".join(steps))
    payment = await payer.pay(binding, WAIVER_LIMIT_MINOR)
    got = f"{payment['verification']}, {await _debited(stage, payment)}"
    stage.row("Pay exactly the limit of 100.00", "waived, succeeded, debited once", got, payment)
    payment = await payer.pay(binding, WAIVER_LIMIT_MINOR + 1)
    got = f"{payment['verification']}, {await _debited(stage, payment)}"
    stage.row("Pay one fen more than the limit", "code, succeeded, debited once", got, payment)


async def insufficient_funds(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("陈静", "HBRB", 20)
    payment = await payer.pay(binding, 8_800)
    got = await _debited(stage, payment)
    stage.row("The payer's account is empty", "failed (insufficient_funds), never debited", got, payment)


async def time_out_after_booking(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("杨军", "HBRB", 33)
    payment = await payer.pay(binding, 26_600)
    got = await _debited(stage, payment)
    stage.row("The bank books, then times out", "succeeded, debited once", got, payment)


async def processing_then_success(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("赵磊", "WLWB", 30)
    payment = await payer.pay(binding, 4_550)
    got = await _debited(stage, payment)
    stage.row("The bank is still processing, then succeeds", "succeeded, debited once", got, payment)


async def declined_at_binding(stage: Stage) -> None:
    _, binding = await stage.payer_with_card("黄丽", "HBRB", 4)
    expected = "declined (mobile_mismatch)"
    stage.row("The mobile is not the one that the issuer has", expected, _state(binding), binding)


async def late_success(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("周强", "HBRB", 40)
    stage.tell("周强", "has an order of one minute, and a bank that will say yes only after that")
    payment = await payer.pay(binding, 9_900, minutes=SHORT_ORDER_MINUTES)
    given_back = await stage.banks.times_booked(BankStep.LATE_REFUND, payment)
    got = f"{await _debited(stage, payment)}, given back {_times(given_back)}"
    expected = "late_refunded (succeeded_after_order_expired), debited once, given back once"
    stage.row("Success after the order expired", expected, got, payment)


async def refunds(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("吴霞", "WLWB")
    payment = await payer.pay(binding, 20_000)
    part = await payer.refund(payment, 5_000)
    left = (await stage.merchant.get(f"/v1/payments/{payment['id']}"))["refundable_minor"]
    got = f"{_state(part)}, {_amount(left)} left"
    stage.row("Refund 50.00 of 200.00", "succeeded, 150.00 CNY left", got, payment, part)
    got = await _refusal(payer.refund(payment, left + 1))
    stage.row("Refund one fen more than is left", "refused: REFUND_EXCEEDS_PAYMENT", got)
    rest = await payer.refund(payment, left)
    booked = [await stage.banks.times_booked(BankStep.REFUND, one) for one in (part, rest)]
    left = (await stage.merchant.get(f"/v1/payments/{payment['id']}"))["refundable_minor"]
    got = f"{_state(rest)}, {_amount(left)} left, paid back {' and '.join(map(_times, booked))}"
    stage.row("Refund all the rest", "succeeded, 0.00 CNY left, paid back once and once", got, rest)


async def top_up_own_balance(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("孙悦")
    payment = await payer.pay(binding, 30_000, payee_kind="user")
    balance = await stage.merchant.get(f"/v1/users/{payer.user_id}/balance")
    got = f"{await _debited(stage, payment)}, balance {_amount(balance['available_minor'])}"
    stage.row("Pay 300.00 into the own balance", "succeeded, debited once, balance 300.00 CNY", got, payment)


async def wrong_elements(stage: Stage) -> None:
    payer = await stage.payer("马超")
    stage.tell("马超", "types half of the card number, and is refused at once")
    got = await _refusal(payer.bind(stage.card()[:10]))
    stage.row("Half a card number", "refused: QUICKPAY_DATA_INVALID (card_number wrong_length)", got)


SCENARIOS: tuple[Scenario, ...] = (
    pay_with_a_code,
    wrong_elements,
    declined_at_binding,
    a_wrong_code_first,
    pay_free_of_a_code,
    the_same_request_twice,
    insufficient_funds,
    time_out_after_booking,
    processing_then_success,
    late_success,
    refunds,
    top_up_own_balance,
)
_EXPECTED_TROUBLE = (RefusedError, StillWaitingError, NoMessageError, httpx.HTTPError, KeyError, ValueError)


async def play(stage: Stage) -> list[Row]:
    """All scenarios at the same time, then what they come to; their rows in the order of the list above."""
    stages = [replace(stage, number=stage.number + place, rows=[]) for place in range(len(SCENARIOS))]
    async with stage.banks.set_to(late_success_seconds=LATE_SUCCESS_SECONDS):
        await asyncio.gather(*map(_guarded, stages, SCENARIOS))
    await _guarded(stage, what_the_merchant_is_owed)
    return [row for played in (*stages, stage) for row in played.rows]


async def what_the_merchant_is_owed(stage: Stage) -> None:
    """The balance is what was paid to the merchant, less fees, less what went back."""
    owed = 0
    for payment in (await stage.merchant.get("/v1/payments", limit="100"))["items"]:
        if payment["state"] == "succeeded" and payment["payee_kind"] == "merchant":
            owed += payment["amount_minor"] - payment["fee_minor"]
            back = (await stage.merchant.get(f"/v1/payments/{payment['id']}/refunds"))["items"]
            owed -= sum(one["amount_minor"] - one["fee_back_minor"] for one in back if one["state"] == "succeeded")
    balances = (await stage.merchant.get("/v1/balances"))["balances"]
    pending = next(balance for balance in balances if balance["account"] == "pending")
    stage.row(
        "The merchant's balance", f"{_amount(owed)}, none held", f"{_amount(pending['posted_minor'])}, {_held(pending)}"
    )


async def _guarded(stage: Stage, scenario: Scenario) -> None:
    """A scenario that breaks off is a row too, and stops no other."""
    try:
        await scenario(stage)
    except _EXPECTED_TROUBLE as error:
        name = scenario.__name__.replace("_", " ")
        stage.row(name.capitalize(), "plays to its end", f"{type(error).__name__}: {error}")


async def _refusal(asked: Awaitable[object]) -> str:
    try:
        await asked
    except RefusedError as refused:
        return str(refused)
    return "not refused"


async def _debited(stage: Stage, payment: Resource) -> str:
    times = await stage.banks.times_booked(BankStep.DEBIT, payment)
    return f"{_state(payment)}, {f'debited {_times(times)}' if times else 'never debited'}"


def _times(times: int) -> str:
    return {0: "never", 1: "once"}.get(times, f"{times} times")


def _state(found: Resource) -> str:
    return f"{found['state']} ({found['reason']})" if found.get("reason") else str(found["state"])


def _held(balance: Resource) -> str:
    return f"{_amount(balance['held_minor'])} held" if balance["held_minor"] else "none held"


def _amount(minor: int) -> str:
    return format_amount(minor, "CNY")
