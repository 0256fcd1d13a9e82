"""Payments: show what would be paid, pay, enter the code, read what became of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from .core import Ask, Flow
from .models import Page, Payment, PaymentPreview
from .nouns import PAGE_SIZE, Mode, Noun, asks, flows, lists, mandate, path
from .waiting import PATIENCE_SECONDS, is_done, wait_until

# What of a preview goes back as the user confirmed it.
_CONFIRMED = {
    "user_id",
    "binding_id",
    "order_number",
    "amount_minor",
    "currency",
    "payee_kind",
    "confirmation_hash",
}


class Payments(Noun[Mode]):
    """`client.payments`"""

    @asks
    def preview(
        self,
        *,
        user_id: str,
        binding_id: str,
        order_number: str,
        amount_minor: int,
        currency: str = "CNY",
        payee_kind: str = "merchant",
    ) -> Ask[PaymentPreview]:
        """What the user has to be shown before confirming: payee, fee, limits left, conditions. Changes nothing."""
        body = {
            "user_id": user_id,
            "binding_id": binding_id,
            "order_number": order_number,
            "amount_minor": amount_minor,
            "currency": currency,
            "payee_kind": payee_kind,
        }
        return Ask("POST", path("payments", "preview"), PaymentPreview, body)

    @asks
    def create(
        self,
        *,
        user_id: str,
        binding_id: str,
        order_number: str,
        amount_minor: int,
        order_expires_at: datetime,
        confirmation_hash: str,
        currency: str = "CNY",
        payee_kind: str = "merchant",
        mandate_reference: str | None = None,
        idempotency_key: str | None = None,
    ) -> Ask[Payment]:
        """Pays an order as the user confirmed it; accepted or refused at once.

        With `mandate_reference` it is one of your standing arrangement with the user, else one that the user gave now.
        """
        body = {
            "user_id": user_id,
            "binding_id": binding_id,
            "order_number": order_number,
            "amount_minor": amount_minor,
            "currency": currency,
            "payee_kind": payee_kind,
            "order_expires_at": order_expires_at.isoformat(),
            "confirmation_hash": confirmation_hash,
            **mandate(mandate_reference),
        }
        return Ask("POST", path("payments"), Payment, body, is_command=True, idempotency_key=idempotency_key)

    @flows
    def pay(
        self,
        preview: PaymentPreview,
        *,
        order_expires_at: datetime,
        mandate_reference: str | None = None,
        idempotency_key: str | None = None,
    ) -> Flow[Payment]:
        """Pays exactly what a preview showed and the user confirmed."""
        shown = preview.model_dump(include=_CONFIRMED)
        body = shown | {"order_expires_at": order_expires_at.isoformat()} | mandate(mandate_reference)
        ask = Ask("POST", path("payments"), Payment, body, is_command=True, idempotency_key=idempotency_key)
        return self._core.perform(ask)

    @asks
    def confirm(self, payment_id: str, code: str, *, idempotency_key: str | None = None) -> Ask[Payment]:
        """Enters a code. If the answer still waits, the bank has not said yet whether it is right: read again."""
        where = path("payments", payment_id, "code")
        return Ask("POST", where, Payment, {"code": code}, is_command=True, idempotency_key=idempotency_key)

    @asks
    def resend_code(self, payment_id: str, *, idempotency_key: str | None = None) -> Ask[Payment]:
        """Has the issuer text another code."""
        where = path("payments", payment_id, "code", "resend")
        return Ask("POST", where, Payment, is_command=True, idempotency_key=idempotency_key)

    @asks
    def get(self, payment_id: str) -> Ask[Payment]:
        """Reads a payment."""
        return Ask("GET", path("payments", payment_id), Payment)

    @lists
    def list(self, *, order_number: str | None = None) -> Ask[Page[Payment]]:
        """Your payments, newest first; of one order, if named."""
        query: dict[str, Any] = {"order_number": order_number, "limit": PAGE_SIZE}
        return Ask("GET", path("payments"), Page[Payment], query=query)

    @flows
    def wait(
        self,
        payment_id: str,
        *,
        until: Callable[[Payment], bool] = is_done,
        within_seconds: float = PATIENCE_SECONDS,
    ) -> Flow[Payment]:
        """Reads until it is as wanted: by default until it is final. Raises StillWaitingError."""
        return wait_until(self._core, Ask("GET", path("payments", payment_id), Payment), until, within_seconds)
