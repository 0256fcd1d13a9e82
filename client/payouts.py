"""Payouts: show what would leave, pay out, say it once more where that is asked for. Each has to be signed.

There is no way to cancel one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .core import Ask, Flow
from .models import Page
from .nouns import PAGE_SIZE, Mode, Noun, asks, flows, lists, mandate, named_evidence, path
from .payout_models import Payout, PayoutLimits, PayoutPreview
from .states import Speed
from .waiting import PATIENCE_SECONDS, is_done, wait_until

# What of a preview goes back as the user confirmed it.
_CONFIRMED = {"user_id", "payee_id", "order_number", "amount_minor", "currency", "speed", "confirmation_hash"}


class Payouts(Noun[Mode]):
    """`client.payouts`"""

    @asks
    def preview(
        self,
        *,
        user_id: str,
        payee_id: str,
        order_number: str,
        amount_minor: int,
        currency: str = "CNY",
        speed: str = Speed.REAL_TIME,
    ) -> Ask[PayoutPreview]:
        """What the user has to be shown before confirming: payee, fee, arrival, conditions. Changes nothing."""
        body = {
            "user_id": user_id,
            "payee_id": payee_id,
            "order_number": order_number,
            "amount_minor": amount_minor,
            "currency": currency,
            "speed": str(speed),
        }
        return Ask("POST", path("payouts", "preview"), PayoutPreview, body)

    @asks
    def create(
        self,
        *,
        user_id: str,
        payee_id: str,
        order_number: str,
        amount_minor: int,
        confirmation_hash: str,
        currency: str = "CNY",
        speed: str = Speed.REAL_TIME,
        mandate_reference: str | None = None,
        idempotency_key: str | None = None,
    ) -> Ask[Payout]:
        """Pays out as the user confirmed it; accepted or refused at once. Amount and fee are held from then on."""
        body = {
            "user_id": user_id,
            "payee_id": payee_id,
            "order_number": order_number,
            "amount_minor": amount_minor,
            "currency": currency,
            "speed": str(speed),
            "confirmation_hash": confirmation_hash,
            **mandate(mandate_reference),
        }
        return Ask("POST", path("payouts"), Payout, body, is_command=True, idempotency_key=idempotency_key)

    @flows
    def pay(
        self, preview: PayoutPreview, *, mandate_reference: str | None = None, idempotency_key: str | None = None
    ) -> Flow[Payout]:
        """Pays out exactly what a preview showed and the user confirmed."""
        body = preview.model_dump(mode="json", include=_CONFIRMED) | mandate(mandate_reference)
        ask = Ask("POST", path("payouts"), Payout, body, is_command=True, idempotency_key=idempotency_key)
        return self._core.perform(ask)

    @asks
    def confirm(self, payout_id: str, confirmation_hash: str, *, idempotency_key: str | None = None) -> Ask[Payout]:
        """The user's second yes, where `payout.needs_confirmation`; after its deadline the payout is closed."""
        body = {"confirmation_hash": confirmation_hash}
        where = path("payouts", payout_id, "confirm")
        return Ask("POST", where, Payout, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def give_evidence(
        self, payout_id: str, references: Mapping[str, str], *, idempotency_key: str | None = None
    ) -> Ask[Payout]:
        """Names what a reviewer asked for: your references by the kinds of `payout.evidence_requested`."""
        body = {"evidence": named_evidence(references)}
        where = path("payouts", payout_id, "evidence")
        return Ask("POST", where, Payout, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def get(self, payout_id: str) -> Ask[Payout]:
        """Reads a payout."""
        return Ask("GET", path("payouts", payout_id), Payout)

    @lists
    def list(self, *, order_number: str | None = None, user_id: str | None = None) -> Ask[Page[Payout]]:
        """Your payouts, newest first; of one order or user, if named."""
        query: dict[str, Any] = {"order_number": order_number, "user_id": user_id, "limit": PAGE_SIZE}
        return Ask("GET", path("payouts"), Page[Payout], query=query)

    @asks
    def limits(self, user_id: str, *, payee_id: str | None = None, currency: str = "CNY") -> Ask[PayoutLimits]:
        """How much a user may still pay out; with a payee, how much its account may receive as well."""
        query = {"payee_id": payee_id, "currency": currency}
        return Ask("GET", path("users", user_id, "payout_limits"), PayoutLimits, query=query)

    @flows
    def wait(
        self,
        payout_id: str,
        *,
        until: Callable[[Payout], bool] = is_done,
        within_seconds: float = PATIENCE_SECONDS,
    ) -> Flow[Payout]:
        """Reads until it is as wanted: by default until it is final. Raises StillWaitingError, which is no failure.

        A payout may wait for days; better to be told by a webhook.
        """
        return wait_until(self._core, Ask("GET", path("payouts", payout_id), Payout), until, within_seconds)
