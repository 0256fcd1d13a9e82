"""Routes of payouts: the file that is shipped, what a route refuses, and what cannot be a route."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest

from config.policy import read_policy
from domain.errors import RefusedError
from domain.routes import RouteBook, faults_of_payee

FILE = read_policy()["payout_routes"]
BOOK = RouteBook.model_validate(FILE)
CNAPS, LATIN = "102100099996", "Chan Tai Man"


def test_money_goes_to_the_four_regions_and_nowhere_else() -> None:
    assert {route.region for route in BOOK.routes} == {"CN", "HK", "MO", "TW"}
    for region, currency in (("CN", "CNY"), ("HK", "HKD"), ("HK", "CNY"), ("MO", "MOP"), ("TW", "TWD")):
        found = BOOK.route_for(region, currency)
        assert found is not None
        assert found.region == region
    assert BOOK.route_for("US", "USD") is None
    assert BOOK.route_for("CN", "HKD") is None


def test_every_bank_of_a_route_is_registered() -> None:
    text = (Path(__file__).parents[2] / "config" / "banks.toml").read_text(encoding="utf-8")
    registered = {bank["code"] for bank in tomllib.loads(text)["banks"]}
    assert {bank for route in BOOK.routes for bank in route.banks} <= registered


def test_only_routes_across_the_border_export_data_and_they_say_to_whom() -> None:
    assert [route.code for route in BOOK.routes if route.data_export is None] == ["CN-CNY"]


@pytest.mark.parametrize(
    ("route", "payee", "faults"),
    [
        ("CN-CNY", ("6217000000000000001", "张三", "cnaps", CNAPS), []),
        ("CN-CNY", ("621700-000", "张三", "cnaps", CNAPS), [("account_number", "format")]),
        ("CN-CNY", ("6217000001", "张三", "bic", "HSBCHKHH"), [("bank_id_kind", "kind_not_of_region")]),
        ("CN-CNY", ("6217000001", "张三", "cnaps", "10210009999"), [("bank_id", "format")]),
        ("HK", ("123456789", LATIN, "hk_clearing", "004"), []),
        ("HK", ("12345", "陳大文", "hk_clearing", "04"),
         [("account_number", "format"), ("name", "latin_name_required"), ("bank_id", "format")]),
        ("MO", ("AB12345678901234567890", LATIN, "bic", "BKCHMOMX"), [("account_number", "format")]),
        ("TW", ("1234567890123456", LATIN, "tw_clearing", "0040037"), []),
        ("TW", ("1234567890123456", LATIN, "hk_clearing", "004"), [("bank_id_kind", "kind_not_of_region")]),
        ("TW", ("１２３４５６", LATIN, "bic", "BKCHTWTP"), [("account_number", "format")]),
    ],
)  # fmt: skip
def test_a_payee_is_judged_by_the_rules_of_its_region(
    route: str, payee: tuple[str, str, str, str], faults: list[tuple[str, str]]
) -> None:
    account, name, kind, bank_id = payee
    found = faults_of_payee(
        BOOK.route(route), account_number=account, name=name, bank_id_kind=kind, bank_id=bank_id
    )  # fmt: skip
    assert [(fault.field, fault.code) for fault in found] == faults


def test_a_speed_that_is_not_offered_is_refused_with_its_field() -> None:
    with pytest.raises(RefusedError) as refused:
        BOOK.route("MO").terms("real_time")
    assert refused.value.field == "speed"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"calendars": ["HK"]}, "its calendars lack that of its region"),
        ({"cross_border": True}, "data_export is stated for routes across the border"),
        ({"cut_off": "17:01"}, "cut_off lies within the hours"),
        ({"hours": {"opens": "17:00", "closes": "08:30"}}, "opens before it closes"),
        ({"hours": {"opens": "8:30", "closes": "17:00"}}, "write a time of day as in 08:30"),
        ({"currencies": ["CNH"]}, "the institution holds no CNH"),
        ({"account_pattern": "[0-9"}, "no regular expression"),
        ({"banks": ["HBRB", "HBRB"]}, "banks names one twice"),
        ({"banks": ["ABCD"]}, "how fast payouts leave is not stated for: ABCD"),
        ({"code": "HK"}, "two routes have one code"),
        ({"speeds": {}}, "at least 1 item"),
        ({"colour": "red"}, "not permitted"),
    ],
)
def test_a_route_that_cannot_be_right_stops_the_start_with_a_sentence(change: dict[str, Any], sentence: str) -> None:
    changed = copy.deepcopy(FILE)
    changed["routes"][0] |= change
    with pytest.raises(ValueError, match=sentence):
        RouteBook.model_validate(changed)


def test_a_speed_around_the_clock_says_how_long_it_takes() -> None:
    changed = copy.deepcopy(FILE)
    del changed["routes"][0]["speeds"]["real_time"]["arrives_within_seconds"]
    with pytest.raises(ValueError, match="within how many seconds"):
        RouteBook.model_validate(changed)


def test_two_routes_to_one_region_in_one_currency_are_refused() -> None:
    changed = copy.deepcopy(FILE)
    changed["routes"].append(changed["routes"][0] | {"code": "CN"})
    with pytest.raises(ValueError, match="two routes lead to one region"):
        RouteBook.model_validate(changed)
