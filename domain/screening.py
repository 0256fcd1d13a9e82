"""List screening (P1.1.3, L11): the entries of a list, what makes a hit, and how a hit explains itself.

Listed persons are public; whom we compare with them is not. A match therefore names the list, the entry and which form
of the entry's name it was, and never the name that was asked for.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

MAX_ENTRIES = 20_000
MAX_NAMES = 40
ListCode = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{1,19}$")]


def _has_letters(value: str) -> str:
    # Marks and blanks alone compare with nothing: such an entry would be on the list and be found by nobody.
    if not any(character.isalnum() for character in unicodedata.normalize("NFKC", value)):
        raise PydanticCustomError("no_letters", "has no letter to be compared")
    return value


ListedName = Annotated[
    str,
    Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f-\x9f]*\S[^\x00-\x1f\x7f-\x9f]*$"),
    AfterValidator(_has_letters),
]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ScreeningUnavailableError(Exception):
    """The lists cannot be relied on, or the names not be read. The message says which, in words and without names."""


class ScreeningOutcome(StrEnum):
    """`unavailable` is not `no_hit`: it blocks."""

    NO_HIT = "no_hit"
    HIT = "hit"
    UNAVAILABLE = "unavailable"


class Comparison(StrEnum):
    """How two names were compared."""

    IDENTITY = "identity"  # the very identity number, whatever the name
    EXACT = "exact"  # the same letters, whatever their width, case, order of words and separators
    PINYIN = "pinyin"  # a name in Chinese characters against one in Latin letters, by its reading
    SIMILAR = "similar"  # two names of the same script that differ in little


class ListEntry(_Value):
    """One entry of a list: `key` is the publisher's. Numbers of identity documents are here as keyed digests only."""

    key: str = Field(pattern=r"^[A-Za-z0-9._:/-]{1,60}$")
    kind: Literal["person", "organisation"]
    names: tuple[ListedName, ...] = Field(min_length=1, max_length=MAX_NAMES)
    birth_date: date | None = None
    country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    id_indexes: tuple[str, ...] = Field(default=(), max_length=20)

    @property
    def fingerprint(self) -> str:
        """Of its content: a hit that was cleared comes back when this changes."""
        content = self.model_dump(mode="json") | {"names": sorted(self.names), "id_indexes": sorted(self.id_indexes)}
        text = json.dumps(content, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()


class ListedEntry(_Value):
    """An entry that is in force, with the list it is of and the version that brought it."""

    list_code: str
    entry: ListEntry
    fingerprint: str
    since_version: int


class Facts(_Value):
    """What is known of a person beside the name, to tell namesakes apart. The index is that of the identity number."""

    birth_date: date | None = None
    id_index: str | None = None


class Agreement(StrEnum):
    """Whether a fact of the person is that of the entry."""

    AGREES = "agrees"
    DIFFERS = "differs"
    UNKNOWN = "unknown"


class Match(_Value):
    """One name against one entry. `form` counts the entry's names from 1; `score` goes to 100, rounded down.

    `birth` and `document`: whether the date of birth and the number of the identity document are the entry's.
    """

    list_code: str
    entry_key: str
    entry_fingerprint: str
    form: int
    comparison: Comparison
    score: int
    birth: Agreement = Agreement.UNKNOWN
    document: Agreement = Agreement.UNKNOWN

    @property
    def is_certain(self) -> bool:
        """The identity number is the listed one: no namesake."""
        return self.document is Agreement.AGREES


class MatchRow(_Value):
    """A match of one user or payee, as it is kept; `clearance_index` is under what a false one is cleared."""

    id: str
    subject_id: str
    merchant_id: str
    clearance_index: str
    list_code: str
    entry_key: str
    entry_fingerprint: str
    form: int
    comparison: Comparison
    score: int
    birth: Agreement
    document: Agreement


class Screened(_Value):
    """What the lists say of some users and payees, by the version they were in. `subjects`: whose names were compared.

    `is_certain`: the identity number of the user is a listed one.
    """

    version: int
    subjects: tuple[Literal["user", "payee"], ...]
    matches: tuple[MatchRow, ...]
    is_certain: bool = False

    @property
    def outcome(self) -> ScreeningOutcome:
        """Cleared matches are not among these, so that any is a hit."""
        return ScreeningOutcome.HIT if self.matches else ScreeningOutcome.NO_HIT


class Thresholds(_Value):
    """From which score on a comparison is a hit, in hundredths of likeness; 100 is equality."""

    # A syllable's reading differs from another person's by a letter: less than equality would hit half the country.
    pinyin: int = Field(ge=90, le=100)
    similar_latin: int = Field(ge=80, le=100)
    # One character in three is another name; only long names (organisations, transliterations) are compared so.
    similar_chinese: int = Field(ge=80, le=100)
    similar_chinese_from_characters: int = Field(ge=4, le=20)
    similar_latin_from_letters: int = Field(ge=4, le=20)


class ListRule(_Value):
    """One list that has to be asked (L11); what was not confirmed for longer than `fresh_hours` counts as not there."""

    title_zh: str = Field(min_length=1, max_length=60)
    title_en: str = Field(min_length=1, max_length=120)
    fresh_hours: int = Field(gt=0, le=24 * 366)


class ScreeningRules(_Value):
    """`config/risk_rules.toml`, [screening]."""

    thresholds: Thresholds
    lists: Mapping[ListCode, ListRule] = Field(min_length=1)
    # How many users and payees a round of the sweeper screens again after a list has changed.
    subjects_a_round: int = Field(gt=0, le=1000)
    most_matches: int = Field(gt=0, le=100)


class NewList(_Value):
    """A version of a list as an operator loads it: all of its entries, those of the version before included."""

    code: ListCode
    source: str = Field(min_length=1, max_length=120)
    entries: tuple[ListEntry, ...] = Field(max_length=MAX_ENTRIES)

    @model_validator(mode="after")
    def _keys_are_unique(self) -> NewList:
        if len({entry.key for entry in self.entries}) < len(self.entries):
            raise ValueError("two entries have one key")
        return self

    @property
    def fingerprint(self) -> str:
        """Of the whole content, whatever its order."""
        lines = sorted(f"{entry.key} {entry.fingerprint}" for entry in self.entries)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
