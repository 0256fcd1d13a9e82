"""What a crash left unattended is found in the books and handed on, by any number of sweepers at once."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from sweeper import OLDER_THAN, Sweeper
from tests.workflows.conftest import BINDING_LIFE, House
from tests.workflows.scripted_bank import SUCCEEDED
from workflows import names


class Clock:
    """The process's time, a little later."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, duration: timedelta = OLDER_THAN) -> None:
        self.now += duration + timedelta(seconds=1)


@pytest.fixture
async def clock(house: House) -> Clock:
    return Clock(await house.now())


@pytest.fixture
async def sweeper(house: House, clock: Clock) -> Sweeper:
    return Sweeper(house.books.app, house.processes, clock, BINDING_LIFE)


async def test_a_payment_that_was_accepted_and_not_started_is_started(
    house: House, sweeper: Sweeper, clock: Clock
) -> None:
    payment = await house.accept_waived()
    assert await sweeper.sweep() == 0
    clock.pass_by()
    assert await sweeper.sweep() == 1
    assert (await house.end_of(names.Process.COLLECT_PAYMENT, payment["id"])).state == "succeeded"
    assert await sweeper.sweep() == 0


async def test_a_card_a_refund_and_an_unbinding_that_were_not_started_are_started(
    house: House, sweeper: Sweeper, clock: Clock
) -> None:
    payment = await house.accept_waived()
    await house.collect(payment)
    clock.now = await house.now()
    refund = await house.accept_refund(payment["id"], 10_000)
    binding = await house.accept_binding()
    await house.accept_unbinding(house.books.binding_id)
    clock.pass_by()
    assert await sweeper.sweep() == 3
    await house.until("SELECT state FROM app.refund WHERE id = :id", "succeeded", id=refund["id"])
    await house.until("SELECT state FROM app.binding WHERE id = :id", "unbound", id=house.books.binding_id)
    await house.until("SELECT state FROM app.binding WHERE id = :id", "awaiting_code", id=binding["id"])
    deadline = (await house.view("binding", binding["id"]))["waiting_for"]["deadline"]
    # The application's half hour began when it was accepted, not when it was found.
    assert datetime.fromisoformat(deadline) == datetime.fromisoformat(binding["accepted_at"]) + BINDING_LIFE


async def awaiting_code(house: House) -> dict[str, Any]:
    payment = await house.accept(30_000)
    await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment WHERE id = :id", "payer_code", id=payment["id"])
    return payment


async def test_a_code_whose_verdict_nobody_learned_is_asked_about(house: House, sweeper: Sweeper, clock: Clock) -> None:
    payment = await awaiting_code(house)
    await house.type_code("payment", payment["id"], None)
    house.bank.script("query", SUCCEEDED.model_copy(update={"authorisation": "AUTH-1"}))
    clock.pass_by()
    assert await sweeper.sweep() == 1
    await house.until("SELECT state FROM app.payment", "succeeded")
    assert house.bank.asked("debit")[0].authorisation == "AUTH-1"
    assert await sweeper.sweep() == 0


async def test_a_confirmed_payment_whose_process_was_never_told_goes_on(
    house: House, sweeper: Sweeper, clock: Clock
) -> None:
    payment = await awaiting_code(house)
    await house.type_code("payment", payment["id"], "confirmed", authorisation="AUTH-2")
    clock.pass_by()
    assert await sweeper.sweep() == 1
    await house.until("SELECT state FROM app.payment", "succeeded")
    assert len(house.bank.asked("debit")) == 1


async def test_two_sweepers_at_once_do_nothing_twice(house: House, sweeper: Sweeper, clock: Clock) -> None:
    payments = [await house.accept_waived(1_000) for _ in range(5)]
    confirmed = await awaiting_code(house)
    await house.type_code("payment", confirmed["id"], "confirmed", authorisation="AUTH-3")
    clock.pass_by()
    await asyncio.gather(*(sweeper.sweep() for _ in range(4)))
    for payment in (*payments, confirmed):
        await house.until("SELECT state FROM app.payment WHERE id = :id", "succeeded", id=payment["id"])
    assert len(house.bank.asked("debit")) == 6
    assert await house.books.value("SELECT count(*) FROM app.event WHERE type = 'payment.succeeded'") == 6


async def test_requests_that_were_never_answered_are_recorded_once(
    house: House, sweeper: Sweeper, clock: Clock
) -> None:
    item = {
        "now": clock.now.isoformat(), "request_id": "req_1", "action": "accept_payment", "scope": "payments:write",
        "key_id": "key_test", "secret_hash": "", "record": True, "idempotency_key": "order-0001", "fingerprint": "f",
        "resource_id": "pay_1", "lease_seconds": 30,
    }  # fmt: skip
    await house.books.run(
        "SELECT app.begin_requests(jsonb_build_array(CAST(:item AS jsonb) || jsonb_build_object('item', 0,"
        " 'secret_hash', (SELECT encode(secret_hash, 'hex') FROM app.api_key))))",
        item=json.dumps(item),
    )
    abandoned = "SELECT count(*) FROM app.operation WHERE outcome = 'abandoned' AND request_id = 'req_1'"
    await sweeper.sweep()
    assert await house.books.value(abandoned) == 0
    clock.pass_by(timedelta(seconds=30))
    await asyncio.gather(sweeper.sweep(), sweeper.sweep())
    await sweeper.sweep()
    assert await house.books.value(abandoned) == 1


async def test_one_thing_that_cannot_be_handed_on_keeps_no_other_from_it(
    house: House, sweeper: Sweeper, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment, binding = await house.accept_waived(), await house.accept_binding()

    async def broken(order: object) -> bool:
        raise ValueError("a defect of ours")

    monkeypatch.setattr(house.processes, "bind_card", broken)
    clock.pass_by()
    assert await sweeper.sweep() == 1
    assert (await house.end_of(names.Process.COLLECT_PAYMENT, payment["id"])).state == "succeeded"
    assert (await house.view("binding", binding["id"]))["state"] == "accepted"


async def test_a_round_that_fails_is_followed_by_another(
    house: House, sweeper: Sweeper, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = await house.accept_waived()
    clock.pass_by()
    monkeypatch.setattr("sweeper.PAUSE_SECONDS", 0.01)
    real, failures = sweeper.sweep, 2

    async def flaky() -> int:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ConnectionError("the database is away")
        return await real()

    monkeypatch.setattr(sweeper, "sweep", flaky)
    sweeping = asyncio.create_task(sweeper.run())
    await house.until("SELECT state FROM app.payment", "succeeded")
    sweeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweeping
    assert len(house.bank.asked("debit")) == 1
    assert (await house.payment(payment["id"]))["state"] == "succeeded"
