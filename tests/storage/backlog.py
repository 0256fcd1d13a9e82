"""Payouts that are to wait for their bank, written into a test database without holds, and plans for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from domain.planning import ReleasePlan, ReleaseWindow
from domain.slots import AllocatedSlot, SlotRequest
from storage.calendars import ReleaseSlots
from tests.storage.books import BANK, NOW, Books

_INSERT = """
INSERT INTO app.payout (id, merchant_id, user_id, payee_id, kind, order_number, region, route, bank_code, amount_minor,
    currency, source_account, fee_minor, fee_rule, confirmation_hash, agreement_version, origin, speed,
    limit_reservations, state, state_since, accepted_at, process_started_at)
SELECT u.id, :merchant, :user, :payee, 'withdrawal', u.id, 'CN', 'CN-CNY', :bank, 100, 'CNY', :source, 0, 'x', 'x',
    '1.0', 'user_relayed', :speed, '[]', 'checking', t.now, t.now + u.at * interval '1 second', t.now
FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS u (id, at), (SELECT CAST(:now AS timestamptz) AS now) t
"""


@dataclass
class Backlog:
    """`ids` in order of acceptance, a second apart. Slots are in one window that opens `opens_at`."""

    books: Books
    payee_id: str
    opens_at: datetime = NOW + timedelta(hours=1)
    closes_at: datetime = NOW + timedelta(hours=9)
    rate: int = 10
    version: int = 0
    ids: list[str] = field(default_factory=list)

    @property
    def slots(self) -> ReleaseSlots:
        return ReleaseSlots(self.books.app)

    async def accept(self, count: int, *, speed: str = "next_working_day") -> list[str]:
        """More of them, accepted after those before."""
        made = [self.books.new_id("po") for _ in range(count)]
        self.ids += made
        await self.books.run(
            _INSERT, ids=self.ids[-count:], merchant=self.books.merchant_id, user=self.books.user_id,
            payee=self.payee_id, bank=BANK, speed=speed, source=f"user:{self.books.user_id}:CNY",
            now=NOW + timedelta(seconds=len(self.ids) - count),
        )  # fmt: skip
        return made

    def windows(self) -> tuple[ReleaseWindow, ...]:
        later = timedelta(days=1)
        return tuple(
            ReleaseWindow(
                self.opens_at + n * later, self.closes_at + n * later, arrives_at=self.closes_at + (n + 1) * later
            )
            for n in range(3)
        )

    async def plan(self, payout_id: str, *, now: datetime = NOW, why: str = "first") -> AllocatedSlot:
        windows = self.windows()
        found = ReleasePlan(windows[0].opens_at, windows[0].arrival(windows[0].opens_at), (), windows)
        request = SlotRequest(
            payout_id=payout_id, now=now, why=why, version=self.version, rate=self.rate, plan=found
        )  # fmt: skip
        return await self.slots.allocate(request)

    async def seconds(self) -> list[int]:
        """Of each that has a slot, in order of acceptance: how many seconds after the opening it leaves."""
        statement = sa.text(
            "SELECT floor(extract(epoch FROM slot_at - :opens))::int FROM app.payout WHERE state = 'scheduled'"
            " ORDER BY accepted_at, id"
        )
        async with self.books.owner.connect() as connection:
            return list((await connection.scalars(statement, {"opens": self.opens_at})).all())

    async def events(self, payout_id: str) -> list[str]:
        statement = sa.text("SELECT type FROM app.event WHERE object_id = :id ORDER BY sequence")
        async with self.books.owner.connect() as connection:
            return list((await connection.scalars(statement, {"id": payout_id})).all())


async def open_backlog(books: Books) -> Backlog:
    return Backlog(books, await books.known_payee())
