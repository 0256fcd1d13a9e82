"""Dates in decisions, whatever offset they are given in."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from domain.decisions import DecisionKind, read_detail


def test_a_date_of_any_offset_is_kept_in_utc() -> None:
    detail = read_detail(DecisionKind.FUNDS_FREEZE, {"review_at": "2027-01-31T00:00:00+23:59"})
    assert detail["review_at"] == "2027-01-30T00:01:00Z"


def test_a_date_outside_of_the_calendar_is_refused() -> None:
    with pytest.raises(ValidationError, match="calendar"):
        read_detail(DecisionKind.FUNDS_FREEZE, {"review_at": "9999-12-31T23:59:59-10:00"})


@pytest.mark.parametrize("number", [1795795200, 1795795200000, 1.5e9, True, "1795795200", "1795795200.5"])
def test_a_number_is_no_date(number: object) -> None:
    with pytest.raises(ValidationError, match="RFC 3339"):
        read_detail(DecisionKind.FUNDS_FREEZE, {"review_at": number})
