"""The page on which a person plays the payer: the phones' text messages, the banks' books and the fault
cards.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader
from sqlalchemy import select

from banks.simulator.books import overview, shown_instant
from banks.simulator.cards import BANK_NAMES, FAULT_CARDS, example_card
from banks.simulator.control import Bank, only_loopback
from banks.simulator.tables import accounts, messages, movements

router = APIRouter(include_in_schema=False)
_templates = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
_templates.filters["instant"] = lambda value: shown_instant(value)[:19].replace("T", " ")
_templates.filters["yuan"] = lambda value: f"{'-' if value < 0 else ''}{abs(value) // 100:,}.{abs(value) % 100:02d}"
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
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
            "movements": bank.connection.execute(
                select(movements).order_by(movements.c.movement_id.desc()).limit(30)
            ).all(),
        }
        books = overview(bank.connection)
    cards = [(row, [example_card(code, row.number) for code in BANK_NAMES]) for row in FAULT_CARDS.values()]
    good = [(BANK_NAMES[code], [example_card(code, None, serial) for serial in (1, 2, 3)]) for code in BANK_NAMES]
    html = _templates.get_template("index.html").render(books=books, banks=BANK_NAMES, cards=cards, good=good, **rows)
    return HTMLResponse(html, headers=_SECURITY)
