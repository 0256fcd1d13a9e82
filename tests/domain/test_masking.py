"""A mask shows what it says it shows and nothing more, whatever the value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.masking import mask
from domain.personal_data import PersonalField

F = PersonalField


@pytest.mark.parametrize(
    ("field", "value", "masked"),
    [
        (F.NAME, "张三", "张*"),
        (F.NAME, "张三丰", "张**"),
        (F.NAME, "欧阳娜娜", "欧阳**"),
        (F.NAME, "欧阳", "欧*"),
        (F.NAME, "阿卜杜热合曼·阿卜杜热西提", "阿***"),
        (F.NAME, "John Smith", "J***"),
        (F.NAME, "张", "****"),
        (F.ID_NUMBER, "31010119900101123X", "3****************X"),
        (F.ID_NUMBER, "310101900101123", "****"),
        (F.CARD_NUMBER, "6217001234567891234", "6217 **** **** 1234"),
        (F.CARD_NUMBER, "6217001234561234", "6217 **** **** 1234"),
        (F.CARD_NUMBER, "621700123456", "****"),
        (F.ACCOUNT_NUMBER, "6217001234567891234", "****1234"),
        (F.ACCOUNT_NUMBER, "12345678", "****5678"),
        (F.ACCOUNT_NUMBER, "1234567", "****"),
        (F.MOBILE, "13800001234", "138****1234"),
        (F.MOBILE, "+8613800001234", "****"),
        (F.AGREEMENT_NUMBER, "AGR20261122000001", "****"),
    ],
)
def test_a_value_is_masked_as_documented(field: PersonalField, value: str, masked: str) -> None:
    assert mask(field, value) == masked


_MOST_SHOWN = {F.NAME: 2, F.ID_NUMBER: 2, F.CARD_NUMBER: 8, F.ACCOUNT_NUMBER: 4, F.MOBILE: 7, F.AGREEMENT_NUMBER: 0}


@given(
    st.sampled_from(list(PersonalField)),
    st.text("0123456789", max_size=30) | st.text("张三丰欧阳娜娜ABC ", max_size=30) | st.text(max_size=30),
)
def test_a_mask_never_shows_more_than_documented_for_any_length(field: PersonalField, value: str) -> None:
    shown = [character for character in mask(field, value.replace("*", "")) if character not in "* "]
    assert len(shown) <= min(_MOST_SHOWN[field], max(len(value) - 1, 0))


@given(st.text("张三丰娜", min_size=4, max_size=60))
def test_a_mask_does_not_tell_how_long_a_long_name_is(name: str) -> None:
    assert mask(F.NAME, name) == name[0] + "***"


@given(st.text("0123456789", min_size=13, max_size=19))
def test_a_mask_does_not_tell_how_long_a_card_number_is(card_number: str) -> None:
    assert len(mask(F.CARD_NUMBER, card_number)) == len("6217 **** **** 1234")
