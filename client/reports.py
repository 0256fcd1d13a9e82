"""What users notice: a payment that was not theirs, an instruction altered or leaked, a lost device."""

from __future__ import annotations

from datetime import datetime

from .core import Ask
from .models import Resource
from .nouns import Mode, Noun, asks, path


class Report(Resource):
    """A report as received; `id` is that of its case. The user's payments are stopped from `received_at` on."""

    id: str
    user_id: str
    kind: str
    payment_id: str | None = None
    channel: str
    discovered_at: datetime | None = None
    received_at: datetime
    parties: tuple[str, ...]
    suspended: tuple[str, ...]


class Reports(Noun[Mode]):
    """`client.reports`"""

    @asks
    def create(
        self,
        user_id: str,
        kind: str = "not_me",
        *,
        payment_id: str | None = None,
        discovered_at: datetime | None = None,
        channel: str = "app",
        evidence_ref: str | None = None,
        idempotency_key: str | None = None,
    ) -> Ask[Report]:
        """Passes a report on: send it at once, the user's payments stop when it arrives."""
        given = {
            "kind": kind,
            "channel": channel,
            "payment_id": payment_id,
            "discovered_at": None if discovered_at is None else discovered_at.isoformat(),
            "evidence_ref": evidence_ref,
        }
        body = {name: value for name, value in given.items() if value is not None}
        return Ask(
            "POST",
            path("users", user_id, "reports"),
            Report,
            body,
            is_command=True,
            idempotency_key=idempotency_key,
        )
