"""Refusals of the request itself, of who asks, of users and of cards."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from domain.decisions import DecisionKind
from domain.error_codes import ErrorCode
from storage.administration import Act, revoke_key
from storage.decisions import decide_directly
from tests.api.conftest import ELEMENTS, FakeBank, Merchant, Stage, served
from tests.api.refusals import Ask, change, refused_with

C = ErrorCode
USER = {"merchant_user_ref": "customer-x", "type": "individual", "region": "CN"}


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
    await decide_directly(stage.database.owner_engine, DecisionKind.MERCHANT_SUSPEND, merchant.id, stage.clock.now())


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


def born(day: str, area: str = "110101") -> str:
    """A resident ID number with this birth date."""
    from stdnum.cn import ric

    number = f"{area}{day}123"
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
    await decide_directly(stage.database.owner_engine, DecisionKind.PARTNER_DISABLE, "HBRB", stage.clock.now())
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
