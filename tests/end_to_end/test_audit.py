"""The audit has to see every way in which a bank's books can differ from ours."""

from __future__ import annotations

from typing import Any

import pytest

from tests.end_to_end.audit import Ours, compare_with_bank

NUMBER = "PO01KB5N3E4H6Q8Z2T7V9W0X1Y2R"
NOTHING: dict[str, Any] = {
    "reserves": {"CNY": 1_000, "HKD": 0},
    "funded": {},
    "debits_per_request_number": {},
    "refunds_per_request_number": {},
    "payouts_per_request_number": {},
    "returns_per_request_number": {},
    "inbound_returns_per_request_number": {},
    "deals_per_request_number": {},
    "deliveries_per_request_number": {},
    "remittances_per_reference": {},
}
DEAL, REMITTANCE = "FX01KB5N3E4H6Q8Z2T7V9W0X1Y2R", "OSPBIN202611304F2A9C1D7E3B"
RESERVES = {("HBRB", "CNY"): 1_000}


def payout(standing: str) -> dict[str, Ours]:
    return {NUMBER: Ours("HBRB", "out", standing, 300, "CNY")}


def paid(*numbers: str, returned: int = 0, reserve_minor: int = 1_000) -> dict[str, Any]:
    back = {NUMBER: returned} if returned else {}
    booked = {"payouts_per_request_number": dict.fromkeys(numbers, 1), "returns_per_request_number": back}
    return NOTHING | booked | {"reserves": {"CNY": reserve_minor, "HKD": 0}}


def deal(standing: str) -> dict[str, Ours]:
    """Both sides at one bank: 300 HKD leave, 274 CNY come."""
    cny, foreign = Ours("HBRB", "in", standing, 274, "CNY"), Ours("HBRB", "out", standing, 300, "HKD")
    return {f"CNY of {DEAL}": cny, f"delivery of {DEAL}": foreign}


def dealt(deals: int = 1, deliveries: int = 1, **reserves: int) -> dict[str, Any]:
    booked = {"deals_per_request_number": {DEAL: deals}, "deliveries_per_request_number": {f"{DEAL}01": deliveries}}
    return NOTHING | booked | {"reserves": {"CNY": 1_000, "HKD": 0} | reserves}


@pytest.mark.parametrize(
    ("bank", "ours"),
    [
        (NOTHING, {}),
        (NOTHING, payout("none")),
        (paid(NUMBER), payout("settled")),
        (paid(f"{NUMBER}02"), payout("settled")),
        (paid(NUMBER, returned=1), payout("returned")),
        (paid(NUMBER, reserve_minor=700), payout("live")),
        (paid(NUMBER, returned=1), payout("live")),
        (NOTHING, payout("live")),
        (NOTHING | {"reserves": {"CNY": 1_000, "HKD": 50}, "funded": {"HKD": 50}}, {}),
        (dealt(), deal("settled")),
        (dealt(CNY=1_274, HKD=-300), deal("live")),
        (NOTHING, deal("live")),
        (NOTHING | {"remittances_per_reference": {REMITTANCE: 1}}, {REMITTANCE: Ours("HBRB", "in", "settled")}),
    ],
)
def test_books_that_agree_are_left_alone(bank: dict[str, Any], ours: dict[str, Ours]) -> None:
    assert compare_with_bank("HBRB", bank, ours, RESERVES) == []


@pytest.mark.parametrize(
    ("bank", "ours", "sentence"),
    [
        (paid(NUMBER, f"{NUMBER}01"), payout("settled"), "booked PO01KB5N3E4H6Q8Z2T7V9W0X1Y2R 2 times"),
        (paid(NUMBER), payout("none"), "which is none in our books"),
        (paid(NUMBER), {}, "which is unknown to us"),
        (NOTHING, payout("settled"), "never booked"),
        (NOTHING, payout("returned"), "never took back"),
        (paid(NUMBER, returned=1), payout("settled"), "which is settled in our books"),
        (paid(NUMBER, returned=2), payout("returned"), "back 2 times"),
        (paid(NUMBER, reserve_minor=999), payout("settled"), "holds 999 CNY"),
        (paid(NUMBER), payout("live"), "-300 is on its way"),
        (NOTHING | {"reserves": {"CNY": 1_000, "HKD": 7}}, {}, "holds 7 HKD"),
        (dealt(deals=2), deal("settled"), f"booked CNY of {DEAL} 2 times"),
        (dealt(), deal("none"), f"booked delivery of {DEAL}, which is none"),
        (NOTHING, deal("settled"), f"settled CNY of {DEAL}, which HBRB never booked"),
        (dealt(HKD=300), deal("settled"), "holds 300 HKD"),
        (NOTHING | {"remittances_per_reference": {REMITTANCE: 1}}, {}, f"{REMITTANCE}, which is unknown to us"),
    ],
)
def test_a_difference_is_told(bank: dict[str, Any], ours: dict[str, Ours], sentence: str) -> None:
    found = compare_with_bank("HBRB", bank, ours, RESERVES)
    assert any(sentence in finding for finding in found), found
