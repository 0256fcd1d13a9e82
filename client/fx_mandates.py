"""Standing mandates: what arrives for a user is converted as soon as it may be. Recording one has to be signed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .core import Ask
from .fx_models import FxMandate
from .models import Page
from .nouns import PAGE_SIZE, Mode, Noun, asks, lists, named_evidence, path
from .states import OverQuota


class FxMandates(Noun[Mode]):
    """`client.fx_mandates`"""

    @asks
    def create(
        self,
        *,
        user_id: str,
        currency: str,
        purpose_code: str,
        mandate_reference: str,
        is_trade: bool = False,
        evidence: Mapping[str, str] | None = None,
        over_quota: str = OverQuota.SPLIT,
        valid_until: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Ask[FxMandate]:
        """Records what the user has agreed to with you: what arrives from now on in this currency is converted."""
        body: dict[str, Any] = {
            "user_id": user_id,
            "currency": currency,
            "purpose_code": purpose_code,
            "is_trade": is_trade,
            "evidence": named_evidence(evidence),
            "over_quota": str(over_quota),
            "mandate_reference": mandate_reference,
        }
        if valid_until is not None:
            body["valid_until"] = valid_until.isoformat()
        return Ask("POST", path("fx_mandates"), FxMandate, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def get(self, fx_mandate_id: str) -> Ask[FxMandate]:
        """Reads a mandate."""
        return Ask("GET", path("fx_mandates", fx_mandate_id), FxMandate)

    @lists
    def list(self, *, user_id: str | None = None, state: str | None = None) -> Ask[Page[FxMandate]]:
        """Mandates, newest first; of one user or state (`active`, `ended`), if named."""
        query = {"user_id": user_id, "state": state, "limit": PAGE_SIZE}
        return Ask("GET", path("fx_mandates"), Page[FxMandate], query=query)

    @asks
    def end(self, fx_mandate_id: str, *, idempotency_key: str | None = None) -> Ask[FxMandate]:
        """Nothing that arrives later is converted under it; what was accepted is converted all the same."""
        where = path("fx_mandates", fx_mandate_id, "end")
        return Ask("POST", where, FxMandate, is_command=True, idempotency_key=idempotency_key)
