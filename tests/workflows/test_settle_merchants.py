"""Settling merchants as a process, on a real time-skipping server and real books, to the bank's word on the payout."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from activities.assessing import Assessing
from activities.planning import Planning
from calendars.book import CalendarBook
from domain.settlements import SettlementStuckError
from screening.lists import ListScreening
from screening.screener import Screener
from storage.calendars import Calendars, ReleaseSlots
from storage.risk import RiskBook
from storage.screening import ScreeningBook
from storage.settlement_audit import settlement_findings
from storage.settlements import SettlementBook
from tests.conftest import Database
from tests.storage.assessed import POLICY, open_assessed
from tests.storage.books import NOW, Books
from tests.storage.settling import collected, open_account, shanghai
from tests.workflows.conftest import House, open_house
from tests.workflows.test_send_payout_at_bank import sweep_after
from workflows import names
from workflows.messages import SettledMerchants
from workflows.starting import Processes

FRIDAY, SATURDAY, THURSDAY = date(2026, 11, 20), date(2026, 11, 21), date(2026, 11, 19)
P = names.Process


async def settle(house: House, on: date = FRIDAY) -> SettledMerchants:
    """A run of a date, to its end."""
    assert await house.processes.settle_merchants(on)
    handle = house.env.client.get_workflow_handle(
        names.workflow_id(P.SETTLE_MERCHANTS, on.isoformat()), result_type=SettledMerchants
    )
    async with house.env.time_skipping_unlocked():  # type: ignore[attr-defined]
        return await handle.result()


def checks(books: Books, processes: Processes) -> list[Callable[..., Any]]:
    """Rules, lists and calendars as the worker has them."""
    lists = ListScreening(ScreeningBook(books.app), POLICY.screening, lambda: NOW)
    screener = Screener(lists, books.vault, books.ids.ulid)
    assessing = Assessing(RiskBook(books.app), screener, POLICY.risk, books.ids.ulid)
    calendars = CalendarBook(Calendars(books.app))
    planning = Planning(ReleaseSlots(books.app), calendars, POLICY.payout_routes, processes)
    return [assessing.assess_payout, planning.plan_payout]


async def test_what_was_collected_is_at_the_merchants_bank_in_the_end(database: Database) -> None:
    async with open_house(database, planning=checks) as house, open_assessed(house.books):
        books = house.books
        await collected(books, 10_000, shanghai(THURSDAY))
        await open_account(books)
        assert await settle(house) == SettledMerchants(business_date=FRIDAY, through=THURSDAY, reported=1, paid=1)
        payout_id = await books.value("SELECT id FROM app.payout")
        # Nobody has started its process: the sweeper does.
        await sweep_after(house)
        assert (await house.end_of(P.SEND_PAYOUT, payout_id)).state == "succeeded"
        [sent] = house.bank.asked("pay_out")
        assert (sent.amount_minor, sent.currency, sent.account_number) == (9_940, "CNY", "1001244509200012345")
        settled = await books.value("SELECT state FROM app.settlement_report")
        assert settled == "paid"
        assert await books.balance(f"merchant_pending:{books.merchant_id}:CNY") == 0
        assert await settlement_findings(books.owner) == []
        # The same day again, and a day on which nobody works.
        assert await settle(house) == SettledMerchants(business_date=FRIDAY, through=THURSDAY)
        assert await settle(house, SATURDAY) == SettledMerchants(business_date=SATURDAY)
        assert await books.value("SELECT count(*) FROM app.payout") == 1


async def test_who_cannot_be_settled_keeps_nobody_waiting_and_is_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refusals = SettlementBook.report, iter([SettlementStuckError("sqlstate_23514")])

    async def report(self: SettlementBook, *given: Any) -> Any:
        for refusal in refusals:
            raise refusal
        return await real(self, *given)

    monkeypatch.setattr(SettlementBook, "report", report)
    await collected(house.books, 10_000, shanghai(THURSDAY))
    done = await settle(house)
    # No account yet: what it waits for is on the settlement.
    assert (done.reported, done.paid, done.waiting, done.failed) == (1, 0, 1, 0)
    recorded = "SELECT reason FROM app.operation WHERE outcome = 'failed' AND action = 'report_settlement'"
    assert await house.books.value(recorded) == "sqlstate_23514"
    await open_account(house.books)
    done = await settle(house, SATURDAY)
    assert (done.through, done.reported, done.paid) == (None, 0, 1)


async def test_a_run_without_a_date_ends_at_once(house: House) -> None:
    handle = await house.env.client.start_workflow(
        P.SETTLE_MERCHANTS.value, id="settle-merchants/today", task_queue=names.TASK_QUEUE
    )
    with pytest.raises(WorkflowFailureError):
        await handle.result()
