"""What operators send and get of screening lists and matches."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas import Body
from domain.decisions import NoPersonalData
from domain.screening import MAX_ENTRIES, MAX_NAMES, ListedName
from ops.schemas import OpsResource


class NewListEntry(Body):
    """One entry, under the publisher's key. Numbers of identity documents are kept as keyed digests only."""

    key: str = Field(pattern=r"^[A-Za-z0-9._:/-]{1,60}$", examples=["QDi.001"])
    kind: Literal["person", "organisation"]
    names: list[ListedName] = Field(min_length=1, max_length=MAX_NAMES, examples=[["乌有之", "Wu Youzhi"]])
    birth_date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = Field(
        default=None, examples=["1961-04-01"]
    )
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = Field(default=None, examples=["CN"])
    id_numbers: list[Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z ()/-]{3,39}$")]] = Field(
        default_factory=list, max_length=20, repr=False, examples=[["11010519491231002X"]]
    )


class NewScreeningList(Body):
    """A list whole: what was in it and is not in this has been taken off. The same content again confirms it."""

    code: str = Field(pattern=r"^[A-Z][A-Z0-9_]{1,19}$", examples=["UN"])
    source: Annotated[str, Field(min_length=1, max_length=120), NoPersonalData] = Field(
        description="Where it is from, for the record; without anybody's numbers.",
        examples=["Foreign ministry, 2026 No. 14"],
    )
    entries: Annotated[list[NewListEntry], Field(max_length=MAX_ENTRIES)]


class ScreeningList(OpsResource):
    """`good_until`: without a newer load the list then counts as not there, and payouts wait."""

    code: str
    object: Literal["screening_list"]
    title_zh: str
    title_en: str
    version: int | None
    source: str | None
    loaded_by: str | None
    loaded_at: str | None
    confirmed_at: str | None
    good_until: str | None
    entries: int | None
    is_good: bool


class ScreeningMatch(OpsResource):
    """A user or payee whose name is like a listed one; the names here are the list's."""

    id: str
    object: Literal["screening_match"]
    subject_id: str
    merchant_id: str
    state: Literal["open", "cleared", "entry_changed"]
    list_code: str
    entry_key: str
    entry_names: Any
    matched_name: str | None
    comparison: Literal["identity", "exact", "pinyin", "similar"]
    score: int
    birth: Literal["agrees", "differs", "unknown"]
    document: Literal["agrees", "differs", "unknown"]
    found_at: str
