"""Cards of users: apply to bind, enter the code, unbind."""

from __future__ import annotations

from collections.abc import Callable

from .core import Ask, Flow
from .models import Binding, Page
from .nouns import PAGE_SIZE, Mode, Noun, asks, flows, lists, path
from .waiting import PATIENCE_SECONDS, is_done, wait_until


class Bindings(Noun[Mode]):
    """`client.bindings`"""

    @asks
    def create(
        self,
        user_id: str,
        *,
        name: str,
        id_number: str,
        card_number: str,
        mobile: str,
        idempotency_key: str | None = None,
    ) -> Ask[Binding]:
        """Applies to bind a card with the four elements and nothing else; the issuer texts a code."""
        body = {"name": name, "id_number": id_number, "card_number": card_number, "mobile": mobile}
        where = path("users", user_id, "bindings")
        return Ask("POST", where, Binding, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def confirm(self, user_id: str, binding_id: str, code: str, *, idempotency_key: str | None = None) -> Ask[Binding]:
        """Enters a code. If the answer still waits, the bank has not said yet whether it is right: read again."""
        where = path("users", user_id, "bindings", binding_id, "code")
        return Ask("POST", where, Binding, {"code": code}, is_command=True, idempotency_key=idempotency_key)

    @asks
    def resend(self, user_id: str, binding_id: str, *, idempotency_key: str | None = None) -> Ask[Binding]:
        """Has the issuer text another code."""
        where = path("users", user_id, "bindings", binding_id, "code", "resend")
        return Ask("POST", where, Binding, is_command=True, idempotency_key=idempotency_key)

    @asks
    def unbind(self, user_id: str, binding_id: str, *, idempotency_key: str | None = None) -> Ask[Binding]:
        """Ends the agreement at the bank; the card can pay no more from now on."""
        where = path("users", user_id, "bindings", binding_id)
        return Ask("DELETE", where, Binding, is_command=True, idempotency_key=idempotency_key)

    @asks
    def get(self, user_id: str, binding_id: str) -> Ask[Binding]:
        """Reads a binding."""
        return Ask("GET", path("users", user_id, "bindings", binding_id), Binding)

    @lists
    def list(self, user_id: str) -> Ask[Page[Binding]]:
        """The user's cards, newest first."""
        return Ask("GET", path("users", user_id, "bindings"), Page[Binding], query={"limit": PAGE_SIZE})

    @flows
    def wait(
        self,
        user_id: str,
        binding_id: str,
        *,
        until: Callable[[Binding], bool] = is_done,
        within_seconds: float = PATIENCE_SECONDS,
    ) -> Flow[Binding]:
        """Reads until it is as wanted: by default until it waits for nothing. Raises StillWaitingError."""
        ask = Ask("GET", path("users", user_id, "bindings", binding_id), Binding)
        return wait_until(self._core, ask, until, within_seconds)
