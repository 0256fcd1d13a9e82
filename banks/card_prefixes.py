"""The issuing bank of a card, by the longest prefix in `config/card_prefixes.csv`."""

from __future__ import annotations

import csv
from collections.abc import Container, Iterable
from enum import StrEnum
from typing import Any

from pydantic import Field, ValidationError

from domain.banking import Frozen

_COLUMNS = ["prefix", "length", "bank_code", "card_type", "name_zh", "name_en"]


class CardType(StrEnum):
    """Debit or credit."""

    DEBIT = "debit"
    CREDIT = "credit"


class CardPrefix(Frozen):
    """One row: cards that begin with `prefix` and are `length` digits long belong to `bank_code`."""

    prefix: str = Field(pattern=r"^[0-9]{2,12}$")
    length: int = Field(ge=13, le=19)
    bank_code: str = Field(pattern=r"^[A-Z]{4}$")
    card_type: CardType
    name_zh: str = Field(min_length=1, max_length=60)
    name_en: str = Field(min_length=1, max_length=60)


class CardPrefixFileError(ValueError):
    """The data file cannot be used; the message names line and field."""


class CardPrefixes:
    """The rows, ready to be asked."""

    def __init__(self, rows: Iterable[CardPrefix]) -> None:
        self._rows = {(row.prefix, row.length): row for row in rows}
        self._prefix_lengths = sorted({len(prefix) for prefix, _ in self._rows}, reverse=True)

    def issuer(self, card_number: str) -> CardPrefix | None:
        """The row of the longest prefix that fits a card number of that length; None if nobody we know
        issued it.
        """
        for digits in self._prefix_lengths:
            row = self._rows.get((card_number[:digits], len(card_number)))
            if row is not None:
                return row
        return None


def read_card_prefixes(text: str, bank_codes: Container[str]) -> CardPrefixes:
    """From the file's text. Raises `CardPrefixFileError` for wrong columns, bad or repeated rows, and
    unknown banks.
    """
    reader = csv.DictReader(text.splitlines(), strict=True)
    if reader.fieldnames != _COLUMNS:
        raise CardPrefixFileError(f"line 1: the columns must be {','.join(_COLUMNS)}")
    rows: dict[tuple[str, int], CardPrefix] = {}
    for cells in reader:
        row = _read_row(cells, reader.line_num)
        key = (row.prefix, row.length)
        if key in rows:
            raise CardPrefixFileError(
                f"line {reader.line_num}: prefix {row.prefix} of length {row.length} occurs twice"
            )
        if row.bank_code not in bank_codes:
            raise CardPrefixFileError(f"line {reader.line_num}: bank {row.bank_code} is not registered")
        rows[key] = row
    if not rows:
        raise CardPrefixFileError("the file holds no prefixes")
    return CardPrefixes(rows.values())


def _read_row(cells: dict[str, Any], line: int) -> CardPrefix:
    try:
        return CardPrefix.model_validate(cells)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise CardPrefixFileError(f"line {line}: {field}: {problem['msg']}") from None
