"""Closing in working days, with foreign currency, and of one of two relations of a person (P3.4, Q3, A8.4)."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Any

from tests.calendars.planned import shanghai
from tests.conftest import Database
from tests.storage.books import LIMITS, NOW
from tests.storage.fx_books import add_user
from tests.storage.settling import collected
from tests.workflows.closing_house import ClosingHouse, open_closing_fx_house
from tests.workflows.fx_house import FxHouse
from tests.workflows.scripted_bank import PROCESSING, SUCCEEDED, UNKNOWN

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RICH = LIMITS.model_copy(update={"per_transaction_minor": 10**9, "per_day_minor": 10**9, "per_month_minor": 10**9})
DATES = "SELECT ARRAY[due_on, escalate_on] FROM app.closure WHERE id = :id"


async def case_opened(at: ClosingHouse, kind: str) -> datetime | None:
    opened: datetime | None = await at.books.value("SELECT opened_at FROM app.case_record WHERE kind = :k", k=kind)
    return opened


async def come_to(house: FxHouse, instant: str) -> None:
    """And a little further, for what happens then to have happened."""
    await house.at(instant)
    await house.env.sleep(timedelta(seconds=2))


async def test_a_merchant_that_never_hands_over_its_records_is_escalated_overdue_and_done_without(
    database: Database,
) -> None:
    """A4.4c, P3.4, Q3: fifteen working days across National Day 2026, with the make-up Saturday of 10 October.

    Counted from 21 September: 22 to 24 (25 is Mid-Autumn), 28 to 30, 8 to 10 October, 12 to 16, and Monday 19.
    """
    async with open_closing_fx_house(database, "2026-09-21 10:00:00") as (at, house):
        await collected(at.books)
        closure = await at.begun()
        await at.seen(closure, "records")
        assert await at.books.value(DATES, id=closure) == [date(2026, 10, 19), date(2026, 10, 14)]
        assert not await at.books.value("SELECT due_is_provisional FROM app.closure")
        await house.at("2026-10-13 23:59:30")
        assert await at.closures.cases(closure) == []
        await come_to(house, "2026-10-14 00:00:00")
        await house.until("SELECT escalated_at IS NOT NULL FROM app.closure", True)
        assert await at.closures.cases(closure) == ["closure_due"]
        opened = await case_opened(at, "closure_due")
        assert opened is not None
        assert timedelta(0) <= opened - shanghai("2026-10-14 00:00:00") < timedelta(seconds=2)
        await house.at("2026-10-19 23:59:30")
        assert await at.closures.cases(closure) == ["closure_due"]
        await come_to(house, "2026-10-20 00:00:00")
        await house.until("SELECT overdue_at IS NOT NULL FROM app.closure", True)
        assert await at.closures.cases(closure) == ["closure_due", "closure_overdue"]
        await at.seen(closure, "records")
        now = await house.now()
        await house.deciders.decide("closure.waive_records", closure, ground="records_unavailable", now=now)
        await at.until(closure, "completed")
        assert (await at.answer(closure))["due_on"] == "2026-10-19"


async def test_the_due_date_follows_the_calendar_when_it_is_corrected(database: Database) -> None:
    """Q3: what was announced late as a day off puts it off; a year that is not published is provisional."""
    async with open_closing_fx_house(database, "2026-09-21 10:00:00") as (at, house):
        dispute = await at.dispute()
        closure = await at.begun()
        await at.seen(closure, "dispute")
        await house.load_days("CN", d2026_10_12=False, d2026_10_13=False)
        await at.sleep(DAY + HOUR)
        assert await at.books.value(DATES, id=closure) == [date(2026, 10, 21), date(2026, 10, 16)]
        await house.load_days("CN", d2026_10_17=True)
        await at.sleep(DAY + HOUR)
        assert await at.books.value(DATES, id=closure) == [date(2026, 10, 20), date(2026, 10, 16)]
        await at.resolve(dispute)
        await at.until(closure, "completed")


async def pay_out_everything(at: ClosingHouse, house: FxHouse) -> None:
    """The ordinary payout on the merchant's instruction (A4.4c)."""
    now, user = await house.now(), at.books.user_id
    amount = await at.books.balance(f"user:{user}:CNY") - 200
    payee = await at.books.known_payee()
    limits = {"limit_sets": [(f"user:{user}", RICH)]}
    payout = await at.books.instructions.accept_payout(at.books.payout(payee, amount, now=now, **limits))
    # Not to its end, after which the server's clock might leap into another year.
    await house.begin_payout(payout, "succeeded")


async def test_a_remittance_that_arrives_while_the_banks_are_told_goes_before_and_is_converted_and_paid_out(
    database: Database,
) -> None:
    """P4.5b, A5.1: only what is there may still be converted; its number is closed with the account."""
    async with open_closing_fx_house(database) as (at, house):
        at.bank.script("unsign", UNKNOWN)
        at.bank.script("query", PROCESSING)
        closure = await at.begun()
        await at.until(closure, "unsigning")
        await house.fx.receive(100_000, now=await house.now(), value_date=date(2026, 11, 20))
        await at.until(closure, "closing")
        await at.seen(closure, "balance", "records")
        fx = await house.fx.accept(100_000, now=await house.now())
        await at.seen(closure, "instruction", "balance", "records")
        await house.begin(fx, "settled")
        await at.closures.hand_over(closure, now=await house.now())
        await at.seen(closure, "balance")
        at.bank.script("query", SUCCEEDED)
        await pay_out_everything(at, house)
        await at.skip_until(closure, "completed")
        assert await at.books.value("SELECT state FROM app.receiving_account") == "closed"
        kept = {(kind, records) for kind, _, records in await at.kept()}
        assert kept == {("identity", 1), ("transaction", 3)}
        # What is sent to that number from now on is nobody's (A8.4).
        late = await house.fx.receive(5_000, now=await house.now())
        assert await at.books.value("SELECT state FROM app.inbound WHERE id = :id", id=late.inbound_id) == "suspense"
        assert await at.books.value("SELECT user_id FROM app.inbound WHERE id = :id", id=late.inbound_id) is None


async def test_closing_at_one_merchant_leaves_the_person_at_another_untouched_and_the_quota_counted(
    database: Database,
) -> None:
    """P3.3b, P4.5d: two relations, one person; who comes back to the first has what is left of the year's quota."""
    async with open_closing_fx_house(database) as (at, house):
        other = await another_merchant(at)
        there = await add_user(house.fx, other)
        await house.dealt(100_000)
        quota = await house.fx.quota()
        assert quota is not None
        assert quota[1] > 0
        await pay_out_everything(at, house)
        untouched = await everything_of(at, there)
        closure = await at.begun()
        await at.closures.hand_over(closure, now=await house.now())
        await at.until(closure, "completed")
        assert (await at.answer(closure))["pseudonymous"] == ["fx_quota"]
        assert await everything_of(at, there) == untouched
        assert (await at.has_key(there), await at.has_key()) == (True, False)
        assert await house.fx.quota() == quota
        again = await add_user(house.fx, at.books.merchant_id)
        await house.fx.open_account(again, number="880000000077")
        await house.fx.receive(100_000, now=await house.now(), account_number="880000000077",
                               value_date=date(2026, 11, 20))  # fmt: skip
        fx = await house.fx.accept(100_000, now=await house.now(), user_id=again)
        await house.begin(fx, "settled")
        assert await house.fx.quota() == (0, 2 * quota[1])


async def another_merchant(at: ClosingHouse) -> str:
    other = at.books.new_id("mch")
    await at.books.run("INSERT INTO app.merchant VALUES (:m, '另一商户', 'active', 'infinity', :at)", m=other, at=NOW)
    return other


async def everything_of(at: ClosingHouse, user: str) -> Any:
    """Rows and ciphertexts of a user."""
    found = await at.books.value(
        "SELECT json_build_array((SELECT u FROM app.end_user u WHERE u.id = :u), (SELECT json_agg(b ORDER BY b.id)"
        " FROM app.binding b WHERE b.user_id = :u), (SELECT json_agg(i ORDER BY i.token) FROM vault.item i"
        " WHERE i.user_id = :u))::text",
        u=user,
    )  # fmt: skip
    return json.loads(found)
