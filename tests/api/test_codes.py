"""A payer's code: asked of the bank once, kept nowhere, and finished whatever happens to the caller."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest

from domain.banking import BankAnswer, BankOutcome
from domain.instructions import ClaimCodeAttempt, CodeAttempt
from tests.api.conftest import FakeBank, Merchant, Stage

CANARY = "83917264"


async def waiting_payment(stage: Stage) -> tuple[Merchant, str]:
    merchant = await stage.merchant()
    payment = await stage.payment(merchant, *await stage.payer(merchant))
    stage.processes.told.clear()
    return merchant, f"/v1/payments/{payment['id']}"


async def test_a_right_code_makes_the_payment_ready_and_the_process_is_told(stage: Stage) -> None:
    merchant, path = await waiting_payment(stage)
    answer = await merchant.post(f"{path}/code", {"code": FakeBank.right_code})
    assert (answer.status_code, answer.json()["state"]) == (200, "ready")
    [(kind, subject_id, message)] = stage.processes.told
    assert (kind, f"/v1/payments/{subject_id}", message.verdict) == ("payment", path, "confirmed")


async def test_a_wrong_code_says_how_many_attempts_are_left(stage: Stage) -> None:
    merchant, path = await waiting_payment(stage)
    first = await merchant.post(f"{path}/code", {"code": "000000"})
    second = await merchant.post(f"{path}/code", {"code": "000000"})
    assert [first.json()["attempts_left"], second.json()["attempts_left"]] == [4, 3]
    assert (await merchant.get(path)).json()["state"] == "awaiting_code"


async def test_a_repeated_wrong_code_is_no_second_attempt(stage: Stage) -> None:
    merchant, path = await waiting_payment(stage)
    bank = stage.banks["HBRB"]
    bank.asked.clear()
    first = await merchant.post(f"{path}/code", {"code": "000000"}, key="typed-once")
    again = await merchant.post(f"{path}/code", {"code": "000000"}, key="typed-once")
    assert again.content == first.content
    assert len(bank.asked) == 1


async def test_two_codes_at_one_instant_are_one_attempt(stage: Stage) -> None:
    merchant, path = await waiting_payment(stage)
    bank = stage.banks["HBRB"]
    bank.asked.clear()
    entered = asyncio.Event()

    async def slow() -> None:
        entered.set()
        await asyncio.sleep(0.2)

    bank.gate = slow
    answers = await asyncio.gather(*(merchant.post(f"{path}/code", {"code": FakeBank.right_code}) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    assert len(bank.asked) == 1


async def test_while_the_bank_has_not_said_the_answer_is_202_and_the_process_asks(stage: Stage) -> None:
    merchant, path = await waiting_payment(stage)
    stage.banks["HBRB"].next_answer = BankAnswer(outcome=BankOutcome.UNKNOWN)
    answer = await merchant.post(f"{path}/code", {"code": FakeBank.right_code})
    assert answer.status_code == 202
    assert answer.json()["waiting_for"]["reason"] == "payer_code"
    [(_, _, message)] = stage.processes.told
    assert message.verdict is None


async def test_a_code_whose_request_was_held_up_too_long_is_not_sent_any_more(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant, path = await waiting_payment(stage)
    bank, claim = stage.banks["HBRB"], stage.instructions.claim_code_attempt
    bank.asked.clear()

    async def stopped_after(command: ClaimCodeAttempt) -> CodeAttempt:
        claimed = await claim(command)
        stage.clock.advance(seconds=bank.capabilities.request_validity_seconds)
        return claimed

    monkeypatch.setattr(stage.instructions, "claim_code_attempt", stopped_after)
    answer = await merchant.post(f"{path}/code", {"code": FakeBank.right_code})
    assert (answer.status_code, answer.json()["state"]) == (202, "awaiting_code")
    assert bank.asked == []
    [(_, _, message)] = stage.processes.told
    assert message.verdict is None


async def test_a_verdict_that_cannot_be_stored_is_left_to_the_process(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant, path = await waiting_payment(stage)

    async def broken(*_: object) -> object:
        raise ConnectionError

    monkeypatch.setattr(stage.instructions, "resolve_code_attempt", broken)
    answer = await merchant.post(f"{path}/code", {"code": FakeBank.right_code})
    assert answer.status_code == 202
    [(_, _, message)] = stage.processes.told
    assert message.verdict is None


async def test_a_code_is_judged_to_the_end_though_the_caller_hangs_up(stage: Stage) -> None:
    merchant, path = await waiting_payment(stage)
    at_the_bank, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        at_the_bank.set()
        await go_on.wait()

    stage.banks["HBRB"].gate = slow
    caller = asyncio.create_task(merchant.post(f"{path}/code", {"code": FakeBank.right_code}))
    await at_the_bank.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()
    await stage.services.work.wait_until_done()
    assert (await merchant.get(path)).json()["state"] == "ready"
    assert stage.processes.told[-1][2].verdict == "confirmed"


async def test_a_code_asked_again_after_a_crash_gets_the_stored_verdict(stage: Stage) -> None:
    merchant, path = await waiting_payment(stage)
    bank = stage.banks["HBRB"]
    first = await merchant.post(f"{path}/code", {"code": FakeBank.right_code}, key="typed-once")
    assert first.status_code == 200
    bank.asked.clear()
    # As if the process had died after the verdict and before the answer was stored.
    async with stage.database.owner_engine.begin() as connection:
        await connection.exec_driver_sql(
            "UPDATE app.idempotency SET answer = NULL WHERE started_at = (SELECT max(started_at) FROM app.idempotency)"
            " AND action = 'confirm_payment'"
        )
    stage.clock.advance(seconds=31)
    again = await merchant.post(f"{path}/code", {"code": FakeBank.right_code}, key="typed-once")
    assert (again.status_code, again.json()["state"]) == (200, "ready")
    assert bank.asked == []


async def test_a_code_of_one_payment_is_not_asked_for_another(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    one = await stage.payment(merchant, user_id, binding_id)
    two = await stage.payment(merchant, user_id, binding_id)
    bank = stage.banks["HBRB"]
    bank.asked.clear()
    await merchant.post(f"/v1/payments/{two['id']}/code", {"code": FakeBank.right_code})
    [asked] = bank.asked
    assert asked.code_request_number.endswith(two["id"].split("_")[1])
    assert (await merchant.get(f"/v1/payments/{one['id']}")).json()["state"] == "awaiting_code"


async def test_a_resent_code_is_asked_of_the_process_after_the_cool_down(stage: Stage) -> None:
    merchant, path = await waiting_payment(stage)
    too_soon = await merchant.post(f"{path}/code/resend")
    assert (too_soon.status_code, too_soon.headers["retry-after"]) == (429, "60")
    stage.clock.advance(seconds=60)
    answer = await merchant.post(f"{path}/code/resend")
    assert answer.status_code == 202
    assert stage.processes.told[-1][2].attempt == 1


async def test_a_resend_that_nobody_was_told_of_can_be_asked_for_again(stage: Stage) -> None:
    merchant, path = await waiting_payment(stage)
    stage.processes.answers = False
    stage.clock.advance(seconds=60)
    assert (await merchant.post(f"{path}/code/resend")).status_code == 202
    stage.processes.answers = True
    stage.clock.advance(seconds=60)
    assert (await merchant.post(f"{path}/code/resend")).status_code == 202


async def test_codes_and_elements_are_in_no_table_no_log_and_no_answer(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    merchant, path = await waiting_payment(stage)
    answers: list[httpx.Response] = [
        await merchant.post(f"{path}/code", {"code": CANARY}),
        await merchant.post(f"{path}/code", {"code": CANARY, "extra": CANARY}),
        await merchant.post(f"{path}/code", {CANARY: "1"}),
        await merchant.post(f"{path}/code", {"Code": CANARY}),
        await merchant.raw(f"{path}/code", f'{{"code": "{CANARY}"'.encode()),
        await merchant.post(f"{path}/code", int(CANARY)),
    ]
    assert all(CANARY not in answer.text for answer in answers)
    assert CANARY not in caplog.text
    planted = (CANARY, "张三", "11010119900307803X", "9901010000000000018", "13800138000")
    for table in await stage.rows(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
        " WHERE schemaname IN ('app', 'vault', 'ledger')"
    ):
        for row in await stage.rows(f"SELECT t::text AS text FROM {table['name']} t"):  # noqa: S608
            assert not any(secret in row["text"] for secret in planted), table["name"]
    assert "13800138000" not in caplog.text
