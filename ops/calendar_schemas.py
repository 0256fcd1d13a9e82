"""Calendars, hours and closures of banks and FX offices as operators send them, and as they are shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas import Body, Instant
from domain.calendars import GeneralCalendar
from domain.decisions import Reason
from ops.schemas import OpsResource

Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2027-01-01"])]
Clock = Annotated[str, Field(pattern=r"^[0-9]{2}:[0-9]{2}$", examples=["08:30"])]
BankCode = Annotated[
    str,
    Field(pattern=r"^(FX-)?[A-Z]{4}$", examples=["HBRB"], description="A bank, or an FX office: FX-HBRB."),
]
Note = Annotated[Reason, Field(description="Why, for the record; without anybody's numbers.", examples=["国办发明电"])]


class DayBody(Body):
    """A day that differs from Monday to Friday, or from what was loaded before."""

    day: Day
    working: bool
    name: Annotated[str, Field(min_length=1, max_length=60, examples=["元旦"])]


class CorrectionBody(DayBody):
    """A day of one calendar, which may be a bank's or an office's own."""

    calendar: Annotated[str, Field(pattern=r"^(CN|HK|MO|TW|US|JP|(FX-)?[A-Z]{4})$", examples=["CN"])]


class YearBody(Body):
    """A whole year as it was published: what was thought of it before falls away."""

    calendar: GeneralCalendar
    year: int = Field(examples=[2027])
    days: Annotated[list[DayBody], Field(min_length=1, max_length=200)]


class NewCalendar(Body):
    """The content of a file of `config/calendars/`; corrections win over years."""

    note: Note
    years: Annotated[list[YearBody], Field(max_length=8)] = Field(default_factory=list)
    corrections: Annotated[list[CorrectionBody], Field(max_length=400)] = Field(default_factory=list)


class RangeBody(Body):
    """Hours on some days of the week; 1 is Monday."""

    weekdays: Annotated[list[int], Field(min_length=1, max_length=7, examples=[[1, 2, 3, 4, 5]])]
    opens: Clock
    closes: Clock


class NewBankHours(Body):
    """The hours of a bank on its working days, in Asia/Shanghai; without any, those of the routes again."""

    bank_code: BankCode
    ranges: Annotated[list[RangeBody], Field(min_length=1, max_length=28)] | None = None
    note: Note


class NewBankClosure(Body):
    """A bank takes nothing from now, or from `from_at`, until `until_at`; or it is open again now."""

    bank_code: BankCode
    from_at: Instant | None = Field(default=None, description="Now, if left out.", examples=["2026-11-22T16:00:00Z"])
    until_at: Instant | None = Field(default=None, examples=["2026-11-23T00:30:00Z"])
    open_again: bool = Field(default=False, description="Ends all closures of the bank, also those to come.")
    note: Note


class LoadedVersion(OpsResource):
    object: Literal["calendar_version"]
    version: int = Field(description="What waits by an older one is planned anew, in order of acceptance.")
    already: bool = Field(description="The same was loaded last: nothing has changed.")


class CalendarsInForce(OpsResource):
    object: Literal["calendars"]
    version: int
    calendars: list[dict[str, Any]] = Field(description="The general ones, with the years that are published.")
    bank_days: dict[str, dict[str, bool]] = Field(description="Days on which a bank or an office differs.")
    bank_hours: dict[str, list[dict[str, Any]]]
    closures: list[dict[str, Any]] = Field(description="Those that are not over.")
    history: list[dict[str, Any]] = Field(description="The latest versions, last first.")
