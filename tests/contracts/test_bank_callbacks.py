"""Callbacks as the simulated banks send them: signed, repeated, out of order, forged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from banks.agreement_pay.client import AgreementPayConnector
from domain.banking import BankConnector, BankNotice, BankOutcome, CallbackRejectedError
from tests.contracts.harness import SimulatorHarness, funded_payout, sign, signed_debit, waived_debit
from tests.simulator_process import SimulatorProcess

Callback = tuple[str, str, dict[str, str], bytes]


@asynccontextmanager
async def listening(port: int, refuse_once: str = "") -> AsyncIterator[asyncio.Queue[Callback]]:
    """Our side of the callbacks: keeps what comes, and refuses the first about one request with 500."""
    received: asyncio.Queue[Callback] = asyncio.Queue()
    refused = False

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal refused
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("Content-Length", headers.get("content-length", "0"))))
        received.put_nowait((method, path, headers, body))
        refuse = not refused and json.loads(body)["request_number"] == refuse_once
        refused = refused or refuse
        status = b"500 Error" if refuse else b"204 No Content"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    try:
        yield received
    finally:
        server.close()
        await server.wait_closed()


async def callbacks_of(queue: asyncio.Queue[Callback], request_number: str, wanted: int) -> list[Callback]:
    """The next callbacks about one request; other tests' late ones are passed over."""
    found: list[Callback] = []
    async with asyncio.timeout(15):
        while len(found) < wanted:
            callback = await queue.get()
            if json.loads(callback[3])["request_number"] == request_number:
                found.append(callback)
    return found


async def test_a_final_debit_is_called_back_signed(
    harbour: SimulatorHarness, harbour_connector: BankConnector, callback_port: int
) -> None:
    debit = await signed_debit(harbour, harbour_connector)
    async with listening(callback_port) as queue:
        await harbour_connector.debit(debit)
        method, path, headers, body = (await callbacks_of(queue, debit.request_number, 1))[0]
    assert path == "/bank-callbacks/HBRB"
    notice = harbour_connector.read_callback(method, path, headers, body, datetime.now(UTC))
    assert isinstance(notice, BankNotice)
    assert notice.request_number == debit.request_number


async def test_a_callback_that_was_tampered_with_is_rejected_with_the_reason(
    harbour: SimulatorHarness, harbour_connector: BankConnector, callback_port: int
) -> None:
    debit = await signed_debit(harbour, harbour_connector)
    async with listening(callback_port) as queue:
        await harbour_connector.debit(debit)
        method, path, headers, body = (await callbacks_of(queue, debit.request_number, 1))[0]
    now = datetime.now(UTC)
    lower = {name.lower(): value for name, value in headers.items()}
    changed = {
        "signature_invalid": (method, path, lower, body.replace(b"SUCCESS", b"FAILED_"), now),
        "signature_missing": (method, path, {}, body, now),
        "signature_malformed": (method, path, {**lower, "x-bank-signature": "%%%"}, body, now),
        "timestamp_outside_window": (method, path, lower, body, now + timedelta(seconds=120)),
        "too_large": (method, path, lower, body + b" " * 20_000, now),
    }
    for reason, callback in changed.items():
        with pytest.raises(CallbackRejectedError) as rejected:
            harbour_connector.read_callback(*callback)
        assert rejected.value.reason == reason
    with pytest.raises(CallbackRejectedError):
        harbour_connector.read_callback(method, "/bank-callbacks/WLWB", headers, body, now)


async def test_a_callback_of_another_bank_is_rejected(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector, callback_port: int
) -> None:
    debit = await signed_debit(harbour, harbour_connector)
    willow = SimulatorHarness(simulator, "WLWB").connector()
    async with listening(callback_port) as queue:
        await harbour_connector.debit(debit)
        callback = (await callbacks_of(queue, debit.request_number, 1))[0]
    with pytest.raises(CallbackRejectedError):
        willow.read_callback(*callback, datetime.now(UTC))
    await willow.close()


async def test_a_refused_callback_comes_again(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector, callback_port: int
) -> None:
    await simulator.change_settings(notice_retry_seconds=0.1)
    debit = await signed_debit(harbour, harbour_connector)
    async with listening(callback_port, refuse_once=debit.request_number) as queue:
        await harbour_connector.debit(debit)
        first, second = await callbacks_of(queue, debit.request_number, 2)
    assert json.loads(first[3])["notice_id"] == json.loads(second[3])["notice_id"]
    assert first[2] != second[2]


async def test_callbacks_come_threefold_when_ordered(
    harbour: SimulatorHarness, harbour_connector: BankConnector, callback_port: int
) -> None:
    debit = waived_debit(await sign(harbour, harbour_connector, harbour.payer(("debits", "duplicate_callbacks"))))
    async with listening(callback_port) as queue:
        await harbour_connector.debit(debit)
        callbacks = await callbacks_of(queue, debit.request_number, 3)
    assert len({json.loads(body)["notice_id"] for _, _, _, body in callbacks}) == 1


async def test_callbacks_come_out_of_order_when_ordered(
    simulator: SimulatorProcess, harbour: SimulatorHarness, harbour_connector: BankConnector, callback_port: int
) -> None:
    await simulator.change_settings(notice_delay_seconds=0.5)
    debit = waived_debit(await sign(harbour, harbour_connector, harbour.payer(("debits", "callbacks_out_of_order"))))
    async with listening(callback_port) as queue:
        await harbour_connector.debit(debit)
        callbacks = await callbacks_of(queue, debit.request_number, 2)
    assert [json.loads(body)["status"] for _, _, _, body in callbacks] == ["SUCCESS", "PROCESSING"]


async def test_a_forged_callback_is_rejected_and_the_true_one_read(
    harbour: SimulatorHarness, harbour_connector: AgreementPayConnector, callback_port: int
) -> None:
    debit = waived_debit(await sign(harbour, harbour_connector, harbour.payer(("debits", "forged_callback"))))
    async with listening(callback_port) as queue:
        assert (await harbour_connector.debit(debit)).outcome is BankOutcome.PROCESSING
        forged, true = await callbacks_of(queue, debit.request_number, 2)
    assert json.loads(forged[3])["status"] == "SUCCESS"
    with pytest.raises(CallbackRejectedError) as rejected:
        harbour_connector.read_callback(*forged, datetime.now(UTC))
    assert rejected.value.reason == "signature_invalid"
    assert harbour_connector.read_callback(*true, datetime.now(UTC)).request_number == debit.request_number
    assert (await harbour_connector.query(debit.request_number)).outcome is BankOutcome.DECLINED
    assert await harbour.debits_booked(debit.request_number) == 0


async def announced(connector: AgreementPayConnector, callbacks: list[Callback]) -> list[BankOutcome | None]:
    """What each callback announces, all of them genuine."""
    return [connector.read_callback(*callback, datetime.now(UTC)).announces for callback in callbacks]


async def test_a_payout_is_called_back_when_it_is_paid_and_again_when_it_comes_back(
    harbour: SimulatorHarness, harbour_connector: AgreementPayConnector, callback_port: int
) -> None:
    payout = await funded_payout(harbour, "returned_at_once")
    async with listening(callback_port) as queue:
        await harbour_connector.pay_out(payout)
        callbacks = await callbacks_of(queue, payout.request_number, 2)
    assert await announced(harbour_connector, callbacks) == [BankOutcome.SUCCEEDED, BankOutcome.RETURNED]
    told = json.loads(callbacks[1][3])
    assert (told["amount_minor"], told["currency"]) == (payout.amount_minor, "CNY")
    assert payout.account_number not in str(callbacks)
    assert payout.payee_name not in str(callbacks)


async def test_a_payout_that_fails_in_process_is_called_back(
    harbour: SimulatorHarness, harbour_connector: AgreementPayConnector, callback_port: int
) -> None:
    payout = await funded_payout(harbour, "processing_then_failure")
    async with listening(callback_port) as queue:
        await harbour_connector.pay_out(payout)
        callbacks = await callbacks_of(queue, payout.request_number, 1)
    assert await announced(harbour_connector, callbacks) == [BankOutcome.DECLINED]


@pytest.mark.parametrize(
    ("callbacks", "words"),
    [("duplicate", ["RETURNED"] * 3), ("before_payment", ["RETURNED", "SUCCESS"])],
)
async def test_a_return_on_command_is_told_as_ordered_and_booked_once(
    harbour: SimulatorHarness,
    harbour_connector: AgreementPayConnector,
    callback_port: int,
    callbacks: str,
    words: list[str],
) -> None:
    payout = await funded_payout(harbour)
    async with listening(callback_port) as queue:
        await harbour_connector.pay_out(payout)
        await callbacks_of(queue, payout.request_number, 1)
        await harbour.send_back(payout.request_number, callbacks)
        found = await callbacks_of(queue, payout.request_number, len(words))
    assert [json.loads(body)["status"] for _, _, _, body in found] == words
    assert (await harbour_connector.query(payout.request_number)).outcome is BankOutcome.RETURNED
    assert await harbour.payouts_booked(payout.request_number) == (1, 1)


async def test_a_forged_return_is_rejected_and_nothing_came_back(
    harbour: SimulatorHarness, harbour_connector: AgreementPayConnector, callback_port: int
) -> None:
    payout = await funded_payout(harbour)
    async with listening(callback_port) as queue:
        await harbour_connector.pay_out(payout)
        await callbacks_of(queue, payout.request_number, 1)
        await harbour.send_back(payout.request_number, "forged")
        [forged] = await callbacks_of(queue, payout.request_number, 1)
    assert json.loads(forged[3])["status"] == "RETURNED"
    with pytest.raises(CallbackRejectedError, match="signature_invalid"):
        harbour_connector.read_callback(*forged, datetime.now(UTC))
    assert (await harbour_connector.query(payout.request_number)).outcome is BankOutcome.SUCCEEDED
    assert await harbour.payouts_booked(payout.request_number) == (1, 0)
