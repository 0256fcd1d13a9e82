"""The file of conversions: what it says, and that a wrong one stops the start with a sentence (A5.1, A5.2)."""

from __future__ import annotations

from copy import deepcopy
from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from config.policy import read_policy
from domain.calendars import Calendar
from domain.fx_rules import FxRules
from domain.policy import Policy

FILE: dict[str, Any] = read_policy()["fx"]


def test_the_file_of_the_institution_is_right() -> None:
    rules = Policy.model_validate(read_policy()).fx
    assert rules.desks_for("USD") == ("HBRB", "WLWB")
    assert rules.desks_for("HKD") == ("HBRB",)
    assert rules.desks_for("EUR") == ()
    assert rules.office_codes == ("FX-SAFE", "FX-HBRB", "FX-WLWB")
    assert rules.office_of_desk("WLWB").code == "FX-WLWB"
    assert (rules.yearly_quota_usd_minor, rules.rounding) == (5_000_000, {"CNY": "half_up"})
    october = rules.authority_rates[0]
    assert (october.month, october.rate_e8("HKD"), october.rate_e8("JPY")) == ("2026-10", 12_821_000, 663_000)
    assert (october.rate_e8("USD"), october.rate_e8("EUR")) == (100_000_000, None)
    assert rules.export_contracts[0].valid_until == date(2028, 2, 1)
    assert rules.export_contracts[0].encryption
    assert rules.export_contracts[0].access


@pytest.mark.parametrize("left_out", ["encryption", "access"])
def test_nobody_gets_personal_data_of_whom_it_is_not_said_how_it_is_protected(left_out: str) -> None:
    """P6b."""
    changed = deepcopy(FILE)
    del changed["export_contracts"][0][left_out]
    with pytest.raises(ValidationError, match=f"export_contracts.0.{left_out}"):
        FxRules.model_validate(changed)


def test_a_desk_that_is_not_in_the_file_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        FxRules.model_validate(FILE).office_of_desk("OSPB")


_FAULTS: list[tuple[str, Any, str]] = [
    ("currencies.USD.desks", ["HBRB", "NOPE"], "a desk that is not stated: NOPE"),
    ("currencies.USD.desks", ["HBRB", "HBRB"], "desks names one twice"),
    ("currencies.USD.desks", [], "currencies.USD.desks"),
    ("currencies.USD.banks", [], "currencies.USD.banks"),
    ("currencies.USD.value_calendars", ["XX"], "currencies.USD.value_calendars"),
    ("currencies.USD.value_calendars", [], "currencies.USD.value_calendars"),
    ("currencies.CNY", FILE["currencies"]["USD"], "CNY is what others are converted into|no rate of the authority"),
    ("currencies.XAU", FILE["currencies"]["USD"], "the institution holds no XAU"),
    ("currencies.EUR", FILE["currencies"]["USD"], "no rate of the authority is stated for: EUR"),
    ("rounding", {}, "how amounts in CNY are rounded is not stated"),
    ("rounding", {"CNY": "down"}, "rounding.CNY"),
    ("rounding", {"CNY": "half_up", "XAU": "up"}, "rounding: the institution holds no XAU"),
    ("rounding", {"CNY": "up"}, "books and desks round CNY half_up"),
    ("rounding", {"CNY": "half_up", "USD": "half_up"}, "nothing else is rounded by this file"),
    ("desks.WLWB.code", "FX-HBRB", "two offices have one code"),
    ("authority.code", "FX-HBRB", "two offices have one code"),
    ("authority.code", "SAFE", "authority.code"),
    ("authority.calendars", ["CN", "CN"], "FX-SAFE: its calendars name one twice"),
    ("authority.calendars", [], "authority.calendars"),
    ("authority.hours", [], "authority.hours"),
    ("authority.hours", [{"weekdays": [2], "opens": "09:00", "closes": "17:00"}], "hours of Monday are missing"),
    ("authority.hours", [{"weekdays": [1], "opens": "17:00", "closes": "09:00"}], "opens before it closes"),
    ("authority.hours", [{"weekdays": [1], "opens": "09:00:30", "closes": "17:00"}], "as in 08:30"),
    ("desks.HBRB.hours", [{"weekdays": [1], "opens": "09:00", "closes": "12:00"}] * 2, "overlap on weekday 1"),
    ("desks.HBRB.conversions_per_second", 0, "conversions_per_second"),
    ("desks.HBRB.open_on_make_up_days", None, "open_on_make_up_days"),
    ("authority_rates", [], "authority_rates"),
    ("authority_rates.0.month", "2026-13", "authority_rates.0.month"),
    ("authority_rates.0.month", "2026-11", "authority_rates state a month twice"),
    ("authority_rates.0.rates.HKD", "0", "above nought"),
    ("authority_rates.0.rates.HKD", "0.123456789", "eight after it"),
    ("authority_rates.0.rates.HKD", 0.12821, "authority_rates.0.rates.HKD"),
    ("authority_rates.0.rates.USD", "1", "authority_rates of 2026-10: USD is not stated there"),
    ("authority_rates.0.rates.XAU", "1", "authority_rates of 2026-10: the institution holds no XAU"),
    ("export_contracts.0.bank", "NOPE", "a bank at which nothing is held: NOPE"),
    ("export_contracts", [FILE["export_contracts"][0]] * 2, "state a bank twice until one day"),
    ("export_contracts.0.fields", ["name", "id_number"], "export_contracts.0.fields"),
    ("export_contracts.0.valid_until", "soon", "export_contracts.0.valid_until"),
    ("export_contracts.0.encryption", "", "export_contracts.0.encryption"),
    ("export_contracts.0.access", [], "export_contracts.0.access"),
    ("export_contracts.0.access", [""], "export_contracts.0.access.0"),
    ("export_contracts.0.access", ["a desk", "a desk"], "export_contracts of OSPB: access names one twice"),
    ("yearly_quota_usd_minor", 0, "yearly_quota_usd_minor"),
    ("longest_quote_age_seconds", 0, "longest_quote_age_seconds"),
    ("version", "", "version"),
    ("quota", 1, "quota"),
]


@pytest.mark.parametrize(("place", "value", "sentence"), _FAULTS)
def test_a_file_that_cannot_be_right_says_what_is_wrong(place: str, value: Any, sentence: str) -> None:
    changed = deepcopy(FILE)
    *path, last = place.split(".")
    inner: Any = changed
    for key in path:
        inner = inner[int(key) if key.isdecimal() else key]
    inner[last] = value
    with pytest.raises(ValidationError, match=sentence):
        FxRules.model_validate(changed)


def test_a_desk_that_is_shut_on_weekends_keeps_the_holidays_of_the_general_calendar() -> None:
    make_up, holiday = date(2026, 10, 10), date(2026, 10, 1)
    general = Calendar("CN", {make_up: True, holiday: False, date(2026, 10, 3): False})
    kept = general.without_make_up_days()
    assert (general.is_working(make_up), kept.is_working(make_up), kept.is_working(holiday)) == (True, False, False)
    assert kept.corrected({make_up: True}).is_working(make_up)
