"""The settlement as an activity: local for a few seconds, remote and for ever if that does not do."""

from __future__ import annotations

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import names
from activities.interfaces import SettleResult
from activities.ports import InstructionBook
from domain.errors import SettlementRefusedError
from domain.settlement import Settlement

# The instruction is elsewhere than the process thought: another run was quicker. The process looks at what holds.
OVERTAKEN = frozenset({"state_conflict", "not_found", "code_attempt_open"})


class Settling:
    """The activity that changes the books."""

    def __init__(self, book: InstructionBook) -> None:
        self._book = book

    @activity.defn(name=names.SETTLE)
    async def settle(self, settlement: Settlement) -> SettleResult:
        """Idempotent by the settlement's key. What the ledger refuses stays pending, for an operator to see."""
        try:
            return SettleResult(state=await self._book.settle(settlement))
        except SettlementRefusedError as refused:
            if refused.error in OVERTAKEN:
                return SettleResult(state=refused.state, refused=refused.error)
            raise ApplicationError(
                f"the books refused the settlement: {refused.error}", type="SETTLEMENT_REFUSED"
            ) from refused
