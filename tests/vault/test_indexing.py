"""Keyed digests link what is the same and give nothing away."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.indexing import IndexKind, KeyedDigests
from vault.sealing import derive_key

KEY = bytes(range(100, 132))
ID_NUMBER = "31010119900101123X"
CARD = "6217001234567890122"
digests = KeyedDigests(KEY)


def test_a_person_is_the_same_at_every_merchant_however_the_number_is_written() -> None:
    index = digests.blind_index(IndexKind.PERSON, ID_NUMBER)
    assert len(index) == 64
    for written in ("31010119900101123x", " 310101 19900101 123X", "３１０１０１19900101123Ｘ"):
        assert KeyedDigests(KEY).blind_index(IndexKind.PERSON, written) == index
    assert digests.blind_index(IndexKind.PERSON, "310101199001011237") != index


def test_without_the_key_an_index_cannot_be_found_by_trying_numbers() -> None:
    index = digests.blind_index(IndexKind.PERSON, ID_NUMBER)
    guesses = {
        hashlib.sha256(ID_NUMBER.encode()).hexdigest(),
        hmac.new(b"", ID_NUMBER.encode(), hashlib.sha256).hexdigest(),
        KeyedDigests(bytes(32)).blind_index(IndexKind.PERSON, ID_NUMBER),
    }
    assert index not in guesses


def test_a_card_is_linked_within_one_user_only_and_kinds_never_meet() -> None:
    mine = digests.blind_index(IndexKind.USER_CARD, CARD, user_id="usr_1")
    assert mine == digests.blind_index(IndexKind.USER_CARD, "6217 0012 3456 7890 122", user_id="usr_1")
    assert mine != digests.blind_index(IndexKind.USER_CARD, CARD, user_id="usr_2")
    assert mine != digests.blind_index(IndexKind.PERSON, CARD)


@pytest.mark.parametrize(("kind", "user_id"), [(IndexKind.PERSON, "usr_1"), (IndexKind.USER_CARD, None)])
def test_an_index_in_the_wrong_scope_is_an_error(kind: IndexKind, user_id: str | None) -> None:
    with pytest.raises(ValueError, match="index"):
        digests.blind_index(kind, CARD, user_id=user_id)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=6).filter(lambda key: key != "code"), _JSON, max_size=4), st.text(), st.text())
def test_a_fingerprint_leaves_codes_and_key_order_out(body: dict[str, object], one: str, other: str) -> None:
    first = {**body, "code": one}
    second = {"code": other, **dict(reversed(body.items()))}
    assert digests.fingerprint(first) == digests.fingerprint(second) == digests.fingerprint({"code": 1, **body})


@given(st.tuples(st.text(), st.integers()), st.tuples(st.text(), st.integers()))
def test_different_bodies_have_different_fingerprints(one: tuple[str, int], other: tuple[str, int]) -> None:
    first, second = ({"order": order, "amount_minor": amount} for order, amount in (one, other))
    assert (digests.fingerprint(first) == digests.fingerprint(second)) == (first == second)


def test_a_fingerprint_needs_the_key_and_is_no_blind_index() -> None:
    body = {"order": "o1", "amount_minor": 100}
    assert digests.fingerprint(body) != KeyedDigests(bytes(32)).fingerprint(body)
    assert digests.fingerprint(body) != digests.fingerprint({**body, "amount_minor": 101})
    assert digests.fingerprint({"a": {"code": "1"}}) == digests.fingerprint({"a": {"code": "2"}})
    assert digests.fingerprint({"code": 1}, leave_out=()) != digests.fingerprint({"code": 2}, leave_out=())


def test_what_is_not_json_has_no_fingerprint() -> None:
    nested: object = 1
    for _ in range(5_000):
        nested = [nested]
    for value in (float("nan"), b"bytes", {1, 2}, nested):
        with pytest.raises((TypeError, ValueError)):
            digests.fingerprint({"x": value})


def test_every_use_has_a_key_of_its_own() -> None:
    assert derive_key(KEY, "one") != derive_key(KEY, "other")
    with pytest.raises(ValueError, match="32 bytes"):
        KeyedDigests(b"short")
