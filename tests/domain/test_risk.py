"""The rules on payouts at their edges, and what holds for any set of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from config.policy import read_policy
from domain.hit_texts import explain_hit
from domain.policy import Policy
from domain.risk import Collection, PastPayout, RiskInputs, RiskOutcome, evaluate
from domain.risk_rules import RuleSet

# Tuesday noon in Shanghai.
NOW = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
WORDS = {"title_zh": "规则", "title_en": "A rule"}
AMOUNTS = {"CNY": 100_00}


def rule(kind: str, outcome: str = "review", **parameters: Any) -> RuleSet:
    """A set of one rule."""
    hours = {"delay_hours": 24} if outcome == "delay" else {}
    body = {"id": f"{kind}_rule", "kind": kind, "outcome": outcome} | WORDS | hours | parameters
    return RuleSet.model_validate({"version": "1", "rules": [body]})


def facts(**changes: Any) -> RiskInputs:
    values = {
        "payout_id": "po_1", "at": NOW, "kind": "transfer", "amount_minor": 100_00, "currency": "CNY",
        "accepted_at": NOW, "payee_created_at": NOW - timedelta(days=90), "payee_first_paid_at": None,
        "relation": "other", "name_match": "match", "recipient": "other", "users_of_account": 1,
    }  # fmt: skip
    return RiskInputs.model_validate(values | changes)


def earlier(ago: timedelta, amount_minor: int = 100_00, currency: str = "CNY") -> PastPayout:
    return PastPayout(id="po_0", amount_minor=amount_minor, currency=currency, accepted_at=NOW - ago, same_payee=True)


def collected(ago: timedelta, amount_minor: int = 100_00, **changes: Any) -> Collection:
    values = {"id": "pay_1", "amount_minor": amount_minor, "currency": "CNY", "collected_at": NOW - ago}
    return Collection.model_validate(values | {"card_type": "credit", "by": "self"} | changes)


HOUR, DAY, MOMENT = timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)
VELOCITY = rule("velocity", within_hours=24, more_than=2, above_minor={"CNY": 250_00})
NEW_PAYEE = rule("new_payee", within_hours=24, from_minor=AMOUNTS)
NIGHT = rule("night", from_hour=23, to_hour=6, from_minor=AMOUNTS)
CASH_OUT = rule("cash_out", within_days=7, from_minor={"CNY": 50_00}, share_percent=50)
ROUND_TRIP = rule("round_trip", within_hours=2, share_percent=95, from_minor=AMOUNTS)
REPEATED = rule("repeated_amount", within_hours=72, times=3, from_minor=AMOUNTS)


@pytest.mark.parametrize(
    ("rules", "changes", "hits"),
    [
        (rule("amount", above_minor=AMOUNTS), {"amount_minor": 100_00}, False),
        (rule("amount", above_minor=AMOUNTS), {"amount_minor": 100_01}, True),
        (rule("amount", above_minor=AMOUNTS), {"amount_minor": 1, "currency": "HKD"}, True),
        (VELOCITY, {"amount_minor": 1, "payouts": [earlier(HOUR, 1)]}, False),
        (VELOCITY, {"amount_minor": 1, "payouts": [earlier(HOUR, 1), earlier(DAY - MOMENT, 1)]}, True),
        (VELOCITY, {"amount_minor": 1, "payouts": [earlier(HOUR, 1), earlier(DAY, 1)]}, False),
        (VELOCITY, {"payouts": [earlier(HOUR, 150_00)]}, False),
        (VELOCITY, {"payouts": [earlier(HOUR, 150_01)]}, True),
        (VELOCITY, {"payouts": [earlier(HOUR, 150_01, "HKD")]}, False),
        (NEW_PAYEE, {"payee_created_at": NOW - DAY + MOMENT}, True),
        (NEW_PAYEE, {"payee_created_at": NOW - DAY}, False),
        (NEW_PAYEE, {"payee_created_at": NOW, "amount_minor": 99_99}, False),
        # The account was named anew, and has been paid for long.
        (NEW_PAYEE, {"payee_created_at": NOW, "payee_first_paid_at": NOW - DAY}, False),
        (NIGHT, {"accepted_at": datetime(2026, 11, 24, 14, 59, 59, tzinfo=UTC)}, False),
        (NIGHT, {"accepted_at": datetime(2026, 11, 24, 15, 0, tzinfo=UTC)}, True),
        (NIGHT, {"accepted_at": datetime(2026, 11, 24, 21, 59, 59, tzinfo=UTC)}, True),
        (NIGHT, {"accepted_at": datetime(2026, 11, 24, 22, 0, tzinfo=UTC)}, False),
        (CASH_OUT, {"recipient": "same", "collections": [collected(DAY, 50_00)]}, True),
        (CASH_OUT, {"recipient": "same", "collections": [collected(DAY, 49_99)]}, False),
        (CASH_OUT, {"recipient": "same", "collections": [collected(7 * DAY)]}, False),
        (CASH_OUT, {"recipient": "same", "collections": [collected(7 * DAY - MOMENT)]}, True),
        (CASH_OUT, {"recipient": "other", "collections": [collected(DAY)]}, False),
        (CASH_OUT, {"recipient": "linked", "collections": [collected(DAY, by="account")]}, True),
        (CASH_OUT, {"recipient": "same", "collections": [collected(DAY, by="person")]}, True),
        (CASH_OUT, {"recipient": "same", "collections": [collected(DAY, card_type="debit")]}, False),
        (ROUND_TRIP, {"collections": [collected(HOUR, 105_26)]}, True),
        (ROUND_TRIP, {"collections": [collected(HOUR, 105_27)]}, False),
        (ROUND_TRIP, {"collections": [collected(2 * HOUR)]}, False),
        (ROUND_TRIP, {"collections": [collected(HOUR, by="person")]}, False),
        (ROUND_TRIP, {"collections": [collected(HOUR, 300_00)], "payouts": [earlier(HOUR, 185_00)]}, True),
        (REPEATED, {"payouts": [earlier(HOUR)]}, False),
        (REPEATED, {"payouts": [earlier(HOUR), earlier(3 * DAY - MOMENT)]}, True),
        (REPEATED, {"payouts": [earlier(HOUR), earlier(3 * DAY)]}, False),
        (REPEATED, {"payouts": [earlier(HOUR), earlier(HOUR, 100_01)]}, False),
        (rule("shared_account", users=3), {"users_of_account": 2}, False),
        (rule("shared_account", users=3), {"users_of_account": 3}, True),
        (rule("name_differs"), {"relation": "own", "name_match": "differs"}, True),
        (rule("name_differs"), {"relation": "own", "name_match": "unknown"}, False),
        (rule("name_differs"), {"relation": "other", "name_match": "differs"}, False),
        (rule("reported", within_days=7), {"reported_at": NOW - 7 * DAY + MOMENT}, True),
        (rule("reported", within_days=7), {"reported_at": NOW - 7 * DAY}, False),
    ],
)  # fmt: skip
def test_each_rule_applies_from_its_edge_on(rules: RuleSet, changes: dict[str, Any], hits: bool) -> None:
    verdict = evaluate(rules, facts(**changes))
    assert bool(verdict.hits) is hits
    assert verdict.outcome is (RiskOutcome.REVIEW if hits else RiskOutcome.PASS)
    for hit in verdict.hits:
        assert hit.observed
        told = explain_hit(hit.model_dump(mode="json"), "CNY")
        assert told["zh"]
        assert told["en"]


def test_the_longest_delay_counts_and_the_worst_outcome_wins() -> None:
    rules = [
        {"id": "short_one", "kind": "night", "outcome": "delay", "delay_hours": 2, "from_hour": 0, "to_hour": 23},
        {"id": "long_one", "kind": "new_payee", "outcome": "delay", "delay_hours": 9, "within_hours": 24},
    ]
    both = RuleSet.model_validate({"version": "1", "rules": [r | WORDS | {"from_minor": AMOUNTS} for r in rules]})
    verdict = evaluate(both, facts(payee_created_at=NOW))
    assert (verdict.outcome, verdict.delay_hours) == (RiskOutcome.DELAY, 9)
    worse = both.model_copy(update={"rules": (*both.rules, *rule("amount", "refuse", above_minor={"CNY": 0}).rules)})
    assert evaluate(worse, facts(payee_created_at=NOW)).outcome is RiskOutcome.REFUSE


def test_what_a_payout_has_been_through_is_on_record_and_stops_it_no_more() -> None:
    verdict = evaluate(rule("amount", above_minor={"CNY": 0}), facts(), ["amount_rule"])
    assert verdict.outcome is RiskOutcome.PASS
    assert [(hit.rule, hit.settled) for hit in verdict.hits] == [("amount_rule", True)]


@pytest.mark.parametrize(
    "rules",
    [
        [{"id": "one_rule", "kind": "amount", "above_minor": {}, "outcome": "delay"} | WORDS],
        [{"id": "one_rule", "kind": "amount", "above_minor": {}, "outcome": "review", "delay_hours": 3} | WORDS],
        [{"id": "one_rule", "kind": "amount", "above_minor": {}, "outcome": "pass"} | WORDS],
        [{"id": "one_rule", "kind": "unheard_of", "outcome": "review"} | WORDS],
        [{"id": "one_rule", "kind": "name_differs", "outcome": "review"} | WORDS] * 2,
    ],
)
def test_a_file_of_rules_that_says_nonsense_is_refused(rules: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        RuleSet.model_validate({"version": "1", "rules": rules})


RULES = Policy.model_validate(read_policy()).risk
_amounts = st.integers(1, 5_000_000)
_ago = st.timedeltas(timedelta(0), timedelta(days=10))
_payouts = st.builds(earlier, _ago, _amounts)
_collections = st.builds(
    lambda ago, amount, card, by: collected(ago, amount, card_type=card, by=by),
    _ago, _amounts, st.sampled_from(["debit", "credit"]), st.sampled_from(["self", "person", "account"]),
)  # fmt: skip
_facts = st.builds(
    facts,
    amount_minor=_amounts, currency=st.sampled_from(["CNY", "TWD", "EUR"]),
    payee_created_at=_ago.map(lambda ago: NOW - ago), relation=st.sampled_from(["own", "other"]),
    name_match=st.sampled_from(["match", "differs", "unknown"]),
    recipient=st.sampled_from(["same", "linked", "other"]), payouts=st.lists(_payouts, max_size=6),
    collections=st.lists(_collections, max_size=6), users_of_account=st.integers(0, 5),
    reported_at=st.none() | _ago.map(lambda ago: NOW - ago),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(_facts, st.sets(st.sampled_from([rule.id for rule in RULES.rules]), max_size=9))
def test_a_further_rule_never_makes_a_verdict_milder_and_the_same_facts_give_the_same(
    inputs: RiskInputs, some: set[str]
) -> None:
    fewer = RULES.model_copy(update={"rules": tuple(r for r in RULES.rules if r.id in some)})
    mild, full = evaluate(fewer, inputs), evaluate(RULES, inputs)
    assert mild.outcome <= full.outcome
    assert (mild.delay_hours or 0) <= (full.delay_hours or 0)
    assert all(hit in full.hits for hit in mild.hits)
    assert evaluate(RULES, RiskInputs.model_validate_json(inputs.model_dump_json())) == full
    assert (full.outcome is RiskOutcome.PASS) == (full.hits == ())


def test_the_fingerprint_tells_two_sets_of_one_version_apart() -> None:
    other = RULES.model_copy(update={"rules": RULES.rules[1:]})
    assert RULES.fingerprint != other.fingerprint
    assert RULES.fingerprint == Policy.model_validate(read_policy()).risk.fingerprint
