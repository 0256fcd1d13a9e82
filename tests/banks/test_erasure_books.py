"""What a notice of erasure leaves in the banks' own books, and who may order a reply."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from banks.signatures import sign_request
from domain.banking import (
    BankOutcome,
    ErasureOutcome,
    KeptReason,
    PaymentCodeRequest,
    PaymentCodeVerification,
    SignApplication,
    SignConfirmation,
    UnsignRequest,
)
from tests.contracts.harness import (
    PAYEE,
    SimulatorHarness,
    funded_payout,
    notice_of,
    number,
    reply_until,
    waived_debit,
)
from tests.simulator_process import SimulatorProcess


def rows_of(process: SimulatorProcess) -> str:
    """Every row of every table, as text; a copy is read, the bank goes on."""
    with sqlite3.connect(process.database) as books:
        tables = [name for (name,) in books.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return "\n".join(str(row) for table in tables for row in books.execute(f"SELECT * FROM {table}"))  # noqa: S608


async def test_nothing_of_the_payer_is_left_once_the_last_agreement_has_ended(simulator: SimulatorProcess) -> None:
    """Also no text message of a payment; the booking stays, and the books balance."""
    bank = SimulatorHarness(simulator)
    connector, payer = bank.connector(), bank.payer()
    elements = payer.elements.model_copy(update={"name": "欧阳予倩", "id_number": "110101199003078881"})
    application, code = number("SG"), number("PC")
    await connector.apply_to_sign(SignApplication(request_number=application, elements=elements))
    agreed = await connector.confirm_sign(
        SignConfirmation(
            request_number=number("SC"),
            application_request_number=application,
            code=await bank.code(payer, application),
        )
    )
    debit = waived_debit(str(agreed.agreement_number))
    await connector.send_payment_code(
        PaymentCodeRequest(
            request_number=code,
            debit_request_number=debit.request_number,
            agreement_number=debit.agreement_number,
            **{"amount_minor": debit.amount_minor, "currency": "CNY", "payee": PAYEE},
        )
    )
    verification = PaymentCodeVerification(
        request_number=number("VC"), code_request_number=code, code=await bank.code(payer, code)
    )
    authorised = await connector.verify_payment_code(verification)
    debited = await connector.debit(debit.model_copy(update={"authorisation": authorised.authorisation}))
    assert debited.outcome is BankOutcome.SUCCEEDED
    await connector.unsign(UnsignRequest(request_number=number("US"), agreement_number=debit.agreement_number))
    values = list(elements.model_dump().values())
    assert all(value in rows_of(simulator) for value in values)
    reply = await connector.send_erasure_notice(notice_of(application, debit.request_number))
    assert (reply.outcome, reply.kept_reason, reply.kept_count) == (ErasureOutcome.KEPT, KeptReason.LAW, 1)
    assert not [value for value in values if value in rows_of(simulator)]
    assert await bank.debits_booked(debit.request_number) == 1
    await connector.close()


async def test_a_code_that_is_on_its_way_keeps_the_holder_and_then_serves(simulator: SimulatorProcess) -> None:
    bank = SimulatorHarness(simulator)
    connector, payer = bank.connector(), bank.payer()
    abandoned, pending = number("SG"), number("SG")
    for application in (abandoned, pending):
        await connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    kept = await connector.send_erasure_notice(notice_of(abandoned))
    assert (kept.outcome, kept.kept_reason) == (ErasureOutcome.KEPT, KeptReason.OWN_AUTHORISATION)
    confirmation = SignConfirmation(
        request_number=number("SC"), application_request_number=pending, code=await bank.code(payer, pending)
    )
    assert (await connector.confirm_sign(confirmation)).outcome is BankOutcome.SUCCEEDED
    await connector.close()


async def test_two_applications_of_one_notice_do_not_keep_each_other(simulator: SimulatorProcess) -> None:
    bank = SimulatorHarness(simulator)
    connector, payer = bank.connector(), bank.payer()
    numbers = (number("SG"), number("SG"))
    for application in numbers:
        await connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    assert (await connector.send_erasure_notice(notice_of(*numbers))).outcome is ErasureOutcome.ERASED
    assert payer.mobile not in rows_of(simulator)
    await connector.close()


async def test_another_bank_deletes_nothing_here(simulator: SimulatorProcess) -> None:
    harbour, willow = SimulatorHarness(simulator), SimulatorHarness(simulator, "WLWB")
    connector, other, payer = harbour.connector(), willow.connector(), harbour.payer()
    application = number("SG")
    await connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    assert (await other.send_erasure_notice(notice_of(application))).outcome is ErasureOutcome.ERASED
    assert payer.mobile in rows_of(simulator)
    await connector.close()
    await other.close()


async def test_a_notice_waits_over_a_kill_and_is_replied_to_afterwards(simulator: SimulatorProcess) -> None:
    bank = SimulatorHarness(simulator)
    connector, on_command, on_time = bank.connector(), notice_of(number("SG")), notice_of(number("SG"))
    await simulator.change_settings(processing_seconds=0.5)
    await bank.order_fault("erasure-notices", "replies_on_command", on_command.request_number)
    await bank.order_fault("erasure-notices", "processing_then_success", on_time.request_number)
    for notice in (on_command, on_time):
        assert (await connector.send_erasure_notice(notice)).outcome is ErasureOutcome.RECEIVED
    simulator.kill()
    simulator.start()
    assert (
        await reply_until(connector, on_time.request_number, ErasureOutcome.ERASED)
    ).outcome is ErasureOutcome.ERASED
    assert (await connector.ask_erasure_notice(on_command.request_number)).outcome is ErasureOutcome.RECEIVED
    await bank.reply_to_notice(on_command.request_number)
    assert (await connector.ask_erasure_notice(on_command.request_number)).outcome is ErasureOutcome.ERASED
    await connector.close()


async def test_banks_that_take_their_time_reply_after_it(simulator: SimulatorProcess) -> None:
    connector, notice = SimulatorHarness(simulator).connector(), notice_of(number("SG"))
    await simulator.change_settings(erasure_reply_seconds=0.4)
    assert (await connector.send_erasure_notice(notice)).outcome is ErasureOutcome.RECEIVED
    assert (await reply_until(connector, notice.request_number, ErasureOutcome.ERASED)).raw_code == "OK"
    await simulator.change_settings(erasure_reply_seconds=0)
    await connector.close()


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"reply": "erased"}, 409),
        ({"reply": "kept", "reason": "law"}, 409),
        ({"reply": "kept"}, 422),
        ({"reply": "erased", "reason": "law"}, 422),
        ({"reply": "kept", "reason": "habit"}, 422),
        ({"reply": "erased", "request_number": "EN00000000"}, 404),
        ({"reply": "erased", "bank_code": "WLWB"}, 404),
    ],
)
async def test_a_reply_is_ordered_once_for_a_notice_that_waits_and_keeping_has_a_reason(
    simulator: SimulatorProcess, order: dict[str, Any], status: int
) -> None:
    connector, notice = SimulatorHarness(simulator).connector(), notice_of(number("SG"))
    before = await connector.send_erasure_notice(notice)
    content = {"bank_code": "HBRB", "request_number": notice.request_number, **order}
    async with simulator.client() as client:
        assert (await client.post("/control/erasure-replies", json=content)).status_code == status
    assert await connector.ask_erasure_notice(notice.request_number) == before
    await connector.close()


async def test_only_notices_of_erasure_are_replied_to(simulator: SimulatorProcess) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        await simulator.order_fault("debits", "kept_by_law")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "陈小满"}, "name"),
        ({"disclosed_under": []}, "disclosed_under"),
        ({"disclosed_under": ["SG00000001", "SG00000001"]}, "disclosed_under"),
        ({"disclosed_under": [f"SG{each:08d}" for each in range(1001)]}, "disclosed_under"),
        ({"disclosed_under": ["陈小满陈小满陈小满"]}, "disclosed_under.0"),
        ({"scope": "everything"}, "scope"),
        ({"scope": None}, "scope"),
    ],
)
async def test_a_notice_with_a_name_or_a_wrong_field_is_refused_without_its_value(
    simulator: SimulatorProcess, change: dict[str, Any], field: str
) -> None:
    body = {"request_number": number("EN"), "disclosed_under": ["SG00000001"], "scope": "account", **change}
    answer = await _post(simulator, json.dumps(body).encode())
    assert (answer.status_code, answer.json()["invalid_fields"]) == (400, [field])
    assert "陈小满" not in answer.text


async def test_a_notice_may_be_longer_than_a_payment_and_not_endless(simulator: SimulatorProcess) -> None:
    longest = [f"SG{each:038d}" for each in range(1000)]
    body = {"request_number": number("EN"), "disclosed_under": longest, "scope": "account"}
    assert (await _post(simulator, json.dumps(body).encode())).json()["erasure"] == "erased"
    assert (await _post(simulator, b"{" + b" " * 66_000 + b"}")).status_code == 413


async def _post(simulator: SimulatorProcess, content: bytes) -> httpx.Response:
    path = "/banks/HBRB/v1/erasure-notices"
    headers = sign_request(simulator.institution_key, "POST", path, content, datetime.now(UTC))
    async with simulator.client(timeout=20) as client:
        return await client.post(path, content=content, headers=headers)


async def test_the_page_shows_notices_and_a_person_replies_to_one(simulator: SimulatorProcess) -> None:
    bank = SimulatorHarness(simulator)
    connector, payout = bank.connector(), await funded_payout(bank)
    await connector.pay_out(payout)
    kept, notice = notice_of(payout.request_number), notice_of(number("SG"), number("SG"))
    await connector.send_erasure_notice(kept)
    await bank.order_fault("erasure-notices", "replies_on_command", notice.request_number)
    await connector.send_erasure_notice(notice)
    keep = f"/banks/HBRB/erasure-notices/{notice.request_number}/own_authorisation"
    async with simulator.client(follow_redirects=True) as client:
        page = (await client.get("/")).text
        assert keep in page
        assert "保留 kept: 1，法律要求 law" in page
        assert (await client.post(keep, headers={"Origin": "https://evil.example"})).status_code == 403
        assert "保留 kept: 2，本人另行授权" in (await client.post(keep, headers={"Origin": simulator.url})).text
        assert (await client.post(keep)).status_code == 409
        assert (await client.post(keep.replace("own_authorisation", "habit"))).status_code == 422
        [newest, before, *_] = (await client.get("/control/erasure-notices")).json()
    assert (newest["request_number"], newest["disclosed_under"]) == (
        notice.request_number,
        sorted(notice.disclosed_under),
    )
    assert (before["erasure"], before["kept_reason"]) == ("kept", "law")
    await connector.close()
