"""Days and months of the business are those of Shanghai, and limits are counted in them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.business_time import business_date, month_start
from domain.errors import RefusedError
from domain.limits import LimitSet, windows_to_take

INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - strategy
CAPS = LimitSet(per_transaction_minor=500_000, per_day_minor=1_000_000, per_month_minor=5_000_000)


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        (datetime(2026, 11, 22, 15, 59, 59, 999_999, tzinfo=UTC), date(2026, 11, 22)),
        (datetime(2026, 11, 22, 16, 0, tzinfo=UTC), date(2026, 11, 23)),
        (datetime(2026, 12, 31, 16, 0, tzinfo=UTC), date(2027, 1, 1)),
        (datetime(2026, 11, 22, 23, 0, tzinfo=timezone(timedelta(hours=-8))), date(2026, 11, 23)),
    ],
)
def test_a_day_begins_at_midnight_in_shanghai(instant: datetime, day: date) -> None:
    assert business_date(instant) == day


@given(INSTANTS, st.integers(-14, 14))
def test_the_zone_in_which_an_instant_is_written_does_not_matter(instant: datetime, hours: int) -> None:
    assert business_date(instant) == business_date(instant.astimezone(timezone(timedelta(hours=hours))))


def test_an_instant_without_a_zone_has_no_date() -> None:
    with pytest.raises(ValueError, match="time zone"):
        business_date(datetime(2026, 11, 23))  # noqa: DTZ001 - that is the point


@given(INSTANTS, st.integers(1, CAPS.per_transaction_minor))
def test_a_payment_takes_from_its_day_and_from_the_month_that_holds_it(instant: datetime, amount: int) -> None:
    windows = windows_to_take([("user:usr_1", CAPS), ("binding:bnd_1", CAPS)], amount, instant)
    assert [(w.subject, w.window_kind, w.cap_minor) for w in windows] == [
        (subject, kind, cap)
        for subject in ("user:usr_1", "binding:bnd_1")
        for kind, cap in (("day", CAPS.per_day_minor), ("month", CAPS.per_month_minor))
    ]
    day, month = windows[0].window_start, windows[1].window_start
    assert day == business_date(instant)
    assert month == month_start(day) <= day < month + timedelta(days=31)
    assert month.day == 1


def test_equal_to_the_limit_of_one_transaction_passes_and_one_fen_more_does_not() -> None:
    instant = datetime(2026, 11, 23, tzinfo=UTC)
    assert windows_to_take([("user:usr_1", CAPS)], 500_000, instant)
    with pytest.raises(RefusedError, match="LIMIT_PER_TRANSACTION"):
        windows_to_take([("user:usr_1", CAPS)], 500_001, instant)


def test_the_tightest_of_several_limits_decides() -> None:
    tight = CAPS.model_copy(update={"per_transaction_minor": 100})
    with pytest.raises(RefusedError, match="LIMIT_PER_TRANSACTION"):
        windows_to_take([("user:usr_1", CAPS), ("merchant:mch_1", tight)], 101, datetime(2026, 11, 23, tzinfo=UTC))
