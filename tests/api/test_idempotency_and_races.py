"""The same request twice, requests at the same instant, and requests that come again after a crash."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from storage.instructions import Instructions
from tests.api.conftest import ELEMENTS, FakeBank, Stage

USER = {"merchant_user_ref": "customer-x", "type": "individual", "region": "CN"}


async def test_a_repeated_request_gets_the_first_answer_byte_for_byte(stage: Stage) -> None:
    merchant = await stage.merchant()
    first = await merchant.post("/v1/users", USER, key="once-only")
    again = await merchant.post("/v1/users", USER, key="once-only")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]


async def test_the_order_of_fields_does_not_make_another_request(stage: Stage) -> None:
    merchant = await stage.merchant()
    await merchant.post("/v1/users", USER, key="once-only")
    again = await merchant.post("/v1/users", dict(reversed(USER.items())), key="once-only")
    assert again.status_code == 201


@pytest.mark.parametrize(
    ("body", "status"), [({"type": "person"}, 400), (USER | {"region": "KP"}, 422)], ids=["wrong", "refused"]
)
async def test_a_repeated_refusal_is_the_first_refusal(stage: Stage, body: dict[str, Any], status: int) -> None:
    merchant = await stage.merchant()
    first = await merchant.post("/v1/users", body, key="refused-once")
    again = await merchant.post("/v1/users", body, key="refused-once")
    assert first.status_code == status
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"


async def test_keys_of_two_merchants_do_not_meet(stage: Stage) -> None:
    one, two = await stage.merchant("一号"), await stage.merchant("二号")
    first = await one.post("/v1/users", USER, key="the-same-key")
    second = await two.post("/v1/users", USER, key="the-same-key")
    assert first.status_code == second.status_code == 201
    assert first.json()["id"] != second.json()["id"]


async def test_the_same_payment_fifty_times_at_one_instant_is_one_payment(stage: Stage) -> None:
    merchant = await stage.merchant()
    body = await stage.confirmed(merchant, stage.order(*await stage.payer(merchant)))
    answers = await asyncio.gather(*(merchant.post("/v1/payments", body, key="one-click") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len(await stage.rows("SELECT id FROM app.payment")) == 1
    assert [name for name, _ in stage.processes.started].count("collect_payment") == 1


async def test_one_order_under_many_keys_at_one_instant_is_one_payment(stage: Stage) -> None:
    merchant = await stage.merchant()
    body = await stage.confirmed(merchant, stage.order(*await stage.payer(merchant)))
    answers = await asyncio.gather(*(merchant.post("/v1/payments", body) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    paid = next(answer for answer in answers if answer.status_code == 201).json()["id"]
    assert {a.json()["subject_id"] for a in answers if a.status_code == 409} == {paid}


async def test_one_hundred_payments_at_once_take_no_more_than_the_limit(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    # A hundred times a tenth of the day's limit of 100,000.00.
    orders = [stage.order(user_id, binding_id, amount_minor=1_000_000) for _ in range(100)]
    bodies = await asyncio.gather(*(stage.confirmed(merchant, order) for order in orders))
    answers = await asyncio.gather(*(merchant.post("/v1/payments", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201] * 10 + [422] * 90
    assert {answer.json()["code"] for answer in answers if answer.status_code == 422} == {"LIMIT_PER_DAY"}
    limits = (await merchant.get(f"/v1/users/{user_id}/limits")).json()["limits"]
    assert [entry["remaining_minor"] for entry in limits if entry["window"] == "day"] == [0]


async def test_a_failed_payment_gives_its_limit_back(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    payment = await stage.payment(merchant, user_id, binding_id, amount_minor=1_000_000)
    await merchant.post(f"/v1/payments/{payment['id']}/code", {"code": FakeBank.right_code})
    await stage.debit_sent(payment["id"])
    await stage.settle_payment(merchant, payment, "failed")
    limits = (await merchant.get(f"/v1/users/{user_id}/limits")).json()["limits"]
    assert [e["remaining_minor"] for e in limits if e["window"] == "day"] == [10_000_000]


async def test_two_applications_for_one_card_at_one_instant_are_one_binding(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    answers = await asyncio.gather(*(merchant.post(f"/v1/users/{user_id}/bindings", ELEMENTS) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 7
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"BINDING_IN_PROGRESS"}


async def test_refunds_at_one_instant_never_give_back_more_than_was_paid(stage: Stage) -> None:
    merchant = await stage.merchant()
    payment = await stage.paid(merchant, *await stage.payer(merchant), amount_minor=1_000)
    body = {"amount_minor": 300, "reason_code": "order_changed"}
    path = f"/v1/payments/{payment['id']}/refunds"
    answers = await asyncio.gather(*(merchant.post(path, body) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [422] * 7
    again = (await merchant.get(f"/v1/payments/{payment['id']}")).json()
    assert (again["refunding_minor"], again["refundable_minor"]) == (900, 100)


async def test_a_request_whose_first_try_died_goes_on_under_the_same_id(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant = await stage.merchant()
    body = await stage.confirmed(merchant, stage.order(*await stage.payer(merchant)))
    accept = Instructions.accept_payment

    async def accept_and_die(self: Instructions, command: Any) -> Any:
        await accept(self, command)
        await stage.rows("SELECT 1")
        raise RuntimeError("the process is gone")

    # The answer was stored with the payment, so who asks again is told what became of it.
    monkeypatch.setattr(Instructions, "accept_payment", accept_and_die)
    died = await merchant.post("/v1/payments", body, key="dying-key")
    assert died.status_code == 503
    monkeypatch.undo()
    again = await merchant.post("/v1/payments", body, key="dying-key")
    assert again.status_code == 201
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await stage.rows("SELECT id FROM app.payment")) == 1


async def test_after_a_crash_before_the_decision_the_key_is_free_once_its_lease_is_over(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant = await stage.merchant()

    async def die(*_: Any) -> Any:
        raise RuntimeError("the process is gone")

    monkeypatch.setattr(Instructions, "accept_user", die)
    assert (await merchant.post("/v1/users", USER, key="dying-key")).status_code == 503
    monkeypatch.undo()
    stage.clock.advance(seconds=31)
    again = await merchant.post("/v1/users", USER, key="dying-key")
    assert again.status_code == 201
    first_id = (await stage.rows("SELECT resource_id FROM app.idempotency"))[0]
    assert again.json()["id"] == first_id["resource_id"]


async def test_a_payment_is_accepted_though_its_process_cannot_be_started(stage: Stage) -> None:
    merchant = await stage.merchant()
    body = await stage.confirmed(merchant, stage.order(*await stage.payer(merchant)))
    stage.processes.answers = False
    answer = await merchant.post("/v1/payments", body)
    assert answer.status_code == 201
    [unattended] = await stage.rows(
        "SELECT * FROM app.unattended(:at, '1 second', 10) WHERE kind = 'collect_payment'",
        at=stage.clock.now() + timedelta(seconds=9),
    )
    assert unattended["id"] == answer.json()["id"]


async def test_a_payment_costs_two_calls_of_the_database(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlalchemy as sa

    merchant = await stage.merchant()
    body = await stage.confirmed(merchant, stage.order(*await stage.payer(merchant)))
    statements: list[str] = []
    engine = stage.engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    assert (await merchant.post("/v1/payments", body)).status_code == 201
    assert [statement.split("FROM ")[1].split("(")[0] for statement in statements] == [
        "app.begin_requests",
        "app.accept_payments",
    ]


async def test_what_a_merchant_uses_as_its_key_is_stored_as_a_digest_only(stage: Stage) -> None:
    merchant, key = await stage.merchant(), "9901010000018800001"
    assert (await merchant.post("/v1/users", USER, key=key)).status_code == 201
    assert (await merchant.post("/v1/users", USER, key=key)).headers["Idempotency-Replayed"] == "true"
    [row] = await stage.rows("SELECT i::text AS text, i.key FROM app.idempotency i")
    assert key not in row["text"]
    assert len(row["key"]) == 64
