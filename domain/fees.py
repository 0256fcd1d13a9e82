"""Fees of a product: a rate within a minimum and a cap, from a version of the schedule in force (A6.2a, A10.9)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from domain.errors import ErrorCode, RefusedError
from domain.money import share_rounded_half_up


class FeeRule(BaseModel):
    """`rate_per_million` of the amount, halves up, at least `minimum_minor`, at most `cap_minor`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str = Field(pattern=r"^[a-z0-9_.-]{1,40}$")
    rate_per_million: int = Field(ge=0, le=1_000_000)
    minimum_minor: int = Field(ge=0)
    cap_minor: int = Field(ge=0)

    def fee_minor(self, amount_minor: int) -> int:
        """The fee on an amount; a fee that would eat the whole amount is refused, never shortened in silence."""
        fee = min(
            max(share_rounded_half_up(amount_minor, self.rate_per_million), self.minimum_minor),
            self.cap_minor,
        )
        if fee >= amount_minor:
            raise RefusedError(ErrorCode.FEE_EXCEEDS_AMOUNT, field="amount_minor")
        return fee


class FeeSchedule(BaseModel):
    """One published version; each payment stores `version` and the rule's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(pattern=r"^[0-9a-z.-]{1,20}$")
    quick_pay_to_merchant: FeeRule
    quick_pay_to_user: FeeRule

    def for_payee(self, payee_kind: str) -> FeeRule:
        """The rule for a quick-pay collection to the merchant or into the user's own balance."""
        return self.quick_pay_to_merchant if payee_kind == "merchant" else self.quick_pay_to_user

    def reference(self, rule: FeeRule) -> str:
        """What a payment stores of it: version and rule."""
        return f"{self.version}/{rule.rule}"
