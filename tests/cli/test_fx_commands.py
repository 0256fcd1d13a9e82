"""Foreign currency by command, as treasury and compliance use it."""

from __future__ import annotations

import json
import re

from tests.api.conftest import ELEMENTS, Stage, stage
from tests.cli.test_operator_commands import Run, ops, run
from tests.ops.currency import NUMBER, REMITTER, receiver

__all__ = ["ops", "run", "stage"]


async def test_money_in_suspense_is_found_seen_and_assigned_by_two(stage: Stage, run: Run) -> None:
    currency = await receiver(stage, await stage.merchant())
    inbound_id, _ = await currency.arrive(known=False)
    listed = await run("inbounds", "list", "--state", "suspense", "--as", "tian")
    assert (listed.exit_code, "1,000.00 USD" in listed.output) == (0, True), listed.output
    shown = (await run("inbounds", "show", inbound_id, "--as", "tian")).output
    assert "****0001" in shown
    assert not [value for value in (REMITTER, ELEMENTS["name"], NUMBER) if value in shown]
    matters = (await run("matters", "list", "--as", "tian")).output
    assert "nobody knows whose it is" in matters
    asked = await run(
        "inbounds", "assign", inbound_id, "--user", currency.user_id, "--reason", "银行来函确认", "--as", "tian"
    )
    decision = re.search(r"dec_[0-9A-Z]{26}", asked.output)
    assert decision is not None, asked.output
    assert (await run("decisions", "approve", decision[0], "--as", "chen")).exit_code == 0
    assert "credited" in (await run("inbounds", "show", inbound_id, "--as", "su")).output
    assert (await run("matters", "list", "--as", "tian")).output.strip() == "Nothing waits for a person."


async def test_money_in_suspense_is_sent_back_and_seen_on_its_way(stage: Stage, run: Run) -> None:
    currency = await receiver(stage, await stage.merchant())
    inbound_id, _ = await currency.arrive(known=False)
    said = await run("inbounds", "return", inbound_id, "--reason", "查无此人", "--as", "tian", "--json")
    assert (await run("decisions", "approve", json.loads(said.output)["id"], "--as", "tao")).exit_code == 0
    returns = (await run("inbounds", "returns", "--as", "su")).output
    assert (inbound_id in returns, "process_start" in returns) == (True, True)
    again = await run("inbounds", "return", inbound_id, "--reason", "查无此人", "--as", "tian")
    assert (again.exit_code, "DECISION_NOT_APPLICABLE" in again.output) == (1, True)


async def test_a_conversion_its_desk_its_position_and_its_quota_are_shown_in_words(stage: Stage, run: Run) -> None:
    currency = await receiver(stage, await stage.merchant())
    _, waits = await currency.arrive(amount_minor=50_000)
    _, dealt = await currency.arrive()
    assert waits is not None
    assert dealt is not None
    for each in (waits, dealt):
        await currency.plan(each)
    await currency.deal(dealt, 712_340)
    listed = (await run("fx", "list", "--state", "waiting", "--as", "su")).output
    assert (waits in listed, dealt in listed, "500.00 USD" in listed) == (True, False, True)
    shown = (await run("fx", "show", dealt, "--as", "su")).output
    for words in ("1,000.00 USD", "7,123.40 CNY", "7.1234", "Harbour Bank", "accept_fx", f"settle-fx%2F{dealt}"):
        assert words in shown, shown
    desks = (await run("fx", "desks", "--as", "su")).output
    assert ("FX-SAFE" in desks, "fx_desk_window" in desks, "converted" in desks) == (True, True, True), desks
    positions = (await run("fx", "positions", "--as", "tian")).output
    assert ("fx_position:HBRB:USD" in positions, "not delivered" in positions) == (True, True), positions
    quota = (await run("fx", "quota", dealt, "--as", "chen")).output
    assert ("48,500.00 USD" in quota, "1,000.00 USD" in quota) == (True, True), quota
    assert (await run("fx", "quota", dealt, "--as", "su")).exit_code == 1
    as_json = json.loads((await run("fx", "show", dealt, "--as", "su", "--json")).output)
    assert (as_json["id"], len(as_json["effects"])) == (dealt, 1)
    assert "The process asks the bank" in (await run("fx", "ask-bank", dealt, "--as", "tian")).output


async def test_an_amount_of_a_foreign_currency_is_frozen_by_command(stage: Stage, run: Run) -> None:
    currency = await receiver(stage, await stage.merchant())
    await currency.arrive()
    freeze = ("freeze", currency.user_id, "--ground", "suspected_fraud", "--reason", "来源可疑", "--as", "chen")
    refused = await run(*freeze, "--currency", "USD")
    assert (refused.exit_code, "detail.amount_minor" in refused.output) == (1, True), refused.output
    asked = await run(*freeze, "--amount-minor", "40000", "--currency", "USD")
    decision = re.search(r"dec_[0-9A-Z]{26}", asked.output)
    assert decision is not None, asked.output
    assert (await run("decisions", "approve", decision[0], "--as", "rui")).exit_code == 0
    listed = (await run("decisions", "restrictions", "--subject", currency.user_id, "--as", "chen")).output
    assert ("USD" in listed, "40000" in listed) == (True, True), listed


async def test_an_order_is_found_and_rates_and_exports_are_listed(stage: Stage, run: Run) -> None:
    currency = await receiver(stage, await stage.merchant())
    _, fx_id = await currency.arrive()
    await currency.written("UPDATE app.fx SET order_number = 'M-FX-1' WHERE id = :id", id=fx_id)
    assert str(fx_id) in (await run("fx", "find", "--order", "M-FX-1", "--as", "su")).output
    assert (await run("fx", "find", "--order", "M-FX-2", "--as", "su")).output.strip() == "There is none."
    rates = (await run("fx", "rates", "--as", "su")).output
    assert ("JPY" in rates, "0.00661" in rates) == (True, True)
    exports = (await run("partners", "exports", "--year", "2026", "--as", "chen")).output
    assert ("OSPB" in exports, "standard contract" in exports) == (True, True)
    assert (await run("partners", "exports", "--as", "tian")).exit_code == 1
