"""The settlement as an activity: what was overtaken is answered, what the ledger refuses stays visible."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.interfaces import SettleResult
from activities.settling import Settling
from domain.errors import SettlementRefusedError
from domain.settlement import Settlement

SETTLEMENT = Settlement(
    key="pay_1:succeeded", kind="payment", id="pay_1", expect=("sending",), state="succeeded",
    at=datetime(2026, 11, 23, tzinfo=UTC), action="debit", outcome="done",
)  # fmt: skip


class FakeBook:
    def __init__(self, answer: str | SettlementRefusedError) -> None:
        self._answer = answer

    async def settle(self, settlement: Settlement) -> str | None:
        if isinstance(self._answer, SettlementRefusedError):
            raise self._answer
        return self._answer

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(name)


async def test_a_settlement_answers_the_state_that_holds() -> None:
    assert await Settling(FakeBook("succeeded")).settle(SETTLEMENT) == SettleResult(state="succeeded")


@pytest.mark.parametrize("error", ["state_conflict", "not_found", "code_attempt_open"])
async def test_a_settlement_that_was_overtaken_is_no_failure(error: str) -> None:
    book = FakeBook(SettlementRefusedError(error, "closed"))
    assert await Settling(book).settle(SETTLEMENT) == SettleResult(state="closed", refused=error)


@pytest.mark.parametrize("error", ["insufficient_funds", "key_conflict", "try_again"])
async def test_what_the_ledger_refuses_stays_pending_for_an_operator_to_see(error: str) -> None:
    with pytest.raises(ApplicationError) as failure:
        await Settling(FakeBook(SettlementRefusedError(error, None))).settle(SETTLEMENT)
    assert (failure.value.type, failure.value.non_retryable) == ("SETTLEMENT_REFUSED", False)
    assert error in str(failure.value)
