"""Deals of the FX desks: taken in at a quote, dealt and delivered at once or later, found in excess later still.

What leaves the institution goes from its reserve to `payees`, what comes to it from `issue` to its reserve: the foreign
currency in the books of the bank where it lies (`fx-deliveries`), the CNY in those of the desk's bank (`fx-deals`),
under the deal's request number in both.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from banks.signatures import instant_from_milliseconds
from banks.simulator.agreements import forced_decline
from banks.simulator.books import CURRENCY, SHANGHAI, house_account, move, reserve_minor, shown_instant
from banks.simulator.faults import FaultKind
from banks.simulator.fx_offers import DESKS, HOLDS
from banks.simulator.fx_protocol import FxDealBody
from banks.simulator.fx_quota import count_deal, is_over_quota, year_of
from banks.simulator.fx_quotes import is_good_quote
from banks.simulator.notices import NoticeQueue, enqueue_excess_notice, enqueue_final_notices, enqueue_forged_notice
from banks.simulator.payments import delayed_end
from banks.simulator.protocol import Answer, BankCode, Operation, Status
from banks.simulator.requests import Call, remember_anew, remember_end
from banks.simulator.settings import Behaviour
from banks.simulator.tables import fx_deals
from domain.money import Money
from domain.rates import convert, format_rate, parse_rate

DELIVERY = "fx-deliveries"
# A delivery for which the reserve does not hold enough (something else took it since the deal) is tried again.
_AGAIN_MILLISECONDS = 5_000


class NotDealtError(Exception):
    """Only a conversion that was dealt can be in excess. `status` is where it stands, or None."""

    def __init__(self, status: str | None) -> None:
        super().__init__(status or "unknown")
        self.status = status


def deal(call: Call, body: FxDealBody) -> Answer:
    """Deals at a good quote, if the desk is open, the quota is enough, and the reserve holds what has to leave."""
    rate_e8 = parse_rate(body.rate)
    row: dict[str, Any] = {
        **body.model_dump(exclude={"rate"}),
        "rate_e8": rate_e8,
        "request_id": call.request_id,
        "bank_code": call.bank_code,
        "received_at": call.now,
    }
    wrong = _refusal(call, body)
    known = wrong is not BankCode.CURRENCY_NOT_SUPPORTED
    row["cny_minor"] = convert(body.foreign_minor, body.foreign_currency, rate_e8, "half_up").minor if known else 0
    if wrong is None and not row["cny_minor"]:
        wrong = BankCode.LIMIT_EXCEEDED
    queue = NoticeQueue(call.connection, call.behaviour, call.bank_code, call.now)
    end = delayed_end(call) if wrong is None else None
    if end is not None:
        due = {"due_at": end[0], "due_code": end[1].value}
        columns = row | {"status": Status.PROCESSING, "code": BankCode.IN_PROCESS, **due}
        call.connection.execute(insert(fx_deals).values(**columns))
        answer = call.answered(Status.PROCESSING, BankCode.IN_PROCESS, kind=body.kind)
        if call.fault is not None and call.fault.kind is FaultKind.FORGED_CALLBACK:
            enqueue_forged_notice(queue, answer, _money(row))
        return answer
    row |= _deal(call.connection, call.behaviour, row, wrong or BankCode.OK, call.now)
    call.connection.execute(insert(fx_deals).values(**row))
    answer = _answer_of(row)
    if answer.status is Status.SUCCESS:
        enqueue_final_notices(queue, answer, _money(row), call.fault)
    return answer


def _refusal(call: Call, body: FxDealBody) -> BankCode | None:
    if body.foreign_currency not in DESKS[call.bank_code]:
        return BankCode.CURRENCY_NOT_SUPPORTED
    if call.fault is not None and call.fault.kind is FaultKind.ANSWER_FORGED:
        return BankCode.SYSTEM_DECLINED
    if not call.is_desk_open:
        return BankCode.DESK_CLOSED
    if body.foreign_currency not in HOLDS.get(body.foreign_at, ()):
        return BankCode.CURRENCY_NOT_SUPPORTED
    if forced := forced_decline(call):
        return forced
    return None if is_good_quote(call.connection, call.bank_code, body, call.now) else BankCode.QUOTE_EXPIRED


def _deal(
    connection: Connection, behaviour: Behaviour, row: dict[str, Any], code: BankCode, now: int
) -> dict[str, Any]:
    """Deals, or ends a deal with the code it fails with; answers what of the row that makes."""
    reversed_deal = _reversed_deal(connection, row) if row["kind"] == "reversal" else None
    if code is BankCode.OK:
        code = _obstacle(connection, behaviour, row, reversed_deal, now) or BankCode.OK
    if code is not BankCode.OK:
        return {"status": Status.FAILED, "code": code}
    count_deal(connection, behaviour, row, year_of(now if reversed_deal is None else reversed_deal["dealt_at"]))
    wait = int(behaviour.fx_delivery_seconds * 1000)
    day = instant_from_milliseconds(now).astimezone(SHANGHAI).strftime("%Y%m%d")
    dealt = {"bank_reference": f"{row['bank_code']}FX{day}{secrets.token_hex(6).upper()}", "dealt_at": now}
    dealt |= {"status": Status.SUCCESS, "code": BankCode.OK, "delivery_due_at": now + wait}
    return dealt | (_deliver(connection, row, now) if not wait else {})


def _reversed_deal(connection: Connection, row: dict[str, Any]) -> dict[str, Any] | None:
    deal_row = _newest(connection, row["bank_code"], row["reverses"])
    return deal_row if deal_row is not None and deal_row["status"] == Status.SUCCESS else None


def _obstacle(
    connection: Connection,
    behaviour: Behaviour,
    row: dict[str, Any],
    reversed_deal: dict[str, Any] | None,
    now: int,
) -> BankCode | None:
    if row["kind"] == "conversion" and is_over_quota(connection, behaviour, row, now):
        return BankCode.FX_QUOTA_EXCEEDED
    if row["kind"] == "reversal":
        if reversed_deal is None or reversed_deal["kind"] != "conversion":
            return BankCode.DEAL_NOT_FOUND
        if reversed_deal["foreign_currency"] != row["foreign_currency"]:
            return BankCode.DEAL_NOT_FOUND
        if _taken_back(connection, row) + row["foreign_minor"] > reversed_deal["foreign_minor"]:
            return BankCode.REVERSAL_OVER_DEAL
    leaves, _ = _legs(row)
    free = reserve_minor(connection, leaves.bank_code, leaves.currency) - _promised(connection, leaves)
    return None if leaves.amount_minor <= free else BankCode.BALANCE_NOT_ENOUGH


def _taken_back(connection: Connection, row: dict[str, Any]) -> int:
    """What other reversals of the same deal have taken back, or are about to."""
    others = (
        fx_deals.c.bank_code == row["bank_code"],
        fx_deals.c.reverses == row["reverses"],
        fx_deals.c.request_id != row["request_id"],
        fx_deals.c.status.in_((Status.SUCCESS, Status.PROCESSING)),
    )
    return int(
        connection.execute(select(func.coalesce(func.sum(fx_deals.c.foreign_minor), 0)).where(*others)).scalar_one()
    )


@dataclass(frozen=True)
class _Leg:
    """One currency's side of a deal, and in whose books it moves."""

    bank_code: str
    currency: str
    amount_minor: int
    kind: str


def _legs(row: dict[str, Any]) -> tuple[_Leg, _Leg]:
    """What leaves the institution, and what comes to it."""
    foreign = _Leg(row["foreign_at"], row["foreign_currency"], row["foreign_minor"], DELIVERY)
    cny = _Leg(row["bank_code"], CURRENCY, row["cny_minor"], Operation.FX_DEAL.value)
    return (foreign, cny) if row["kind"] == "conversion" else (cny, foreign)


def _promised(connection: Connection, leg: _Leg) -> int:
    """What has been dealt already and has not left this reserve yet."""
    waiting = connection.execute(select(fx_deals).where(fx_deals.c.delivery_due_at.is_not(None))).all()
    leaving = [_legs(dict(row._mapping))[0] for row in waiting]
    here = (leg.bank_code, leg.currency)
    return sum(each.amount_minor for each in leaving if (each.bank_code, each.currency) == here)


def _deliver(connection: Connection, row: dict[str, Any], now: int) -> dict[str, Any]:
    """Moves both currencies, what leaves first; nothing if the reserve does not hold it."""
    leaves, comes = _legs(row)
    left = _book(connection, row["request_number"], leaves, ("reserve", "payees"), now)
    if left is None:
        return {"delivery_due_at": now + _AGAIN_MILLISECONDS}
    came = _book(connection, row["request_number"], comes, ("issue", "reserve"), now)
    reference = came if comes.currency == CURRENCY else left
    return {"delivery_due_at": None, "delivered_at": now, "delivery_reference": reference}


def _book(connection: Connection, request_number: str, leg: _Leg, between: tuple[str, str], now: int) -> str | None:
    source, target = (house_account(connection, leg.bank_code, kind, leg.currency) for kind in between)
    return move(
        connection,
        leg.bank_code,
        kind=leg.kind,
        request_number=request_number,
        amount_minor=leg.amount_minor,
        source=source,
        target=target,
        now=now,
        currency=leg.currency,
    )


def _money(row: dict[str, Any]) -> Money:
    return Money(amount_minor=row["foreign_minor"], currency=row["foreign_currency"])


def _answer_of(row: dict[str, Any]) -> Answer:
    """What a request number of a deal that is final is answered with."""
    status = Status(row["status"])
    answer = Answer(
        request_number=row["request_number"], operation=Operation.FX_DEAL, status=status, code=BankCode(row["code"])
    )
    if status is Status.FAILED:
        return answer
    repeated = ("kind", "quote_id", "foreign_minor", "foreign_currency", "foreign_at", "reverses", "cny_minor")
    fields = {name: row[name] for name in repeated}
    fields |= {"bank_reference": row["bank_reference"], "booked_at": shown_instant(row["dealt_at"])}
    fields |= {"rate": format_rate(row["rate_e8"]), "excess_minor": row.get("excess_minor") or None}
    if row.get("delivered_at") is not None:
        fields |= {"delivered_at": shown_instant(row["delivered_at"]), "delivery_reference": row["delivery_reference"]}
    return answer.model_copy(update=fields)


def finish_due_deals(connection: Connection, behaviour: Behaviour, now: int) -> int | None:
    """Ends and delivers every deal whose time has come; answers when the next is due, in Unix milliseconds."""
    for row in _rows(connection, fx_deals.c.due_at):
        if row["due_at"] <= now:
            _end(connection, behaviour, row, now)
    for row in _rows(connection, fx_deals.c.delivery_due_at):
        if row["delivery_due_at"] <= now:
            _deliver_later(connection, behaviour, row, now)
    dues = (select(func.min(column)).scalar_subquery() for column in (fx_deals.c.due_at, fx_deals.c.delivery_due_at))
    found = [due for due in connection.execute(select(*dues)).one() if due is not None]
    return min(found, default=None)


def _rows(connection: Connection, due: Any) -> list[dict[str, Any]]:
    found = connection.execute(select(fx_deals).where(due.is_not(None)).order_by(due))
    return [dict(row._mapping) for row in found]


def _keep(connection: Connection, row: dict[str, Any], changes: dict[str, Any]) -> Answer:
    """Writes what changed of a deal; answers what its number is answered with from now on."""
    connection.execute(update(fx_deals).where(fx_deals.c.deal_id == row["deal_id"]).values(**changes))
    return _answer_of({**row, **changes})


def _end(connection: Connection, behaviour: Behaviour, row: dict[str, Any], now: int) -> None:
    changes = {"due_at": None, **_deal(connection, behaviour, row, BankCode(row["due_code"]), now)}
    answer = _keep(connection, row, changes)
    remember_end(connection, row["request_id"], answer)
    enqueue_final_notices(NoticeQueue(connection, behaviour, row["bank_code"], now), answer, _money(row), None)


def _deliver_later(connection: Connection, behaviour: Behaviour, row: dict[str, Any], now: int) -> None:
    changes = _deliver(connection, row, now)
    answer = _keep(connection, row, changes)
    if "delivered_at" in changes:
        remember_anew(connection, row["request_id"], answer, now)
        enqueue_final_notices(NoticeQueue(connection, behaviour, row["bank_code"], now), answer, _money(row), None)


def _newest(connection: Connection, bank_code: str, request_number: str) -> dict[str, Any] | None:
    here = (fx_deals.c.bank_code == bank_code, fx_deals.c.request_number == request_number)
    row = connection.execute(select(fx_deals).where(*here).order_by(fx_deals.c.deal_id.desc()).limit(1)).one_or_none()
    return None if row is None else dict(row._mapping)


def find_excess(
    connection: Connection, behaviour: Behaviour, named: tuple[str, str], excess_minor: int, now: int
) -> Answer:
    """The bank finds so much more of a conversion (its bank and number) to be above the quota, and tells (A5.2c).

    Raises `NotDealtError`, and ValueError for more than was converted.
    """
    row = _newest(connection, *named)
    if row is None or row["status"] != Status.SUCCESS or row["kind"] != "conversion":
        raise NotDealtError(None if row is None else row["status"])
    total = row["excess_minor"] + excess_minor
    if total > row["foreign_minor"]:
        raise ValueError("no more than the deal can be in excess")
    answer = _keep(connection, row, {"excess_minor": total})
    remember_anew(connection, row["request_id"], answer, now)
    queue = NoticeQueue(connection, behaviour, row["bank_code"], now)
    enqueue_excess_notice(queue, answer, Money(amount_minor=excess_minor, currency=row["foreign_currency"]))
    return answer
