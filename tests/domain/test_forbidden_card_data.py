"""What must never come in is found wherever it hides, and what the API takes is left alone (P1.1.7)."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.forbidden_card_data import contains_forbidden_card_data

TRACK_2 = "6217001234567890128=25121010000000000"


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"cvn2": "123"}, "cvn2"),
        ({"CVV": 123}, "CVV"),
        ({"Card-CVC": "1"}, "Card-CVC"),
        ({"bankCardCvn2": ""}, "bankCardCvn2"),
        ({"ＣＶＮ": ""}, "ＣＶＮ"),
        ({"expiry": "12/28"}, "expiry"),
        ({"card_expires_at": "2028-12"}, "card_expires_at"),
        ({"card": {"expires_at": "2028-12"}}, "card.expires_at"),
        ({"cards": [{}, {"valid_until": 1}]}, "cards[1].valid_until"),
        ({"card_password": None}, "card_password"),
        ({"elements": {"pin": "1"}}, "elements.pin"),
        ({"track2": ""}, "track2"),
        ({"magstripe_data": ""}, "magstripe_data"),
        ({"youxiaoqi": ""}, "youxiaoqi"),
        ({"anQuanMa": ""}, "anQuanMa"),
        ({"有效期": ""}, "有效期"),
        ([[{"emv_data": 1}]], "[0][0].emv_data"),
    ],
)
def test_a_banned_field_is_named_by_its_path(payload: object, path: str) -> None:
    assert contains_forbidden_card_data(payload) == path


@pytest.mark.parametrize(
    "text",
    [
        TRACK_2,
        f";{TRACK_2}?",
        "note;" + TRACK_2,
        "6217 0012 3456 7890 128 = 2512 101",
        "６２１７００１２３４５６７８９０１２８＝２５１２１０１",
        "%B6217001234567890128^ZHANG/SAN              ^25121010000000000?",
        "6217001234567890128D25121010000000000F",
        "57136217001234567890128D25121010000000F",
        ";015986217001234567890=156156000?",
        "my CVN2: 123",
        "cvv is 1234",
        "安全码123",
        '{"cvc":"123"}',
    ],
)
def test_track_and_code_content_is_found_in_any_text(text: str) -> None:
    assert contains_forbidden_card_data({"order": {"notes": ["fine", text]}}) == "order.notes[1]"


def test_a_path_never_quotes_content_that_was_used_as_a_key() -> None:
    assert contains_forbidden_card_data({"a": {TRACK_2: 1}}) == "a.*"
    assert contains_forbidden_card_data({"x6217001234567890128": {"cvv": 1}}) == "*.cvv"


@pytest.mark.parametrize(
    "payload",
    [
        {"expires_at": "2026-11-22T00:00:00Z", "order_expires_at": "2026-11-22T00:00:00Z"},
        {"code": "123456", "verification_code": "123456", "card_number": "6217001234567890128"},
        {"name": "张三", "id_number": "310101199001011234", "mobile": "13800001234"},
        {"tracking_number": "SF1234567890123", "opinion": "x", "spin": 1, "soundtrack": ""},
        {"cardinal": {"expires_at": 1}, "id_document": {"valid_until": "2030-01-01"}},
        {"amount_minor": 12345678901234567890, "note": "2512101=6217"},
        {"waiver_limit_minor": 20000, "notice_version": "2026-01", "ip": "203.0.113.7"},
        None,
        12,
        "text",
    ],
)
def test_what_the_api_takes_is_left_alone(payload: object) -> None:
    assert contains_forbidden_card_data(payload) is None


@given(st.binary(max_size=40))
def test_hashes_are_never_taken_for_track_data(seed: bytes) -> None:
    digest = hashlib.sha256(seed).hexdigest()
    assert contains_forbidden_card_data({"evidence": digest, "upper": digest.upper()}) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON, st.sampled_from(["cvn2", "track_2", "card_expiry"]))
def test_a_banned_field_is_found_however_deep_it_lies(around: object, name: str) -> None:
    buried = {"outer": [around, {"inner": [{name: "x"}]}]}
    assert contains_forbidden_card_data(json.loads(json.dumps(buried))) is not None


def test_hostile_nesting_is_walked_without_recursion() -> None:
    nested: object = {"cvv": 1}
    for _ in range(5_000):
        nested = [nested]
    path = contains_forbidden_card_data(nested)
    assert path is not None
    assert path.endswith("[0].cvv")
