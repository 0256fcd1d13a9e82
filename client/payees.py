"""Payees: bank accounts that a user names, to pay out to. Naming one has to be signed."""

from __future__ import annotations

from .core import Ask
from .models import Page
from .nouns import PAGE_SIZE, Mode, Noun, asks, lists, path
from .payout_models import DataExport, Payee


class Payees(Noun[Mode]):
    """`client.payees`"""

    @asks
    def create(
        self,
        user_id: str,
        *,
        name: str,
        account_number: str,
        bank_id: str,
        bank_id_kind: str = "cnaps",
        region: str = "CN",
        relation: str = "own",
        holder_type: str = "individual",
        idempotency_key: str | None = None,
    ) -> Ask[Payee]:
        """Names an account. The answer shows name and number masked, and so does every later one."""
        body = {
            "relation": relation,
            "holder_type": holder_type,
            "region": region,
            "bank_id": {"kind": bank_id_kind, "value": bank_id},
            "name": name,
            "account_number": account_number,
        }
        where = path("users", user_id, "payees")
        return Ask("POST", where, Payee, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def get(self, payee_id: str) -> Ask[Payee]:
        """Reads a payee, also one that was removed."""
        return Ask("GET", path("payees", payee_id), Payee)

    @lists
    def list(self, user_id: str) -> Ask[Page[Payee]]:
        """A user's payees that can be paid, newest first."""
        return Ask("GET", path("users", user_id, "payees"), Page[Payee], query={"limit": PAGE_SIZE})

    @asks
    def remove(self, payee_id: str, *, idempotency_key: str | None = None) -> Ask[Payee]:
        """Nothing new is paid to it; what was accepted is paid all the same."""
        return Ask("DELETE", path("payees", payee_id), Payee, is_command=True, idempotency_key=idempotency_key)

    @asks
    def data_export(self) -> Ask[DataExport]:
        """What the user agrees to before naming an account in HK, MO or TW: record it with `users.consent`."""
        return Ask("GET", path("data_export"), DataExport)
