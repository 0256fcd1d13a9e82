"""Control of the simulator: faults, settings, phones and books. Loopback only and unsigned; it is no part
of a bank.
"""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select

from banks.simulator.books import overview, shown_instant
from banks.simulator.faults import FaultOrder
from banks.simulator.gateway import Gateway
from banks.simulator.settings import Behaviour
from banks.simulator.tables import accounts, messages

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


class DownOrder(BaseModel):
    """Every bank request is answered 503 for this long; 0 ends it."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(ge=0, le=86_400)


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
    """Takes both banks down for a while."""
    bank.down_until = bank.clock() + timedelta(seconds=order.seconds)
    return {"seconds": order.seconds}


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
