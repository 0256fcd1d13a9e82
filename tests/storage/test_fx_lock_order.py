"""Whatever meets around foreign currency takes its locks in one order, so that nobody is a deadlock's victim."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from domain.decisions import DecisionKind
from domain.fx import FxPlanRefusedError
from domain.instructions import ReportUser
from storage.decisions import decide_directly
from tests.conftest import Database
from tests.storage.books import NOW
from tests.storage.freezing import freeze, look_after, release
from tests.storage.fx_books import DESK, OTHER_DESK, OVERSEAS, FxBooks
from tests.storage.fx_people import FxUser, add_fx_user, add_merchant, first_user
from tests.storage.fx_steps import (
    REFUSALS,
    Resource,
    claim_return,
    new_version,
    refused,
    return_ended,
    sound_fx_books,
    turned_away,
    unknown,
    withdrawn,
)
from tests.storage.test_lock_order import deadlocks

SECONDS, AT_ONCE = 5, 24
YEAR_END = datetime(2026, 12, 31, 15, 59, 30, tzinfo=UTC)
MOMENTS = (NOW, YEAR_END, YEAR_END + timedelta(minutes=1))
Act = Callable[[], Awaitable[object]]


@pytest.fixture
async def fx(database: Database) -> AsyncIterator[FxBooks]:
    async with sound_fx_books(database) as opened:
        yield opened


class Crowd:
    """Three users of one person at two merchants, and one of another, who do everything at once."""

    def __init__(self, fx: FxBooks, users: list[FxUser]) -> None:
        self.fx, self.users = fx, users
        self.ids: list[str] = []
        self.placed: list[str] = []
        self.returns: list[str] = []
        self.step = 0

    def acts(self) -> list[Act]:
        often = [self.accept, self.receive, self.plan, self.claim, self.claim, self.settle, self.settle]
        return [
            *often * 3, self.reverse, self.reverse, self.withdraw, self.dispose, self.end_return, self.freeze,
            self.release, self.look_after, self.report, self.suspend, self.replan, self.switch,
        ]  # fmt: skip

    async def view(self, *states: str) -> Resource:
        """One of these, or any; by now it may be another's."""
        some = "SELECT id FROM app.fx WHERE state = ANY(:states) ORDER BY random() LIMIT 1"
        found = await self.fx.books.value(some, states=list(states)) or random.choice(self.ids)
        return await self.fx.view(found)

    async def accept(self) -> None:
        user, currency = random.choice(self.users), random.choice(["USD", "HKD"])
        banks = random.sample([OVERSEAS, DESK], 2)
        await user.hold(400_000, currency, banks[0])
        made = await user.instruct(random.randint(1, 400_000), currency, banks=tuple(banks))
        self.ids.append(made["id"])

    async def receive(self) -> None:
        received = await self.fx.receive(random.randint(1, 300_000))
        self.ids += [received.fx_id] if received.fx_id else []

    async def plan(self) -> None:
        desk = random.choice([DESK, OTHER_DESK])
        await self.fx.plan((await self.view("waiting"))["id"], random.choice(MOMENTS), desk=desk, rate=50)

    async def claim(self) -> None:
        one = await self.view("waiting")
        await self.fx.plan(one["id"], at := random.choice(MOMENTS), desk=one["desk"] or DESK)
        one = await self.fx.view(one["id"])
        quote = self.fx.quote(one, at, bank_code=one["desk"] or DESK)
        await self.fx.claim(one, at, random.choice([0, 0, 0, 1]), quote=quote)

    async def settle(self) -> None:
        one, attempt = await self.view("sending", "unknown"), random.choice([0, 0, 0, 1])
        words = [
            self.fx.dealt(one, random.choice(MOMENTS), attempt=attempt), self.fx.dealt(one, attempt=attempt),
            self.fx.dealt(one, attempt=attempt), turned_away(one, attempt), unknown(one, attempt),
            refused(one, attempt, learned=random.random() < 0.1),
        ]  # fmt: skip
        await self.fx.book.settle(random.choice(words))

    async def reverse(self) -> None:
        one = await self.view("settled")
        if one["state"] == "settled" and one["kind"] == "conversion":
            reversal = await self.fx.reverse(one, random.randint(1, one["amount_minor"]))
            self.ids += [reversal] if reversal else []

    async def withdraw(self) -> None:
        one = await self.view("waiting")
        await decide_directly(self.fx.books.owner, DecisionKind.INSTRUCTION_WITHDRAW, one["id"], NOW)
        await self.fx.book.settle(withdrawn(one))

    async def dispose(self) -> None:
        one = await self.view("refused")
        user = next(each for each in self.users if each.user_id == one["user_id"])
        action = random.choice(["release", "return"])
        disposed = await self.fx.dispose(one["id"], action, request=user.context())
        self.returns += [disposed["return_id"]] if disposed["return_id"] else []

    async def end_return(self) -> None:
        if self.returns:
            which = random.choice(self.returns)
            await claim_return(self.fx, which)
            await self.fx.book.settle(return_ended(which, random.choice(["succeeded", "failed"])))

    def _later(self) -> datetime:
        self.step += 1
        return NOW + timedelta(seconds=self.step)

    async def freeze(self) -> None:
        user, currency = random.choice(self.users), random.choice(["USD", "CNY"])
        amount = random.choice([None, 1_000, 500_000])
        said: dict[str, Any] = {} if amount is None else {"currency": currency}
        scope = {"scope": "all"} if amount is None and random.random() < 0.5 else {}
        now = self._later()
        self.placed.append(await freeze(self.fx.books, amount, now=now, subject=user.user_id, **said, **scope))

    async def release(self) -> None:
        for user in self.users:
            await release(self.fx.books, now=self._later(), subject=user.user_id)

    async def look_after(self) -> None:
        await look_after(self.fx.books, self._later())

    async def report(self) -> None:
        user = random.choice(self.users)
        command = ReportUser(
            request=user.context(), now=NOW, id=self.fx.books.new_id("case"), user_id=user.user_id,
            kind="lost_device", channel="app",
        )  # fmt: skip
        await self.fx.books.instructions.report_user(command)

    async def suspend(self) -> None:
        user, books = random.choice(self.users), self.fx.books
        await decide_directly(books.owner, DecisionKind.USER_SUSPEND, user.user_id, self._later())
        await decide_directly(books.owner, DecisionKind.USER_RESUME, user.user_id, self._later())

    async def replan(self) -> None:
        await new_version(self.fx)

    async def switch(self) -> None:
        """Two desks in opposite orders."""
        for desk in random.sample([DESK, OTHER_DESK], 2):
            for kind in (DecisionKind.PARTNER_DISABLE, DecisionKind.PARTNER_ENABLE):
                await decide_directly(self.fx.books.owner, kind, desk, self._later())


@pytest.mark.long
async def test_whatever_is_done_with_foreign_currency_at_once_ends_nobody_as_a_deadlocks_victim(fx: FxBooks) -> None:
    second = await add_merchant(fx)
    users = [
        first_user(fx), await add_fx_user(fx, fx.books.merchant_id, "person-1"),
        await add_fx_user(fx, second, "person-1"), await add_fx_user(fx, second, "person-2"),
    ]  # fmt: skip
    await fx.acceptance.accept_mandate(fx.mandate())
    crowd, before, seen = Crowd(fx, users), await deadlocks(fx.books), set()
    await crowd.accept()
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        acts = random.choices(crowd.acts(), k=AT_ONCE)
        answers = await asyncio.gather(*(act() for act in acts), return_exceptions=True)
        expected = (*REFUSALS, FxPlanRefusedError, ValueError)
        assert [a for a in answers if isinstance(a, BaseException) and not isinstance(a, expected)] == []
        seen |= {act.__name__ for act, answer in zip(acts, answers, strict=True) if not isinstance(answer, Exception)}
    assert await deadlocks(fx.books) == before
    assert {"accept", "receive", "plan", "claim", "settle", "replan", "switch"} <= seen
    async with fx.books.owner.connect() as connection:
        states = (await connection.scalars(sa.text("SELECT DISTINCT state FROM app.fx"))).all()
    assert {"settled", "waiting"} <= set(states)


async def test_who_waits_for_the_plans_of_others_to_be_made_does_not_keep_them_from_the_partner(fx: FxBooks) -> None:
    """A plan names its desk, which locks the desk's row a little: the other way round is a deadlock."""
    async with fx.books.owner.begin() as planning, fx.books.owner.connect() as other:
        await planning.execute(sa.text("SELECT app.lock_plan_version(false)"))
        act = decide_directly(fx.books.owner, DecisionKind.PARTNER_DISABLE, DESK, NOW)
        switching = asyncio.create_task(act)
        for _ in range(200):
            if await fx.books.value("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                break
            await asyncio.sleep(0.02)
        await other.execute(sa.text("SELECT 1 FROM app.partner WHERE code = :c FOR KEY SHARE NOWAIT"), {"c": DESK})
        await other.rollback()
    assert await switching
