"""Made-up people whose four elements follow from one number, so that a bank knows them again in a later run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

from stdnum.iso7064 import mod_11_2

NUMBERS = 1_000_000
# No place has this code, so no ID number made from it can be anybody's; with a 9 it would be a foreigner's.
_PLACE = "660101"
_FIRST_BIRTHDAY = date(1960, 1, 1)
_BIRTHDAYS = 10_000


@dataclass(frozen=True)
class Person:
    """Name and documents of somebody who is nobody."""

    name: str
    id_number: str = field(repr=False)
    mobile: str = field(repr=False)


def person(name: str, number: int) -> Person:
    """The person of that number, from 0 to NUMBERS - 1."""
    born = _FIRST_BIRTHDAY + timedelta(days=number % _BIRTHDAYS)
    first_seventeen = f"{_PLACE}{born:%Y%m%d}{number // _BIRTHDAYS:03d}"
    return Person(name, first_seventeen + mod_11_2.calc_check_digit(first_seventeen), f"13800{number:06d}")
