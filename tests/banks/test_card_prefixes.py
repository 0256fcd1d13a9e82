"""The issuing bank by the card number's longest prefix, and a data file that is checked when it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banks.card_prefixes import CardPrefix, CardPrefixes, CardPrefixFileError, CardType, read_card_prefixes
from banks.simulator.cards import CARD_PRODUCTS, example_card

FILE = Path(__file__).resolve().parents[2] / "config" / "card_prefixes.csv"
HEADER = "prefix,length,bank_code,card_type,name_zh,name_en\n"
BANKS = {"HBRB", "WLWB"}


def row(prefix: str, length: int = 19, bank_code: str = "HBRB") -> CardPrefix:
    return CardPrefix(
        prefix=prefix, length=length, bank_code=bank_code, card_type=CardType.DEBIT, name_zh="卡", name_en="card"
    )


def test_the_shipped_file_knows_exactly_the_cards_of_the_simulated_banks() -> None:
    prefixes = read_card_prefixes(FILE.read_text(encoding="utf-8"), BANKS)
    for product in CARD_PRODUCTS:
        found = prefixes.issuer(example_card(product.bank_code, card_type=product.card_type))
        assert found is not None
        assert (found.prefix, found.length, found.bank_code, found.card_type.value) == (
            product.prefix,
            product.length,
            product.bank_code,
            product.card_type,
        )
    assert len(FILE.read_text(encoding="utf-8").splitlines()) == len(CARD_PRODUCTS) + 1


def test_the_longest_prefix_wins() -> None:
    prefixes = CardPrefixes([row("9901"), row("990102", bank_code="WLWB")])
    assert prefixes.issuer("9901020000000000000").bank_code == "WLWB"  # type: ignore[union-attr]
    assert prefixes.issuer("9901010000000000000").bank_code == "HBRB"  # type: ignore[union-attr]


def test_a_longer_prefix_of_another_card_length_does_not_hide_a_shorter_one() -> None:
    prefixes = CardPrefixes([row("9901"), row("990102", length=16, bank_code="WLWB")])
    assert prefixes.issuer("9901020000000000000").bank_code == "HBRB"  # type: ignore[union-attr]


@given(st.text(max_size=30))
def test_what_no_bank_issued_has_no_issuer(card_number: str) -> None:
    prefixes = CardPrefixes([row("990101")])
    known = card_number.startswith("990101") and len(card_number) == 19
    assert (prefixes.issuer(card_number) is not None) == known


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the columns"),
        ("prefix,length\n990101,19\n", "line 1: the columns"),
        (HEADER, "no prefixes"),
        (HEADER + "99010x,19,HBRB,debit,卡,card\n", "line 2: prefix"),
        (HEADER + "990101,12,HBRB,debit,卡,card\n", "line 2: length"),
        (HEADER + "990101,19,HBRB,prepaid,卡,card\n", "line 2: card_type"),
        (HEADER + "990101,19,HBRB,debit,卡\n", "line 2: name_en"),
        (HEADER + "990101,19,HBRB,debit,卡,card,more\n", "line 2"),
        (HEADER + "990101,19,ABCD,debit,卡,card\n", "line 2: bank ABCD is not registered"),
        (HEADER + "990101,19,HBRB,debit,卡,card\n990101,19,WLWB,debit,卡,card\n", "line 3: prefix 990101"),
    ],
)
def test_a_wrong_file_is_refused_with_line_and_field(text: str, message: str) -> None:
    with pytest.raises(CardPrefixFileError, match=message):
        read_card_prefixes(text, BANKS)
