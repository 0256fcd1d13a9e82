"""What a payer confirms is what is executed: one hash over order, amount, currency, payee and fee (A3.5a)."""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel, ConfigDict


class _Confirmed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def confirmation_hash(self) -> str:
        """SHA-256 over the canonical JSON, hex."""
        canonical = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


class ConfirmedContent(_Confirmed):
    """Everything the payer was shown before confirming a payment."""

    merchant_id: str
    user_id: str
    binding_id: str
    order_number: str
    amount_minor: int
    currency: str
    payee_kind: str
    payee_name: str
    fee_minor: int
    fee_rule: str


class ConfirmedPayout(_Confirmed):
    """Everything the user was shown before confirming a payout; the arrival is a prediction and not part of it."""

    merchant_id: str
    user_id: str
    payee_id: str
    # As it is shown: masked.
    payee_name: str
    payee_account: str
    payee_bank: str
    order_number: str
    amount_minor: int
    currency: str
    fee_minor: int
    fee_rule: str
    speed: str


class ConfirmedFx(_Confirmed):
    """Everything the user was shown before confirming a conversion; the rate is that of its time, and no part of it."""

    merchant_id: str
    user_id: str
    order_number: str
    amount_minor: int
    currency: str
    purpose_code: str
    is_trade: bool
    over_quota: str
    fee_minor: int
