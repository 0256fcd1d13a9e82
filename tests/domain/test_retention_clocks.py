"""How long what a user leaves behind is kept: two clocks, the longer of agreement and law, and the user's consent."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from config.policy import read_policy
from domain.retention import (
    EARLIEST_EVENT,
    LATEST_EVENT,
    RetainedKind,
    RetentionGround,
    RetentionRules,
    clock_runs_out,
    earliest_purge,
    ground_of,
)

K, G = RetainedKind, RetentionGround
RULES = RetentionRules.model_validate(read_policy()["retention"])
AGREEMENT_ALONE = RetentionRules(agreement_years=5, law_years=0)
DAYS = st.dates(min_value=EARLIEST_EVENT, max_value=LATEST_EVENT)
KINDS = st.sampled_from(RetainedKind)
SETTINGS = st.builds(
    RetentionRules, agreement_years=st.integers(5, 40), law_years=st.integers(0, 40), event_year_counts=st.booleans()
)


def test_the_file_says_what_agreement_and_law_say() -> None:
    assert (RULES.agreement_years, RULES.law_years, RULES.event_year_counts) == (5, 10, False)
    assert (RULES.key_backup_days, RULES.backup_days) == (7, 30)


@pytest.mark.parametrize("kind", K)
@pytest.mark.parametrize("booked_on", [date(2026, 1, 1), date(2026, 7, 14), date(2026, 12, 31)])
def test_what_was_booked_on_any_day_of_2026_goes_on_the_first_day_of_2032_or_by_the_law_of_2037(
    kind: RetainedKind, booked_on: date
) -> None:
    assert earliest_purge(kind, booked_on, AGREEMENT_ALONE) == date(2032, 1, 1)
    assert earliest_purge(kind, booked_on, RULES) == date(2037, 1, 1)


def test_one_day_later_is_one_year_longer() -> None:
    assert earliest_purge(K.TRANSACTION, date(2026, 12, 31), RULES) == date(2037, 1, 1)
    assert earliest_purge(K.TRANSACTION, date(2027, 1, 1), RULES) == date(2038, 1, 1)


def test_a_last_transaction_long_before_closing_does_not_shorten_what_is_kept_of_the_identity() -> None:
    assert earliest_purge(K.TRANSACTION, date(2026, 3, 2), RULES) == date(2037, 1, 1)
    assert earliest_purge(K.IDENTITY, date(2031, 6, 30), RULES) == date(2042, 1, 1)


def test_a_leap_day_is_a_day_like_others() -> None:
    assert earliest_purge(K.TRANSACTION, date(2028, 2, 29), RULES) == date(2039, 1, 1)
    assert earliest_purge(K.TRANSACTION, date(2026, 5, 1), RULES, date(2040, 2, 28)) == date(2040, 2, 29)


def test_the_year_of_the_event_counts_only_where_the_settings_say_so() -> None:
    counted = RetentionRules(event_year_counts=True)
    assert earliest_purge(K.TRANSACTION, date(2026, 12, 31), counted) == date(2036, 1, 1)


def test_a_longer_consent_is_honoured_and_a_shorter_one_shortens_nothing() -> None:
    booked_on = date(2026, 5, 1)
    for consent, until, ground in (
        (date(2030, 1, 1), date(2037, 1, 1), G.LAW),
        (date(2036, 12, 31), date(2037, 1, 1), G.LAW),
        (date(2037, 1, 1), date(2037, 1, 2), G.CONSENT),
        (date(2040, 6, 30), date(2040, 7, 1), G.CONSENT),
    ):
        assert earliest_purge(K.IDENTITY, booked_on, RULES, consent) == until
        assert ground_of(K.IDENTITY, booked_on, RULES, consent) is ground


def test_the_ground_is_whichever_asks_for_more_years() -> None:
    assert ground_of(K.IDENTITY, date(2026, 5, 1), RULES) is G.LAW
    assert ground_of(K.IDENTITY, date(2026, 5, 1), AGREEMENT_ALONE) is G.AGREEMENT
    assert ground_of(K.IDENTITY, date(2026, 5, 1), RetentionRules(agreement_years=10, law_years=10)) is G.LAW


@given(KINDS, DAYS, SETTINGS, st.none() | DAYS)
def test_nothing_goes_before_as_many_full_years_as_the_longer_asks_for(
    kind: RetainedKind, event_on: date, rules: RetentionRules, consent: date | None
) -> None:
    until = earliest_purge(kind, event_on, rules, consent)
    full_years = until.year - event_on.year - (not rules.event_year_counts)
    assert full_years >= max(rules.agreement_years, rules.law_years)
    assert until >= clock_runs_out(kind, event_on, rules)
    assert consent is None or until > consent
    is_by_consent = ground_of(kind, event_on, rules, consent) is G.CONSENT
    assert is_by_consent == (until != clock_runs_out(kind, event_on, rules))
    assert is_by_consent or (until.month, until.day) == (1, 1)
    assert not is_by_consent or consent == until - timedelta(days=1)


@given(KINDS, DAYS, DAYS, SETTINGS)
def test_what_happened_later_is_never_kept_for_a_shorter_time(
    kind: RetainedKind, one: date, other: date, rules: RetentionRules
) -> None:
    first, last = sorted((one, other))
    assert earliest_purge(kind, first, rules) <= earliest_purge(kind, last, rules)


@pytest.mark.parametrize(
    "changes",
    [
        {"agreement_years": 4},
        {"law_years": -1},
        {"key_backup_days": 0},
        {"key_backup_days": 31, "backup_days": 30},
        {"run_at": "24:00"},
        {"keep_for_ever": True},
    ],
)
def test_settings_that_cannot_be_meant_stop_the_start(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RetentionRules.model_validate(changes)
