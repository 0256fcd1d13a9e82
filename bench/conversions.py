"""Conversions of foreign currency in the books: users with money abroad, acceptance page by page, their processes.

They are accepted by the books' own function, a page a commit; their processes are started as the API starts them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import cycle
from typing import Any

import httpx
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from bench.payers import Merchant, Payer, SetUpError
from domain import chart
from domain.business_time import SHANGHAI
from domain.calendars import BankHours, CalendarCorrection, CalendarFile, Closure, HoursOnDays
from domain.fx import AcceptFx
from domain.identifiers import IdPrefix, identifier
from domain.instructions import RequestContext
from domain.transfers import Direction, Post, TransferKind
from ops.direct_enrolment import enrol_directly
from runtime.id_source import UlidSource
from storage.administration import Act
from storage.calendars import Calendars
from workflows.names import Process, workflow_id
from workflows.starting import Processes
from workflows.starting_fx import fx_order

OVERSEAS, DESK, OFFICE, AUTHORITY = "OSPB", "HBRB", "FX-HBRB", "FX-SAFE"
CURRENCY, PURPOSE = "USD", "121010"
# So little that nobody's quota of a year is touched.
AMOUNT_MINOR = 1000
STARTS_AT_ONCE = 16
_BALANCE_MINOR = 10_000_000
_WHOLE_DAY = HoursOnDays(weekdays=(1, 2, 3, 4, 5, 6, 7), opens=time(0, 0), closes=time(23, 59))
_WORKED_DAYS = range(-1, 8)

_ACCEPT = sa.text("SELECT app.accept_fx(value) AS result FROM jsonb_array_elements(CAST(:items AS jsonb))").columns(
    result=JSONB
)
_REFUSE = sa.text("SELECT app.refuse_fx(f, 'quota_exceeded', :at) IS NULL FROM app.fx f WHERE f.id = ANY(:ids)")
_POST = sa.text("SELECT result->>'ok' FROM ledger.apply_batch(CAST(:items AS jsonb))")


async def give_foreign_money(engine: AsyncEngine, simulator_url: str, payers: Sequence[Payer]) -> None:
    """Posted to the payers' balances and the reserve abroad, as if it had arrived; the bank has it too."""
    order = {"bank_code": OVERSEAS, "currency": CURRENCY, "amount_minor": _BALANCE_MINOR * len(payers)}
    async with httpx.AsyncClient(base_url=simulator_url, trust_env=False) as bank:
        (await bank.post("/control/funds", json=order)).raise_for_status()
    ids, now = UlidSource(), datetime.now(UTC)
    async with engine.begin() as connection:
        for payer in payers:
            account, inbound = chart.user(payer.user_id, CURRENCY), f"inb_{ids.ulid()}"
            both = [account, chart.user(payer.user_id, "CNY")]
            await connection.execute(sa.text("SELECT ledger.open_accounts(:codes)"), {"codes": both})
            arrived = Post(
                key=f"{inbound}:credited", kind=TransferKind.INBOUND, direction=Direction.IN,
                debit=chart.reserve(OVERSEAS, CURRENCY), credit=account, currency=CURRENCY, amount=_BALANCE_MINOR,
                instruction=inbound, reference=inbound, booked_at=now,
            )  # fmt: skip
            item = {"item": 0, "transfers": [arrived.model_dump(mode="json", exclude_none=True)]}
            if await connection.scalar(_POST, {"items": json.dumps([item])}) != "true":
                raise SetUpError("the ledger refused a balance")


@dataclass
class Offices:
    """Desk and authority, whose hours somebody sets who may; every word of theirs is a version of the calendars."""

    calendars: Calendars
    operator_id: str

    @classmethod
    async def enrol(cls, engine: AsyncEngine, operator_key: bytes) -> Offices:
        """With an operator of treasury."""
        made = await enrol_directly(
            engine, operator_key, "bench", ("treasury",), ulid=UlidSource().ulid(), now=datetime.now(UTC)
        )
        return cls(Calendars(engine), made.operator_id)

    @property
    def _act(self) -> Act:
        return Act("operator:bench", datetime.now(UTC))

    async def work_around_the_clock(self) -> None:
        """Both, on all days of this week and the next, so that only closures decide; but for a minute at midnight."""
        today = datetime.now(SHANGHAI).date()
        days = tuple(_worked(code, today + timedelta(days=n)) for code in (OFFICE, AUTHORITY) for n in _WORKED_DAYS)
        await self.calendars.load_file(self._act, self.operator_id, CalendarFile(note="bench", corrections=days))
        hours = BankHours(ranges=(_WHOLE_DAY,))
        for code in (OFFICE, AUTHORITY):
            await self.calendars.load_hours(self._act, self.operator_id, code, hours, "bench")

    async def close_until(self, opens_at: datetime) -> int:
        """The desk, in the place of what was said of it before; the version."""
        act = self._act
        await self.calendars.open_again(act, self.operator_id, OFFICE, f"bench, before {opens_at.isoformat()}")
        closure = Closure(bank_code=OFFICE, from_at=act.at, until_at=opens_at)
        return int((await self.calendars.load_closure(act, self.operator_id, closure, "bench"))["version"])


def opening_after(seconds: float, lasts_seconds: float) -> datetime:
    """So long from now; after midnight if otherwise the minute before it, when nobody works, would fall into the rush.

    The same fraction of a second for all, which the database keeps.
    """
    opens_at = (datetime.now(SHANGHAI) + timedelta(seconds=seconds)).replace(microsecond=0)
    ends_at = opens_at + timedelta(seconds=lasts_seconds)
    midnight = datetime.combine(opens_at.date() + timedelta(days=1), time(), tzinfo=SHANGHAI)
    is_clear = ends_at < midnight - timedelta(minutes=1)
    return (opens_at if is_clear else midnight).astimezone(UTC)


def _worked(code: str, day: date) -> CalendarCorrection:
    return CalendarCorrection.model_validate({"calendar": code, "day": day, "working": True, "name": "bench"})


@dataclass
class Conversions:
    """Accepts conversions of these users in turn, and starts them."""

    engine: AsyncEngine
    client: Client
    merchant: Merchant
    payers: Sequence[Payer]
    ids: UlidSource = field(default_factory=UlidSource)
    last: str = ""

    def __post_init__(self) -> None:
        self._in_turn = cycle(self.payers)

    async def accept(self, number: int) -> list[dict[str, Any]]:
        """So many in one commit, each a microsecond after the one before; the resources."""
        now = datetime.now(UTC)
        items = [self._item(now + timedelta(microseconds=at)) for at in range(number)]
        async with self.engine.begin() as connection:
            found = (await connection.execute(_ACCEPT, {"items": json.dumps(items)})).scalars().all()
        if refused := [answer for answer in found if not answer["ok"]]:
            raise SetUpError(f"a conversion was refused: {refused[0]['error']}")
        return [answer["resource"] for answer in found]

    def _item(self, now: datetime) -> dict[str, Any]:
        ulid = self.ids.ulid()
        context = RequestContext(
            merchant_id=self.merchant.id, key_id="bench", request_id=f"req_{ulid}", idempotency_key=None
        )
        command = AcceptFx(
            request=context,
            now=now,
            id=identifier(IdPrefix.FX, ulid),
            user_id=next(self._in_turn).user_id,
            order_number=f"bench-{ulid}",
            amount_minor=AMOUNT_MINOR,
            currency=CURRENCY,
            banks=(OVERSEAS,),
            purpose_code=PURPOSE,
            is_trade=False,
            residency="domestic_individual",
            over_quota="split",
            confirmation_hash="0" * 64,
            agreement_version="bench",
            blocked_regions=(),
        )
        return command.model_dump(mode="json")

    async def start(self, resources: Sequence[dict[str, Any]]) -> None:
        """Their processes, as the API starts them."""
        processes, waiting = Processes(self.client, patience_seconds=30), iter(resources)

        async def one_after_the_other(left: Iterator[dict[str, Any]]) -> None:
            for resource in left:
                if not await processes.settle_fx(fx_order(resource, self.merchant.id)):
                    raise SetUpError("a process could not be started")
                self.last = workflow_id(Process.SETTLE_FX, resource["id"])

        await all_at_once(lambda: one_after_the_other(waiting), STARTS_AT_ONCE)

    async def refuse(self, resources: Sequence[dict[str, Any]]) -> None:
        """They are never converted, and nobody looks after them any more."""
        ids = [resource["id"] for resource in resources]
        async with self.engine.begin() as connection:
            await connection.execute(_REFUSE, {"ids": ids, "at": datetime.now(UTC)})


async def all_at_once(work: Callable[[], Any], number: int) -> None:
    """So many of it side by side; returns when all have ended."""
    async with asyncio.TaskGroup() as group:
        for _ in range(number):
            group.create_task(work())
