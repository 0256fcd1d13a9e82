"""Settling merchants: which day is due, each merchant's settlement of it, and its payout (A2.5, A10.2b).

Every step is safe to run twice. One merchant that cannot be settled is recorded and keeps none of the others waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date, datetime
from typing import Protocol

from temporalio import activity

from activities import names
from activities.interfaces import PaidPage, PayPage, ReportedPage, ReportPage, SettlementDay, SettlementDayRequest
from domain.calendars import Calendar
from domain.identifiers import IdPrefix, identifier
from domain.settlements import (
    CALENDAR,
    MerchantDay,
    PaySettlement,
    SettlementRoute,
    SettlementStuckError,
    through_date,
)

log = logging.getLogger(__name__)


class CalendarSource(Protocol):
    """The calendars in force (`calendars.book.CalendarBook`)."""

    async def calendar(self, code: str) -> Calendar: ...


class Settlements(Protocol):
    """Where settlements are written (`storage.settlements.SettlementBook`)."""

    async def merchants_to_settle(
        self, on: date, through: date, after: MerchantDay | None, most: int
    ) -> list[MerchantDay]: ...

    async def report(
        self, whose: MerchantDay, on: date, through: date, settlement_id: str, now: datetime
    ) -> object | None: ...

    async def to_pay(self, after: str | None, most: int) -> list[str]: ...

    async def pay(self, command: PaySettlement) -> str | None: ...

    async def note_stuck(self, action: str, subject_id: str, reason: str, now: datetime) -> None: ...


class SettlingMerchants:
    """The activities of `settle-merchants`; `working_days` is n of T+n."""

    def __init__(
        self,
        book: Settlements,
        calendars: CalendarSource,
        new_ulid: Callable[[], str],
        *,
        working_days: int,
        route: SettlementRoute,
        agreement_version: str,
    ) -> None:
        self._book = book
        self._calendars = calendars
        self._new_ulid = new_ulid
        self._working_days = working_days
        self._route = route
        self._agreement_version = agreement_version

    @activity.defn(name=names.SETTLEMENT_DAY)
    async def settlement_day(self, request: SettlementDayRequest) -> SettlementDay:
        """By the calendar as it is now: what a later correction changes is made good by the next run."""
        calendar = await self._calendars.calendar(CALENDAR)
        return SettlementDay(through=through_date(request.business_date, self._working_days, calendar))

    @activity.defn(name=names.REPORT_SETTLEMENTS)
    async def report_settlements(self, page: ReportPage) -> ReportedPage:
        """Adds up, merchant by merchant; those that have their settlement of this day are not among them."""
        found = await self._book.merchants_to_settle(page.business_date, page.through, _after(page), page.most)
        reported = failed = 0
        for whose in found:
            settlement_id = identifier(IdPrefix.SETTLEMENT, self._new_ulid())
            try:
                written = await self._book.report(whose, page.business_date, page.through, settlement_id, page.now)
                reported += written is not None
            except SettlementStuckError as stuck:
                failed += 1
                await self._note("report_settlement", whose.merchant_id, stuck.reason, page.now)
            activity.heartbeat(reported)
        last = found[-1] if found else None
        return ReportedPage(
            is_last=len(found) < page.most,
            after_merchant_id=last and last.merchant_id,
            after_currency=last and last.currency,
            reported=reported,
            failed=failed,
        )

    @activity.defn(name=names.PAY_SETTLEMENTS)
    async def pay_settlements(self, page: PayPage) -> PaidPage:
        """Has payouts made of what is to be paid; the processes that send them are started by the sweeper."""
        found = await self._book.to_pay(page.after_id, page.most)
        paid = waiting = failed = 0
        for settlement_id in found:
            try:
                obstacle = await self._book.pay(self._command(settlement_id, page.now))
                paid, waiting = paid + (obstacle is None), waiting + (obstacle is not None)
            except SettlementStuckError as stuck:
                failed += 1
                await self._note("pay_settlement", settlement_id, stuck.reason, page.now)
            activity.heartbeat(paid)
        return PaidPage(
            is_last=len(found) < page.most,
            after_id=found[-1] if found else None,
            paid=paid,
            waiting=waiting,
            failed=failed,
        )

    def _command(self, settlement_id: str, now: datetime) -> PaySettlement:
        return PaySettlement(
            now=now,
            settlement_id=settlement_id,
            payout_id=identifier(IdPrefix.PAYOUT, self._new_ulid()),
            route=self._route,
            agreement_version=self._agreement_version,
        )

    async def _note(self, action: str, subject_id: str, reason: str, now: datetime) -> None:
        log.error("a settlement was left out", extra={"subject_id": subject_id, "reason": reason})
        await self._book.note_stuck(action, subject_id, reason, now)


def _after(page: ReportPage) -> MerchantDay | None:
    if page.after_merchant_id is None or page.after_currency is None:
        return None
    return MerchantDay(merchant_id=page.after_merchant_id, currency=page.after_currency)
