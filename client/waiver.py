"""Payment without a code: apply, and see what is in force."""

from __future__ import annotations

from .core import Ask
from .models import Waiver as WaiverInForce
from .models import WaiverApplication
from .nouns import Mode, Noun, asks, path


class Waiver(Noun[Mode]):
    """`client.waiver`"""

    @asks
    def get(self) -> Ask[WaiverInForce]:
        """What is in force; its `version` is what users authorise and are shown the notice for."""
        return Ask("GET", path("waiver"), WaiverInForce)

    @asks
    def apply(
        self, limit_minor: int, *, currency: str = "CNY", idempotency_key: str | None = None
    ) -> Ask[WaiverApplication]:
        """Asks the institution to allow it up to a limit of yours."""
        body = {"limit_minor": limit_minor, "currency": currency}
        where = path("waiver", "applications")
        return Ask("POST", where, WaiverApplication, body, is_command=True, idempotency_key=idempotency_key)
