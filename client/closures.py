"""Closing accounts and quick pay: asked, followed, and answered. Asking and handing over have to be signed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from .closure_models import Certificate, Closure, FundsRecord
from .core import Ask, Flow
from .models import Page
from .nouns import PAGE_SIZE, Mode, Noun, asks, flows, lists, path
from .states import ClosureScope
from .waiting import PATIENCE_SECONDS, is_done, wait_until


class Closures(Noun[Mode]):
    """`client.closures`"""

    @asks
    def create(
        self,
        user_id: str,
        *,
        identity_method: str,
        identity_checked_at: datetime,
        scope: str = ClosureScope.ACCOUNT,
        identity_evidence_ref: str | None = None,
        idempotency_key: str | None = None,
    ) -> Ask[Closure]:
        """Asks for it, for a user whose identity you have checked (`login`, `document`, `face`, `counter`).

        From then on nothing new is accepted for the user but payouts; it cannot be called off.
        """
        check = {"method": str(identity_method), "checked_at": identity_checked_at.isoformat()}
        if identity_evidence_ref is not None:
            check["evidence_ref"] = identity_evidence_ref
        body = {"scope": str(scope), "identity_check": check}
        where = path("users", user_id, "closures")
        return Ask("POST", where, Closure, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def get(self, closure_id: str) -> Ask[Closure]:
        """Reads one, with what is in its way now."""
        return Ask("GET", path("closures", closure_id), Closure)

    @lists
    def list(self, *, user_id: str | None = None, state: str | None = None) -> Ask[Page[Closure]]:
        """Closures of all channels, newest first; of one user or state, if named."""
        query = {"user_id": user_id, "state": state, "limit": PAGE_SIZE}
        return Ask("GET", path("closures"), Page[Closure], query=query)

    @asks
    def hand_over(
        self,
        closure_id: str,
        records: Iterable[FundsRecord],
        *,
        complete: bool = True,
        idempotency_key: str | None = None,
    ) -> Ask[Closure]:
        """Hands over records of where the user's funds came from; `complete` with the last of them."""
        body: dict[str, Any] = {"records": [record.as_body() for record in records], "complete": complete}
        where = path("closures", closure_id, "records")
        return Ask("POST", where, Closure, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def reply(
        self, closure_id: str, outcome: str, *, reason: str | None = None, idempotency_key: str | None = None
    ) -> Ask[Closure]:
        """What you did with the user's data: `erased`, or `kept` because of `law` or `own_authorisation`."""
        body = {"outcome": str(outcome)} | ({} if reason is None else {"reason": reason})
        where = path("closures", closure_id, "erasure_reply")
        return Ask("POST", where, Closure, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def certificate(self, closure_id: str) -> Ask[Certificate]:
        """The answer to the user, once there is one: `completed`, or `refused` and why."""
        return Ask("GET", path("closures", closure_id, "certificate"), Certificate)

    @flows
    def certificate_page(self, closure_id: str) -> Flow[str]:
        """The same as a page of HTML in Chinese and English, to be shown, sent or printed."""
        ask = Ask("GET", path("closures", closure_id, "certificate"), Certificate, accept="text/html")
        return self._page(ask)

    @flows
    def wait(
        self,
        closure_id: str,
        *,
        until: Callable[[Closure], bool] = is_done,
        within_seconds: float = PATIENCE_SECONDS,
    ) -> Flow[Closure]:
        """Reads until it has ended. Days may pass: for that there are events. Raises StillWaitingError, no failure."""
        return wait_until(self._core, Ask("GET", path("closures", closure_id), Closure), until, within_seconds)

    def _page(self, ask: Ask[Any]) -> Flow[str]:
        response = yield from self._core.exchange(ask, None)
        return response.text
