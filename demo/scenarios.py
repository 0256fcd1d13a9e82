"""Money in: the scenarios, one function each. All run at once; each notes what had to come out and what did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from client import LiushuiError, Payment
from client.states import PayeeKind
from demo.meddling import altered_on_the_way, sent_again
from demo.stage import Stage
from demo.wording import amount, ended, times
from domain.identifiers import BankStep

# An order lives for a minute at least; the bank's late word comes a little after that (`play.LATE_SUCCESS_SECONDS`).
SHORT_ORDER_MINUTES = 61.5 / 60
WAIVER_LIMIT_MINOR = 10_000

Scenario = Callable[[Stage], Awaitable[None]]


async def pay_with_a_code(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("王芳")
    stage.row("Bind a card with the four elements and a code", "open", ended(binding), binding)
    payment = await payer.pay(binding, 12_800)
    got = f"{await _debited(stage, payment)}, fee {amount(payment.fee_minor)}"
    stage.row("Pay 128.00 with a code", "succeeded, debited once, fee 0.77 CNY", got, payment)
    unbound = await payer.unbind(binding)
    stage.row("Unbind the card", "unbound", ended(unbound), unbound)
    got = await _refusal(payer.pay(binding, 100))
    stage.row("Pay with the unbound card", "refused: BINDING_NOT_OPEN", got)


async def the_same_request_twice(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("李伟", "WLWB")
    confirmed = await payer.confirm(binding, 5_000)
    key = f"tapped-twice-{stage.number}"
    first, second = await asyncio.gather(*(payer.instruct(confirmed, key) for _ in range(2)))
    stage.tell("李伟", "taps twice: the merchant's two requests with one Idempotency-Key get one answer")
    payment = await payer.finish(first)
    got = f"{'one payment' if first == second else 'two payments'}, {await _debited(stage, payment)}"
    stage.row("The same request twice at the same instant", "one payment, succeeded, debited once", got, payment)


async def a_wrong_code_first(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("张敏")
    payment = await payer.instruct(await payer.confirm(binding, 3_000))
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
    application = await stage.merchant.waiver.apply(WAIVER_LIMIT_MINOR)
    stage.tell("merchant", f"applies for payment without a code up to {amount(WAIVER_LIMIT_MINOR)}")
    payer, binding = await stage.payer_with_card("刘洋", "WLWB")
    before = await payer.confirm(binding, WAIVER_LIMIT_MINOR)
    await stage.institution.approve(application.id)
    version = (await stage.merchant.waiver.get()).version or "none in force"
    await payer.consent("waiver_authorisation", version)
    stage.tell("刘洋", "authorises payment without a code (小额免密)")
    authorised = await payer.confirm(binding, WAIVER_LIMIT_MINOR)
    await payer.consent("waiver_notice", version)
    stage.tell("刘洋", "is shown the notice before the first use (首次免密风险提示)")
    ready = await payer.confirm(binding, WAIVER_LIMIT_MINOR)
    steps = ", ".join(confirmed.preview.verification for confirmed in (before, authorised, ready))
    stage.row("Waiver: applied for, approved and authorised, notice shown", "code, notice, waived", steps)
    payment = await payer.pay(binding, WAIVER_LIMIT_MINOR)
    got = f"{payment.verification}, {await _debited(stage, payment)}"
    stage.row("Pay exactly the limit of 100.00", "waived, succeeded, debited once", got, payment)
    payment = await payer.pay(binding, WAIVER_LIMIT_MINOR + 1)
    got = f"{payment.verification}, {await _debited(stage, payment)}"
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
    stage.row("The mobile is not the one that the issuer has", expected, ended(binding), binding)


async def late_success(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("周强", "HBRB", 40)
    stage.tell("周强", "has an order of one minute, and a bank that will say yes only after that")
    payment = await payer.pay(binding, 9_900, minutes=SHORT_ORDER_MINUTES)
    given_back = await stage.banks.times_booked(BankStep.LATE_REFUND, payment)
    got = f"{await _debited(stage, payment)}, given back {times(given_back)}"
    expected = "late_refunded (succeeded_after_order_expired), debited once, given back once"
    stage.row("Success after the order expired", expected, got, payment)


async def refunds(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("吴霞", "WLWB")
    payment = await payer.pay(binding, 20_000)
    part = await payer.refund(payment, 5_000)
    left = (await stage.merchant.payments.get(payment.id)).refundable_minor
    got = f"{ended(part)}, {amount(left)} left"
    stage.row("Refund 50.00 of 200.00", "succeeded, 150.00 CNY left", got, payment, part)
    got = await _refusal(payer.refund(payment, left + 1))
    stage.row("Refund one fen more than is left", "refused: REFUND_EXCEEDS_PAYMENT", got)
    rest = await payer.refund(payment, left)
    booked = [await stage.banks.times_booked(BankStep.REFUND, one) for one in (part, rest)]
    left = (await stage.merchant.payments.get(payment.id)).refundable_minor
    got = f"{ended(rest)}, {amount(left)} left, paid back {' and '.join(map(times, booked))}"
    stage.row("Refund all the rest", "succeeded, 0.00 CNY left, paid back once and once", got, rest)


async def top_up_own_balance(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("孙悦")
    payment = await payer.pay(binding, 30_000, payee_kind=PayeeKind.USER)
    balance = await stage.merchant.users.balance(payer.user_id)
    got = f"{await _debited(stage, payment)}, balance {amount(balance.available_minor)}"
    stage.row("Pay 300.00 into the own balance", "succeeded, debited once, balance 300.00 CNY", got, payment)


async def wrong_elements(stage: Stage) -> None:
    payer = await stage.payer("马超")
    stage.tell("马超", "types half of the card number, and is refused at once")
    got = await _refusal(payer.bind(stage.card()[:10]))
    stage.row("Half a card number", "refused: QUICKPAY_DATA_INVALID (card_number wrong_length)", got)


async def meddled_with(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("高翔")
    payment = await payer.pay(binding, 6_000)
    stage.tell("somebody", "sits between merchant and API, and makes more of a refund than the merchant signed")
    got = await altered_on_the_way(stage, payment, 1_000, 6_000)
    stage.row("A refund whose amount is altered on the way", "refused: CONTENT_DIGEST_MISMATCH", got)
    stage.tell("somebody", "sends a signed refund once more, under another Idempotency-Key and under its own")
    got = await sent_again(stage, payment, 1_000)
    expected = "taken, then refused: SIGNATURE_INVALID, SIGNATURE_REPLAYED; 10.00 CNY given back"
    stage.row("A signed refund that is sent again by somebody else", expected, got, payment)


async def withdrawn_by_two(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("何平", "WLWB")
    payment = await payer.instruct(await payer.confirm(binding, 7_700))
    await payer.wait_for_code(payment)
    await stage.institution.withdraw(payment.id)
    got = await _debited(stage, await payer.final(payment))
    stage.row("Two people of the institution withdraw a payment", "closed (withdrawn), never debited", got, payment)


async def not_me(stage: Stage) -> None:
    payer, binding = await stage.payer_with_card("林晓")
    payment = await payer.pay(binding, 1_500)
    stage.tell("林晓", "reports that the payment was not hers (非本人操作)")
    report = await stage.merchant.reports.create(payer.user_id, "not_me", payment_id=payment.id)
    got = f"a case for {len(report.parties)} parties, then {await _refusal(payer.pay(binding, 1_500))}"
    expected = "a case for 3 parties, then refused: FUNCTION_SUSPENDED"
    stage.row("A payer says that it was not her", expected, got, payment)


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
    meddled_with,
    withdrawn_by_two,
    not_me,
)


async def _refusal(asked: Awaitable[object]) -> str:
    try:
        await asked
    except LiushuiError as refused:
        fields = ", ".join(f"{found.field} {found.code}" for found in refused.errors)
        return f"refused: {refused.code}{f' ({fields})' if fields else ''}"
    return "not refused"


async def _debited(stage: Stage, payment: Payment) -> str:
    booked = await stage.banks.times_booked(BankStep.DEBIT, payment)
    return f"{ended(payment)}, {f'debited {times(booked)}' if booked else 'never debited'}"
