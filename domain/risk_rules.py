"""The rules on payouts as data (`config/risk_rules.toml`): what each kind looks at, and by which numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

LOOK_BACK_DAYS = 30
Hours = Annotated[int, Field(gt=0, le=LOOK_BACK_DAYS * 24)]
Days = Annotated[int, Field(gt=0, le=LOOK_BACK_DAYS)]
# By currency; an amount in one that is not listed counts as over it, because nobody has said that it is not.
Amounts = Mapping[Annotated[str, Field(pattern=r"^[A-Z]{3}$")], Annotated[int, Field(ge=0)]]


class BaseRule(BaseModel):
    """What all rules have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{2,39}$")
    outcome: Literal["delay", "review", "refuse"]
    delay_hours: Hours | None = None
    title_zh: str = Field(min_length=1, max_length=60)
    title_en: str = Field(min_length=1, max_length=120)

    @model_validator(mode="after")
    def _delays_by_hours(self) -> BaseRule:
        if (self.outcome == "delay") != (self.delay_hours is not None):
            raise ValueError(f"{self.id}: a delay, and only a delay, has delay_hours")
        return self


class AmountRule(BaseRule):
    """One payout of more than so much."""

    kind: Literal["amount"]
    above_minor: Amounts


class VelocityRule(BaseRule):
    """More than so many payouts, or more than so much together, within some hours, this one included."""

    kind: Literal["velocity"]
    within_hours: Hours
    more_than: int = Field(ge=1, le=100)
    above_minor: Amounts


class NewPayeeRule(BaseRule):
    """Much money to an account that was named a short while ago and has not been paid since before that."""

    kind: Literal["new_payee"]
    within_hours: Hours
    from_minor: Amounts


class NightRule(BaseRule):
    """Accepted at night in Asia/Shanghai; the night may go over midnight."""

    kind: Literal["night"]
    from_hour: int = Field(ge=0, le=23)
    to_hour: int = Field(ge=0, le=23)
    from_minor: Amounts


class CashOutRule(BaseRule):
    """Collected from a credit card and paid out to the same or a linked person (A1.4)."""

    kind: Literal["cash_out"]
    within_days: Days
    from_minor: Amounts
    share_percent: int = Field(gt=0, le=100)


class RoundTripRule(BaseRule):
    """Collected and paid out again at once, nearly all of it (A7.7)."""

    kind: Literal["round_trip"]
    within_hours: Hours
    share_percent: int = Field(gt=0, le=100)
    from_minor: Amounts


class RepeatedAmountRule(BaseRule):
    """The same amount again and again (A7.7)."""

    kind: Literal["repeated_amount"]
    within_hours: Hours
    times: int = Field(ge=2, le=100)
    from_minor: Amounts


class SharedAccountRule(BaseRule):
    """Several persons are paid to one account: a sign that accounts are lent or sold (A3.10)."""

    kind: Literal["shared_account"]
    users: int = Field(ge=2, le=100)


class NameDiffersRule(BaseRule):
    """An account that is said to be the payer's own and bears another name (A7.6)."""

    kind: Literal["name_differs"]


class ReportedRule(BaseRule):
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
# Cases that tell of rules or lists: only who may see reviews hears of them (L5).
CONFIDENTIAL_CASES = frozenset({*CASES.values(), "screening_hit"})


class RuleSet(BaseModel):
    """One version of the rules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
