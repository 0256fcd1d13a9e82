"""Settlements to you: what was settled, line by line, and the account that you are paid to."""

from __future__ import annotations

from .core import Ask
from .models import Page
from .nouns import PAGE_SIZE, Mode, Noun, asks, lists, path
from .settlement_models import Settlement, SettlementAccount, SettlementAccounts, SettlementLine, SettlementReport


class Settlements(Noun[Mode]):
    """`client.settlements`"""

    @asks
    def get(self, settlement_id: str) -> Ask[Settlement]:
        """Reads a settlement."""
        return Ask("GET", path("settlements", settlement_id), Settlement)

    @lists
    def list(self) -> Ask[Page[Settlement]]:
        """Your settlements, newest first."""
        return Ask("GET", path("settlements"), Page[Settlement], query={"limit": PAGE_SIZE})

    @lists
    def lines(self, settlement_id: str) -> Ask[Page[SettlementLine]]:
        """What a settlement adds up, in order of time."""
        where = path("settlements", settlement_id, "lines")
        return Ask("GET", where, Page[SettlementLine], query={"limit": PAGE_SIZE})

    @asks
    def report(self, settlement_id: str) -> Ask[SettlementReport]:
        """A settlement with all of its lines at once. As CSV: `request("GET", "/v1/settlements/stl_…/report.csv")`."""
        return Ask("GET", path("settlements", settlement_id, "report.json"), SettlementReport)

    @asks
    def account(self) -> Ask[SettlementAccounts]:
        """The account that you are paid to, and the one that is proposed."""
        return Ask("GET", path("settlement_account"), SettlementAccounts)

    @asks
    def propose_account(
        self,
        *,
        name: str,
        account_number: str,
        bank_id: str,
        bank_id_kind: str = "cnaps",
        region: str = "CN",
        holder_type: str = "enterprise",
        idempotency_key: str | None = None,
    ) -> Ask[SettlementAccount]:
        """Proposes an account; two people of the institution approve it. Has to be signed."""
        body = {
            "holder_type": holder_type,
            "region": region,
            "bank_id": {"kind": bank_id_kind, "value": bank_id},
            "name": name,
            "account_number": account_number,
        }
        where = path("settlement_account")
        return Ask("POST", where, SettlementAccount, body, is_command=True, idempotency_key=idempotency_key)
