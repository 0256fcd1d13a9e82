"""Conversions of foreign currency into CNY: show what is known, convert, dispose of what was refused. All signed.

There is no way to cancel one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .core import Ask, Flow
from .fx_models import Conversion, ConversionPreview
from .models import Page
from .nouns import PAGE_SIZE, Mode, Noun, asks, flows, lists, named_evidence, path
from .states import OverQuota
from .waiting import PATIENCE_SECONDS, is_done, wait_until

# What of a preview goes back as the user confirmed it.
_CONFIRMED = {
    "user_id",
    "order_number",
    "amount_minor",
    "currency",
    "purpose_code",
    "is_trade",
    "evidence",
    "over_quota",
    "confirmation_hash",
}


class Fx(Noun[Mode]):
    """`client.fx`"""

    @asks
    def preview(
        self,
        *,
        user_id: str,
        order_number: str,
        amount_minor: int,
        currency: str,
        purpose_code: str,
        is_trade: bool = False,
        evidence: Mapping[str, str] | None = None,
        over_quota: str = OverQuota.SPLIT,
    ) -> Ask[ConversionPreview]:
        """What the user has to be shown before confirming: indicative rate, time, conditions. Changes nothing."""
        body = {
            "user_id": user_id,
            "order_number": order_number,
            "amount_minor": amount_minor,
            "currency": currency,
            "purpose_code": purpose_code,
            "is_trade": is_trade,
            "evidence": named_evidence(evidence),
            "over_quota": str(over_quota),
        }
        return Ask("POST", path("fx", "preview"), ConversionPreview, body)

    @asks
    def create(
        self,
        *,
        user_id: str,
        order_number: str,
        amount_minor: int,
        currency: str,
        purpose_code: str,
        confirmation_hash: str,
        is_trade: bool = False,
        evidence: Mapping[str, str] | None = None,
        over_quota: str = OverQuota.SPLIT,
        idempotency_key: str | None = None,
    ) -> Ask[Conversion]:
        """Converts as the user confirmed it; accepted or refused at once. The amount is held from then on."""
        body = {
            "user_id": user_id,
            "order_number": order_number,
            "amount_minor": amount_minor,
            "currency": currency,
            "purpose_code": purpose_code,
            "is_trade": is_trade,
            "evidence": named_evidence(evidence),
            "over_quota": str(over_quota),
            "confirmation_hash": confirmation_hash,
        }
        return Ask("POST", path("fx"), Conversion, body, is_command=True, idempotency_key=idempotency_key)

    @flows
    def convert(self, preview: ConversionPreview, *, idempotency_key: str | None = None) -> Flow[Conversion]:
        """Converts exactly what a preview showed and the user confirmed."""
        body = preview.model_dump(mode="json", include=_CONFIRMED)
        ask = Ask("POST", path("fx"), Conversion, body, is_command=True, idempotency_key=idempotency_key)
        return self._core.perform(ask)

    @asks
    def release(self, fx_id: str, *, idempotency_key: str | None = None) -> Ask[Conversion]:
        """Of a refused one: the currency is free on the user's balance again."""
        return _disposal(fx_id, "release", idempotency_key)

    @asks
    def send_back(self, fx_id: str, *, idempotency_key: str | None = None) -> Ask[Conversion]:
        """Of a refused one that rests on a remittance: the currency goes back to where it came from."""
        return _disposal(fx_id, "return", idempotency_key)

    @asks
    def get(self, fx_id: str) -> Ask[Conversion]:
        """Reads a conversion."""
        return Ask("GET", path("fx", fx_id), Conversion)

    @lists
    def list(self, *, user_id: str | None = None, state: str | None = None) -> Ask[Page[Conversion]]:
        """Conversions and reversals, newest first; of one user or in one state, if named."""
        query: dict[str, Any] = {"user_id": user_id, "state": state, "limit": PAGE_SIZE}
        return Ask("GET", path("fx"), Page[Conversion], query=query)

    @flows
    def wait(
        self,
        fx_id: str,
        *,
        until: Callable[[Conversion], bool] = is_done,
        within_seconds: float = PATIENCE_SECONDS,
    ) -> Flow[Conversion]:
        """Reads until it is as wanted: by default until it rests. Raises StillWaitingError, which is no failure.

        A conversion may wait for days; better to be told by a webhook.
        """
        return wait_until(self._core, Ask("GET", path("fx", fx_id), Conversion), until, within_seconds)


def _disposal(fx_id: str, action: str, idempotency_key: str | None) -> Ask[Conversion]:
    where = path("fx", fx_id, "disposal")
    return Ask("POST", where, Conversion, {"action": action}, is_command=True, idempotency_key=idempotency_key)
