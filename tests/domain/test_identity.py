"""The four elements: what is corrected, what is refused and why, and from which day a person is accepted."""

from __future__ import annotations

from datetime import date, timedelta

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.cn import ric

from domain.banking import FourElements
from domain.identity import (
    Capacity,
    Correction,
    ElementFault,
    FieldCorrection,
    age_on,
    birth_date,
    capacity_on,
    card_number_warnings,
    check_elements,
    holds_id_number,
    normalise,
)
from domain.personal_data import PersonalField

TODAY = date(2026, 11, 22)


def id_number(born: str = "19900101", area: str = "310101", order: str = "123") -> str:
    body = f"{area}{born}{order}"
    return body + ric.calc_check_digit(body + "0")


GOOD = {
    "name": "张三",
    "id_number": id_number(),
    "card_number": "6217001234567890122",
    "mobile": "13800001234",
}


def faults(today: date = TODAY, *, capacity_stated: bool = False, **changed: str) -> dict[str, str]:
    checked = check_elements(FourElements(**{**GOOD, **changed}), today, capacity_stated=capacity_stated)
    return {fault.field: fault.code for fault in checked.faults}


def test_four_good_elements_have_no_fault_no_warning_and_no_correction() -> None:
    checked = check_elements(FourElements(**GOOD), TODAY)
    assert checked.elements == FourElements(**GOOD)
    assert (checked.faults, checked.warnings, checked.corrections) == ((), (), ())


def test_every_wrong_field_is_named_at_once() -> None:
    assert faults(name="", id_number="3101011990", card_number="12", mobile="01012345678") == {
        "name": ElementFault.MISSING,
        "id_number": ElementFault.WRONG_LENGTH,
        "card_number": ElementFault.WRONG_LENGTH,
        "mobile": ElementFault.NOT_A_MAINLAND_MOBILE,
    }


def test_an_element_of_blanks_counts_as_missing() -> None:
    assert faults(name=" ", id_number="　", card_number=" ", mobile="-") == dict.fromkeys(GOOD, "missing")


@pytest.mark.parametrize(
    "name",
    [
        "张三",
        "欧阳娜娜",
        "阿卜杜热合曼·阿卜杜热西提",
        "王〇",
        "𠮷田",
        "㐂山",
        "John Smith",
        "O’Neil, Mary-Jane",
        "José Núñez Jr.",
    ],
)
def test_names_on_real_documents_are_accepted(name: str) -> None:
    assert faults(name=name) == {}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("张", "too_short"),
        ("张" * 65, "too_long"),
        ("A" * 129, "too_long"),
        ("张3", "contains_digits"),
        ("张３", "contains_digits"),
        ("张\n三", "control_characters"),
        ("张\u200b三", "control_characters"),
        ("张\x00三", "control_characters"),
        ("John\u202eSmith", "control_characters"),
        ("·张三", "wrong_characters"),
        ("张··三", "wrong_characters"),
        ("张三<b>", "wrong_characters"),
        ("张san", "wrong_characters"),
        ("😀😀", "wrong_characters"),
    ],
)
def test_a_name_that_no_document_bears_is_refused_with_its_reason(name: str, code: str) -> None:
    assert faults(name=name) == {"name": code}


@pytest.mark.parametrize("area", ["810000", "820000", "830000", "911123", "110103", "522130", "999999"])
def test_permits_permanent_residents_and_areas_not_in_the_list_are_accepted(area: str) -> None:
    assert faults(id_number=id_number(area=area)) == {}


def test_a_person_older_than_the_area_code_is_accepted() -> None:
    assert faults(id_number=id_number("19210305", area="440305")) == {}


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("310101900101123", "wrong_length"),  # the fifteen digits of before 1999
        ("31010119900101123A", "wrong_characters"),
        ("011101199001011234", "wrong_characters"),
        ("١١٠١٠١١٩٩٠٠١٠١٠٠١١", "wrong_characters"),
        (id_number("19900230"), "birth_date_invalid"),
        (id_number("00000000"), "birth_date_invalid"),
        (id_number("18000101"), "birth_date_invalid"),
        (id_number("20261123"), "birth_date_in_future"),
        (id_number("29990101"), "birth_date_in_future"),
    ],
)
def test_an_impossible_id_number_is_refused_with_its_reason(number: str, code: str) -> None:
    assert faults(id_number=number) == {"id_number": code}


@given(position=st.integers(0, 17), step=st.integers(1, 9))
def test_one_mistyped_digit_of_an_id_number_is_always_noticed(position: int, step: int) -> None:
    good = id_number(order="00" + str(position % 10))
    digit = 0 if good[position] == "X" else int(good[position])
    wrong = good[:position] + str((digit + step) % 10) + good[position + 1 :]
    expected = {"wrong_characters"} if wrong[0] == "0" else {"check_digit_wrong"}
    if wrong != good:
        assert set(faults(id_number=wrong).values()) == expected


@pytest.mark.parametrize(
    ("card_number", "warnings"),
    [
        ("6217001234567890123", ["checksum_unusual"]),
        ("1234567890128", ["prefix_unusual"]),
        ("9558801234567890128", []),
    ],
)
def test_an_unusual_card_number_is_a_warning_and_no_refusal(card_number: str, warnings: list[str]) -> None:
    checked = check_elements(FourElements(**{**GOOD, "card_number": card_number}), TODAY)
    assert checked.faults == ()
    assert [warning.code for warning in checked.warnings] == warnings


@pytest.mark.parametrize(("length", "code"), [(12, "wrong_length"), (13, None), (19, None), (20, "wrong_length")])
def test_a_card_number_has_thirteen_to_nineteen_digits(length: int, code: str | None) -> None:
    assert faults(card_number="6" * length).get("card_number") == code


def test_the_mobile_ranges_are_those_of_the_numbering_plan() -> None:
    for prefix in range(10_000, 20_000):
        number = phonenumbers.parse(f"{prefix}123456", "CN")
        is_mobile = phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE
        assert (faults(mobile=f"{prefix}123456") == {}) == is_mobile, prefix


@given(st.text("0123456789", min_size=13, max_size=19))
def test_a_checksum_is_unusual_exactly_if_it_is_not_luhn(card_number: str) -> None:
    unusual = ElementFault.CHECKSUM_UNUSUAL in [warning.code for warning in card_number_warnings(card_number)]
    assert unusual == (not luhn.is_valid(card_number))


@pytest.mark.parametrize("mobile", ["16612345678", "17012345678", "19212345678", "19712345678"])
def test_newer_mobile_ranges_are_mobiles(mobile: str) -> None:
    assert faults(mobile=mobile) == {}


@pytest.mark.parametrize(
    ("mobile", "code"),
    [
        ("12012345678", "not_a_mainland_mobile"),
        ("02112345678", "not_a_mainland_mobile"),
        ("1380000123", "wrong_length"),
        ("+85291234567", "wrong_characters"),
        ("+8613800001234 ext 5", "wrong_characters"),
        ("138CALLMENO", "wrong_characters"),
    ],
)
def test_what_is_not_a_mainland_mobile_is_refused(mobile: str, code: str) -> None:
    assert faults(mobile=mobile) == {"mobile": code}


@pytest.mark.parametrize("mobile", ["+86 138-0000-1234", "008613800001234", "86 13800001234", "１３８００００１２３４"])
def test_a_mobile_is_kept_as_eleven_digits(mobile: str) -> None:
    elements, _ = normalise(FourElements(**{**GOOD, "mobile": mobile}))
    assert elements.mobile == "13800001234"


def test_corrections_are_recorded_by_kind_and_hold_no_value() -> None:
    spoken = FourElements(
        name="阿卜杜 ．热西提",
        id_number=f" {id_number(order='00' + '5')[:17]}x".replace("3101", "３１０１"),
        card_number="6217-0012 3456 7890 122",
        mobile="+86 13800001234",
    )
    elements, corrections = normalise(spoken)
    assert elements.name == "阿卜杜·热西提"
    assert corrections == (
        FieldCorrection(PersonalField.NAME, (Correction.WIDTH, Correction.SPACES, Correction.SEPARATORS)),
        FieldCorrection(PersonalField.ID_NUMBER, (Correction.WIDTH, Correction.SPACES, Correction.LETTER_CASE)),
        FieldCorrection(PersonalField.CARD_NUMBER, (Correction.SPACES, Correction.SEPARATORS)),
        FieldCorrection(PersonalField.MOBILE, (Correction.SPACES, Correction.COUNTRY_CODE)),
    )


_ANYTHING = st.text(max_size=40) | st.text("张三王·.-x X0123456789１２ＡＢ　+86abc", max_size=25)


@given(st.builds(FourElements, name=_ANYTHING, id_number=_ANYTHING, card_number=_ANYTHING, mobile=_ANYTHING))
def test_correcting_twice_changes_nothing_and_checking_never_fails(submitted: FourElements) -> None:
    elements, _ = normalise(submitted)
    assert normalise(elements) == (elements, ())
    checked = check_elements(submitted, TODAY)
    assert len({fault.field for fault in checked.faults}) == len(checked.faults)


@given(_ANYTHING)
def test_a_correction_never_touches_a_letter_digit_or_their_order(text: str) -> None:
    def substance(value: str) -> list[str]:
        narrow = [chr(ord(c) - 0xFEE0) if "！" <= c <= "～" else c for c in value]
        return [c.upper() for c in narrow if c.isalnum()]

    elements, _ = normalise(FourElements(name=text, id_number=text, card_number=text, mobile=""))
    for value in (elements.name, elements.id_number, elements.card_number):
        assert substance(value) == substance(text)


def test_the_elements_and_their_faults_show_no_value_when_printed() -> None:
    checked = check_elements(FourElements(**{**GOOD, "id_number": "310101199001019999"}), TODAY)
    assert checked.faults
    assert not any(value in repr(checked) for value in (*GOOD.values(), "310101199001019999"))


@pytest.mark.parametrize("born", ["20101123", "20080229", "20121201"])
def test_a_person_is_refused_the_day_before_the_sixteenth_birthday_and_accepted_on_it(born: str) -> None:
    number = id_number(born)
    birth = birth_date(number)
    birthday = birth.replace(year=birth.year + 16)
    eve = birthday - timedelta(days=1)
    assert faults(eve, id_number=number, capacity_stated=True) == {"id_number": "under_age"}
    assert faults(birthday, id_number=number, capacity_stated=True) == {}
    assert faults(birthday, id_number=number) == {"id_number": "capacity_statement_required"}


def test_the_capacity_statement_is_needed_until_the_eighteenth_birthday() -> None:
    number = id_number("20081123")
    assert faults(date(2026, 11, 22), id_number=number) == {"id_number": "capacity_statement_required"}
    assert faults(date(2026, 11, 23), id_number=number) == {}


def test_a_leap_day_birthday_falls_on_the_first_of_march_in_other_years() -> None:
    leap_day = date(2008, 2, 29)
    assert age_on(leap_day, date(2026, 2, 28)) == 17
    assert age_on(leap_day, date(2026, 3, 1)) == 18
    assert capacity_on(leap_day, date(2024, 2, 28)) is Capacity.UNDER_AGE
    assert capacity_on(leap_day, date(2024, 2, 29)) is Capacity.NEEDS_STATEMENT


@given(birth=st.dates(date(1900, 1, 1), date(2026, 1, 1)), days=st.integers(0, 40_000))
def test_age_grows_by_one_and_never_shrinks(birth: date, days: int) -> None:
    today = birth + timedelta(days=days)
    assert age_on(birth, today + timedelta(days=1)) - age_on(birth, today) in (0, 1)
    assert age_on(birth, today) <= days / 365


def test_nobody_has_an_age_before_birth() -> None:
    with pytest.raises(ValueError, match="not born yet"):
        age_on(TODAY, TODAY - timedelta(days=1))


@pytest.mark.parametrize(
    ("reference", "held"),
    [
        ("110105199003077657", True),
        ("user-11010119900307803x", True),
        ("11010519900307765X", False),
        ("order-20261122-000001", False),
        ("2026112217350000123456", False),
        ("customer-8812", False),
    ],
)
def test_a_valid_id_number_in_a_reference_is_noticed(reference: str, *, held: bool) -> None:
    assert holds_id_number(reference) is held
