"""What the FX desks quote: rates that control can set, and the quotes that a deal has to name."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from banks.simulator.books import shown_instant
from banks.simulator.faults import Fault, FaultKind
from banks.simulator.fx_offers import DESKS, FIRST_RATES, PUBLISHERS
from banks.simulator.fx_protocol import FxDealBody, Quote, Side
from banks.simulator.protocol import BankCode, Status
from banks.simulator.settings import Behaviour
from banks.simulator.tables import fx_quotes
from domain.rates import format_rate, parse_rate


@dataclass(frozen=True)
class DeskRate:
    """A desk's rates of one currency. `valid_seconds` None: as the settings say."""

    buys_e8: int
    sells_e8: int
    publisher: str
    valid_seconds: float | None = None
    published_age_seconds: float = 0


class DeskRates:
    """The rates of all desks. In memory: a restarted desk begins with its first ones."""

    def __init__(self) -> None:
        self._rates: dict[tuple[str, str], DeskRate] = {}
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forgets what was published since the start."""
        self._rates = {
            (bank_code, currency): _first_rate(bank_code, currency)
            for bank_code, currencies in DESKS.items()
            for currency in currencies
        }

    def of(self, bank_code: str, currency: str) -> DeskRate | None:
        """What this desk deals the currency at; None if it does not."""
        return self._rates.get((bank_code, currency))

    def publish(self, bank_code: str, currency: str, rate: DeskRate) -> None:
        """What it deals at from now on."""
        self._rates[bank_code, currency] = rate

    def shown(self) -> dict[str, dict[str, dict[str, object]]]:
        """`{bank: {currency: {buys, sells, publisher, valid_seconds, published_age_seconds}}}`."""
        found: dict[str, dict[str, dict[str, object]]] = {}
        for (bank_code, currency), rate in self._rates.items():
            found.setdefault(bank_code, {})[currency] = {
                "buys": format_rate(rate.buys_e8),
                "sells": format_rate(rate.sells_e8),
                "publisher": rate.publisher,
                "valid_seconds": rate.valid_seconds,
                "published_age_seconds": rate.published_age_seconds,
            }
        return found


def _first_rate(bank_code: str, currency: str) -> DeskRate:
    buys, sells = FIRST_RATES[currency]
    return DeskRate(parse_rate(buys), parse_rate(sells), PUBLISHERS[bank_code])


@dataclass(frozen=True)
class Desk:
    """One bank's desk at one instant, in Unix milliseconds."""

    connection: Connection
    behaviour: Behaviour
    rates: DeskRates
    bank_code: str
    is_open: bool
    now: int


def quote(desk: Desk, currency: str, side: Side, fault: Fault | None) -> Quote:
    """A new quote, good for every deal until it expires; FAILED by a closed desk, or for what it does not deal."""
    rate = desk.rates.of(desk.bank_code, currency)
    refusal = _refusal(desk, rate, fault)
    if refusal is not None or rate is None:
        code = refusal or BankCode.CURRENCY_NOT_SUPPORTED
        return Quote(status=Status.FAILED, code=code, currency=currency, side=side)
    valid_seconds = desk.behaviour.fx_quote_valid_seconds if rate.valid_seconds is None else rate.valid_seconds
    row = {
        "quote_id": f"{desk.bank_code}QT{secrets.token_hex(8).upper()}",
        "bank_code": desk.bank_code,
        "currency": currency,
        "side": side,
        "rate_e8": rate.buys_e8 if side == "buys" else rate.sells_e8,
        "publisher": rate.publisher,
        "published_at": desk.now - int(rate.published_age_seconds * 1000),
        "valid_until": desk.now + int(valid_seconds * 1000),
    }
    desk.connection.execute(insert(fx_quotes).values(**row))
    return _shown(row)


def _refusal(desk: Desk, rate: DeskRate | None, fault: Fault | None) -> BankCode | None:
    if fault is not None and fault.kind in (FaultKind.DECLINE, FaultKind.ANSWER_FORGED):
        return fault.code or BankCode.SYSTEM_DECLINED
    if rate is None:
        return BankCode.CURRENCY_NOT_SUPPORTED
    return None if desk.is_open else BankCode.DESK_CLOSED


def _shown(row: Mapping[str, Any]) -> Quote:
    return Quote(
        status=Status.SUCCESS,
        code=BankCode.OK,
        currency=row["currency"],
        side=row["side"],
        quote_id=row["quote_id"],
        rate=format_rate(row["rate_e8"]),
        publisher=row["publisher"],
        published_at=shown_instant(row["published_at"]),
        valid_until=shown_instant(row["valid_until"]),
    )


def is_good_quote(connection: Connection, bank_code: str, body: FxDealBody, now: int) -> bool:
    """Whether the desk has quoted just this, and still deals at it."""
    row = connection.execute(select(fx_quotes).where(fx_quotes.c.quote_id == body.quote_id)).one_or_none()
    side = "buys" if body.kind == "conversion" else "sells"
    asked = (bank_code, body.foreign_currency, side, parse_rate(body.rate))
    return row is not None and (row.bank_code, row.currency, row.side, row.rate_e8) == asked and now < row.valid_until
