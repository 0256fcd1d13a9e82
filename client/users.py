"""Users: who they are at yours, what they agreed to, how much they may still pay, and their own balance."""

from __future__ import annotations

from datetime import date, datetime

from .core import Ask
from .models import AccountBalance, Agreement, Balances, Consent, Limits, Movement, Page, User
from .nouns import PAGE_SIZE, Mode, Noun, asks, lists, path


class Users(Noun[Mode]):
    """`client.users`"""

    @asks
    def create(
        self,
        merchant_user_ref: str,
        *,
        type: str = "individual",
        region: str = "CN",
        idempotency_key: str | None = None,
    ) -> Ask[User]:
        """Registers a user of yours under your own reference, which must not be personal data."""
        body = {"merchant_user_ref": merchant_user_ref, "type": type, "region": region}
        return Ask("POST", path("users"), User, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def get(self, user_id: str) -> Ask[User]:
        """Reads a user."""
        return Ask("GET", path("users", user_id), User)

    @asks
    def agreement(self) -> Ask[Agreement]:
        """The agreement in force: show its text before the user accepts it."""
        return Ask("GET", path("agreement"), Agreement)

    @asks
    def consent(
        self,
        user_id: str,
        kind: str,
        version: str,
        *,
        acted_at: datetime,
        channel: str = "app",
        content_hash: str | None = None,
        evidence_ref: str | None = None,
        until_on: date | None = None,
        idempotency_key: str | None = None,
    ) -> Ask[Consent]:
        """Records what the user did or was shown at `acted_at`; an agreed text needs its `content_hash` too.

        A `longer_retention` of data has a last day, `until_on`.
        """
        body = {
            "kind": kind,
            "version": version,
            "channel": channel,
            "acted_at": acted_at.isoformat(),
            **_given(content_hash=content_hash, evidence_ref=evidence_ref),
            **_given(until_on=None if until_on is None else until_on.isoformat()),
        }
        where = path("users", user_id, "consents")
        return Ask("POST", where, Consent, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def limits(self, user_id: str, *, binding_id: str | None = None) -> Ask[Limits]:
        """Limits per payment, day and month, and what is left of them; with a card, its issuer's as well."""
        return Ask("GET", path("users", user_id, "limits"), Limits, query={"binding_id": binding_id})

    @asks
    def balance(self, user_id: str, *, currency: str | None = None) -> Ask[AccountBalance]:
        """The user's own balance, in CNY unless another currency is named."""
        return Ask("GET", path("users", user_id, "balance"), AccountBalance, query={"currency": currency})

    @asks
    def balances(self, user_id: str) -> Ask[Balances]:
        """The user's own balances: CNY, and each foreign currency that has ever arrived."""
        return Ask("GET", path("users", user_id, "balances"), Balances)

    @lists
    def statement(self, user_id: str, *, currency: str | None = None) -> Ask[Page[Movement]]:
        """Movements of the user's own balance in one currency, newest first."""
        query = {"currency": currency, "limit": PAGE_SIZE}
        return Ask("GET", path("users", user_id, "statement"), Page[Movement], query=query)


def _given(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}
