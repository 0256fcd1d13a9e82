"""The institution's rules as data: what an operator edits in `config/policy.toml`, as typed values."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.closing import ClosingRules, Contact
from domain.codes import CodePolicy
from domain.conditions import Conditions
from domain.decisions import DecisionRules
from domain.fees import FeeSchedule
from domain.fx_rules import FxRules
from domain.limits import LimitSet
from domain.retention import RetentionRules
from domain.reviews import ReviewRules
from domain.risk_rules import RuleSet
from domain.routes import RouteBook
from domain.screening import ScreeningRules
from domain.settlements import SettlementRoute, SettlementRules


class Agreement(BaseModel):
    """The agreement version in force: its content hash is SHA-256 of the published text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    content_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    in_force_from: str


class ExportConsent(BaseModel):
    """The text that a user agrees to before a payee's data may leave the mainland (P6); its hash is SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    content_hash: str = Field(pattern=r"^[0-9a-f]{64}$")


class RatePolicy(BaseModel):
    """Requests of one merchant, and of one address that shows no valid key, in a window; in each process (A7.8)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_seconds: int = Field(gt=0, le=3600)
    reads: int = Field(gt=0)
    commands: int = Field(gt=0)
    money_commands: int = Field(gt=0)
    unauthenticated: int = Field(gt=0)


class Policy(BaseModel):
    """Everything a merchant request is judged by that is not in the database."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agreement: Agreement
    data_export: ExportConsent
    blocked_regions: tuple[str, ...]
    quick_pay_user_limits: LimitSet
    # What one user may pay out, whatever the route (A2.5c).
    payout_user_limits: LimitSet
    payout_routes: RouteBook
    # The law's cap on a payment that the institution verifies in the bank's place (L6).
    waiver_law_limit_minor: int = Field(gt=0)
    order_expiry_minimum_seconds: int = Field(gt=0)
    order_expiry_maximum_seconds: int = Field(gt=0)
    codes: CodePolicy
    fees: FeeSchedule
    closing: ClosingRules
    conditions: Conditions
    contact: Contact
    decisions: DecisionRules
    fx: FxRules
    retention: RetentionRules
    reviews: ReviewRules
    risk: RuleSet
    screening: ScreeningRules
    settlements: SettlementRules
    rate_limits: RatePolicy

    @model_validator(mode="after")
    def _settlements_can_be_paid(self) -> Self:
        if not any(
            route.code == self.settlements.route and self.settlements.speed in route.speeds
            for route in self.payout_routes.routes
        ):
            raise ValueError("settlements.toml names a route that is not there, or a speed that it does not offer")
        return self

    @property
    def settlement_route(self) -> SettlementRoute:
        """By what merchants are paid."""
        route = self.payout_routes.route(self.settlements.route)
        return SettlementRoute(code=route.code, region=route.region, banks=route.banks, speed=self.settlements.speed)
