"""Refunds: all or part of a payment goes back to the payer's card. Each has to be signed."""

from __future__ import annotations

from collections.abc import Callable

from .core import Ask, Flow
from .models import Page, Refund
from .nouns import PAGE_SIZE, Mode, Noun, asks, flows, lists, path
from .states import RefundReason
from .waiting import PATIENCE_SECONDS, is_done, wait_until


class Refunds(Noun[Mode]):
    """`client.refunds`"""

    @asks
    def create(
        self,
        payment_id: str,
        amount_minor: int,
        *,
        reason_code: str = RefundReason.REQUESTED_BY_PAYER,
        idempotency_key: str | None = None,
    ) -> Ask[Refund]:
        """Gives back at most `refundable_minor` of a payment."""
        body = {"amount_minor": amount_minor, "reason_code": str(reason_code)}
        where = path("payments", payment_id, "refunds")
        return Ask("POST", where, Refund, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def get(self, refund_id: str) -> Ask[Refund]:
        """Reads a refund."""
        return Ask("GET", path("refunds", refund_id), Refund)

    @lists
    def list(self, payment_id: str) -> Ask[Page[Refund]]:
        """A payment's refunds, newest first."""
        return Ask("GET", path("payments", payment_id, "refunds"), Page[Refund], query={"limit": PAGE_SIZE})

    @flows
    def wait(
        self,
        refund_id: str,
        *,
        until: Callable[[Refund], bool] = is_done,
        within_seconds: float = PATIENCE_SECONDS,
    ) -> Flow[Refund]:
        """Reads until it is as wanted: by default until it is final. Raises StillWaitingError."""
        return wait_until(self._core, Ask("GET", path("refunds", refund_id), Refund), until, within_seconds)
