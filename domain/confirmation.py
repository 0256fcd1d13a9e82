"""What a payer confirms is what is executed: one hash over order, amount, currency, payee and fee (A3.5a)."""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel, ConfigDict


class ConfirmedContent(BaseModel):
    """Everything the payer was shown before confirming."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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

    def confirmation_hash(self) -> str:
        """SHA-256 over the canonical JSON, hex."""
        canonical = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()
