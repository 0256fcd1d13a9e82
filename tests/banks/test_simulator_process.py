"""The simulator as a person and a launcher meet it: start, page, control, logs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from banks.simulator.app import create_app
from banks.simulator.cards import FAULT_ACCOUNTS, FAULT_CARDS, card_fault, card_product, example_card
from banks.simulator.payee_accounts import example_account
from banks.simulator.protocol import Operation
from banks.simulator.settings import SimulatorSettings
from domain.banking import BankOutcome, SignApplication
from tests.contracts.fx_stage import FxStage
from tests.contracts.harness import SimulatorHarness, funded_payout, number, sign, waived_debit
from tests.simulator_process import PROJECT, SimulatorProcess


async def test_the_page_shows_the_code_the_money_and_every_fault_card(simulator: SimulatorProcess) -> None:
    bank = SimulatorHarness(simulator)
    connector, payer = bank.connector(), bank.payer()
    application = number("SG")
    await connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    code = await bank.code(payer, application)
    await connector.close()
    async with simulator.client() as client:
        page = await client.get("/")
    assert page.status_code == 200
    for shown in (code, payer.mobile, "10,000.00", "银行模拟器", "Bank simulator", *map(_example, FAULT_CARDS)):
        assert shown in page.text, shown
    assert "src=" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def _example(fault_number: int) -> str:
    return example_card("WLWB", fault_number)


async def test_what_a_payer_calls_himself_is_escaped_on_the_page(simulator: SimulatorProcess) -> None:
    bank = SimulatorHarness(simulator)
    connector = bank.connector()
    elements = bank.payer().elements.model_copy(update={"name": "<script>alert(1)</script>"})
    applied = await connector.apply_to_sign(SignApplication(request_number=number("SG"), elements=elements))
    assert applied.outcome is BankOutcome.SUCCEEDED
    await connector.close()
    async with simulator.client() as client:
        page = (await client.get("/")).text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


async def test_its_logs_name_no_payer_and_no_code(simulator: SimulatorProcess) -> None:
    bank = SimulatorHarness(simulator)
    connector, payer = bank.connector(), bank.payer()
    application = number("SG")
    await connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    code = await bank.code(payer, application)
    agreement = await sign(bank, connector, payer)
    debit = waived_debit(agreement)
    await connector.debit(debit)
    await connector.close()
    log = simulator.log_file.read_text(encoding="utf-8")
    assert debit.request_number in log
    for secret in (*payer.elements.model_dump().values(), code, agreement):
        assert secret not in log


@pytest.mark.parametrize("path", ["/control/books", "/control/messages", "/"])
async def test_pages_of_other_sites_reach_no_control(simulator: SimulatorProcess, path: str) -> None:
    async with simulator.client() as client:
        foreign = await client.get(path, headers={"Origin": "https://evil.example"})
        own = await client.get(path, headers={"Origin": simulator.url})
        named = await client.get(path, headers={"Host": "evil.example"})
        pointed_here = await client.get(path, headers={"Host": "evil.example", "Origin": "http://evil.example"})
    assert (foreign.status_code, own.status_code) == (403, 200)
    assert (named.status_code, pointed_here.status_code) == (403, 403)


async def test_its_pages_load_nothing_from_elsewhere(simulator: SimulatorProcess) -> None:
    async with simulator.client() as client:
        assert "://" not in (await client.get("/")).text
        assert [(await client.get(path)).status_code for path in ("/docs", "/redoc")] == [404, 404]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("settings", {"hang_seconds": -1}),
        ("settings", {"no_such_setting": 1}),
        ("settings", {"signing_key": "x"}),
        ("faults", {"operation": "debits", "kind": "explode"}),
        ("faults", {"operation": "debits", "kind": "decline"}),
        ("faults", {"operation": "debits", "kind": "returned_later"}),
        ("down", {"seconds": "long"}),
        ("down", {"seconds": 1, "bank_code": "XXXX"}),
        ("hours", {"bank_code": "HBRB", "open": True, "seconds": 5}),
        ("hours", {"bank_code": "HBRB"}),
        ("returns", {"bank_code": "HBRB", "request_number": "PO1", "callbacks": "pigeons"}),
        ("funds", {"bank_code": "WLWB", "currency": "HKD", "amount_minor": 1}),
        ("funds", {"bank_code": "HBRB", "currency": "CNY", "amount_minor": -1}),
        ("fx-desk", {"bank_code": "HBRB", "open": True, "seconds": 5}),
        ("fx-rates", {"bank_code": "OSPB", "currency": "USD"}),
        ("fx-rates", {"bank_code": "HBRB", "currency": "USD", "buys": "0"}),
        ("fx-rates", {"bank_code": "HBRB", "currency": "USD", "buys": 7.1}),
        ("fx-quota", {"id_number": "11010119900307889X", "mode": "lenient"}),
        ("fx-excess", {"bank_code": "HBRB", "request_number": "FX1", "excess_minor": 0}),
        (
            "inbound",
            {"bank_code": "OSPB", "currency": "TWD", "amount_minor": 1, "account_number": "1", "receiver_name": "x"},
        ),
    ],
)
async def test_a_wrong_order_to_control_is_refused(
    simulator: SimulatorProcess, path: str, content: dict[str, object]
) -> None:
    async with simulator.client() as client:
        answer = await client.post(f"/control/{path}", json=content)
    assert answer.status_code == 422


async def test_an_ordered_fault_is_used_up(simulator: SimulatorProcess) -> None:
    bank = SimulatorHarness(simulator)
    connector = bank.connector()
    debit = waived_debit(await sign(bank, connector, bank.payer()))
    await simulator.order_fault("debits", "error_before", count=2, bank_code="HBRB")
    outcomes = [(await connector.debit(debit)).outcome for _ in range(3)]
    await connector.close()
    assert outcomes == [BankOutcome.UNKNOWN, BankOutcome.UNKNOWN, BankOutcome.SUCCEEDED]


async def test_a_person_sends_a_payout_back_and_closes_and_opens_a_bank_on_the_page(
    simulator: SimulatorProcess,
) -> None:
    bank = SimulatorHarness(simulator)
    connector, payout = bank.connector(), await funded_payout(bank, amount_minor=12_345)
    await connector.pay_out(payout)
    send_back = f"/banks/HBRB/payouts/{payout.request_number}/return"
    async with simulator.client(follow_redirects=True) as client:
        page = (await client.get("/")).text
        assert send_back in page
        assert "123.45 CNY" in page
        assert (await client.post(send_back, headers={"Origin": "https://evil.example"})).status_code == 403
        assert "已退汇 sent back" in (await client.post(send_back, headers={"Origin": simulator.url})).text
        assert (await client.post(send_back)).status_code == 409
        assert "停业 closed" in (await client.post("/banks/HBRB/doors/closed")).text
        assert (await client.get("/control/hours")).json()["HBRB"]["open"] is False
        assert "停业 closed" not in (await client.post("/banks/HBRB/doors/open")).text
    assert (await connector.query(payout.request_number)).outcome is BankOutcome.RETURNED
    await connector.close()


async def test_the_page_shows_what_arrived_and_what_was_dealt_and_a_person_closes_a_desk(
    simulator: SimulatorProcess,
) -> None:
    fx = FxStage(simulator)
    reference = await fx.arrive(12_345, "JPY", receiver_name="<b>Chen</b>")
    conversion = await fx.conversion(777_700)
    await fx.desk.deal(conversion)
    where = {"bank_code": "HBRB", "request_number": conversion.request_number}
    await fx.order("fx-excess", **where, excess_minor=123_456)
    async with simulator.client(follow_redirects=True) as client:
        page = (await client.get("/")).text
        for shown in (reference, "12,345 JPY", "&lt;b&gt;Chen", conversion.request_number, "7,777.00 USD", "7.1234"):
            assert shown in page, shown
        assert "1,234.56 USD" in page
        assert "远洋银行" in page
        assert "停业 closed" in (await client.post("/banks/HBRB/desk/closed")).text
        doors = (await client.get("/control/hours")).json()["HBRB"]
        assert (doors["desk_open"], doors["open"]) == (False, True)
        assert "停业 closed" not in (await client.post("/banks/HBRB/desk/open")).text
        assert (await client.get("/control/fx-deals")).json()[0]["excess_minor"] == 123_456
        assert (await client.get("/control/inbound")).json()[0]["reference"] == reference
        assert (await client.get("/control/receiving-accounts")).json() == []
        assert (await client.get("/control/fx-rates")).json()["WLWB"]["USD"]["publisher"] == "Willow Bank FX desk"
    await fx.close()


@pytest.mark.parametrize("excess_minor", [1, 10_001])
async def test_only_a_conversion_that_was_dealt_can_be_in_excess_and_no_more_than_all_of_it(
    simulator: SimulatorProcess, excess_minor: int
) -> None:
    fx = FxStage(simulator)
    conversion = await fx.conversion(10_000)
    order = {"bank_code": "HBRB", "request_number": conversion.request_number, "excess_minor": excess_minor}
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        await fx.order("fx-excess", **order)
    await fx.fault("decline", conversion.request_number, code="RISK_REFUSED")
    await fx.desk.deal(conversion)
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        await fx.order("fx-excess", **order)
    dealt = conversion.model_copy(update={"request_number": number("FX")})
    await fx.desk.deal(dealt)
    order["request_number"] = dealt.request_number
    if excess_minor > 10_000:
        with pytest.raises(httpx.HTTPStatusError, match="422"):
            await fx.order("fx-excess", **order)
    else:
        assert (await fx.order("fx-excess", **order))["excess_minor"] == excess_minor
    await fx.close()


async def test_one_reference_is_of_one_remittance(simulator: SimulatorProcess) -> None:
    fx = FxStage(simulator)
    taken = await fx.arrive(100, reference="OSPBIN00000001")
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        await fx.arrive(100, reference=taken)
    await fx.close()


async def test_its_logs_name_nobody_who_converts_or_receives(simulator: SimulatorProcess) -> None:
    fx = FxStage(simulator)
    conversion, reference = await fx.conversion(), await fx.arrive(receiver_name="Chen Erman")
    await fx.desk.deal(conversion)
    await fx.abroad.inbound(reference)
    await fx.close()
    log = simulator.log_file.read_text(encoding="utf-8")
    assert conversion.request_number in log
    for secret in (conversion.name, conversion.id_number, "Chen Erman", "OSPB000000000001"):
        assert str(secret) not in log


async def test_its_logs_name_no_payee(simulator: SimulatorProcess) -> None:
    bank = SimulatorHarness(simulator)
    connector, payout = bank.connector(), await funded_payout(bank)
    await connector.pay_out(payout)
    await connector.close()
    log = simulator.log_file.read_text(encoding="utf-8")
    assert payout.request_number in log
    assert payout.payee_name not in log
    assert payout.account_number not in log


async def test_it_is_healthy_when_it_says_that_it_is_ready(simulator: SimulatorProcess) -> None:
    async with simulator.client() as client:
        assert (await client.get("/health")).json() == {"status": "ok"}


def test_it_does_not_start_without_keys_and_says_which_setting_is_wrong(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIMULATOR_")}
    secret = "bm90IGEga2V5IG9mIDMyIGJ5dGVz"
    ended = subprocess.run(
        [sys.executable, "-m", "banks.simulator"],
        cwd=PROJECT,
        env={**environment, "SIMULATOR_DATABASE": str(tmp_path / "x"), "SIMULATOR_SIGNING_KEY": secret},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert "SIMULATOR_SIGNING_KEY" in ended.stderr
    assert "SIMULATOR_INSTITUTION_PUBLIC_KEY" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert secret not in ended.stderr


@pytest.mark.parametrize("bank_code", ["HBRB", "WLWB"])
@pytest.mark.parametrize("card_type", ["debit", "credit"])
def test_example_cards_are_cards_of_their_bank_and_only_fault_cards_misbehave(bank_code: str, card_type: str) -> None:
    for serial in (1, 999):
        good = example_card(bank_code, None, serial, card_type)
        product = card_product(bank_code, good)
        assert product is not None
        assert product.card_type == card_type
        assert not any(card_fault(good, row.operation) for row in FAULT_CARDS.values())
        for row in FAULT_CARDS.values():
            assert card_fault(example_card(bank_code, row.number, serial, card_type), row.operation) == row.fault


@pytest.mark.parametrize("region", ["CN", "HK", "MO", "TW"])
def test_example_accounts_misbehave_by_the_rule_of_the_cards(region: str) -> None:
    assert card_fault(example_account(region, None, 7), Operation.PAYOUT) is None
    assert FAULT_ACCOUNTS
    for row in FAULT_ACCOUNTS.values():
        assert card_fault(example_account(region, row.number, 7), Operation.PAYOUT) == row.fault


def test_the_checked_in_openapi_document_is_the_one_the_simulator_serves(tmp_path: Path) -> None:
    process = SimulatorProcess(tmp_path)
    settings = SimulatorSettings(
        database=tmp_path / "unused.sqlite",
        signing_key=process.signing_key_encoded,
        institution_public_key=process.public_key_encoded,
    )
    document = json.loads((PROJECT / "docs" / "bank_protocol.openapi.json").read_text(encoding="utf-8"))
    assert document == create_app(settings).openapi()


def test_the_document_lists_every_fault_card_with_a_number_to_type() -> None:
    document = (PROJECT / "docs" / "bank_protocol.md").read_text(encoding="utf-8")
    for row in FAULT_CARDS.values():
        assert (
            f"| {row.number:02d} | {row.text_en} | {row.text_zh} | `{example_card('HBRB', row.number)}` |" in document
        )
