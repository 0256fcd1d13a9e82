"""The comparison of our books with the banks': it has to see what is wrong on either side."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cli.books import compare_books
from cli.demo_report import Report
from config.policy import read_policy
from demo.stage import Row
from domain.policy import Policy
from ledger.verify import VerificationReport
from storage.administration import register_institution
from tests.conftest import Database
from wiring import read_bank_register

NOTHING: dict[str, Any] = {"reserves": {}}
SOUND = VerificationReport(
    accounts=0, transfers=0, open_holds=0, findings=(), findings_total=0, trial_balance_difference={}
)


@pytest.mark.parametrize(
    ("at_bank", "agrees"),
    [
        ({}, True),
        ({"reserves": {"CNY": 1}}, False),
        ({"reserves": {"USD": 1}}, False),
        ({"debits_per_request_number": {"DB01KB5N3E4H6Q8Z2T7V9W0X1Y2R": 1}}, False),
        ({"refunds_per_request_number": {"RF01KB5N3E4H6Q8Z2T7V9W0X1Y2R": 2}}, False),
        ({"payouts_per_request_number": {"PO01KB5N3E4H6Q8Z2T7V9W0X1Y2R01": 1}}, False),
        ({"returns_per_request_number": {"PO01KB5N3E4H6Q8Z2T7V9W0X1Y2R": 1}}, False),
        ({"deals_per_request_number": {"FX01KB5N3E4H6Q8Z2T7V9W0X1Y2R": 1}}, False),
        ({"deliveries_per_request_number": {"FR01KB5N3E4H6Q8Z2T7V9W0X1Y2R": 2}}, False),
        ({"inbound_returns_per_request_number": {"IR01KB5N3E4H6Q8Z2T7V9W0X1Y2R": 1}}, False),
        ({"remittances_per_reference": {"OSPBIN202611304F2A9C1D7E3B": 1}}, False),
    ],
)
async def test_a_difference_on_the_banks_side_is_seen(
    database: Database, at_bank: dict[str, Any], agrees: bool
) -> None:
    policy = Policy.model_validate(read_policy())
    await register_institution(database.owner_engine, policy, read_bank_register().banks, datetime.now(UTC))
    async with database.app_engine.connect() as connection:
        [found] = await compare_books(connection, {"banks": {"HBRB": NOTHING | at_bank}})
    assert found.agrees is agrees
    assert bool(Report([], [], SOUND, [found]).differences()) is not agrees


def test_a_row_that_came_out_otherwise_is_a_difference() -> None:
    rows = [Row("Pay", "succeeded", "succeeded"), Row("Refund", "succeeded", "failed")]
    assert Report(rows, [], SOUND, []).differences() == ["Refund: expected “succeeded”, got “failed”."]


def test_a_position_that_has_not_come_back_to_nought_is_a_difference() -> None:
    report = Report([], [], SOUND, [], {"fx_position:HBRB:USD": 100})
    assert report.differences() == ["fx_position:HBRB:USD has not come back to nought."]
