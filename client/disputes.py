"""Disputes: what is not settled between a user and you."""

from __future__ import annotations

from .closure_models import Dispute
from .core import Ask
from .models import Page
from .nouns import PAGE_SIZE, Mode, Noun, asks, lists, path


class Disputes(Noun[Mode]):
    """`client.disputes`"""

    @asks
    def create(
        self,
        user_id: str,
        reason: str,
        *,
        subject_id: str | None = None,
        evidence_ref: str | None = None,
        idempotency_key: str | None = None,
    ) -> Ask[Dispute]:
        """Records one about an instruction of the user, or the account: while it is open, nothing is closed."""
        given = {"reason": str(reason), "subject_id": subject_id, "evidence_ref": evidence_ref}
        body = {name: value for name, value in given.items() if value is not None}
        where = path("users", user_id, "disputes")
        return Ask("POST", where, Dispute, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def get(self, dispute_id: str) -> Ask[Dispute]:
        """Reads one; the institution resolves it."""
        return Ask("GET", path("disputes", dispute_id), Dispute)

    @lists
    def list(self, *, user_id: str | None = None, state: str | None = None) -> Ask[Page[Dispute]]:
        """Disputes, newest first; of one user or state (`open`, `resolved`), if named."""
        query = {"user_id": user_id, "state": state, "limit": PAGE_SIZE}
        return Ask("GET", path("disputes"), Page[Dispute], query=query)
