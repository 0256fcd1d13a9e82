"""One-time codes: what a bank's answer to an attempt means. The code itself is nowhere in this module's values."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from domain.banking import BankAnswer, BankOutcome, DeclineReason
from domain.instructions import CodeVerdict


class CodePolicy(BaseModel):
    """How often a code may be tried and asked for again (A3.7b)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_attempts: int = Field(default=5, gt=0, le=20)
    resend_cooldown_seconds: float = Field(default=60, ge=0)
    max_sends: int = Field(default=5, gt=0, le=20)
    binding_deadline_seconds: int = Field(default=1800, gt=0)


_VERDICTS: dict[DeclineReason, CodeVerdict] = {
    DeclineReason.CODE_WRONG: "wrong",
    DeclineReason.CODE_EXPIRED: "expired",
    DeclineReason.CODE_ATTEMPTS_EXHAUSTED: "exhausted",
}


def verdict_of(answer: BankAnswer) -> CodeVerdict | None:
    """The verdict on an attempt, or None while the bank has not given one (no answer, still at it, not yet there)."""
    if answer.outcome is BankOutcome.SUCCEEDED:
        return "confirmed"
    if answer.outcome is BankOutcome.DECLINED:
        return _VERDICTS.get(answer.reason or DeclineReason.OTHER, "declined")
    return None
