"""A merchant sees and instructs its own users only; lists come in pages; money adds up."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.conftest import ELEMENTS, FakeBank, Stage
from tests.api.refused_payments import enable_waiver
from tests.api.refused_users_and_cards import born, suspend


async def test_everything_of_another_merchant_is_not_there(stage: Stage) -> None:
    theirs, merchant = await stage.merchant("别家"), await stage.merchant()
    user_id, binding_id = await stage.payer(theirs)
    payment = await stage.paid(theirs, user_id, binding_id)
    body = {"amount_minor": 100, "reason_code": "other"}
    refund = (await theirs.post(f"/v1/payments/{payment['id']}/refunds", body)).json()
    before = await stage.rows("SELECT count(*) AS n FROM app.event")
    order = stage.order(user_id, binding_id)
    confirmed = order | {"confirmation_hash": "0" * 64, "order_expires_at": "2026-11-20T05:00:00Z"}
    answers = [
        await merchant.get(f"/v1/users/{user_id}"),
        await merchant.get(f"/v1/users/{user_id}/limits"),
        await merchant.get(f"/v1/users/{user_id}/balance"),
        await merchant.get(f"/v1/users/{user_id}/statement"),
        await merchant.get(f"/v1/users/{user_id}/bindings"),
        await merchant.get(f"/v1/users/{user_id}/bindings/{binding_id}"),
        await merchant.get(f"/v1/payments/{payment['id']}"),
        await merchant.get(f"/v1/payments/{payment['id']}/refunds"),
        await merchant.get(f"/v1/refunds/{refund['id']}"),
        await stage.consent(merchant, user_id),
        await merchant.post(f"/v1/users/{user_id}/bindings", ELEMENTS),
        await merchant.post(f"/v1/users/{user_id}/bindings/{binding_id}/code", {"code": "123456"}),
        await merchant.post(f"/v1/users/{user_id}/bindings/{binding_id}/code/resend"),
        await merchant.delete(f"/v1/users/{user_id}/bindings/{binding_id}"),
        await merchant.post("/v1/payments/preview", order, key=None),
        await merchant.post("/v1/payments", confirmed),
        await merchant.post(f"/v1/payments/{payment['id']}/code", {"code": FakeBank.right_code}),
        await merchant.post(f"/v1/payments/{payment['id']}/code/resend"),
        await merchant.post(f"/v1/payments/{payment['id']}/refunds", body),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert (await merchant.get("/v1/payments")).json()["items"] == []
    assert await stage.rows("SELECT count(*) AS n FROM app.event") == before


async def test_a_binding_id_that_is_known_by_heart_serves_no_other_user(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    other = await stage.user(merchant)
    # The first preview remembers the card.
    assert (await merchant.post("/v1/payments/preview", stage.order(user_id, binding_id), key=None)).status_code == 200
    answer = await merchant.post("/v1/payments/preview", stage.order(other, binding_id), key=None)
    assert answer.json()["code"] == "BINDING_NOT_FOUND"


async def test_payments_are_listed_in_pages_newest_first_and_by_order(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    made = [(await stage.payment(merchant, user_id, binding_id))["id"] for _ in range(5)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await merchant.get("/v1/payments", limit=2, **cursor)).json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == made[::-1]
    one = (await merchant.get(f"/v1/payments/{made[2]}")).json()
    found = (await merchant.get("/v1/payments", order_number=one["order_number"])).json()["items"]
    assert [item["id"] for item in found] == [made[2]]


async def test_a_statement_is_read_in_pages_to_its_end(stage: Stage) -> None:
    merchant = await stage.merchant()
    payer = await stage.payer(merchant)
    for _ in range(2):
        await stage.paid(merchant, *payer, amount_minor=1_000)
    first = (await merchant.get("/v1/statement", account="pending", limit=3)).json()
    second = (await merchant.get("/v1/statement", account="pending", limit=3, cursor=first["next_cursor"])).json()
    changes = [item["change_minor"] for item in first["items"] + second["items"]]
    assert changes == [-6, 1_000, -6, 1_000]
    assert second["next_cursor"] is None
    assert (await merchant.get("/v1/statement", account="reserve")).status_code == 400


async def test_a_preview_shows_fee_limits_and_verification_and_changes_nothing(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    order = stage.order(user_id, binding_id, amount_minor=10_000)
    preview = (await merchant.post("/v1/payments/preview", order, key=None)).json()
    assert (preview["fee_minor"], preview["verification"]) == (60, "code")
    assert {(entry["subject"], entry["window"]) for entry in preview["limits"]} == {
        (subject, window) for subject in ("user", "card") for window in ("transaction", "day", "month")
    }
    assert await stage.rows("SELECT id FROM app.payment") == []


async def test_every_part_of_what_was_confirmed_is_in_its_hash(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    order = stage.order(user_id, binding_id)
    changes: list[dict[str, object]] = [{}, {"order_number": "o-2"}, {"amount_minor": 1_000}, {"payee_kind": "user"}]
    hashes = {
        (await merchant.post("/v1/payments/preview", order | change, key=None)).json()["confirmation_hash"]
        for change in changes
    }
    assert len(hashes) == len(changes)


async def test_a_suspended_merchant_still_finishes_what_was_accepted(stage: Stage) -> None:
    merchant = await stage.merchant()
    payment = await stage.payment(merchant, *await stage.payer(merchant))
    await suspend(stage, merchant)
    answer = await merchant.post(f"/v1/payments/{payment['id']}/code", {"code": FakeBank.right_code})
    assert (answer.status_code, answer.json()["state"]) == (200, "ready")


@pytest.mark.parametrize(("amount", "verification"), [(10_000, "waived"), (10_001, "code")])
async def test_equal_to_the_limit_needs_no_code_and_one_fen_more_does(
    stage: Stage, amount: int, verification: str
) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    version = await enable_waiver(stage, merchant, 10_000)
    for kind in ("waiver_authorisation", "waiver_notice"):
        assert (await stage.consent(merchant, user_id, kind, version=version)).status_code == 201
    payment = await stage.payment(merchant, user_id, binding_id, amount_minor=amount)
    assert payment["verification"] == verification
    assert payment["state"] == ("ready" if verification == "waived" else "awaiting_code")


async def test_the_law_caps_a_merchants_higher_limit(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    version = await enable_waiver(stage, merchant, 1_000_000)
    for kind in ("waiver_authorisation", "waiver_notice"):
        await stage.consent(merchant, user_id, kind, version=version)
    at_the_cap = stage.order(user_id, binding_id, amount_minor=20_000)
    above = at_the_cap | {"amount_minor": 20_001}
    found = [
        (await merchant.post("/v1/payments/preview", order, key=None)).json()["verification"]
        for order in (at_the_cap, above)
    ]
    assert found == ["waived", "code"]
    waiver = (await merchant.get("/v1/waiver")).json()
    assert (waiver["enabled"], waiver["version"], waiver["law_limit_minor"]) == (True, version, 20_000)


async def test_an_objection_stops_the_waiver_at_once_and_lists_what_was_waived(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    version = await enable_waiver(stage, merchant)
    for kind in ("waiver_authorisation", "waiver_notice"):
        await stage.consent(merchant, user_id, kind, version=version)
    waived = await stage.payment(merchant, user_id, binding_id, amount_minor=1)
    objection = (await stage.consent(merchant, user_id, "waiver_objection", version=version)).json()
    assert (await stage.payment(merchant, user_id, binding_id, amount_minor=1))["verification"] == "code"
    [case] = await stage.rows("SELECT * FROM app.case_record")
    assert (case["id"], case["payments"]) == (objection["case_id"], [waived["id"]])


async def test_an_unbound_card_can_be_bound_anew_and_keeps_its_count(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    payment = await stage.paid(merchant, user_id, binding_id, amount_minor=5_000_000)
    answer = await merchant.delete(f"/v1/users/{user_id}/bindings/{binding_id}")
    assert (answer.status_code, answer.json()["state"]) == (202, "unbinding")
    assert stage.processes.started[-1][0] == "unbind_card"
    async with stage.database.owner_engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE app.binding SET state = 'unbound'")
    again = await stage.open_binding(merchant, user_id)
    assert again != binding_id
    preview = (await merchant.post("/v1/payments/preview", stage.order(user_id, again), key=None)).json()
    left = [e["remaining_minor"] for e in preview["limits"] if (e["subject"], e["window"]) == ("card", "day")]
    assert left == [10_000_000 - payment["amount_minor"]]


async def test_a_user_with_a_statement_of_own_income_may_bind_at_sixteen(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    body = ELEMENTS | {"id_number": born("20101120")}
    assert (await stage.consent(merchant, user_id, "capacity_statement")).status_code == 201
    assert (await merchant.post(f"/v1/users/{user_id}/bindings", body)).status_code == 202


async def test_an_expired_key_is_refused_from_its_instant_on(stage: Stage) -> None:
    from datetime import timedelta

    merchant = await stage.merchant()
    short = await stage.with_key(merchant.id, expires_at=stage.clock.now() + timedelta(minutes=1))
    assert (await short.get("/v1/balances")).status_code == 200
    stage.clock.advance(minutes=1)
    assert (await short.get("/v1/balances")).json()["code"] == "API_KEY_INVALID"


async def test_a_merchant_whose_contract_has_ended_gets_no_new_users(stage: Stage) -> None:
    merchant = await stage.merchant()
    stage.clock.advance(days=366)
    body = {"merchant_user_ref": "late", "type": "individual", "region": "CN"}
    assert (await merchant.post("/v1/users", body)).json()["code"] == "MERCHANT_SUSPENDED"


async def test_reads_leave_no_record_and_commands_leave_two(stage: Stage) -> None:
    merchant = await stage.merchant()
    before = len(await stage.records())
    await asyncio.gather(*(merchant.get("/v1/balances") for _ in range(5)))
    assert len(await stage.records()) == before
    await stage.user(merchant, agreed=False)
    made = (await stage.records())[before:]
    assert [(record["action"], record["outcome"]) for record in made] == [
        ("accept_user", "received"),
        ("accept_user", "done"),
    ]
