"""Control of the banks' foreign currency: desks, rates, quotas, remittances. Loopback only, as `control.py`."""

from __future__ import annotations

import secrets
from datetime import date
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import select

from banks.signatures import milliseconds
from banks.simulator.books import SHANGHAI
from banks.simulator.control import Bank, HoursOrder, SimulatedBank, only_loopback
from banks.simulator.fx_desk import NotDealtError, find_excess
from banks.simulator.fx_offers import HOLDS
from banks.simulator.fx_protocol import IdNumber, PersonName, PurposeCode, Rate, Reference
from banks.simulator.fx_quota import quota_of, set_quota, year_of
from banks.simulator.fx_quotes import DeskRate
from banks.simulator.inbound import ReferenceTakenError, arrive
from banks.simulator.notices import NoticeQueue, enqueue_remittance_notices
from banks.simulator.protocol import Amount, Answer
from banks.simulator.tables import fx_deals, inbound_remittances, receiving_accounts
from domain.money import Money
from domain.rates import parse_rate

router = APIRouter(prefix="/control", tags=["control"], dependencies=[Depends(only_loopback)])
_LONGEST_SECONDS = 366 * 86_400
Limit = Annotated[int, Query(ge=1, le=1000)]


class RatesOrder(BaseModel):
    """What a desk deals a currency at from now on. What is not given stays, but the age of what it publishes."""

    model_config = ConfigDict(extra="forbid")

    bank_code: SimulatedBank
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    buys: Rate | None = None
    sells: Rate | None = None
    publisher: str | None = Field(default=None, min_length=1, max_length=60)
    valid_seconds: float | None = Field(default=None, ge=0, le=_LONGEST_SECONDS)
    published_age_seconds: float = Field(default=0, ge=0, le=_LONGEST_SECONDS)


class QuotaOrder(BaseModel):
    """What the desks know of a person's year, and whether they notice an excess before they deal (`strict`)."""

    model_config = ConfigDict(extra="forbid")

    id_number: IdNumber = Field(repr=False)
    usd_used_minor: int | None = Field(default=None, ge=0, le=10**13)
    mode: Literal["strict", "late"] | None = None
    year: int | None = Field(default=None, ge=2000, le=2100)


class ExcessOrder(BaseModel):
    """So much more of a dealt conversion is found to be above the quota."""

    model_config = ConfigDict(extra="forbid")

    bank_code: SimulatedBank
    request_number: str = Field(max_length=40)
    excess_minor: Amount


class InboundOrder(BaseModel):
    """A remittance arrives. `times` callbacks tell of it, or none (`announce`); `forged`, nothing arrives at all."""

    model_config = ConfigDict(extra="forbid")

    bank_code: SimulatedBank
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    amount_minor: Amount
    account_number: str = Field(min_length=1, max_length=34, repr=False)
    receiver_name: PersonName = Field(repr=False)
    remitter_name: PersonName = Field(default="Harbour Trading Ltd", repr=False)
    remitter_country: str = Field(default="HK", pattern=r"^[A-Z]{2}$")
    purpose_code: PurposeCode = "421990"
    value_date: date | None = Field(default=None, description="the day of its arrival, if not given")
    reference: Reference | None = None
    announce: bool = True
    times: int = Field(default=1, ge=1, le=20)
    forged: bool = False

    @model_validator(mode="after")
    def _arrives_where_the_currency_is_held(self) -> Self:
        if self.currency not in HOLDS[self.bank_code]:
            raise ValueError(f"{self.bank_code} holds no reserve in {self.currency}")
        return self


@router.post("/fx-desk")
async def set_desk_hours(order: HoursOrder, bank: Bank) -> dict[str, dict[str, object]]:
    """Opens an FX desk, or closes it for so many seconds, or until it is opened; answers all banks' doors."""
    if order.open:
        bank.doors.open_desk(order.bank_code)
    else:
        bank.doors.close_desk(order.bank_code, bank.clock(), order.seconds)
    return bank.doors.shown(bank.clock())


@router.post("/fx-rates")
async def publish_rates(order: RatesOrder, bank: Bank) -> dict[str, dict[str, dict[str, object]]]:
    """Sets a desk's rates; answers those of all desks. Quotes given before stay good. 422: it does not deal that."""
    before = bank.rates.of(order.bank_code, order.currency)
    if before is None:
        raise HTTPException(422, f"the desk of {order.bank_code} does not deal {order.currency}")
    rate = DeskRate(
        buys_e8=before.buys_e8 if order.buys is None else parse_rate(order.buys),
        sells_e8=before.sells_e8 if order.sells is None else parse_rate(order.sells),
        publisher=order.publisher or before.publisher,
        valid_seconds=before.valid_seconds if order.valid_seconds is None else order.valid_seconds,
        published_age_seconds=order.published_age_seconds,
    )
    bank.rates.publish(order.bank_code, order.currency, rate)
    return bank.rates.shown()


@router.get("/fx-rates")
async def read_rates(bank: Bank) -> dict[str, dict[str, dict[str, object]]]:
    """What each desk deals each currency at."""
    return bank.rates.shown()


@router.delete("/fx-rates", status_code=204)
async def forget_rates(bank: Bank) -> None:
    """All desks deal at their first rates again."""
    bank.rates.begin_anew()


@router.post("/fx-quota")
async def set_person_quota(order: QuotaOrder, bank: Bank) -> dict[str, object]:
    """Sets what is given of a person's year (this one, if none is given); answers all of it."""
    year = order.year or year_of(milliseconds(bank.clock()))
    with bank.connection.begin():
        used, mode = quota_of(bank.connection, order.id_number, year)
        used = used if order.usd_used_minor is None else order.usd_used_minor
        set_quota(bank.connection, order.id_number, year, used, order.mode or mode)
    return {"year": year, "usd_used_minor": used, "mode": order.mode or mode}


@router.post("/fx-excess")
async def mark_excess(order: ExcessOrder, bank: Bank) -> Answer:
    """Finds an excess; answers as a query for the deal does from now on. 404: no such deal, 409: no dealt conversion,
    422: more than was converted.
    """
    number, now = order.request_number, milliseconds(bank.clock())
    try:
        with bank.connection.begin():
            answer = find_excess(bank.connection, bank.behaviour, (order.bank_code, number), order.excess_minor, now)
    except NotDealtError as wrong:
        detail = "no such deal" if wrong.status is None else "it is no conversion that was dealt"
        raise HTTPException(404 if wrong.status is None else 409, detail) from None
    except ValueError as wrong:
        raise HTTPException(422, str(wrong)) from None
    bank.queued.set()
    return answer


@router.post("/inbound")
async def let_arrive(order: InboundOrder, bank: Bank) -> dict[str, str | None]:
    """A remittance arrives, and callbacks tell of it; answers its reference. 409: one arrived under it before."""
    moment = bank.clock()
    now, day = milliseconds(moment), moment.astimezone(SHANGHAI).date()
    reference = order.reference or f"{order.bank_code}IN{day:%Y%m%d}{secrets.token_hex(6).upper()}"
    row = order.model_dump(exclude={"announce", "times", "forged"})
    row |= {"reference": reference, "value_date": (order.value_date or day).isoformat()}
    queue = NoticeQueue(bank.connection, bank.behaviour, order.bank_code, now)
    money = Money(amount_minor=order.amount_minor, currency=order.currency)
    try:
        with bank.connection.begin():
            booked = None if order.forged else arrive(bank.connection, row, now)
            if order.announce or order.forged:
                enqueue_remittance_notices(queue, reference, money, times=order.times, forged=order.forged)
    except ReferenceTakenError:
        raise HTTPException(409, "a remittance has arrived under this reference") from None
    bank.queued.set()
    return {"reference": reference, "bank_reference": booked}


@router.get("/fx-deals")
async def read_deals(bank: Bank, limit: Limit = 200) -> list[dict[str, object]]:
    """The deals as the desks have them, newest first; instants in Unix milliseconds, rates times 10^8."""
    with bank.connection.begin():
        rows = bank.connection.execute(select(fx_deals).order_by(fx_deals.c.deal_id.desc()).limit(limit)).all()
    return [dict(row._mapping) for row in rows]


@router.get("/inbound")
async def read_remittances(bank: Bank, limit: Limit = 200) -> list[dict[str, object]]:
    """The remittances that have arrived, newest first."""
    newest = select(inbound_remittances).order_by(inbound_remittances.c.booked_at.desc()).limit(limit)
    with bank.connection.begin():
        rows = bank.connection.execute(newest).all()
    return [dict(row._mapping) for row in rows]


@router.get("/receiving-accounts")
async def read_receiving_accounts(bank: Bank, limit: Limit = 200) -> list[dict[str, object]]:
    """The account numbers under which remittances reach users, newest first."""
    newest = select(receiving_accounts).order_by(receiving_accounts.c.opened_at.desc()).limit(limit)
    with bank.connection.begin():
        rows = bank.connection.execute(newest).all()
    return [dict(row._mapping) for row in rows]
