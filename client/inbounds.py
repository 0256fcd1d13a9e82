"""Remittances of foreign currency that have arrived for your users."""

from __future__ import annotations

from .core import Ask
from .fx_models import Inbound
from .models import Page
from .nouns import PAGE_SIZE, Mode, Noun, asks, lists, path


class Inbounds(Noun[Mode]):
    """`client.inbounds`"""

    @asks
    def get(self, inbound_id: str) -> Ask[Inbound]:
        """Reads a remittance."""
        return Ask("GET", path("inbounds", inbound_id), Inbound)

    @lists
    def list(self, *, user_id: str | None = None) -> Ask[Page[Inbound]]:
        """Remittances, newest first; of one user, if named."""
        query = {"user_id": user_id, "limit": PAGE_SIZE}
        return Ask("GET", path("inbounds"), Page[Inbound], query=query)
