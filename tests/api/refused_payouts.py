"""Refusals of payees and payouts."""

from __future__ import annotations

from typing import Any

from domain.error_codes import ErrorCode
from domain.payouts import MOST_PAYEES
from tests.api.conftest import Merchant, Stage
from tests.api.payouts import (
    ACCOUNT,
    HONG_KONG,
    OWN_ACCOUNT,
    agree_to_export,
    confirmed,
    funded,
    order_of,
    payee_of,
    payout_of,
)
from tests.api.refusals import Ask, change, refused_with

C = ErrorCode


async def _naming(stage: Stage, **other: Any) -> tuple[Merchant, str, Ask]:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    await stage.sign(merchant)
    return merchant, user_id, lambda: merchant.post(f"/v1/users/{user_id}/payees", OWN_ACCOUNT | other)


async def _paying(stage: Stage, amount_minor: int = 1_000_000, **order: Any) -> tuple[Merchant, dict[str, Any], Ask]:
    """A merchant, the payout as the user has confirmed it, and how it is asked for."""
    merchant = await stage.merchant()
    user_id = await funded(stage, merchant, amount_minor=amount_minor)
    payee = await payee_of(merchant, user_id)
    body = await confirmed(merchant, order_of(user_id, payee["id"], **order))
    return merchant, body, lambda: merchant.post("/v1/payouts", body)


@refused_with(C.PAYEE_NOT_FOUND)
async def payout_to_a_payee_that_was_removed(stage: Stage) -> Ask:
    merchant, body, ask = await _paying(stage)
    removed = await merchant.delete(f"/v1/payees/{body['payee_id']}")
    assert removed.json()["state"] == "removed", removed.text
    return ask


@refused_with(C.PAYOUT_NOT_FOUND)
async def payout_that_never_was(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    await stage.sign(merchant)
    body = {"confirmation_hash": "0" * 64}
    return lambda: merchant.post("/v1/payouts/po_01KB5N3E4H6Q8Z2T7V9W0X1Y2R/confirm", body)


@refused_with(C.SETTLEMENT_NOT_FOUND)
async def settlement_that_never_was(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.get("/v1/settlements/stl_01KB5N3E4H6Q8Z2T7V9W0X1Y2R")


@refused_with(C.PAYEE_REGION_NOT_SERVED)
async def account_outside_the_four_regions(stage: Stage) -> Ask:
    return (await _naming(stage, region="SG", bank_id={"kind": "bic", "value": "DBSSSGSG"}))[2]


@refused_with(C.PAYEE_DATA_INVALID)
async def wrong_check_digit_of_the_bank(stage: Stage) -> Ask:
    return (await _naming(stage, bank_id={"kind": "cnaps", "value": "102100099997"}))[2]


@refused_with(C.PAYEE_NAME_DIFFERS)
async def somebody_elses_account_in_taiwan(stage: Stage) -> Ask:
    taiwan = {"kind": "tw_clearing", "value": "0040012"}
    merchant, user_id, ask = await _naming(
        stage, region="TW", bank_id=taiwan, name="Wang Hsiao Ming", account_number="12345678901234"
    )
    await agree_to_export(stage, merchant, user_id)
    return ask


@refused_with(C.PAYEE_EXISTS)
async def the_same_account_again(stage: Stage) -> Ask:
    merchant, user_id, ask = await _naming(stage, account_number=f"{ACCOUNT[:4]} {ACCOUNT[4:]}")
    await payee_of(merchant, user_id)
    return ask


@refused_with(C.PAYEES_EXHAUSTED)
async def one_payee_too_many(stage: Stage) -> Ask:
    merchant, user_id, ask = await _naming(stage)
    await payee_of(merchant, user_id, account_number="6200000000000000001")
    await change(
        stage,
        "INSERT INTO app.payee SELECT (jsonb_populate_record(y, jsonb_build_object('account_index', n::text,"  # noqa: S608 - a number of ours
        f" 'id', 'pye_' || lpad(n::text, 26, '0')))).* FROM app.payee y, generate_series(2, {MOST_PAYEES}) n",
    )
    return ask


@refused_with(C.DATA_EXPORT_NOT_ALLOWED)
async def account_in_hong_kong_without_consent(stage: Stage) -> Ask:
    return (await _naming(stage, **HONG_KONG))[2]


@refused_with(C.SPEED_NOT_OFFERED)
async def real_time_to_hong_kong(stage: Stage) -> Ask:
    merchant, user_id, _ = await _naming(stage)
    await agree_to_export(stage, merchant, user_id)
    payee = await payee_of(merchant, user_id, **HONG_KONG)
    return lambda: merchant.post("/v1/payouts/preview", order_of(user_id, payee["id"]), key=None)


@refused_with(C.PAYOUT_ORDER_EXISTS)
async def the_same_order_again(stage: Stage) -> Ask:
    _, _, ask = await _paying(stage)
    assert (await ask()).status_code == 201
    return ask


@refused_with(C.PAYOUT_BANK_WITHOUT_FUNDS)
async def money_that_is_at_another_bank(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    binding_id = await stage.open_binding(merchant, user_id, card_number="9902010000018800009")
    await funded(stage, merchant, (user_id, binding_id))
    await agree_to_export(stage, merchant, user_id)
    # Collected at WLWB, and only HBRB pays to Hong Kong.
    payee = await payee_of(merchant, user_id, **HONG_KONG)
    body = await confirmed(merchant, order_of(user_id, payee["id"], speed="next_working_day"))
    return lambda: merchant.post("/v1/payouts", body)


@refused_with(C.CONFIRMATION_NOT_AWAITED)
async def a_second_yes_that_nobody_asked_for(stage: Stage) -> Ask:
    merchant, body, ask = await _paying(stage)
    payout = (await ask()).json()
    again = {"confirmation_hash": body["confirmation_hash"]}
    return lambda: merchant.post(f"/v1/payouts/{payout['id']}/confirm", again)


@refused_with(C.CONFIRMATION_EXPIRED)
async def a_second_yes_that_comes_too_late(stage: Stage) -> Ask:
    merchant, body, ask = await _paying(stage)
    assert (await ask()).status_code == 201
    second = await payout_of(merchant, body["user_id"], body["payee_id"])
    assert second["confirmation"]["grounds"] == ["repeated_payee"]
    stage.clock.advance(minutes=31)
    again = {"confirmation_hash": second["confirmation_hash"]}
    return lambda: merchant.post(f"/v1/payouts/{second['id']}/confirm", again)


@refused_with(C.EVIDENCE_NOT_ASKED)
async def evidence_that_nobody_asked_for(stage: Stage) -> Ask:
    merchant, _, ask = await _paying(stage)
    payout = (await ask()).json()
    evidence = {"evidence": [{"kind": "invoice", "reference": "file:1"}]}
    return lambda: merchant.post(f"/v1/payouts/{payout['id']}/evidence", evidence)
