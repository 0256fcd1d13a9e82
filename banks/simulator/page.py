"""The page on which a person plays the payer and the banks: the phones' text messages, the books, payouts that come
back, the banks' doors, and the fault cards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader
from sqlalchemy import select

from banks.simulator.books import shown_instant
from banks.simulator.cards import BANK_NAMES, FAULT_CARDS, ISSUERS, example_card
from banks.simulator.control import (
    Bank,
    HoursOrder,
    ReturnOrder,
    SimulatedBank,
    only_loopback,
    return_payout,
    set_hours,
)
from banks.simulator.erasure_control import ErasureReplyOrder, newest_notices, reply
from banks.simulator.fx_control import set_desk_hours
from banks.simulator.fx_offers import DESKS
from banks.simulator.overview import overview
from banks.simulator.payee_accounts import example_account
from banks.simulator.protocol import KeptReason, RequestNumber
from banks.simulator.tables import accounts, fx_deals, inbound_remittances, messages, movements, payouts
from domain.money import format_amount
from domain.rates import format_rate

router = APIRouter(include_in_schema=False)
_templates = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
_templates.filters["instant"] = lambda value: shown_instant(value)[:19].replace("T", " ")
_templates.filters["yuan"] = lambda value: f"{'-' if value < 0 else ''}{abs(value) // 100:,}.{abs(value) % 100:02d}"
_templates.filters["amount"] = format_amount
_templates.filters["rate"] = format_rate
_REGIONS = ("CN", "HK", "MO", "TW")
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


@router.get("/health")
async def health(bank: Bank) -> dict[str, str]:
    """Answers when the books are open."""
    with bank.connection.begin():
        bank.connection.execute(select(1))
    return {"status": "ok"}


@router.get("/", dependencies=[Depends(only_loopback)])
async def show(bank: Bank) -> HTMLResponse:
    """Renders the page; it reloads itself every few seconds."""
    with bank.connection.begin():
        rows = {
            "messages": bank.connection.execute(
                select(messages).order_by(messages.c.message_id.desc()).limit(20)
            ).all(),
            "accounts": bank.connection.execute(
                select(accounts).order_by(accounts.c.account_id.desc()).limit(30)
            ).all(),
            "payouts": bank.connection.execute(select(payouts).order_by(payouts.c.payout_id.desc()).limit(20)).all(),
            "deals": bank.connection.execute(select(fx_deals).order_by(fx_deals.c.deal_id.desc()).limit(20)).all(),
            "remittances": bank.connection.execute(
                select(inbound_remittances).order_by(inbound_remittances.c.booked_at.desc()).limit(20)
            ).all(),
            "erasures": newest_notices(bank.connection, 20),
            "movements": bank.connection.execute(
                select(movements).order_by(movements.c.movement_id.desc()).limit(30)
            ).all(),
        }
        books = overview(bank.connection)
    cards = [(row, [example_card(code, row.number) for code in ISSUERS]) for row in FAULT_CARDS.values()]
    good = [(BANK_NAMES[code], [example_card(code, None, serial) for serial in (1, 2, 3)]) for code in ISSUERS]
    payees = [(region, example_account(region), [example_account(region, n) for n in (81, 82)]) for region in _REGIONS]
    html = _templates.get_template("index.html").render(
        books=books,
        banks=BANK_NAMES,
        issuers=[BANK_NAMES[code] for code in ISSUERS],
        desks=[code for code, currencies in DESKS.items() if currencies],
        doors=bank.doors.shown(bank.clock()),
        cards=cards,
        good=good,
        payees=payees,
        **rows,
    )
    return HTMLResponse(html, headers=_SECURITY)


# Forms of the page itself: a browser names the page it posts from, and `only_loopback` refuses all others.
@router.post("/banks/{bank_code}/doors/{state}", dependencies=[Depends(only_loopback)])
async def turn(bank: Bank, bank_code: SimulatedBank, state: Literal["open", "closed"]) -> RedirectResponse:
    """Opens a bank, or closes it until it is opened."""
    await set_hours(HoursOrder(bank_code=bank_code, open=state == "open"), bank)
    return RedirectResponse("/", 303)


@router.post("/banks/{bank_code}/desk/{state}", dependencies=[Depends(only_loopback)])
async def turn_desk(bank: Bank, bank_code: SimulatedBank, state: Literal["open", "closed"]) -> RedirectResponse:
    """Opens an FX desk, or closes it until it is opened."""
    await set_desk_hours(HoursOrder(bank_code=bank_code, open=state == "open"), bank)
    return RedirectResponse("/", 303)


@router.post("/banks/{bank_code}/payouts/{request_number}/return", dependencies=[Depends(only_loopback)])
async def give_back(bank: Bank, bank_code: SimulatedBank, request_number: RequestNumber) -> RedirectResponse:
    """Sends a paid payout back."""
    await return_payout(ReturnOrder(bank_code=bank_code, request_number=request_number), bank)
    return RedirectResponse("/", 303)


@router.post("/banks/{bank_code}/erasure-notices/{request_number}/{answer}", dependencies=[Depends(only_loopback)])
async def reply_to_notice(
    bank: Bank, bank_code: SimulatedBank, request_number: RequestNumber, answer: Literal["erased"] | KeptReason
) -> RedirectResponse:
    """Replies to a notice of erasure that waits: by deleting, or by keeping all for a reason."""
    named = {"bank_code": bank_code, "request_number": request_number}
    kept = {"reply": "erased"} if answer == "erased" else {"reply": "kept", "reason": answer}
    await reply(ErasureReplyOrder.model_validate(named | kept), bank)
    return RedirectResponse("/", 303)
