"""Refusals of codes, payments, waivers, refunds and callbacks."""

from __future__ import annotations

from typing import Any

from domain.banking import BankAnswer, BankOutcome, DeclineReason
from domain.decisions import DecisionKind
from domain.error_codes import ErrorCode
from storage.decisions import decide_directly
from tests.api.conftest import Merchant, Stage
from tests.api.refusals import Ask, change, refused_with

C = ErrorCode


# Codes


@refused_with(C.CODE_NOT_AWAITED)
async def code_for_an_open_binding(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    return lambda: merchant.post(f"/v1/users/{user_id}/bindings/{binding_id}/code", {"code": "482913"})


async def _code(stage: Stage, code: str = "000000") -> Ask:
    merchant = await stage.merchant()
    payment = await stage.payment(merchant, *await stage.payer(merchant))
    return lambda: merchant.post(f"/v1/payments/{payment['id']}/code", {"code": code})


@refused_with(C.CODE_WRONG)
async def wrong_code(stage: Stage) -> Ask:
    return await _code(stage)


@refused_with(C.CODE_EXPIRED)
async def late_code(stage: Stage) -> Ask:
    ask = await _code(stage)
    stage.clock.advance(minutes=6)
    return ask


@refused_with(C.CODE_ATTEMPTS_EXHAUSTED)
async def sixth_guess(stage: Stage) -> Ask:
    ask = await _code(stage)
    stage.banks["HBRB"].next_answer = BankAnswer(outcome=BankOutcome.DECLINED, reason=DeclineReason.CODE_WRONG)
    for _ in range(stage.policy.codes.max_attempts):
        await ask()
    return ask


@refused_with(C.CODE_ATTEMPT_IN_PROGRESS)
async def bank_silent_about_the_code(stage: Stage) -> Ask:
    ask = await _code(stage)
    stage.banks["HBRB"].next_answer = BankAnswer(outcome=BankOutcome.UNKNOWN)
    assert (await ask()).status_code == 202
    return ask


@refused_with(C.CODE_RESEND_TOO_SOON)
async def resend_at_once(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    payment = await stage.payment(merchant, *await stage.payer(merchant))
    return lambda: merchant.post(f"/v1/payments/{payment['id']}/code/resend")


@refused_with(C.CODE_RESENDS_EXHAUSTED)
async def sixth_message(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    payment = await stage.payment(merchant, *await stage.payer(merchant))
    for send in range(1, stage.policy.codes.max_sends):
        stage.clock.advance(seconds=61)
        resent = await merchant.post(f"/v1/payments/{payment['id']}/code/resend")
        assert resent.status_code == 202, resent.text
        await stage.code_sent("payment", payment["id"], send)
    stage.clock.advance(seconds=61)
    return lambda: merchant.post(f"/v1/payments/{payment['id']}/code/resend")


# Payments


async def _payment(stage: Stage, **other: Any) -> tuple[Merchant, dict[str, Any]]:
    """What would be accepted, but for what `other` changes after the user's confirmation."""
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    body = await stage.confirmed(merchant, stage.order(user_id, binding_id))
    return merchant, body | other


@refused_with(C.CONFIRMATION_CHANGED)
async def another_amount_than_confirmed(stage: Stage) -> Ask:
    merchant, body = await _payment(stage, amount_minor=12_801)
    return lambda: merchant.post("/v1/payments", body)


@refused_with(C.ORDER_ALREADY_PAID)
async def paid_order(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    payment = await stage.paid(merchant, user_id, binding_id)
    order = stage.order(user_id, binding_id, order_number=payment["order_number"])
    body = await stage.confirmed(merchant, order)
    return lambda: merchant.post("/v1/payments", body)


@refused_with(C.ORDER_IN_PROGRESS)
async def order_under_way(stage: Stage) -> Ask:
    merchant, body = await _payment(stage)
    assert (await merchant.post("/v1/payments", body)).status_code == 201
    return lambda: merchant.post("/v1/payments", body)


@refused_with(C.ORDER_EXPIRY_INVALID)
async def order_expired_before(stage: Stage) -> Ask:
    merchant, body = await _payment(stage, order_expires_at=(stage.clock.now()).isoformat())
    return lambda: merchant.post("/v1/payments", body)


@refused_with(C.CURRENCY_NOT_SUPPORTED)
async def dollars(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    order = stage.order(*await stage.payer(merchant), currency="USD")
    return lambda: merchant.post("/v1/payments/preview", order, key=None)


@refused_with(C.LIMIT_PER_TRANSACTION)
async def more_than_the_issuer_allows_at_once(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    order = stage.order(*await stage.payer(merchant), amount_minor=5_000_001)
    return lambda: merchant.post("/v1/payments/preview", order, key=None)


async def _third_payment(stage: Stage, amount: int, days: int = 0) -> Ask:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    for number in range(10 if days else 2):
        if days and number and number % 2 == 0:
            stage.clock.advance(days=1)
        await stage.payment(merchant, user_id, binding_id, amount_minor=5_000_000)
    stage.clock.advance(days=days)
    body = await stage.confirmed(merchant, stage.order(user_id, binding_id, amount_minor=amount))
    return lambda: merchant.post("/v1/payments", body)


@refused_with(C.LIMIT_PER_DAY)
async def one_fen_over_the_day(stage: Stage) -> Ask:
    return await _third_payment(stage, 1)


@refused_with(C.LIMIT_PER_MONTH)
async def one_fen_over_the_month(stage: Stage) -> Ask:
    return await _third_payment(stage, 1, days=1)


@refused_with(C.FEE_EXCEEDS_AMOUNT)
async def fee_that_eats_the_amount(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    order = stage.order(*await stage.payer(merchant), amount_minor=1)
    fees = stage.policy.fees
    dear = fees.quick_pay_to_merchant.model_copy(update={"minimum_minor": 1})
    policy = stage.policy.model_copy(update={"fees": fees.model_copy(update={"quick_pay_to_merchant": dear})})
    object.__setattr__(stage.services, "policy", policy)
    return lambda: merchant.post("/v1/payments/preview", order, key=None)


# Waiver of verification


async def enable_waiver(stage: Stage, merchant: Merchant, limit_minor: int = 10_000) -> str:
    answer = await merchant.post("/v1/waiver/applications", {"limit_minor": limit_minor, "currency": "CNY"})
    assert answer.status_code == 201, answer.text
    version: str = answer.json()["id"]
    await decide_directly(stage.database.owner_engine, DecisionKind.WAIVER_APPROVE, version, stage.clock.now())
    return version


@refused_with(C.WAIVER_NOT_ENABLED)
async def authorisation_without_a_waiver(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    return lambda: stage.consent(merchant, user_id, "waiver_authorisation")


@refused_with(C.WAIVER_VERSION_UNKNOWN)
async def authorisation_of_an_earlier_waiver(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    earlier = await enable_waiver(stage, merchant)
    await enable_waiver(stage, merchant, 5_000)
    return lambda: stage.consent(merchant, user_id, "waiver_authorisation", version=earlier)


@refused_with(C.WAIVER_NOTICE_REQUIRED)
async def first_use_without_a_notice(stage: Stage) -> Ask:
    merchant, body = await _payment(stage)
    version = await enable_waiver(stage, merchant, 12_800)
    await stage.consent(merchant, body["user_id"], "waiver_authorisation", version=version)
    return lambda: merchant.post("/v1/payments", body)


@refused_with(C.WAIVER_APPLICATION_EXISTS)
async def second_application(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    body = {"limit_minor": 10_000, "currency": "CNY"}
    assert (await merchant.post("/v1/waiver/applications", body)).status_code == 201
    return lambda: merchant.post("/v1/waiver/applications", body)


# Refunds


async def _refund(stage: Stage, payment: dict[str, Any], merchant: Merchant, amount: int) -> Ask:
    body = {"amount_minor": amount, "reason_code": "duplicate"}
    return lambda: merchant.post(f"/v1/payments/{payment['id']}/refunds", body)


@refused_with(C.PAYMENT_NOT_REFUNDABLE)
async def refund_of_what_is_not_paid(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    payment = await stage.payment(merchant, *await stage.payer(merchant))
    return await _refund(stage, payment, merchant, 100)


@refused_with(C.REFUND_EXCEEDS_PAYMENT)
async def more_than_was_paid(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    payment = await stage.paid(merchant, *await stage.payer(merchant), amount_minor=1_000)
    return await _refund(stage, payment, merchant, 1_001)


@refused_with(C.INSUFFICIENT_FUNDS)
async def money_that_is_no_longer_there(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    payment = await stage.paid(merchant, *await stage.payer(merchant), amount_minor=1_000)
    await change(
        stage,
        f"""SELECT ledger.apply(jsonb_build_array(jsonb_build_object('item', 0, 'transfers', jsonb_build_array(
            jsonb_build_object('action', 'post', 'key', 'moved', 'kind', 'merchant_settlement', 'direction', 'internal',
                'debit', 'merchant_pending:{merchant.id}:CNY', 'credit', 'merchant_available:{merchant.id}:CNY',
                'currency', 'CNY', 'amount', 900, 'instruction', 'moved', 'booked_at', '2026-11-20T04:00:00Z')))))""",
    )
    return await _refund(stage, payment, merchant, 1_000)


# Bank callbacks, and ours


@refused_with(C.CALLBACK_REJECTED)
async def forged_callback(stage: Stage) -> Ask:
    return lambda: stage.http.post("/bank-callbacks/HBRB", content=b"n1 DB123")


@refused_with(C.SERVICE_UNAVAILABLE)
async def something_broken(stage: Stage) -> Ask:
    merchant = await stage.merchant()

    async def broken(*_: Any) -> Any:
        raise RuntimeError("secret detail")

    stage.services.reading.merchant_balances = broken  # type: ignore[method-assign]
    return lambda: merchant.get("/v1/balances")
