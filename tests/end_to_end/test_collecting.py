"""A merchant's ordinary days: bind, pay with a code, pay free of code, unbind; and what is nobody else's business."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from tests.end_to_end.play import Merchant, fresh_key, until, wrong
from tests.end_to_end.world import World


async def test_a_payer_binds_a_card_and_pays_with_a_code_and_the_money_is_in_the_books(
    world: World, merchant: Merchant
) -> None:
    payer = await merchant.payer()
    payment = await payer.pay_to_the_end(1_000_000)
    assert payment["state"] == "succeeded"
    assert payment["verification"] == "code"
    assert payment["bank_reference"]
    assert payment["waiting_for"] is None
    assert payment["fee_minor"] == 6_000
    balances = {item["account"]: item for item in (await merchant.get("/v1/balances"))["balances"]}
    assert balances["pending"]["posted_minor"] == 994_000
    [fee, collected] = (await merchant.get("/v1/statement?account=pending"))["items"]
    assert (collected["change_minor"], fee["change_minor"]) == (1_000_000, -6_000)
    assert await world.wrong() == []


async def test_a_payment_up_to_the_limit_is_free_of_code_and_one_fen_more_is_not(
    world: World, merchant: Merchant
) -> None:
    payer = await merchant.payer("WLWB", waiver=await world.waiver(merchant, limit_minor=20_000))
    at_the_limit = await payer.pay_to_the_end(20_000)
    assert (at_the_limit["state"], at_the_limit["verification"]) == ("succeeded", "waived")
    above = await payer.pay(20_001)
    assert (above["state"], above["verification"]) == ("awaiting_code", "code")
    assert (await payer.enter_code(above["id"])).status_code == 200
    assert (await merchant.ended(above["id"]))["state"] == "succeeded"
    assert await world.wrong() == []


async def test_a_payment_into_the_users_own_balance_is_the_users_and_costs_nothing(
    world: World, merchant: Merchant
) -> None:
    payer = await merchant.payer()
    payment = await payer.pay_to_the_end(50_000, payee_kind="user")
    assert (payment["state"], payment["fee_minor"]) == ("succeeded", 0)
    balance = await merchant.get(f"/v1/users/{payer.user_id}/balance")
    assert balance["available_minor"] == 50_000
    assert await world.wrong() == []


async def test_a_wrong_code_is_counted_and_the_right_one_still_pays(world: World, merchant: Merchant) -> None:
    payer = await merchant.payer()
    payment = await payer.pay(30_000)
    await payer.code_awaited(payment["id"])
    right = await payer.texted("PC", payment["id"])
    refused = await payer.enter_code(payment["id"], wrong(right))
    assert (refused.status_code, refused.json()["code"], refused.json()["attempts_left"]) == (422, "CODE_WRONG", 2)
    assert (await payer.enter_code(payment["id"], right)).status_code == 200
    assert (await merchant.ended(payment["id"]))["state"] == "succeeded"
    assert await world.wrong() == []


async def test_a_code_that_has_expired_is_refused_and_nothing_is_debited(world: World, merchant: Merchant) -> None:
    payer = await merchant.payer()
    await world.control("settings", {"code_validity_seconds": 0.5})
    try:
        payment = await payer.pay(30_000)
        shown = await payer.code_awaited(payment["id"])
        code = await payer.texted("PC", payment["id"])
    finally:
        await world.control("settings", {"code_validity_seconds": 300})
    while datetime.now(UTC) <= datetime.fromisoformat(shown["code_expires_at"]):  # noqa: ASYNC110 - the wall's clock
        await asyncio.sleep(0.05)
    refused = await payer.enter_code(payment["id"], code)
    assert (refused.status_code, refused.json()["code"]) == (422, "CODE_EXPIRED")
    again = await merchant.send("POST", f"/v1/payments/{payment['id']}/code/resend")
    assert (again.status_code, again.json()["code"]) == (429, "CODE_RESEND_TOO_SOON")
    assert (await merchant.payment(payment["id"]))["state"] == "awaiting_code"
    assert await world.wrong() == []


async def test_an_unbound_card_pays_no_more_and_can_be_bound_again(world: World, merchant: Merchant) -> None:
    payer = await merchant.payer("WLWB")
    first = payer.binding_id
    order = await payer.order(30_000)
    path = f"/v1/users/{payer.user_id}/bindings/{first}"
    assert (await merchant.send("DELETE", path)).status_code == 202
    await until(payer.binding, ("unbound",))
    refused = await merchant.send("POST", "/v1/payments", order)
    assert refused.json()["code"] == "BINDING_NOT_OPEN"
    await payer.bind()
    assert payer.binding_id != first
    listed = (await merchant.get(f"/v1/users/{payer.user_id}/bindings"))["items"]
    assert {item["id"]: item["state"] for item in listed} == {first: "unbound", payer.binding_id: "open"}
    assert (await payer.pay_to_the_end(30_000))["state"] == "succeeded"
    assert await world.wrong() == []


async def test_two_applications_for_one_card_at_once_make_one_binding(world: World, merchant: Merchant) -> None:
    payer = await merchant.register()
    elements = {"name": payer.name, "id_number": payer.id_number, "card_number": payer.card, "mobile": payer.mobile}
    path = f"/v1/users/{payer.user_id}/bindings"
    answers = await asyncio.gather(*(merchant.send("POST", path, elements) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    assert len((await merchant.get(path))["items"]) == 1


async def test_another_merchant_finds_nothing_and_can_instruct_nothing(world: World, merchant: Merchant) -> None:
    payer = await merchant.payer()
    payment = await payer.pay_to_the_end(30_000)
    order = await payer.order(30_000)
    stranger = await world.merchant("别家")
    binding = f"/v1/users/{payer.user_id}/bindings/{payer.binding_id}"
    for path in (f"/v1/users/{payer.user_id}", binding, f"/v1/payments/{payment['id']}"):
        assert (await stranger.send("GET", path)).status_code == 404, path
    refund = {"amount_minor": 1, "reason_code": "other"}
    for method, path, body in (
        ("DELETE", binding, None),
        ("POST", "/v1/payments", order),
        ("POST", "/v1/payments/preview", {name: order[name] for name in _PREVIEWED}),
        ("POST", f"/v1/payments/{payment['id']}/refunds", refund),
        ("POST", f"/v1/payments/{payment['id']}/code", {"code": "123456"}),
    ):
        assert (await stranger.send(method, path, body)).status_code == 404, path
    assert (await stranger.get("/v1/payments"))["items"] == []
    assert (await payer.binding())["state"] == "open"
    assert await world.wrong() == []


_PREVIEWED = ("user_id", "binding_id", "order_number", "amount_minor", "currency", "payee_kind")


async def test_a_revoked_key_is_refused_at_once_and_the_refusal_is_on_record(world: World, merchant: Merchant) -> None:
    payer = await merchant.payer()
    order = await payer.order(30_000)
    await world.revoke(merchant)
    before = await world.rows("SELECT count(*) AS n FROM app.operation WHERE reason = 'api_key_invalid'")
    refused = await merchant.send("POST", "/v1/payments", order, fresh_key())
    assert (refused.status_code, refused.json()["code"]) == (401, "API_KEY_INVALID")
    after = await world.rows("SELECT count(*) AS n FROM app.operation WHERE reason = 'api_key_invalid'")
    assert after[0]["n"] == before[0]["n"] + 1
    renewed = await world.with_new_key(merchant)
    assert (await renewed.send("POST", "/v1/payments", order)).status_code == 201
