"""Judging a payout: let pass, delayed, reviewed or refused by rules and facts (A1.4, A3.10, A7.6, A7.7).

`evaluate` is pure: the same rules and facts give the same verdict, and every hit says by which numbers. A further rule
never makes a verdict milder. What was decided is stored with rules and facts, and can be worked out again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from domain.business_time import SHANGHAI
from domain.risk_rules import (
    CASES,
    AmountRule,
    Amounts,
    BaseRule,
    CashOutRule,
    NameDiffersRule,
    NewPayeeRule,
    NightRule,
    RepeatedAmountRule,
    ReportedRule,
    RoundTripRule,
    Rule,
    RuleSet,
    SharedAccountRule,
    VelocityRule,
)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RiskOutcome(IntEnum):
    """The worst one counts."""

    PASS = 0
    DELAY = 1
    REVIEW = 2
    REFUSE = 3

    @property
    def word(self) -> Literal["pass", "delay", "review", "refuse"]:
        """As it is stored and told."""
        return _WORDS[self]


_WORDS: Mapping[RiskOutcome, Literal["pass", "delay", "review", "refuse"]] = {
    RiskOutcome.PASS: "pass",
    RiskOutcome.DELAY: "delay",
    RiskOutcome.REVIEW: "review",
    RiskOutcome.REFUSE: "refuse",
}


class PastPayout(_Value):
    """Another payout of the same user; none that ended without money having left."""

    id: str
    amount_minor: int
    currency: str
    accepted_at: datetime
    same_payee: bool


class Collection(_Value):
    """What was collected into a balance, by the user, the same person elsewhere, or who shares the account."""

    id: str
    amount_minor: int
    currency: str
    collected_at: datetime
    card_type: Literal["debit", "credit"]
    by: Literal["self", "person", "account"]


class RiskInputs(_Value):
    """The facts of one payout and of what went before it, over a bounded time (`app.risk_inputs`)."""

    payout_id: str
    at: datetime
    kind: Literal["withdrawal", "transfer", "merchant_settlement"]
    amount_minor: int = Field(gt=0)
    currency: str
    accepted_at: datetime
    payee_created_at: datetime
    # Since when this account has been paid with success by this user; None: never.
    payee_first_paid_at: datetime | None
    relation: Literal["own", "other"]
    name_match: Literal["match", "differs", "unknown"]
    # Whose account it is: the payer's own, one that is used by others too, or somebody else's.
    recipient: Literal["same", "linked", "other"]
    payouts: tuple[PastPayout, ...] = ()
    collections: tuple[Collection, ...] = ()
    # Persons, or users of whom no person is known, that have this account as a payee, this user included.
    users_of_account: int = Field(ge=0)
    linked_users: tuple[str, ...] = ()
    reported_at: datetime | None = None


class Hit(_Value):
    """One rule that applies, and the numbers by which it does. `settled`: this payout has been through it before."""

    rule: str
    kind: str
    outcome: Literal["delay", "review", "refuse"]
    delay_hours: int | None = None
    case: str | None = None
    observed: dict[str, Any]
    settled: bool = False


class RiskVerdict(_Value):
    """What all rules say together; `delay_hours` is the longest of those that delay."""

    outcome: RiskOutcome
    delay_hours: int | None
    hits: tuple[Hit, ...]


def evaluate(rules: RuleSet, facts: RiskInputs, settled: Iterable[str] = ()) -> RiskVerdict:
    """Applies every rule. What a payout has been through (`settled`: rule ids) is a hit still and stops it no more."""
    done = frozenset(settled)
    hits = tuple(_hit(rule, seen, rule.id in done) for rule in rules.rules if (seen := _look(rule, facts)) is not None)
    fresh = [hit for hit in hits if not hit.settled]
    worst = max((RiskOutcome[hit.outcome.upper()] for hit in fresh), default=RiskOutcome.PASS)
    return RiskVerdict(
        outcome=worst, delay_hours=max((hit.delay_hours or 0 for hit in fresh), default=0) or None, hits=hits
    )


def _hit(rule: BaseRule, observed: dict[str, Any], settled: bool) -> Hit:
    kind = str(getattr(rule, "kind"))  # noqa: B009 - only the subclasses have one
    return Hit(
        rule=rule.id,
        kind=kind,
        outcome=rule.outcome,
        delay_hours=rule.delay_hours,
        case=CASES.get(kind),
        observed=observed,
        settled=settled,
    )


def _look(rule: Rule, facts: RiskInputs) -> dict[str, Any] | None:
    look: Callable[[Any, RiskInputs], dict[str, Any] | None] = _LOOKS[rule.kind]
    return look(rule, facts)


def _reaches(amounts: Amounts, amount_minor: int, currency: str) -> bool:
    return currency not in amounts or amount_minor >= amounts[currency]


def _exceeds(amounts: Amounts, amount_minor: int, currency: str) -> bool:
    return currency not in amounts or amount_minor > amounts[currency]


def _amount(rule: AmountRule, facts: RiskInputs) -> dict[str, Any] | None:
    if not _exceeds(rule.above_minor, facts.amount_minor, facts.currency):
        return None
    return {"amount_minor": facts.amount_minor, "above_minor": rule.above_minor.get(facts.currency)}


def _velocity(rule: VelocityRule, facts: RiskInputs) -> dict[str, Any] | None:
    since = facts.accepted_at - timedelta(hours=rule.within_hours)
    earlier = [p for p in facts.payouts if since < p.accepted_at <= facts.accepted_at]
    count = len(earlier) + 1
    total = facts.amount_minor + sum(p.amount_minor for p in earlier if p.currency == facts.currency)
    if count <= rule.more_than and not _exceeds(rule.above_minor, total, facts.currency):
        return None
    return {
        "payouts": count,
        "more_than": rule.more_than,
        "sum_minor": total,
        "above_minor": rule.above_minor.get(facts.currency),
        "within_hours": rule.within_hours,
    }


def _new_payee(rule: NewPayeeRule, facts: RiskInputs) -> dict[str, Any] | None:
    known_since = min(facts.payee_created_at, facts.payee_first_paid_at or facts.payee_created_at)
    age = facts.accepted_at - known_since
    if age >= timedelta(hours=rule.within_hours) or not _reaches(rule.from_minor, facts.amount_minor, facts.currency):
        return None
    return {"payee_age_seconds": int(age.total_seconds()), "within_hours": rule.within_hours} | _amounts(rule, facts)


def _night(rule: NightRule, facts: RiskInputs) -> dict[str, Any] | None:
    hour = facts.accepted_at.astimezone(SHANGHAI).hour
    if rule.from_hour <= rule.to_hour:
        is_night = rule.from_hour <= hour < rule.to_hour
    else:
        is_night = hour >= rule.from_hour or hour < rule.to_hour
    if not is_night or not _reaches(rule.from_minor, facts.amount_minor, facts.currency):
        return None
    return {"hour": hour, "from_hour": rule.from_hour, "to_hour": rule.to_hour} | _amounts(rule, facts)


def _cash_out(rule: CashOutRule, facts: RiskInputs) -> dict[str, Any] | None:
    if facts.recipient == "other":
        return None
    since = facts.accepted_at - timedelta(days=rule.within_days)
    found = [c for c in facts.collections if c.card_type == "credit" and since < c.collected_at <= facts.accepted_at]
    total = sum(c.amount_minor for c in found if c.currency == facts.currency)
    is_much = total * 100 >= facts.amount_minor * rule.share_percent
    if not found or not is_much or not _reaches(rule.from_minor, total, facts.currency):
        return None
    return {
        "recipient": facts.recipient,
        "credit_card_collections": len(found),
        "collected_minor": total,
        "amount_minor": facts.amount_minor,
        "share_percent": rule.share_percent,
        "within_days": rule.within_days,
        "by": sorted({c.by for c in found}),
        "payments": [c.id for c in found[:20]],
    }


def _round_trip(rule: RoundTripRule, facts: RiskInputs) -> dict[str, Any] | None:
    since = facts.accepted_at - timedelta(hours=rule.within_hours)
    found = [
        c
        for c in facts.collections
        if c.by == "self" and c.currency == facts.currency and since < c.collected_at <= facts.accepted_at
    ]
    collected = sum(c.amount_minor for c in found)
    paid = facts.amount_minor + sum(
        p.amount_minor
        for p in facts.payouts
        if p.currency == facts.currency and since < p.accepted_at <= facts.accepted_at
    )
    is_most = collected > 0 and paid * 100 >= collected * rule.share_percent
    if not is_most or not _reaches(rule.from_minor, facts.amount_minor, facts.currency):
        return None
    return {
        "collected_minor": collected,
        "paid_out_minor": paid,
        "share_percent": rule.share_percent,
        "within_hours": rule.within_hours,
        "payments": [c.id for c in found[:20]],
    }


def _repeated_amount(rule: RepeatedAmountRule, facts: RiskInputs) -> dict[str, Any] | None:
    since = facts.accepted_at - timedelta(hours=rule.within_hours)
    same = [
        p
        for p in facts.payouts
        if (p.amount_minor, p.currency) == (facts.amount_minor, facts.currency)
        and since < p.accepted_at <= facts.accepted_at
    ]
    if len(same) + 1 < rule.times or not _reaches(rule.from_minor, facts.amount_minor, facts.currency):
        return None
    return {"times": len(same) + 1, "at_least": rule.times, "within_hours": rule.within_hours} | _amounts(rule, facts)


def _shared_account(rule: SharedAccountRule, facts: RiskInputs) -> dict[str, Any] | None:
    if facts.users_of_account < rule.users:
        return None
    return {"users_of_account": facts.users_of_account, "users": rule.users, "linked_users": list(facts.linked_users)}


def _name_differs(_: NameDiffersRule, facts: RiskInputs) -> dict[str, Any] | None:
    if facts.relation != "own" or facts.name_match != "differs":
        return None
    return {"relation": facts.relation, "name_match": facts.name_match}


def _reported(rule: ReportedRule, facts: RiskInputs) -> dict[str, Any] | None:
    if facts.reported_at is None or facts.at - facts.reported_at >= timedelta(days=rule.within_days):
        return None
    age = int((facts.at - facts.reported_at).total_seconds())
    return {"report_age_seconds": age, "within_days": rule.within_days}


def _amounts(rule: NewPayeeRule | NightRule | RepeatedAmountRule, facts: RiskInputs) -> dict[str, Any]:
    return {"amount_minor": facts.amount_minor, "from_minor": rule.from_minor.get(facts.currency)}


_LOOKS: Mapping[str, Callable[[Any, RiskInputs], dict[str, Any] | None]] = {
    "amount": _amount,
    "velocity": _velocity,
    "new_payee": _new_payee,
    "night": _night,
    "cash_out": _cash_out,
    "round_trip": _round_trip,
    "repeated_amount": _repeated_amount,
    "shared_account": _shared_account,
    "name_differs": _name_differs,
    "reported": _reported,
}
