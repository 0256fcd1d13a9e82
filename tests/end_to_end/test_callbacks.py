"""What arrives in a bank's name: forged, replayed, altered, stale, doubled, or true and without effect."""

from __future__ import annotations

import asyncio
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from banks.signatures import read_private_key, sign_callback
from tests.end_to_end.operator import temporal_client
from tests.end_to_end.play import Merchant, Payer
from tests.end_to_end.world import World

PATH = "/bank-callbacks/HBRB"


def notice_of(payment_id: str, **other: Any) -> bytes:
    """A callback that claims that a debit succeeded."""
    said = {
        "notice_id": f"NT{secrets.token_hex(12)}",
        "bank_code": "HBRB",
        "request_number": f"DB{payment_id.removeprefix('pay_')}",
        "operation": "debits",
        "status": "SUCCESS",
        "code": "OK",
        "bank_reference": "BR0001",
        "amount_minor": 30_000,
        "currency": "CNY",
        "booked_at": datetime.now(UTC).isoformat(),
    }
    return json.dumps(said | other).encode()


async def call(
    world: World, body: bytes, key: Ed25519PrivateKey, *, path: str = PATH, at: datetime | None = None
) -> httpx.Response:
    headers = sign_callback(key, "POST", PATH, body, at or datetime.now(UTC))
    return await world.http.post(path, content=body, headers=headers | {"Content-Type": "application/json"})


def key_of_the_banks(world: World) -> Ed25519PrivateKey:
    return read_private_key(world.stack.environment["simulator"]["SIMULATOR_SIGNING_KEY"])


async def awaiting(merchant: Merchant) -> tuple[Payer, str]:
    """A payment that waits for its code: nothing has been debited."""
    payer = await merchant.payer()
    payment = await payer.pay(30_000)
    await payer.code_awaited(payment["id"])
    return payer, payment["id"]


async def records(world: World, after: int) -> list[tuple[str, str]]:
    rows = await world.rows(
        "SELECT outcome, reason FROM app.operation WHERE action = 'bank_callback' AND id > :after"
        " AND (subject_id IS NULL OR outcome <> 'done') ORDER BY id",
        after=after,
    )
    return [(row["outcome"], row["reason"]) for row in rows]


async def last_record(world: World) -> int:
    [row] = await world.rows("SELECT max(id) AS id FROM app.operation")
    last: int = row["id"]
    return last


async def test_callbacks_that_are_not_the_banks_are_refused_recorded_and_change_nothing(
    world: World, merchant: Merchant
) -> None:
    _, payment_id = await awaiting(merchant)
    before, position = await merchant.payment(payment_id), await last_record(world)
    body, genuine = notice_of(payment_id), key_of_the_banks(world)
    forged = await call(world, body, Ed25519PrivateKey.generate())
    stale = await call(world, body, genuine, at=datetime.now(UTC) - timedelta(hours=1))
    moved = await call(world, body, genuine, path="/bank-callbacks/WLWB")
    nobody = await call(world, body, genuine, path="/bank-callbacks/XXXX")
    unsigned = await world.http.post(PATH, content=body, headers={"Content-Type": "application/json"})
    headers = sign_callback(genuine, "POST", PATH, body, datetime.now(UTC))
    altered = await world.http.post(PATH, content=body.replace(b"30000", b"90000"), headers=headers)
    answers = (forged, stale, moved, nobody, unsigned, altered)
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(401, "CALLBACK_REJECTED")}
    assert await merchant.payment(payment_id) == before
    refused = await records(world, position)
    assert [outcome for outcome, _ in refused] == ["denied"] * 6
    assert {reason for _, reason in refused} == {
        "signature_invalid",
        "timestamp_outside_window",
        "bank_unknown",
        "signature_missing",
    }
    assert await world.wrong() == []


async def test_a_genuine_callback_only_makes_us_ask_so_a_false_success_pays_nobody(
    world: World, merchant: Merchant
) -> None:
    payer = await merchant.payer(fault=20)
    payment = await payer.pay_to_the_end(30_000)
    assert payment["state"] == "failed"
    assert (await call(world, notice_of(payment["id"]), key_of_the_banks(world))).status_code == 200
    number = f"correct-payment/{payment['id']}"
    client = await temporal_client(world)
    result = await client.get_workflow_handle(number).result()
    assert result["reason"] == "bank_confirms_failure"
    assert (await merchant.payment(payment["id"]))["state"] == "failed"
    assert await world.wrong() == []


async def test_a_replayed_callback_is_taken_once_and_recorded_as_a_duplicate(world: World, merchant: Merchant) -> None:
    _, payment_id = await awaiting(merchant)
    position, body = await last_record(world), notice_of(payment_id, request_number="DB" + "0" * 26)
    headers = sign_callback(key_of_the_banks(world), "POST", PATH, body, datetime.now(UTC))
    headers |= {"Content-Type": "application/json"}
    answers = await asyncio.gather(*(world.http.post(PATH, content=body, headers=headers) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(await records(world, position)) == [
        *[("refused", "duplicate")] * 4,
        ("refused", "request_number_unknown"),
    ]
    assert (await merchant.payment(payment_id))["state"] == "awaiting_code"


async def test_duplicate_and_out_of_order_callbacks_of_a_bank_leave_one_booking(
    world: World, merchant: Merchant
) -> None:
    payers = await asyncio.gather(merchant.payer(fault=36), merchant.payer(fault=37))
    ended = await asyncio.gather(*(payer.pay_to_the_end(30_000) for payer in payers))
    assert [payment["state"] for payment in ended] == ["succeeded", "succeeded"]
    numbers = [f"DB{payment['id'].removeprefix('pay_')}" for payment in ended]
    statement = "SELECT count(*) AS n FROM app.operation WHERE action = 'bank_callback' AND request_number = ANY(:n)"
    async with asyncio.timeout(15):
        while (await world.rows(statement, n=numbers))[0]["n"] < 5:  # noqa: ASYNC110 - another process writes
            await asyncio.sleep(0.1)
    assert [(await merchant.payment(payment["id"]))["state"] for payment in ended] == ["succeeded"] * 2
    assert len((await merchant.get("/v1/statement?account=pending"))["items"]) == 4
    assert await world.wrong() == []
