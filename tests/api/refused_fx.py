"""Refusals of receiving accounts, mandates and conversions."""

from __future__ import annotations

from typing import Any

from domain.error_codes import ErrorCode
from tests.api.conftest import Merchant, Stage
from tests.api.fx import (
    allow_export,
    arrived,
    asked_for,
    confirmed_fx,
    funded_usd,
    fx_of,
    fx_order_of,
    mandate_body,
    mandate_of,
    receiving,
    refused_fx,
)
from tests.api.payouts import agree_to_export
from tests.api.refusals import Ask, change, refused_with, signing_merchant

C = ErrorCode
ULID = "01KB5N3E4H6Q8Z2T7V9W0X1Y2R"


async def _converting(stage: Stage, amount_minor: int = 1_000_000, **order: Any) -> tuple[Merchant, str, Ask]:
    """A merchant, its user, and how a conversion is asked for that the user has confirmed."""
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant, amount_minor)
    body = await confirmed_fx(merchant, fx_order_of(user_id, **order))
    return merchant, user_id, lambda: merchant.post("/v1/fx", body)


@refused_with(C.IDENTITY_NOT_VERIFIED)
async def mandate_of_somebody_whom_no_bank_knows(stage: Stage) -> Ask:
    merchant = await signing_merchant(stage)
    user_id = await stage.user(merchant)
    return lambda: merchant.post("/v1/fx_mandates", mandate_body(user_id))


@refused_with(C.RECEIVING_ACCOUNT_EXISTS)
async def a_second_number_in_one_currency(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    await asked_for(stage, merchant, user_id)
    body = {"currency": "USD", "holder_name": "Zhang San"}
    return lambda: merchant.post(f"/v1/users/{user_id}/receiving_accounts", body)


@refused_with(C.PAYEE_NAME_DIFFERS)
async def number_in_somebody_elses_name(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    await allow_export(stage)
    await agree_to_export(stage, merchant, user_id)
    body = {"currency": "USD", "holder_name": "Li Si"}
    return lambda: merchant.post(f"/v1/users/{user_id}/receiving_accounts", body)


@refused_with(C.RECEIVING_ACCOUNT_NOT_FOUND)
async def number_that_never_was(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.get(f"/v1/receiving_accounts/rca_{ULID}")


@refused_with(C.INBOUND_NOT_FOUND)
async def remittance_that_never_was(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.get(f"/v1/inbounds/inb_{ULID}")


@refused_with(C.FX_MANDATE_EXISTS)
async def a_second_mandate_in_one_currency(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    await mandate_of(merchant, user_id)
    return lambda: merchant.post("/v1/fx_mandates", mandate_body(user_id, mandate_reference="mandate-2"))


@refused_with(C.FX_MANDATE_NOT_FOUND)
async def end_of_a_mandate_that_never_was(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.post(f"/v1/fx_mandates/fxm_{ULID}/end")


@refused_with(C.MANDATE_END_INVALID)
async def mandate_that_is_over_already(stage: Stage) -> Ask:
    merchant = await signing_merchant(stage)
    user_id, _ = await stage.payer(merchant)
    body = mandate_body(user_id, valid_until=stage.clock.now().isoformat())
    return lambda: merchant.post("/v1/fx_mandates", body)


@refused_with(C.FX_ORDER_EXISTS)
async def the_same_order_again(stage: Stage) -> Ask:
    _, _, ask = await _converting(stage)
    assert (await ask()).status_code == 201
    return ask


@refused_with(C.FX_BANK_WITHOUT_FUNDS)
async def money_that_lies_at_two_banks(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    account = await receiving(stage, merchant, user_id)
    await arrived(stage, user_id, account["number"], 600_000)
    await change(stage, "UPDATE app.receiving_account SET bank_code = 'HBRB'")
    await arrived(stage, user_id, account["number"], 600_000, bank_code="HBRB")
    body = await confirmed_fx(merchant, fx_order_of(user_id, amount_minor=1_000_000))
    return lambda: merchant.post("/v1/fx", body)


@refused_with(C.FX_NOT_FOUND)
async def conversion_that_never_was(stage: Stage) -> Ask:
    merchant = await signing_merchant(stage)
    return lambda: merchant.post(f"/v1/fx/fx_{ULID}/disposal", {"action": "release"})


@refused_with(C.FX_NOT_REFUSED)
async def disposal_of_what_waits(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    fx = await fx_of(merchant, user_id)
    return lambda: merchant.post(f"/v1/fx/{fx['id']}/disposal", {"action": "release"})


@refused_with(C.FX_WITHOUT_REMITTANCE)
async def return_of_what_has_come_from_many_places(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id, _, _ = await funded_usd(stage, merchant)
    fx = await fx_of(merchant, user_id)
    await refused_fx(stage, fx["id"])
    return lambda: merchant.post(f"/v1/fx/{fx['id']}/disposal", {"action": "return"})
