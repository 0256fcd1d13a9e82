"""The simulated banks' side of the protocol, spoken by hand: signatures, replays, strict bodies, memory,
callbacks, kills.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from banks.signatures import sign_request
from domain.banking import (
    BankConnector,
    BankOutcome,
    DebitRequest,
    DeclineReason,
    SignApplication,
    SignConfirmation,
)
from tests.contracts.harness import (
    SimulatorHarness,
    funded_payout,
    number,
    payout_to,
    query_until,
    refund_of,
    sign,
    signed_debit,
    waived_debit,
)
from tests.simulator_process import SimulatorProcess, encoded


def debit_body(debit: DebitRequest) -> dict[str, Any]:
    return {**debit.model_dump(exclude_none=True), "verification": "waived"}


async def send(
    simulator: SimulatorProcess, path: str, content: bytes, headers: dict[str, str], method: str = "POST"
) -> httpx.Response:
    async with simulator.client(timeout=20) as client:
        return await client.request(method, path, content=content, headers=headers)


async def send_debit(
    simulator: SimulatorProcess,
    content: bytes,
    *,
    key: Ed25519PrivateKey | None = None,
    sent_at: datetime | None = None,
    signed_content: bytes | None = None,
    signed_path: str = "/banks/HBRB/v1/debits",
) -> httpx.Response:
    """A debit signed by hand, wrongly if asked for."""
    headers = sign_request(
        key or simulator.institution_key,
        "POST",
        signed_path,
        content if signed_content is None else signed_content,
        sent_at or datetime.now(UTC),
    )
    return await send(simulator, "/banks/HBRB/v1/debits", content, headers)


async def test_a_signature_made_by_hand_from_the_document_is_accepted(simulator: SimulatorProcess) -> None:
    timestamp, nonce, target = (
        str(int(datetime.now(UTC).timestamp() * 1000)),
        secrets.token_hex(16),
        "/banks/HBRB/v1/declarations",
    )
    text = "\n".join(("AGREEMENT-PAY-REQUEST-V1", "GET", target, timestamp, nonce, hashlib.sha256(b"").hexdigest()))
    headers = {
        "X-Bank-Timestamp": timestamp,
        "X-Bank-Nonce": nonce,
        "X-Bank-Signature": encoded(simulator.institution_key.sign(text.encode())),
    }
    answer = await send(simulator, target, b"", headers, "GET")
    assert answer.status_code == 200
    assert answer.json()["request_validity_seconds"] == 60
    assert answer.json()["remembers_request_numbers_seconds"] == 604_800


@pytest.mark.parametrize("wrong", ["other_key", "stale", "future", "other_body", "other_path", "unsigned"])
async def test_a_request_that_is_not_genuine_is_refused_and_changes_nothing(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector, wrong: str
) -> None:
    debit = await signed_debit(harbour, harbour_connector)
    content, now = json.dumps(debit_body(debit)).encode(), datetime.now(UTC)
    arguments: dict[str, dict[str, Any]] = {
        "other_key": {"key": Ed25519PrivateKey.generate()},
        "stale": {"sent_at": now - timedelta(seconds=65)},
        "future": {"sent_at": now + timedelta(seconds=70)},
        "other_body": {"signed_content": content.replace(b"1000", b"1")},
        "other_path": {"signed_path": "/banks/WLWB/v1/debits"},
    }
    if wrong == "unsigned":
        answer = await send(simulator, "/banks/HBRB/v1/debits", content, {})
    else:
        answer = await send_debit(simulator, content, **arguments[wrong])
    assert (answer.status_code, answer.json()["code"]) == (401, "SIGNATURE_REFUSED")
    assert (await harbour_connector.query(debit.request_number)).outcome is BankOutcome.NOT_FOUND


async def test_a_replayed_request_is_refused_even_after_the_bank_was_killed(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    debit = await signed_debit(harbour, harbour_connector)
    content, path = json.dumps(debit_body(debit)).encode(), "/banks/HBRB/v1/debits"
    headers = sign_request(simulator.institution_key, "POST", path, content, datetime.now(UTC))
    assert (await send(simulator, path, content, headers)).json()["status"] == "SUCCESS"
    assert (await send(simulator, path, content, headers)).status_code == 401
    simulator.kill()
    simulator.start()
    replayed = await send(simulator, path, content, headers)
    assert (replayed.status_code, replayed.json()["code"]) == (401, "NONCE_REPLAYED")
    assert await harbour.debits_booked(debit.request_number) == 1


async def test_a_request_that_arrives_after_its_validity_is_refused_for_ever(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    debit = await signed_debit(harbour, harbour_connector)
    await simulator.change_settings(request_validity_seconds=1)
    await harbour.order_fault("debits", "arrives_late", debit.request_number)
    late = await send_debit(simulator, json.dumps(debit_body(debit)).encode())
    assert late.status_code == 401
    assert (await harbour_connector.query(debit.request_number)).outcome is BankOutcome.NOT_FOUND


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"card_expiry": "1230"}, "card_expiry"),
        ({"address": "杭州"}, "address"),
        ({"name": None}, "name"),
        ({"card_number": "99010112345678901x8"}, "card_number"),
        ({"request_number": "a b"}, "request_number"),
    ],
)
async def test_a_fifth_element_or_a_wrong_field_is_refused_by_name_without_its_value(
    simulator: SimulatorProcess, harbour: SimulatorHarness, change: dict[str, Any], field: str
) -> None:
    body = {"request_number": number("SG"), **harbour.payer().elements.model_dump(), **change}
    content, path = json.dumps(body).encode(), "/banks/HBRB/v1/sign-applications"
    headers = sign_request(simulator.institution_key, "POST", path, content, datetime.now(UTC))
    answer = await send(simulator, path, content, headers)
    assert answer.status_code == 400
    assert answer.json() == {"status": "REFUSED", "code": "REQUEST_INVALID", "invalid_fields": [field]}


@pytest.mark.parametrize(
    "change", [{"amount_minor": 10.5}, {"amount_minor": "10"}, {"amount_minor": 0}, {"amount_minor": -1}]
)
async def test_an_amount_that_is_no_positive_integer_is_refused(
    simulator: SimulatorProcess, change: dict[str, Any]
) -> None:
    body = {**debit_body(waived_debit("NOAGREEMENT0000001")), **change}
    answer = await send_debit(simulator, json.dumps(body).encode())
    assert (answer.status_code, answer.json()["invalid_fields"]) == (400, ["amount_minor"])


async def test_a_debit_without_authorisation_needs_the_explicit_word_waived(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    debit = await signed_debit(harbour, harbour_connector)
    body = debit_body(debit)
    silent = {name: value for name, value in body.items() if name != "verification"}
    assert (await send_debit(simulator, json.dumps(silent).encode())).status_code == 400
    claimed = await send_debit(simulator, json.dumps({**body, "verification": "authorisation"}).encode())
    assert claimed.json()["code"] == "AUTHORISATION_REQUIRED"


async def test_a_body_over_the_limit_is_refused_unread(simulator: SimulatorProcess) -> None:
    answer = await send_debit(simulator, b"{" + b" " * 20_000 + b"}")
    assert (answer.status_code, answer.json()["code"]) == (413, "REQUEST_TOO_LARGE")


async def test_a_bank_that_does_not_exist_is_no_reason_to_believe_not_found(simulator: SimulatorProcess) -> None:
    stranger = SimulatorHarness(simulator, "XXXX").connector()
    assert (await stranger.query(number("DB"))).outcome is BankOutcome.UNKNOWN
    await stranger.close()


async def test_the_two_banks_keep_request_numbers_and_books_apart(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    willow = SimulatorHarness(simulator, "WLWB")
    willow_connector = willow.connector()
    debit = await signed_debit(harbour, harbour_connector)
    elsewhere = debit.model_copy(update={"agreement_number": await sign(willow, willow_connector, willow.payer())})
    assert (await harbour_connector.debit(debit)).outcome is BankOutcome.SUCCEEDED
    assert (await willow_connector.debit(debit)).reason is DeclineReason.AGREEMENT_NOT_FOUND
    again = await willow_connector.debit(elsewhere)
    assert again.reason is DeclineReason.REQUEST_NUMBER_REUSED
    await willow_connector.close()


async def test_a_forgotten_request_number_is_not_found_but_stays_in_the_books(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    debit = await signed_debit(harbour, harbour_connector)
    assert (await harbour_connector.debit(debit)).outcome is BankOutcome.SUCCEEDED
    await simulator.change_settings(remembers_request_numbers_seconds=0)
    assert (await harbour_connector.query(debit.request_number)).outcome is BankOutcome.NOT_FOUND
    # This is why nothing may be sent again outside the bank's memory: it would be booked twice.
    assert (await harbour_connector.debit(debit)).outcome is BankOutcome.SUCCEEDED
    assert await harbour.debits_booked(debit.request_number) == 2


async def test_an_expired_code_is_refused(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    await simulator.change_settings(code_validity_seconds=0)
    payer, application = harbour.payer(), number("SG")
    await harbour_connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    code = await harbour.code(payer, application)
    answer = await harbour_connector.confirm_sign(
        SignConfirmation(request_number=number("SC"), application_request_number=application, code=code)
    )
    assert answer.reason is DeclineReason.CODE_EXPIRED


async def test_a_bank_that_is_down_says_nothing_and_comes_back(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    debit = await signed_debit(harbour, harbour_connector)
    await simulator.go_down(60)
    assert (await harbour_connector.debit(debit)).outcome is BankOutcome.UNKNOWN
    assert (await harbour_connector.query(debit.request_number)).outcome is BankOutcome.UNKNOWN
    await simulator.go_down(0)
    assert (await harbour_connector.query(debit.request_number)).outcome is BankOutcome.NOT_FOUND


async def test_a_waiting_fault_holds_up_nobody_else(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    await simulator.change_settings(hang_seconds=60)
    hanging, ordinary = await signed_debit(harbour, harbour_connector), await signed_debit(harbour, harbour_connector)
    await harbour.order_fault("debits", "time_out_before", hanging.request_number)
    waiting = asyncio.create_task(harbour_connector.debit(hanging))
    assert (await harbour_connector.debit(ordinary)).outcome is BankOutcome.SUCCEEDED
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_the_statement_equals_the_books(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    debit = await signed_debit(harbour, harbour_connector)
    await harbour_connector.debit(debit)
    await harbour_connector.refund(refund_of(debit, 300))
    day = datetime.now(ZoneInfo("Asia/Shanghai")).date()
    # The suite may run over midnight in Shanghai; the books know no days.
    days = (day - timedelta(days=1), day)
    lines = [line for each in days async for line in harbour_connector.statement(each)]
    books = (await simulator.books())["banks"]["HBRB"]
    for currency, reserve_minor in books["reserves"].items():
        assert sum(line.amount_minor for line in lines if line.currency == currency) == reserve_minor
    debited = [line.amount_minor for line in lines if line.request_number in books["debits_per_request_number"]]
    assert sum(debited) == books["debited_minor"]


async def test_books_survive_kills_and_balance(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    agreement = await sign(harbour, harbour_connector, harbour.payer())
    debits = [waived_debit(agreement, 100) for _ in range(60)]
    tasks = [asyncio.create_task(harbour_connector.debit(debit)) for debit in debits]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    simulator.kill()
    answers = await asyncio.gather(*tasks)
    simulator.start()
    acknowledged = [
        debit.request_number
        for debit, answer in zip(debits, answers, strict=True)
        if answer.outcome is BankOutcome.SUCCEEDED
    ]
    assert done
    assert acknowledged
    for request_number in acknowledged:
        assert (await harbour_connector.query(request_number)).outcome is BankOutcome.SUCCEEDED
    again = await asyncio.gather(*(harbour_connector.debit(debit) for debit in debits))
    assert {answer.outcome for answer in again} == {BankOutcome.SUCCEEDED}
    books = await simulator.books()
    counts = books["banks"]["HBRB"]["debits_per_request_number"]
    assert books["balanced"]
    assert {counts[debit.request_number] for debit in debits} == {1}


async def test_an_instruction_in_process_is_finished_after_a_kill(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    debit = await signed_debit(harbour, harbour_connector)
    await harbour.order_fault("debits", "processing_then_success", debit.request_number)
    assert (await harbour_connector.debit(debit)).outcome is BankOutcome.PROCESSING
    simulator.kill()
    simulator.start()
    assert (await query_until(harbour_connector, debit.request_number, BankOutcome.SUCCEEDED)).bank_reference


async def test_it_stops_cleanly_at_once_even_while_a_fault_hangs(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    await simulator.change_settings(hang_seconds=60)
    debit = await signed_debit(harbour, harbour_connector)
    await harbour.order_fault("debits", "time_out_after", debit.request_number)
    hanging = asyncio.create_task(harbour_connector.debit(debit))
    await query_until(harbour_connector, debit.request_number, BankOutcome.SUCCEEDED)
    assert await asyncio.to_thread(simulator.stop, 8) == 0
    assert (await hanging).outcome is BankOutcome.UNKNOWN


async def test_a_payout_that_comes_back_after_its_number_was_forgotten_is_known_again(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    payout = await funded_payout(harbour)
    await harbour_connector.pay_out(payout)
    await simulator.change_settings(remembers_request_numbers_seconds=0)
    assert (await harbour_connector.query(payout.request_number)).outcome is BankOutcome.NOT_FOUND
    await simulator.change_settings(remembers_request_numbers_seconds=604_800)
    await harbour.send_back(payout.request_number)
    assert (await harbour_connector.query(payout.request_number)).outcome is BankOutcome.RETURNED
    assert (await harbour_connector.pay_out(payout)).outcome is BankOutcome.RETURNED
    assert await harbour.payouts_booked(payout.request_number) == (1, 1)


async def test_payouts_in_process_and_returns_to_come_survive_a_kill(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    await simulator.change_settings(return_seconds=1.5, processing_seconds=1.5)
    processing = await funded_payout(harbour, "processing_then_success")
    coming_back = await funded_payout(harbour, "returned_later")
    assert (await harbour_connector.pay_out(processing)).outcome is BankOutcome.PROCESSING
    assert (await harbour_connector.pay_out(coming_back)).outcome is BankOutcome.SUCCEEDED
    simulator.kill()
    simulator.start()
    await query_until(harbour_connector, processing.request_number, BankOutcome.SUCCEEDED)
    await query_until(harbour_connector, coming_back.request_number, BankOutcome.RETURNED)
    assert await harbour.payouts_booked(processing.request_number) == (1, 0)
    assert await harbour.payouts_booked(coming_back.request_number) == (1, 1)


async def test_a_bank_closes_for_a_time_and_only_for_payouts(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    debit, payout = await signed_debit(harbour, harbour_connector), await funded_payout(harbour)
    await simulator.close_bank("HBRB", seconds=1.2)
    assert (await harbour_connector.pay_out(payout)).reason is DeclineReason.BANK_CLOSED
    assert (await harbour_connector.debit(debit)).outcome is BankOutcome.SUCCEEDED
    async with asyncio.timeout(10):
        while True:
            anew = payout.model_copy(update={"request_number": number("PO")})
            if (await harbour_connector.pay_out(anew)).outcome is BankOutcome.SUCCEEDED:
                break
            await asyncio.sleep(0.1)


async def test_one_bank_goes_down_or_closes_without_the_other(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector
) -> None:
    willow = SimulatorHarness(simulator, "WLWB")
    connector, payout = willow.connector(), await funded_payout(willow)
    await simulator.go_down(60, "HBRB")
    await harbour.close_bank()
    assert (await harbour_connector.query(payout.request_number)).outcome is BankOutcome.UNKNOWN
    assert (await connector.pay_out(payout)).outcome is BankOutcome.SUCCEEDED
    abroad = await connector.pay_out(payout_to(willow.payee_account("HK"), "HK"))
    assert (abroad.outcome, abroad.raw_code) == (BankOutcome.DECLINED, "REGION_NOT_SUPPORTED")
    await connector.close()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id_number": "11010119900307889X"}, "id_number"),
        ({"region": "SG"}, "region"),
        ({"account_number": "6222-02"}, "account_number"),
        ({"amount_minor": 1.5}, "amount_minor"),
    ],
)
async def test_a_payout_with_a_field_too_many_or_out_of_shape_is_refused_and_not_recorded(
    simulator: SimulatorProcess, harbour: SimulatorHarness, change: dict[str, Any], field: str
) -> None:
    payout = payout_to(harbour.payee_account()).model_dump()
    payout["name"] = payout.pop("payee_name")
    content, path = json.dumps({**payout, **change}).encode(), "/banks/HBRB/v1/payouts"
    headers = sign_request(simulator.institution_key, "POST", path, content, datetime.now(UTC))
    answer = await send(simulator, path, content, headers)
    assert answer.status_code == 400
    assert answer.json()["invalid_fields"] == [field]
