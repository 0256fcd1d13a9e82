"""The register of partner banks: what is not registered or not enabled is not called (A0.4)."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from banks.agreement_pay.config import BankConnection
from banks.directory import BankDirectory, BankRegister, build_directory
from banks.simulator.fx_offers import ANSWERS_QUOTA, DESKS, HOLDS, OPENS_RECEIVING_ACCOUNTS
from banks.simulator.payee_accounts import PAYS_OUT
from banks.simulator.settings import SimulatorSettings
from domain.disclosure import PartnerRole
from domain.errors import ErrorCode, RefusedError

BANKS_FILE = Path(__file__).resolve().parents[2] / "config" / "banks.toml"


@pytest.fixture
def data() -> dict[str, Any]:
    return tomllib.loads(BANKS_FILE.read_text(encoding="utf-8"))


def connection() -> BankConnection:
    key = Ed25519PrivateKey.generate()
    return BankConnection("http://127.0.0.1:9", key, key.public_key())


def directory(data: dict[str, Any]) -> BankDirectory:
    register = BankRegister.from_toml(data)
    return build_directory(register, {record.code: connection() for record in register.banks})


async def test_the_shipped_file_registers_every_bank_with_role_and_limits(data: dict[str, Any]) -> None:
    built = directory(data)
    record = built.record("HBRB")
    assert (record.name_zh, record.name_en) == ("港湾银行", "Harbour Bank")
    assert record.role is PartnerRole.DOMESTIC_BANK
    assert record.limits is not None
    assert record.limits.per_transaction_minor == 5_000_000
    assert built.connector("WLWB").capabilities.bank_code == "WLWB"
    assert built.longest_timeout_seconds() == 5.0
    abroad = built.record("OSPB")
    assert (abroad.name_zh, abroad.role, abroad.limits) == ("远洋银行", PartnerRole.OVERSEAS_BANK, None)
    assert not abroad.pays_out
    await built.close()


def test_the_shipped_file_says_where_foreign_currency_is_held_and_converted(data: dict[str, Any]) -> None:
    records = {record.code: record for record in BankRegister.from_toml(data).banks}
    assert {code: record.holds for code, record in records.items()} == {
        "HBRB": ("USD", "HKD"),
        "WLWB": (),
        "OSPB": ("USD", "HKD", "JPY"),
    }
    assert {code: record.desk for code, record in records.items()} == {
        "HBRB": ("USD", "HKD", "JPY"),
        "WLWB": ("USD",),
        "OSPB": (),
    }
    assert [code for code, record in records.items() if record.opens_receiving_accounts] == ["OSPB"]
    assert [code for code, record in records.items() if record.offers_official_quota] == ["HBRB"]
    for code, record in records.items():
        assert set(record.holds) <= set(HOLDS[code])
        assert set(record.desk) <= set(DESKS[code])
        assert record.opens_receiving_accounts <= (code in OPENS_RECEIVING_ACCOUNTS)
        assert record.offers_official_quota <= (code in ANSWERS_QUOTA)


async def test_the_shipped_file_promises_no_more_than_the_simulated_banks_declare(data: dict[str, Any]) -> None:
    declared = SimulatorSettings.model_fields
    for record in BankRegister.from_toml(data).banks:
        for name in ("remembers_request_numbers_seconds", "request_validity_seconds"):
            assert getattr(record, name) == declared[name].default
        limits = record.limits
        assert limits is None or limits.per_transaction_minor <= declared["per_transaction_limit_minor"].default
        assert record.pays_out.keys() <= PAYS_OUT[record.code].keys()
        for region, currencies in record.pays_out.items():
            assert set(currencies) <= set(PAYS_OUT[record.code][region])
        assert record.timeout_seconds > declared["slow_seconds"].default
        assert record.timeout_seconds < declared["hang_seconds"].default


async def test_a_bank_that_is_not_registered_is_refused(data: dict[str, Any]) -> None:
    built = directory(data)
    for ask in (built.record, built.connector, built.connector_for_sent, built.fx_connector_for_sent):
        with pytest.raises(RefusedError) as refused:
            ask("XXXX")
        assert refused.value.code is ErrorCode.PARTNER_NOT_AVAILABLE
    await built.close()


async def test_a_disabled_bank_gets_nothing_new_but_is_still_asked_about_what_was_sent(data: dict[str, Any]) -> None:
    data["banks"][0]["enabled"] = False
    built = directory(data)
    with pytest.raises(RefusedError):
        built.connector("HBRB")
    assert built.connector_for_sent("HBRB").capabilities.bank_code == "HBRB"
    assert built.fx_connector_for_sent("HBRB") is built.connector_for_sent("HBRB")
    await built.close()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"role": "friend"}, "role"),
        ({"connector": "telex"}, "no such connector"),
        ({"surprise": 1}, "surprise"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"code": "HB"}, "code"),
        ({"remembers_request_numbers_seconds": 60}, "must remember"),
        ({"payout_requests_per_second": 0}, "payout_requests_per_second"),
        ({"payout_requests_per_second": 201}, "must not exceed"),
        ({"pays_out": {"SG": ["SGD"]}}, "pays_out"),
        ({"pays_out": {"CN": []}}, "pays_out"),
        ({"pays_out": {"CN": ["CNY", "CNY"]}}, "pays_out"),
        ({"pays_out": {"CN": ["yuan"]}}, "pays_out"),
        ({"holds": ["USD", "USD"]}, "holds"),
        ({"holds": ["CNY"]}, "holds"),
        ({"holds": ["XAU"]}, "holds"),
        ({"desk": ["CNY"]}, "desk"),
        ({"role": "overseas_bank"}, "only a domestic bank converts"),
        ({"limits": {"per_transaction_minor": 2, "per_day_minor": 1, "per_month_minor": 3}}, "limits"),
    ],
)
def test_a_wrong_register_says_where_it_is_wrong(data: dict[str, Any], change: dict[str, Any], place: str) -> None:
    data["banks"][0].update(change)
    with pytest.raises(ValidationError, match=place):
        BankRegister.from_toml(data)


async def test_a_release_rate_is_told_of_a_disabled_bank_too_and_of_no_stranger(data: dict[str, Any]) -> None:
    data["banks"][0]["enabled"] = False
    built = directory(data)
    assert (built.payout_rate("HBRB"), built.payout_rate("WLWB")) == (20, 10)
    with pytest.raises(RefusedError):
        built.payout_rate("XXXX")
    await built.close()


def test_a_payout_route_is_checked_against_what_its_banks_reach(data: dict[str, Any]) -> None:
    register = BankRegister.from_toml(data)
    register.check_payout_route("mainland", ("HBRB", "WLWB"), "CN", ("CNY",))
    register.check_payout_route("hong_kong", ("HBRB",), "HK", ("CNY", "HKD"))
    for banks, region, currencies, place in (
        (("WLWB",), "HK", ("CNY",), "WLWB does not pay CNY to HK"),
        (("HBRB",), "HK", ("CNY", "USD"), "HBRB does not pay USD to HK"),
        (("HBRB", "XXXX"), "CN", ("CNY",), "XXXX is not registered"),
    ):
        with pytest.raises(ValueError, match=f"payout route r1: bank {place}"):
            register.check_payout_route("r1", banks, region, currencies)


def test_a_bank_code_occurs_once(data: dict[str, Any]) -> None:
    data["banks"].append(copy.deepcopy(data["banks"][0]))
    with pytest.raises(ValidationError, match="twice"):
        BankRegister.from_toml(data)


def test_a_bank_without_a_connection_is_named(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="WLWB"):
        build_directory(BankRegister.from_toml(data), {"HBRB": connection()})


def test_keys_and_elements_do_not_show_in_a_repr() -> None:
    key = Ed25519PrivateKey.generate()
    shown = repr(BankConnection("http://127.0.0.1:9", key, key.public_key()))
    assert "key" not in shown.lower()


@pytest.mark.parametrize("encoded", ["", "no base64!", "c2hvcnQ="])
def test_an_unusable_key_is_refused_without_being_repeated(encoded: str) -> None:
    with pytest.raises(ValueError, match="32 raw bytes") as refused:
        BankConnection.from_encoded("http://127.0.0.1:9", encoded, encoded)
    assert not encoded or encoded not in str(refused.value)


async def test_a_connector_ignores_proxies_of_the_environment(
    data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    built = directory(data)
    client: httpx.AsyncClient = built.connector("HBRB")._client  # type: ignore[attr-defined]
    assert not client.trust_env
    await built.close()
