"""One payer's way through the API, as a merchant sees it."""

from __future__ import annotations

from tests.api.conftest import FakeBank, Stage


async def test_a_user_is_registered_binds_a_card_pays_and_gets_half_of_it_back(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    payment = await stage.paid(merchant, user_id, binding_id, amount_minor=10_000)
    assert payment["state"] == "succeeded"
    assert payment["fee_minor"] == 60
    assert payment["refundable_minor"] == 10_000

    refund = await merchant.post(
        f"/v1/payments/{payment['id']}/refunds", {"amount_minor": 5_000, "reason_code": "requested_by_payer"}
    )
    assert refund.status_code == 201
    assert refund.json()["waiting_for"]["reason"] == "process_start"
    balances = (await merchant.get("/v1/balances")).json()["balances"]
    assert [(b["account"], b["posted_minor"], b["held_minor"]) for b in balances] == [
        ("available", 0, 0),
        ("pending", 9_940, 4_970),
    ]
    statement = (await merchant.get("/v1/statement", account="pending")).json()
    assert [(m["kind"], m["change_minor"]) for m in statement["items"]] == [("fee", -60), ("collection", 10_000)]
    names = [name for name, _ in stage.processes.started]
    assert names == ["bind_card", "collect_payment", "refund_payment"]


async def test_every_resource_that_is_not_final_says_what_it_waits_for(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    binding_id = await stage.binding(merchant, user_id)
    binding = (await merchant.get(f"/v1/users/{user_id}/bindings/{binding_id}")).json()
    assert binding["waiting_for"]["reason"] == "payer_code"
    assert set(binding["waiting_for"]) == {"reason", "since", "until", "deadline"}
    opened = await merchant.post(f"/v1/users/{user_id}/bindings/{binding_id}/code", {"code": FakeBank.right_code})
    assert opened.json()["waiting_for"] is None
    payment = await stage.payment(merchant, user_id, binding_id)
    assert payment["waiting_for"]["reason"] == "process_start"
