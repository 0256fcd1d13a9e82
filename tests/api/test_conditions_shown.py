"""What a payer is shown before confirming, limits with what is left of them, and no fee that was not shown."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from domain.conditions import ELEMENTS
from tests.api.conftest import Stage, served


async def test_a_preview_shows_every_element_for_an_individual(stage: Stage) -> None:
    merchant = await stage.merchant()
    order = stage.order(*await stage.payer(merchant), amount_minor=12_800)
    preview = (await merchant.post("/v1/payments/preview", order, key=None)).json()
    shown = preview["conditions"]
    assert all(shown[name]["zh"] and shown[name]["en"] for name in ELEMENTS)
    assert order["order_number"] in shown["quantity"]["zh"]
    assert "128.00 CNY" in shown["quantity"]["en"]
    assert "海棠书店" in shown["quantity"]["zh"]
    assert "0.77 CNY" in shown["fee"]["zh"]
    assert "验证码" in shown["method"]["zh"]


async def test_each_product_has_conditions_of_its_own(stage: Stage) -> None:
    merchant = await stage.merchant()
    order = stage.order(*await stage.payer(merchant))
    products = set()
    for payee_kind in ("merchant", "user"):
        preview = await merchant.post("/v1/payments/preview", order | {"payee_kind": payee_kind}, key=None)
        products.add(preview.json()["conditions"]["product"])
    assert products == {"quick_pay_to_merchant", "quick_pay_to_user"}


async def test_a_fee_that_was_not_shown_is_not_charged(stage: Stage) -> None:
    merchant = await stage.merchant()
    order = await stage.confirmed(merchant, stage.order(*await stage.payer(merchant)))
    fees = stage.policy.fees
    dearer = fees.quick_pay_to_merchant.model_copy(update={"rate_per_million": 7_000})
    policy = stage.policy.model_copy(update={"fees": fees.model_copy(update={"quick_pay_to_merchant": dearer})})
    async with served(dataclasses.replace(stage.services, policy=policy)) as http:
        merchant = dataclasses.replace(merchant, http=http)
        answer = await merchant.post("/v1/payments", order)
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFIRMATION_CHANGED")
        assert await stage.rows("SELECT id FROM app.payment") == []
        shown = await stage.confirmed(merchant, {name: order[name] for name in _ORDER})
        assert (await merchant.post("/v1/payments", shown)).json()["fee_minor"] == 90


_ORDER = ("user_id", "binding_id", "order_number", "amount_minor", "currency", "payee_kind")


def _left(limits: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    return {(entry["subject"], entry["window"]): entry["remaining_minor"] for entry in limits}


async def test_limits_of_a_user_and_a_card_say_what_is_left(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    path = f"/v1/users/{user_id}/limits"
    before = _left((await merchant.get(path, binding_id=binding_id)).json()["limits"])
    await stage.payment(merchant, user_id, binding_id, amount_minor=12_800)
    after = _left((await merchant.get(path, binding_id=binding_id)).json()["limits"])
    assert {subject for subject, _ in after} == {"user", "card"}
    taken = {kind: before[kind] - after[kind] for kind in before}
    assert {window: amount for (_, window), amount in taken.items()} == {
        "transaction": 0,
        "day": 12_800,
        "month": 12_800,
    }
    alone = _left((await merchant.get(path)).json()["limits"])
    assert alone == {kind: left for kind, left in after.items() if kind[0] == "user"}


@pytest.mark.parametrize("binding_id", ["bnd_0", "", "bnd_01KB5N3E4H6Q8Z2T7V9W0X1Y2S"])
async def test_limits_of_a_card_that_the_user_has_not_are_not_shown(stage: Stage, binding_id: str) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    answer = await merchant.get(f"/v1/users/{user_id}/limits", binding_id=binding_id)
    assert (answer.status_code, answer.json()["code"]) == (404, "BINDING_NOT_FOUND")


async def test_limits_are_shown_to_the_users_own_merchant_only(stage: Stage) -> None:
    merchant, other = await stage.merchant(), await stage.merchant("别家")
    user_id, binding_id = await stage.payer(merchant)
    mine, _ = await stage.payer(other)
    for whose in (user_id, mine):
        answer = await other.get(f"/v1/users/{whose}/limits", binding_id=binding_id)
        assert answer.status_code == 404
