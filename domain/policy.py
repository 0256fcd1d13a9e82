"""The institution's rules as data: what an operator edits in `config/policy.toml`, as typed values."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from domain.codes import CodePolicy
from domain.conditions import Conditions
from domain.fees import FeeSchedule
from domain.limits import LimitSet


class Agreement(BaseModel):
    """The agreement version in force: its content hash is SHA-256 of the published text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    content_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    in_force_from: str


class Policy(BaseModel):
    """Everything a merchant request is judged by that is not in the database."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agreement: Agreement
    blocked_regions: tuple[str, ...]
    quick_pay_user_limits: LimitSet
    # The law's cap on a payment that the institution verifies in the bank's place (L6).
    waiver_law_limit_minor: int = Field(gt=0)
    order_expiry_minimum_seconds: int = Field(gt=0)
    order_expiry_maximum_seconds: int = Field(gt=0)
    codes: CodePolicy
    fees: FeeSchedule
    conditions: Conditions
