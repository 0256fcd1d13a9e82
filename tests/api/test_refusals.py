"""Each refusal of the API: answered with its code and status, in the document, on record, and nothing is changed."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.documentation import NOWHERE
from api.problems import status_of
from domain.banking import BankAnswer, BankOutcome, DeclineReason
from domain.error_codes import ERROR_TEXTS, ErrorCode
from storage.administration import (
    SCOPES,
    Act,
    decide_waiver,
    revoke_key,
    set_merchant_state,
    set_partner_enabled,
)
from tests.api.conftest import ELEMENTS, FakeBank, Merchant, Stage, served

C = ErrorCode
Ask = Callable[[], Awaitable[httpx.Response]]
Scenario = Callable[[Stage], Awaitable[Ask]]
SCENARIOS: dict[ErrorCode, Scenario] = {}
USER = {"merchant_user_ref": "customer-x", "type": "individual", "region": "CN"}
NOBODY = "usr_01KB5N3E4H6Q8Z2T7V9W0X1Y2R"


def refused_with(code: ErrorCode) -> Callable[[Scenario], Scenario]:
    def register(scenario: Scenario) -> Scenario:
        SCENARIOS[code] = scenario
        return scenario

    return register


# The request


@refused_with(C.REQUEST_INVALID)
async def unknown_field(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.post("/v1/users", USER | {"nickname": "x"})


@refused_with(C.REQUEST_TOO_LARGE)
async def large_body(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.raw("/v1/users", b'{"a": "' + b"x" * 70_000 + b'"}')


@refused_with(C.TLS_REQUIRED)
async def plain_http_in_production(stage: Stage) -> Ask:
    async def ask() -> httpx.Response:
        async with served(stage.services, needs_tls=True) as client:
            return await client.get("/v1/balances")

    return ask


@refused_with(C.BODY_NOT_JSON)
async def not_json(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.raw("/v1/users", b"type=individual")


@refused_with(C.ROUTE_NOT_FOUND)
async def no_such_address(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.get("/v1/transfers")


@refused_with(C.METHOD_NOT_ALLOWED)
async def no_such_method(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.delete("/v1/balances")


@refused_with(C.FORBIDDEN_CARD_DATA)
async def card_verification_code(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    return lambda: merchant.post(f"/v1/users/{user_id}/bindings", ELEMENTS | {"cvn2": "123"})


@refused_with(C.IDEMPOTENCY_KEY_REQUIRED)
async def no_key(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.post("/v1/users", USER, key=None)


@refused_with(C.IDEMPOTENCY_KEY_REUSED)
async def another_body_under_the_same_key(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    assert (await merchant.post("/v1/users", USER, key="reused-key")).status_code == 201
    return lambda: merchant.post("/v1/users", USER | {"merchant_user_ref": "other"}, key="reused-key")


@refused_with(C.IDEMPOTENCY_IN_PROGRESS)
async def first_one_still_at_work(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    with pytest.MonkeyPatch.context() as patch:
        # The first request dies after its first commit.
        async def crash(_: Any) -> Any:
            raise RuntimeError

        patch.setattr(stage.services.instructions, "accept_user", crash)
        assert (await merchant.post("/v1/users", USER, key="crashed-key")).status_code == 503
    return lambda: merchant.post("/v1/users", USER, key="crashed-key")


@refused_with(C.CURSOR_INVALID)
async def foreign_cursor(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.get("/v1/payments", cursor="abc")


# Who asks


@refused_with(C.API_KEY_MISSING)
async def nobody(stage: Stage) -> Ask:
    return lambda: stage.http.get("/v1/balances")


@refused_with(C.API_KEY_INVALID)
async def revoked_key(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    key_id = f"key_{merchant.key.split('_')[1]}"
    await revoke_key(stage.database.owner_engine, Act("test", stage.clock.now()), key_id)
    return lambda: merchant.get("/v1/balances")


@refused_with(C.SCOPE_MISSING)
async def narrow_key(stage: Stage) -> Ask:
    merchant = await stage.merchant(scopes=("users:read",))
    return lambda: merchant.post("/v1/users", USER)


@refused_with(C.MERCHANT_SUSPENDED)
async def suspended_merchant(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    await suspend(stage, merchant)
    return lambda: merchant.post("/v1/users", USER)


async def suspend(stage: Stage, merchant: Merchant) -> None:
    act = Act("test", stage.clock.now())
    await set_merchant_state(stage.database.owner_engine, act, merchant.id, "suspended")


# Not there


@refused_with(C.USER_NOT_FOUND)
async def user_of_another_merchant(stage: Stage) -> Ask:
    theirs, merchant = await stage.merchant("别家"), await stage.merchant()
    user_id = await stage.user(theirs)
    return lambda: stage.consent(merchant, user_id)


@refused_with(C.BINDING_NOT_FOUND)
async def binding_of_another_user(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    _, binding_id = await stage.payer(merchant)
    other = await stage.user(merchant)
    return lambda: merchant.post("/v1/payments/preview", stage.order(other, binding_id), key=None)


@refused_with(C.PAYMENT_NOT_FOUND)
async def payment_of_another_merchant(stage: Stage) -> Ask:
    theirs, merchant = await stage.merchant("别家"), await stage.merchant()
    payment = await stage.payment(theirs, *await stage.payer(theirs))
    return lambda: merchant.post(f"/v1/payments/{payment['id']}/code", {"code": FakeBank.right_code})


@refused_with(C.REFUND_NOT_FOUND)
async def no_such_refund(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.get("/v1/refunds/rfd_01KB5N3E4H6Q8Z2T7V9W0X1Y2R")


# Users and agreement


@refused_with(C.MERCHANT_USER_EXISTS)
async def user_registered_before(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    assert (await merchant.post("/v1/users", USER)).status_code == 201
    return lambda: merchant.post("/v1/users", USER)


@refused_with(C.USER_NOT_ACTIVE)
async def suspended_user(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    body = await stage.confirmed(merchant, stage.order(user_id, binding_id))
    await change(stage, f"UPDATE app.end_user SET state = 'suspended' WHERE id = '{user_id}'")  # noqa: S608
    return lambda: merchant.post("/v1/payments", body)


@refused_with(C.REGION_NOT_SERVED)
async def blocked_region(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.post("/v1/users", USER | {"region": stage.policy.blocked_regions[0]})


@refused_with(C.AGREEMENT_REQUIRED)
async def no_acceptance(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant, agreed=False)
    return lambda: merchant.post(f"/v1/users/{user_id}/bindings", ELEMENTS)


@refused_with(C.AGREEMENT_VERSION_UNKNOWN)
async def another_text(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant, agreed=False)
    return lambda: stage.consent(merchant, user_id, content_hash="0" * 64)


@refused_with(C.ACCEPTED_AT_INVALID)
async def accepted_tomorrow(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant, agreed=False)
    tomorrow = (stage.clock.now() + timedelta(days=1)).isoformat()
    return lambda: stage.consent(merchant, user_id, acted_at=tomorrow)


def born(day: str) -> str:
    """A resident ID number with this birth date."""
    from stdnum.cn import ric

    number = f"110101{day}123"
    return number + ric.calc_check_digit(number + "0")


@refused_with(C.UNDER_AGE)
async def sixteen_tomorrow(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    body = ELEMENTS | {"id_number": born("20101121")}
    return lambda: merchant.post(f"/v1/users/{user_id}/bindings", body)


@refused_with(C.CAPACITY_STATEMENT_REQUIRED)
async def sixteen_today(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    body = ELEMENTS | {"id_number": born("20101120")}
    return lambda: merchant.post(f"/v1/users/{user_id}/bindings", body)


@refused_with(C.PERSON_DIFFERS)
async def card_of_somebody_else(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    body = ELEMENTS | {"id_number": born("19800101"), "card_number": "9901010000000000026"}
    return lambda: merchant.post(f"/v1/users/{user_id}/bindings", body)


# Quick pay


@refused_with(C.QUICKPAY_DATA_INCOMPLETE)
async def three_elements(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    body = {name: value for name, value in ELEMENTS.items() if name != "mobile"}
    return lambda: merchant.post(f"/v1/users/{user_id}/bindings", body)


@refused_with(C.QUICKPAY_DATA_INVALID)
async def wrong_check_digit(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    body = ELEMENTS | {"id_number": "110101199003078031"}
    return lambda: merchant.post(f"/v1/users/{user_id}/bindings", body)


@refused_with(C.CARD_PREFIX_UNKNOWN)
async def unknown_issuer(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    body = ELEMENTS | {"card_number": "6217001234567891234"}
    return lambda: merchant.post(f"/v1/users/{user_id}/bindings", body)


@refused_with(C.PARTNER_NOT_AVAILABLE)
async def bank_switched_off(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    act = Act("test", stage.clock.now())
    await set_partner_enabled(stage.database.owner_engine, act, "HBRB", enabled=False)
    return lambda: merchant.post(f"/v1/users/{user_id}/bindings", ELEMENTS)


@refused_with(C.BINDING_EXISTS)
async def card_bound_before(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    return lambda: merchant.post(f"/v1/users/{user_id}/bindings", ELEMENTS)


@refused_with(C.BINDING_IN_PROGRESS)
async def application_under_way(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    await stage.binding(merchant, user_id)
    return lambda: merchant.post(f"/v1/users/{user_id}/bindings", ELEMENTS)


@refused_with(C.BINDING_NOT_OPEN)
async def card_not_confirmed(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    binding_id = await stage.binding(merchant, user_id)
    body = await stage.confirmed(merchant, stage.order(user_id, binding_id))
    return lambda: merchant.post("/v1/payments", body)


@refused_with(C.BINDING_HAS_PENDING_PAYMENTS)
async def unbind_while_paying(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    await stage.payment(merchant, user_id, binding_id)
    return lambda: merchant.delete(f"/v1/users/{user_id}/bindings/{binding_id}")


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
    act = Act("operator:wang", stage.clock.now())
    await decide_waiver(stage.database.owner_engine, act, version, approved=True)
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


async def change(stage: Stage, statement: str) -> None:
    import sqlalchemy as sa

    async with stage.database.owner_engine.begin() as connection:
        await connection.exec_driver_sql(statement)
        await connection.execute(sa.text("SELECT true"))


_RECORDED_AS = {
    C.CALLBACK_REJECTED: "signature_invalid",
    C.IDEMPOTENCY_IN_PROGRESS: None,
    C.CODE_ATTEMPTS_EXHAUSTED: "code_attempts_exhausted",
}


@pytest.mark.parametrize("code", SCENARIOS, ids=str)
async def test_a_refusal_is_answered_documented_recorded_and_changes_nothing(stage: Stage, code: ErrorCode) -> None:
    ask = await SCENARIOS[code](stage)
    before = await _business(stage)
    told = len(stage.processes.started)
    answer = await ask()

    problem = answer.json()
    assert problem["code"] == code.value, answer.text
    assert answer.status_code == problem["status"] == status_of(code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["title_zh"] == ERROR_TEXTS[code].title_zh
    assert answer.headers["x-request-id"].startswith("req_")
    assert code in _documented(stage, answer.request)
    assert await _business(stage) == before
    assert len(stage.processes.started) == told
    reason = _RECORDED_AS.get(code, code.value.lower())
    if reason is not None:
        records = await stage.records(request_id=answer.headers["x-request-id"], reason=reason)
        assert [record["outcome"] for record in records] in (["refused"], ["denied"], ["failed"])


def test_every_code_that_the_api_documents_is_tried_here(stage: Stage) -> None:
    assert set(SCENARIOS) == _documented_anywhere(stage)


def test_codes_that_no_address_answers_with_are_known(stage: Stage) -> None:
    assert set(ErrorCode) - _documented_anywhere(stage) == {C.BANK_NO_ANSWER, C.WAIVER_NOT_AUTHORISED}


async def test_the_scopes_that_routes_ask_for_are_those_that_can_be_issued(stage: Stage) -> None:
    openapi = (await stage.http.get("/openapi.json")).json()
    asked = {
        operation["x-scope"]
        for methods in openapi["paths"].values()
        for operation in methods.values()
        if "x-scope" in operation
    }
    assert asked == set(SCOPES)


async def _business(stage: Stage) -> list[dict[str, Any]]:
    """Everything that a refusal must leave alone."""
    return await stage.rows(
        "SELECT 'user' AS what, id, state FROM app.end_user"
        " UNION ALL SELECT 'binding', id, state FROM app.binding"
        " UNION ALL SELECT 'payment', id, state || refunding_minor FROM app.payment"
        " UNION ALL SELECT 'refund', id, state FROM app.refund"
        " UNION ALL SELECT 'waiver', id, state FROM app.waiver_application"
        " UNION ALL SELECT 'event', id, type FROM app.event"
        " UNION ALL SELECT 'consent', id::text, kind FROM app.consent"
        " UNION ALL SELECT 'sealed', token, field FROM vault.item"
        " UNION ALL SELECT 'limit', subject || window_kind, used_minor::text FROM app.limit_usage"
        " UNION ALL SELECT 'effect', request_number, step FROM app.effect WHERE step <> 'VC'"
        " UNION ALL SELECT 'transfer', key, action FROM ledger.transfer ORDER BY 1, 2, 3"
    )


def _documented(stage: Stage, request: httpx.Request) -> set[str]:
    """The codes that the document gives for the address of a request."""
    for template, methods in stage.openapi()["paths"].items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        if re.fullmatch(pattern, request.url.path) and request.method.lower() in methods:
            return _codes(methods[request.method.lower()])
    return set(NOWHERE)


def _documented_anywhere(stage: Stage) -> set[str]:
    paths = stage.openapi()["paths"]
    found = [_codes(operation) for methods in paths.values() for operation in methods.values()]
    return set().union(*found, NOWHERE)


def _codes(operation: dict[str, Any]) -> set[str]:
    problems = [
        response.get("content", {}).get("application/problem+json") for response in operation["responses"].values()
    ]
    return {code for problem in problems if problem for code in problem["examples"]}
