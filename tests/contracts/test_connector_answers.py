"""Answers that a hostile or broken network could give: each must be UNKNOWN, and none may raise."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from banks.agreement_pay.client import AgreementPayConnector
from banks.agreement_pay.config import BankConnection
from banks.signatures import NONCE_HEADER, sign_response
from domain.banking import BankAnswer, BankCapabilities, BankOutcome, DebitRequest, DeclineReason

BANK = Ed25519PrivateKey.generate()
DEBIT = DebitRequest(
    request_number="DB01K9ZQ5Y8C6W3T2R1P0N9M8L7K",
    agreement_number="HBRBAG0000000001",
    amount_minor=100,
    currency="CNY",
    payee="店",
)
SUCCESS = {
    "request_number": DEBIT.request_number,
    "operation": "debits",
    "status": "SUCCESS",
    "code": "OK",
    "bank_reference": "HBRB1",
    "booked_at": "2026-11-22T16:20:00.123+08:00",
    "amount_minor": 100,
    "currency": "CNY",
}
Reply = Callable[[httpx.Request], httpx.Response]


def signed(content: bytes | dict[str, Any], status: int = 200, nonce: str | None = None) -> Reply:
    """A bank that signs what it answers, for the given nonce or that of the request."""

    def reply(request: httpx.Request) -> httpx.Response:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = sign_response(BANK, status, nonce or request.headers[NONCE_HEADER], body, datetime.now(UTC))
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))

    return reply


def unsigned(content: dict[str, Any], status: int) -> Reply:
    """Anybody on the way who answers without the bank's key."""
    body = json.dumps(content).encode()
    return lambda request: httpx.Response(status, stream=httpx.ByteStream(body))


def connector_to(reply: Reply) -> AgreementPayConnector:
    """A connector to a bank of one answer."""
    capabilities = BankCapabilities(
        bank_code="HBRB",
        remembers_request_numbers_seconds=604_800,
        request_validity_seconds=60,
        timeout_seconds=2,
        requests_per_second=10,
    )
    connection = BankConnection("http://bank.invalid", Ed25519PrivateKey.generate(), BANK.public_key())
    return AgreementPayConnector(capabilities, connection, transport=httpx.MockTransport(reply))


async def _debit(reply: Reply) -> BankAnswer:
    connector = connector_to(reply)
    answer = await connector.debit(DEBIT)
    await connector.close()
    return answer


async def _query(reply: Reply) -> BankAnswer:
    connector = connector_to(reply)
    answer = await connector.query(DEBIT.request_number)
    await connector.close()
    return answer


def _raise(error: Exception) -> Reply:
    def reply(request: httpx.Request) -> httpx.Response:
        raise error

    return reply


async def test_the_genuine_answer_succeeds() -> None:
    assert (await _debit(signed(SUCCESS))).outcome is BankOutcome.SUCCEEDED


@pytest.mark.parametrize(
    "change",
    [
        {"request_number": "DB01K9ZQ5Y8C6W3T2R1P0N9M8L7X"},
        {"operation": "refunds"},
        {"amount_minor": 99},
        {"amount_minor": 100.5},
        {"amount_minor": "100"},
        {"amount_minor": None},
        {"currency": "USD"},
        {"bank_reference": None},
        {"booked_at": None},
        {"booked_at": "2026-11-22T16:20:00"},
        {"booked_at": "yesterday"},
        {"status": "success"},
        {"status": "REFUSED"},
        {"status": None},
    ],
)
async def test_a_signed_success_that_does_not_fit_the_request_is_unknown(change: dict[str, Any]) -> None:
    assert (await _debit(signed({**SUCCESS, **change}))).outcome is BankOutcome.UNKNOWN


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{", b"\xff\xfe", b"<html>", b'{"status":"SUCCESS"}', b"1" * 70_000]
)
async def test_a_body_that_cannot_be_read_is_unknown_even_if_signed(body: bytes) -> None:
    assert (await _debit(signed(body))).outcome is BankOutcome.UNKNOWN
    assert (await _query(signed(body))).outcome is BankOutcome.UNKNOWN


async def test_the_answer_to_another_request_is_unknown() -> None:
    assert (await _debit(signed(SUCCESS, nonce="0" * 32))).outcome is BankOutcome.UNKNOWN


async def test_an_unsigned_answer_is_unknown_whatever_it_says() -> None:
    for status in (200, 400, 404, 409):
        content = {**SUCCESS, "status": "FAILED", "code": "BALANCE_NOT_ENOUGH"}
        assert (await _debit(unsigned(content, status))).outcome is BankOutcome.UNKNOWN


async def test_a_signature_over_another_status_is_unknown() -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        genuine = signed(SUCCESS, 202)(request)
        return httpx.Response(200, headers=genuine.headers, stream=genuine.stream)

    assert (await _debit(reply)).outcome is BankOutcome.UNKNOWN


@pytest.mark.parametrize("status", [201, 204, 301, 302, 401, 403, 404, 418, 429, 500, 502, 503, 504])
async def test_other_statuses_say_nothing_about_a_debit_even_if_signed(status: int) -> None:
    refusal = {"status": "REFUSED", "code": "SIGNATURE_REFUSED"}
    assert (await _debit(signed(refusal, status))).outcome is BankOutcome.UNKNOWN
    assert (await _debit(signed({**SUCCESS, "status": "FAILED"}, status))).outcome is BankOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "REQUEST_INVALID", DeclineReason.OTHER),
        (413, "REQUEST_TOO_LARGE", DeclineReason.OTHER),
        (409, "REQUEST_NUMBER_REUSED", DeclineReason.REQUEST_NUMBER_REUSED),
    ],
)
async def test_a_signed_definite_refusal_is_a_decline(status: int, code: str, reason: DeclineReason) -> None:
    answer = await _debit(signed({"status": "REFUSED", "code": code}, status))
    assert (answer.outcome, answer.reason) == (BankOutcome.DECLINED, reason)


async def test_a_bank_code_nobody_knows_is_declined_as_other_and_shown_raw() -> None:
    answer = await _debit(signed({**SUCCESS, "status": "FAILED", "code": "NEW_CODE_17"}))
    assert (answer.reason, answer.raw_code) == (DeclineReason.OTHER, "NEW_CODE_17")


async def test_free_text_in_place_of_a_code_is_not_passed_on() -> None:
    answer = await _debit(signed({**SUCCESS, "status": "FAILED", "code": "陈小满 13800000000"}))
    assert answer.raw_code == "CODE_UNREADABLE"


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("no"),
        httpx.ReadError("no"),
        httpx.RemoteProtocolError("no"),
        httpx.ReadTimeout("no"),
        httpx.PoolTimeout("no"),
        ConnectionResetError(),
        TimeoutError(),
    ],
)
async def test_a_broken_line_is_unknown_and_never_raises(error: Exception) -> None:
    assert (await _debit(_raise(error))).outcome is BankOutcome.UNKNOWN
    assert (await _query(_raise(error))).outcome is BankOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (404, {"request_number": "DB01K9ZQ5Y8C6W3T2R1P0N9M8L7X", "status": "REFUSED", "code": "REQUEST_NOT_FOUND"}),
        (404, {"status": "REFUSED", "code": "REQUEST_NOT_FOUND"}),
        (404, {"request_number": DEBIT.request_number, "status": "REFUSED", "code": "BANK_NOT_FOUND"}),
        (200, {"request_number": DEBIT.request_number, "status": "REFUSED", "code": "REQUEST_NOT_FOUND"}),
        (200, {**SUCCESS, "bank_reference": None}),
        (200, {**SUCCESS, "operation": "novelties"}),
        (401, {"status": "REFUSED", "code": "NONCE_REPLAYED"}),
        (400, {"status": "REFUSED", "code": "REQUEST_INVALID"}),
    ],
)
async def test_only_the_banks_own_404_for_this_number_is_not_found(status: int, content: dict[str, Any]) -> None:
    assert (await _query(signed(content, status))).outcome is BankOutcome.UNKNOWN


async def test_an_unsigned_404_is_unknown_and_a_signed_one_is_not_found() -> None:
    content = {"request_number": DEBIT.request_number, "status": "REFUSED", "code": "REQUEST_NOT_FOUND"}
    assert (await _query(unsigned(content, 404))).outcome is BankOutcome.UNKNOWN
    assert (await _query(signed(content, 404))).outcome is BankOutcome.NOT_FOUND
