"""Control of the simulator: faults, settings, phones and books. Loopback only and unsigned; it is no part
of a bank.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Body, Depends, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import select

from banks.signatures import milliseconds
from banks.simulator.books import fund_reserve, shown_instant
from banks.simulator.faults import FaultOrder
from banks.simulator.gateway import Gateway
from banks.simulator.notices import ReturnCallbacks
from banks.simulator.overview import overview
from banks.simulator.payee_accounts import currencies_of
from banks.simulator.payouts import NotReturnableError, paid_payout, send_back
from banks.simulator.protocol import Amount, Answer, BankCode
from banks.simulator.settings import Behaviour
from banks.simulator.tables import accounts, messages, payouts

_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def only_loopback(request: Request) -> None:
    """Refuses callers from other machines, and pages of other sites that a browser on this machine has open.

    A name that is no loopback one is refused too: whoever owns it can let it point here, and is then the same
    site for the browser.
    """
    host = request.client.host if request.client is not None else ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = False
    origin = request.headers.get("origin")
    if (
        not local
        or request.url.hostname not in _NAMES
        or (origin is not None and origin.split("//")[-1] != request.headers.get("host"))
    ):
        raise HTTPException(403, "control is for this machine only")


def get_gateway(request: Request) -> Gateway:
    """The gateway of the running app."""
    gateway = request.app.state.gateway
    if not isinstance(gateway, Gateway):
        raise HTTPException(503, "starting")
    return gateway


Bank = Annotated[Gateway, Depends(get_gateway)]
router = APIRouter(prefix="/control", tags=["control"], dependencies=[Depends(only_loopback)])


SimulatedBank = Literal["HBRB", "WLWB", "OSPB"]


class DownOrder(BaseModel):
    """Every request to one bank, or to all, is answered 503 for this long; 0 ends it."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(ge=0, le=86_400)
    bank_code: SimulatedBank | None = None


class HoursOrder(BaseModel):
    """A bank opens, or closes for so many seconds, or until it is opened. Closed, it declines payouts: BANK_CLOSED."""

    model_config = ConfigDict(extra="forbid")

    bank_code: SimulatedBank
    open: bool
    seconds: float | None = Field(default=None, gt=0, le=31 * 86_400)

    @model_validator(mode="after")
    def _only_closing_ends_by_itself(self) -> Self:
        if self.open and self.seconds is not None:
            raise ValueError("`seconds` goes with closing: it opens again by itself")
        return self


class ReturnOrder(BaseModel):
    """The payee's bank sends a paid payout back now, whole; `code` says why."""

    model_config = ConfigDict(extra="forbid")

    bank_code: SimulatedBank
    request_number: str = Field(max_length=40)
    code: BankCode = BankCode.ACCOUNT_CLOSED
    callbacks: ReturnCallbacks = ReturnCallbacks.ORDINARY


class FundsOrder(BaseModel):
    """Money of its own comes onto the institution's reserve."""

    model_config = ConfigDict(extra="forbid")

    bank_code: SimulatedBank
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    amount_minor: Amount


@router.post("/faults")
async def order_fault(order: FaultOrder, bank: Bank) -> dict[str, int]:
    """Makes the next `count` requests of an operation go wrong."""
    return {"fault_id": bank.faults.add(order)}


@router.get("/faults")
async def list_faults(bank: Bank) -> list[dict[str, object]]:
    """The faults that still wait for requests."""
    return bank.faults.listed()


@router.delete("/faults", status_code=204)
async def clear_faults(bank: Bank) -> None:
    """Takes all ordered faults back (fault cards stay what they are)."""
    bank.faults.clear()


@router.post("/down")
async def go_down(order: DownOrder, bank: Bank) -> dict[str, float]:
    """Takes one bank, or both, down for a while."""
    bank.doors.take_down(order.bank_code, bank.clock(), order.seconds)
    return {"seconds": order.seconds}


@router.post("/hours")
async def set_hours(order: HoursOrder, bank: Bank) -> dict[str, dict[str, object]]:
    """Opens or closes a bank; answers all banks' doors."""
    if order.open:
        bank.doors.open(order.bank_code)
    else:
        bank.doors.close(order.bank_code, bank.clock(), order.seconds)
    return bank.doors.shown(bank.clock())


@router.get("/hours")
async def read_hours(bank: Bank) -> dict[str, dict[str, object]]:
    """Which banks pay out now, and which answer at all."""
    return bank.doors.shown(bank.clock())


@router.post("/returns")
async def return_payout(order: ReturnOrder, bank: Bank) -> Answer:
    """Sends a payout back; answers as a query for its number does from now on. 404: no such payout, 409: not paid."""
    now = milliseconds(bank.clock())
    try:
        with bank.connection.begin():
            row = paid_payout(bank.connection, order.bank_code, order.request_number)
            answer = send_back(
                bank.connection, bank.behaviour, row, now=now, code=order.code, callbacks=order.callbacks
            )
    except NotReturnableError as wrong:
        detail = "no such payout" if wrong.status is None else f"the payout is {wrong.status}"
        raise HTTPException(404 if wrong.status is None else 409, detail) from None
    bank.queued.set()
    return answer


@router.post("/funds")
async def fund(order: FundsOrder, bank: Bank) -> dict[str, str]:
    """Puts money on the institution's reserve; answers the bank's reference."""
    if order.currency not in currencies_of(order.bank_code):
        raise HTTPException(422, f"{order.bank_code} holds no reserve in {order.currency}")
    now = milliseconds(bank.clock())
    with bank.connection.begin():
        reference = fund_reserve(bank.connection, order.bank_code, order.currency, order.amount_minor, now)
    return {"bank_reference": reference}


@router.get("/payouts")
async def read_payouts(bank: Bank, limit: Annotated[int, Query(ge=1, le=1000)] = 200) -> list[dict[str, object]]:
    """The payouts as the banks have them, newest first; instants in Unix milliseconds."""
    with bank.connection.begin():
        rows = bank.connection.execute(select(payouts).order_by(payouts.c.payout_id.desc()).limit(limit)).all()
    return [dict(row._mapping) for row in rows]


@router.post("/settings")
async def change_settings(bank: Bank, changes: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    """Changes times and caps until the next restart; answers all of them."""
    unknown = sorted(set(changes) - set(Behaviour.model_fields))
    if unknown:
        raise HTTPException(422, f"unknown settings: {', '.join(name[:40] for name in unknown[:5])}")
    try:
        for name, value in changes.items():
            setattr(bank.behaviour, name, value)
    except ValidationError as error:
        raise HTTPException(422, [item["msg"] for item in error.errors()]) from None
    bank.due.set()
    bank.queued.set()
    return bank.behaviour.model_dump(include=set(Behaviour.model_fields))


@router.get("/messages")
async def read_messages(
    bank: Bank, mobile: str | None = None, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[dict[str, object]]:
    """The text messages on a phone (or on all), newest first."""
    query = select(messages).order_by(messages.c.message_id.desc()).limit(limit)
    if mobile is not None:
        query = query.where(messages.c.mobile == mobile)
    with bank.connection.begin():
        rows = bank.connection.execute(query).all()
    return [
        dict(row._mapping) | {"sent_at": shown_instant(row.sent_at), "expires_at": shown_instant(row.expires_at)}
        for row in rows
    ]


@router.get("/books")
async def read_books(bank: Bank) -> dict[str, object]:
    """Sums and counts of each bank, and whether the books balance; to be compared with the institution's
    ledger.
    """
    with bank.connection.begin():
        return overview(bank.connection)


@router.get("/accounts")
async def read_accounts(bank: Bank, limit: Annotated[int, Query(ge=1, le=1000)] = 200) -> list[dict[str, object]]:
    """The accounts with their balances, newest first."""
    with bank.connection.begin():
        rows = bank.connection.execute(select(accounts).order_by(accounts.c.account_id.desc()).limit(limit)).all()
    return [dict(row._mapping) for row in rows]
