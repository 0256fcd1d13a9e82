"""The rules by which a payout is let pass, delayed, reviewed or refused (A1.4, A3.10, A7.6, A7.7), as data.

`evaluate` is pure: the same rules and facts give the same verdict, and every hit says by which numbers. A further rule
never makes a verdict milder. What was decided is stored with rules and facts, and can be worked out again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.business_time import SHANGHAI

LOOK_BACK_DAYS = 30
Hours = Annotated[int, Field(gt=0, le=LOOK_BACK_DAYS * 24)]
Days = Annotated[int, Field(gt=0, le=LOOK_BACK_DAYS)]
# By currency; an amount in one that is not listed counts as over it, because nobody has said that it is not.
Amounts = Mapping[Annotated[str, Field(pattern=r"^[A-Z]{3}$")], Annotated[int, Field(ge=0)]]


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


class _Rule(_Value):
    """What all rules have. `case`: the kind of case that a hit opens for a person to look at."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{2,39}$")
    outcome: Literal["delay", "review", "refuse"]
    delay_hours: Hours | None = None
    title_zh: str = Field(min_length=1, max_length=60)
    title_en: str = Field(min_length=1, max_length=120)

    @model_validator(mode="after")
    def _delays_by_hours(self) -> _Rule:
        if (self.outcome == "delay") != (self.delay_hours is not None):
            raise ValueError(f"{self.id}: a delay, and only a delay, has delay_hours")
        return self


class AmountRule(_Rule):
    """One payout of more than so much."""

    kind: Literal["amount"]
    above_minor: Amounts


class VelocityRule(_Rule):
    """More than so many payouts, or more than so much together, within some hours, this one included."""

    kind: Literal["velocity"]
    within_hours: Hours
    more_than: int = Field(ge=1, le=100)
    above_minor: Amounts


class NewPayeeRule(_Rule):
    """Much money to an account that was named a short while ago and has not been paid since before that."""

    kind: Literal["new_payee"]
    within_hours: Hours
    from_minor: Amounts


class NightRule(_Rule):
    """Accepted at night in Asia/Shanghai; the night may go over midnight."""

    kind: Literal["night"]
    from_hour: int = Field(ge=0, le=23)
    to_hour: int = Field(ge=0, le=23)
    from_minor: Amounts


class CashOutRule(_Rule):
    """Collected from a credit card and paid out to the same or a linked person (A1.4)."""

    kind: Literal["cash_out"]
    within_days: Days
    from_minor: Amounts
    share_percent: int = Field(gt=0, le=100)


class RoundTripRule(_Rule):
    """Collected and paid out again at once, nearly all of it (A7.7)."""

    kind: Literal["round_trip"]
    within_hours: Hours
    share_percent: int = Field(gt=0, le=100)
    from_minor: Amounts


class RepeatedAmountRule(_Rule):
    """The same amount again and again (A7.7)."""

    kind: Literal["repeated_amount"]
    within_hours: Hours
    times: int = Field(ge=2, le=100)
    from_minor: Amounts


class SharedAccountRule(_Rule):
    """Several persons are paid to one account: a sign that accounts are lent or sold (A3.10)."""

    kind: Literal["shared_account"]
    users: int = Field(ge=2, le=100)


class NameDiffersRule(_Rule):
    """An account that is said to be the payer's own and bears another name (A7.6)."""

    kind: Literal["name_differs"]


class ReportedRule(_Rule):
    """The user reported a loss or a theft a short while ago (A3.9a)."""

    kind: Literal["reported"]
    within_days: Days


Rule = Annotated[
    AmountRule
    | VelocityRule
    | NewPayeeRule
    | NightRule
    | CashOutRule
    | RoundTripRule
    | RepeatedAmountRule
    | SharedAccountRule
    | NameDiffersRule
    | ReportedRule,
    Field(discriminator="kind"),
]
# The kinds of case that hits open.
CASES: Mapping[str, str] = {
    "cash_out": "cash_out",
    "shared_account": "account_sharing",
    "round_trip": "round_trip",
    "repeated_amount": "round_trip",
}


class RuleSet(_Value):
    """One version of the rules (`config/risk_rules.toml`)."""

    version: str = Field(pattern=r"^[0-9a-z.-]{1,20}$")
    rules: tuple[Rule, ...] = Field(max_length=100)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> RuleSet:
        if len({rule.id for rule in self.rules}) < len(self.rules):
            raise ValueError("two rules have one id")
        return self

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content: two sets under one version are told apart."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()


def evaluate(rules: RuleSet, facts: RiskInputs, settled: Iterable[str] = ()) -> RiskVerdict:
    """Applies every rule. What a payout has been through (`settled`: rule ids) is a hit still and stops it no more."""
    done = frozenset(settled)
    hits = tuple(_hit(rule, seen, rule.id in done) for rule in rules.rules if (seen := _look(rule, facts)) is not None)
    fresh = [hit for hit in hits if not hit.settled]
    worst = max((RiskOutcome[hit.outcome.upper()] for hit in fresh), default=RiskOutcome.PASS)
    return RiskVerdict(
        outcome=worst, delay_hours=max((hit.delay_hours or 0 for hit in fresh), default=0) or None, hits=hits
    )


def _hit(rule: _Rule, observed: dict[str, Any], settled: bool) -> Hit:
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
