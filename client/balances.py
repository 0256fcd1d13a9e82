"""Your money: balances and statements."""

from __future__ import annotations

from .core import Ask
from .models import Balances as BalancesNow
from .models import Movement, Page
from .nouns import PAGE_SIZE, Mode, Noun, asks, lists, path


class Balances(Noun[Mode]):
    """`client.balances`"""

    @asks
    def get(self) -> Ask[BalancesNow]:
        """Your accounts and what is on them."""
        return Ask("GET", path("balances"), BalancesNow)

    @lists
    def statement(self, account: str = "pending") -> Ask[Page[Movement]]:
        """Movements of `pending` or `available`, newest first."""
        query = {"account": account, "limit": PAGE_SIZE}
        return Ask("GET", path("statement"), Page[Movement], query=query)
