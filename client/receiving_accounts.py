"""Receiving accounts: numbers at a bank under which foreign currency reaches a user."""

from __future__ import annotations

from collections.abc import Callable

from .core import Ask, Flow
from .fx_models import ReceivingAccount
from .models import Page
from .nouns import PAGE_SIZE, Mode, Noun, asks, flows, lists, path
from .waiting import PATIENCE_SECONDS, is_done, wait_until


class ReceivingAccounts(Noun[Mode]):
    """`client.receiving_accounts`"""

    @asks
    def create(
        self,
        user_id: str,
        *,
        holder_name: str,
        currency: str,
        bank_code: str | None = None,
        idempotency_key: str | None = None,
    ) -> Ask[ReceivingAccount]:
        """Asks a bank for a number. Abroad the name goes there: record the user's `data_export` consent first."""
        body = {"currency": currency, "holder_name": holder_name}
        if bank_code is not None:
            body["bank_code"] = bank_code
        where = path("users", user_id, "receiving_accounts")
        return Ask("POST", where, ReceivingAccount, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def get(self, receiving_account_id: str) -> Ask[ReceivingAccount]:
        """Reads one, with its number in full once it is open."""
        return Ask("GET", path("receiving_accounts", receiving_account_id), ReceivingAccount)

    @lists
    def list(self, user_id: str) -> Ask[Page[ReceivingAccount]]:
        """A user's receiving accounts, newest first."""
        where = path("users", user_id, "receiving_accounts")
        return Ask("GET", where, Page[ReceivingAccount], query={"limit": PAGE_SIZE})

    @flows
    def wait(
        self,
        receiving_account_id: str,
        *,
        until: Callable[[ReceivingAccount], bool] = is_done,
        within_seconds: float = PATIENCE_SECONDS,
    ) -> Flow[ReceivingAccount]:
        """Reads until the bank has opened it, or has said no. Raises StillWaitingError, which is no failure."""
        ask = Ask("GET", path("receiving_accounts", receiving_account_id), ReceivingAccount)
        return wait_until(self._core, ask, until, within_seconds)
