"""The four elements of a payer: what is suitably corrected, what is refused, and how old the person is.

The issuer has the last word on who somebody is; here only what cannot be true is refused, field by field and
without quoting a value. Real documents are wider than the usual checks: area codes that are no longer in use,
810000, 820000 and 830000 of the residence permits, and permanent-resident cards beginning with 9 are genuine.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from types import MappingProxyType

from domain.banking import FourElements
from domain.errors import FieldError
from domain.personal_data import PersonalField

MINIMUM_AGE = 16  # A1.1b
FULL_CAPACITY_AGE = 18  # L1
MAX_NAME_LENGTH = 64
# Longer input is refused before it is looked at.
MAX_SUBMITTED_LENGTH = 128
_OLDEST_PLAUSIBLE_AGE = 130
FOUR_ELEMENTS = (PersonalField.NAME, PersonalField.ID_NUMBER, PersonalField.CARD_NUMBER, PersonalField.MOBILE)


class Correction(StrEnum):
    """The non-substantive corrections that may be made (A3.1c), and the country code of a mobile number."""

    WIDTH = "width"
    SPACES = "spaces"
    LETTER_CASE = "letter_case"
    SEPARATORS = "separators"
    COUNTRY_CODE = "country_code"


class ElementFault(StrEnum):
    """Why an element is refused, or what is unusual about it. Stable; shown to merchants by field."""

    MISSING = "missing"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    WRONG_LENGTH = "wrong_length"
    CONTROL_CHARACTERS = "control_characters"
    CONTAINS_DIGITS = "contains_digits"
    WRONG_CHARACTERS = "wrong_characters"
    CHECK_DIGIT_WRONG = "check_digit_wrong"
    BIRTH_DATE_INVALID = "birth_date_invalid"
    BIRTH_DATE_IN_FUTURE = "birth_date_in_future"
    UNDER_AGE = "under_age"
    CAPACITY_STATEMENT_REQUIRED = "capacity_statement_required"
    NOT_A_MAINLAND_MOBILE = "not_a_mainland_mobile"
    # Warnings only: some genuine domestic cards differ.
    CHECKSUM_UNUSUAL = "checksum_unusual"
    PREFIX_UNUSUAL = "prefix_unusual"


class Capacity(StrEnum):
    """Where a person stands by age (A1.1b, L1)."""

    UNDER_AGE = "under_age"
    NEEDS_STATEMENT = "needs_statement"
    FULL = "full"


@dataclass(frozen=True)
class FieldCorrection:
    """Which kinds of correction one field received; the values are not part of the record (A3.1c)."""

    field: PersonalField
    kinds: tuple[Correction, ...]


@dataclass(frozen=True)
class CheckedElements:
    """`elements` are normalised, and fit to be sent only if `faults` is empty; at most one fault a field."""

    elements: FourElements
    corrections: tuple[FieldCorrection, ...]
    faults: tuple[FieldError, ...]
    warnings: tuple[FieldError, ...]


def check_elements(submitted: FourElements, today: date, *, capacity_stated: bool = False) -> CheckedElements:
    """Corrects what may be corrected and names every wrong field (A2.1a-b, A3.1c, A1.1b, L1).

    `today` is the Asia/Shanghai date; `capacity_stated` says that the user's statement of L1 is on record.
    """
    elements, corrections = normalise(submitted)
    found = {
        PersonalField.NAME: name_fault(elements.name),
        PersonalField.ID_NUMBER: _id_number_fault(elements.id_number, today, capacity_stated),
        PersonalField.CARD_NUMBER: _card_number_fault(elements.card_number),
        PersonalField.MOBILE: _mobile_fault(elements.mobile),
    }
    faults = tuple(FieldError(field.value, fault.value) for field, fault in found.items() if fault)
    return CheckedElements(elements, corrections, faults, card_number_warnings(elements.card_number))


def normalise(submitted: FourElements) -> tuple[FourElements, tuple[FieldCorrection, ...]]:
    """The elements as documents print them, and which kinds of correction that took. Idempotent.

    Never changes a character of a name, a digit or a date (A3.1c). What cannot be corrected is left as it is.
    """
    values: dict[str, str] = {}
    corrections: list[FieldCorrection] = []
    for field in FOUR_ELEMENTS:
        value, kinds = _apply(_STEPS[field], getattr(submitted, field.value))
        values[field.value] = value
        if kinds:
            corrections.append(FieldCorrection(field, kinds))
    return FourElements(**values), tuple(corrections)


def normalise_field(field: PersonalField, value: str) -> str:
    """One value as documents print it; a field without corrections comes back unchanged."""
    return _apply(_STEPS.get(field, ()), value)[0]


def birth_date(id_number: str) -> date:
    """The birth date in a normalised 18-character ID number. Raises ValueError if there is none."""
    if not re.fullmatch(r"[0-9]{17}[0-9X]", id_number):
        raise ValueError("not an 18-character ID number")
    return date(int(id_number[6:10]), int(id_number[10:12]), int(id_number[12:14]))


def age_on(birth: date, today: date) -> int:
    """Full years of life. Who was born on 29 February grows older on 1 March where the year has no 29th.

    Raises ValueError if `today` is before the birth.
    """
    if today < birth:
        raise ValueError("not born yet")
    return today.year - birth.year - ((today.month, today.day) < (birth.month, birth.day))


def capacity_on(birth: date, today: date) -> Capacity:
    """Whether a person may use the service: from the 16th birthday with a statement, the 18th without."""
    age = age_on(birth, today)
    if age < MINIMUM_AGE:
        return Capacity.UNDER_AGE
    return Capacity.NEEDS_STATEMENT if age < FULL_CAPACITY_AGE else Capacity.FULL


def card_number_warnings(card_number: str) -> tuple[FieldError, ...]:
    """What is unusual about a well-formed card number; no reason to refuse, some genuine cards differ."""
    if not re.fullmatch(r"[0-9]{13,19}", card_number):
        return ()
    # ISO/IEC 7812: 3 to 6 are issued by financial institutions, 9 is left to national use.
    unusual = {
        ElementFault.CHECKSUM_UNUSUAL: not _has_luhn_checksum(card_number),
        ElementFault.PREFIX_UNUSUAL: card_number[0] not in "34569",
    }
    field = PersonalField.CARD_NUMBER.value
    return tuple(FieldError(field, fault.value) for fault, is_so in unusual.items() if is_so)


# Corrections

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_OTHER_SPACES = "\u00a0\u2002\u2003\u2009\u202f"
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212"
_DOTS = "·.•‧・∙⋅･"
# Ideographs and Latin letters, for a class of characters.
HAN = r"\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
LATIN = r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff"
_COUNTRY_CODE = re.compile(r"(?:\+|00)?86(?=1[0-9]{10}$)")

_Step = tuple[Correction, Callable[[str], str]]


def _narrow(value: str) -> str:
    return value.translate(_FULL_WIDTH)


def _without_spaces(value: str) -> str:
    return re.sub(f"[ {_OTHER_SPACES}]", "", value)


def _without_dashes(value: str) -> str:
    return re.sub(f"[{_DASHES}]", "", value)


def _name_spaces(name: str) -> str:
    single = re.sub(f"[ {_OTHER_SPACES}]+", " ", name).strip(" ")
    return single.replace(" ", "") if re.search(f"[{HAN}]", single) else single


def _name_dots(name: str) -> str:
    return re.sub(f"[{_DOTS}]", "·", name) if re.search(f"[{HAN}]", name) else name


_WIDTH: _Step = (Correction.WIDTH, _narrow)
_SPACES: _Step = (Correction.SPACES, _without_spaces)
_SEPARATORS: _Step = (Correction.SEPARATORS, _without_dashes)
_UPPER_CASE: _Step = (Correction.LETTER_CASE, lambda value: value.replace("x", "X"))
_CAPITALS: _Step = (Correction.LETTER_CASE, str.upper)
_NATIONAL: _Step = (Correction.COUNTRY_CODE, lambda value: _COUNTRY_CODE.sub("", value, count=1))

_STEPS: Mapping[PersonalField, tuple[_Step, ...]] = MappingProxyType(
    {
        PersonalField.NAME: (_WIDTH, (Correction.SPACES, _name_spaces), (Correction.SEPARATORS, _name_dots)),
        PersonalField.ID_NUMBER: (_WIDTH, _SPACES, _SEPARATORS, _UPPER_CASE),
        PersonalField.CARD_NUMBER: (_WIDTH, _SPACES, _SEPARATORS),
        PersonalField.MOBILE: (_WIDTH, _SPACES, _SEPARATORS, _NATIONAL),
        PersonalField.ACCOUNT_NUMBER: (_WIDTH, _SPACES, _SEPARATORS, _CAPITALS),
    }
)


def _apply(steps: tuple[_Step, ...], value: str) -> tuple[str, tuple[Correction, ...]]:
    if len(value) > MAX_SUBMITTED_LENGTH:
        return value, ()
    kinds: list[Correction] = []
    for kind, step in steps:
        corrected = step(value)
        if corrected != value:
            kinds.append(kind)
        value = corrected
    return value, tuple(kinds)


# Faults

_CHINESE_NAME = re.compile(f"[{HAN}]+(?:·[{HAN}]+)*")
_LATIN_NAME = re.compile(f"[{LATIN}]+(?:[ '’.,-]{{1,2}}[{LATIN}]+)*\\.?")


_ID_NUMBER_SHAPE = re.compile(r"(?<![0-9])[1-9][0-9]{16}[0-9Xx](?![0-9])", re.ASCII)


def holds_id_number(text: str) -> bool:
    """Whether a valid mainland ID number (birth from 1900 on) stands in a text that should be an opaque reference."""
    return any(_is_id_number(found.upper()) for found in _ID_NUMBER_SHAPE.findall(text))


def _is_id_number(text: str) -> bool:
    try:
        birth = birth_date(text)
    except ValueError:
        return False
    return 1900 <= birth.year <= 2099 and _check_digit(text[:17]) == text[17]


# The ranges that the numbering plan gives to mobiles; a test compares them with `phonenumbers`.
_MAINLAND_MOBILE = re.compile(
    r"1(?:610\d|740[0-5])\d{6}|1(?:[38]\d|4[57]|[59][0-35-9]|6[25-7]|7[0-35-8])\d{8}", re.ASCII
)


def _check_digit(seventeen_digits: str) -> str:
    """ISO 7064 MOD 11-2, as GB 11643 has it."""
    remainder = 0
    for digit in seventeen_digits:
        remainder = (remainder + int(digit)) * 2 % 11
    return "0123456789X"[(12 - remainder) % 11]


def _has_luhn_checksum(card_number: str) -> bool:
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in card_number[-2::-2])
    return (sum(map(int, card_number[-1::-2])) + sum(doubled)) % 10 == 0


def text_fault(value: str) -> ElementFault | None:
    """What is wrong with any text, whatever it stands for."""
    if not value:
        return ElementFault.MISSING
    if len(value) > MAX_SUBMITTED_LENGTH:
        return ElementFault.TOO_LONG
    # Control, format, surrogate, private use and unassigned. The newest ideographs are unassigned in older
    # Unicode tables, so ideographs are let through by their range.
    if any(unicodedata.category(char)[0] == "C" and not re.match(f"[{HAN}]", char) for char in value):
        return ElementFault.CONTROL_CHARACTERS
    return None


def name_fault(name: str) -> ElementFault | None:
    """What is wrong with a normalised name of a person."""
    if fault := text_fault(name):
        return fault
    if any(unicodedata.category(char) == "Nd" for char in name):
        return ElementFault.CONTAINS_DIGITS
    if len(name) > MAX_NAME_LENGTH:
        return ElementFault.TOO_LONG
    if not (_CHINESE_NAME.fullmatch(name) or _LATIN_NAME.fullmatch(name)):
        return ElementFault.WRONG_CHARACTERS
    return ElementFault.TOO_SHORT if len(name) < 2 else None


def _id_number_fault(id_number: str, today: date, capacity_stated: bool) -> ElementFault | None:
    if fault := text_fault(id_number):
        return fault
    if not re.fullmatch(r"[1-9][0-9]*X?", id_number):
        return ElementFault.WRONG_CHARACTERS
    if len(id_number) != 18:
        return ElementFault.WRONG_LENGTH
    if _check_digit(id_number[:17]) != id_number[17]:
        return ElementFault.CHECK_DIGIT_WRONG
    return _age_fault(id_number, today, capacity_stated)


def _age_fault(id_number: str, today: date, capacity_stated: bool) -> ElementFault | None:
    try:
        birth = birth_date(id_number)
    except ValueError:
        return ElementFault.BIRTH_DATE_INVALID
    if birth > today:
        return ElementFault.BIRTH_DATE_IN_FUTURE
    if age_on(birth, today) > _OLDEST_PLAUSIBLE_AGE:
        return ElementFault.BIRTH_DATE_INVALID
    capacity = capacity_on(birth, today)
    if capacity is Capacity.UNDER_AGE:
        return ElementFault.UNDER_AGE
    if capacity is Capacity.NEEDS_STATEMENT and not capacity_stated:
        return ElementFault.CAPACITY_STATEMENT_REQUIRED
    return None


def _card_number_fault(card_number: str) -> ElementFault | None:
    if fault := text_fault(card_number):
        return fault
    if not re.fullmatch(r"[0-9]+", card_number):
        return ElementFault.WRONG_CHARACTERS
    return None if 13 <= len(card_number) <= 19 else ElementFault.WRONG_LENGTH


def _mobile_fault(mobile: str) -> ElementFault | None:
    if fault := text_fault(mobile):
        return fault
    if not re.fullmatch(r"[0-9]+", mobile):
        return ElementFault.WRONG_CHARACTERS
    if len(mobile) != 11:
        return ElementFault.WRONG_LENGTH
    return None if _MAINLAND_MOBILE.fullmatch(mobile) else ElementFault.NOT_A_MAINLAND_MOBILE
