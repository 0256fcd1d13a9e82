"""What came of the opening: the desk's books beside ours, and in which order it was given what waited."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.conversions import DESK

Rows = list[tuple[str, str]]
Key = TypeVar("Key", datetime, tuple[datetime, str])

_OURS = sa.text(
    "SELECT e.request_number, f.id, f.accepted_at, f.slot_at, f.amount_minor, f.cny_minor, f.rate_e8, f.bank_reference"
    " FROM app.fx f JOIN app.effect e ON e.subject_id = f.id AND e.step = 'FX' AND e.outcome = 'succeeded'"
    " WHERE f.state = 'settled' AND f.id = ANY(:ids)"
)
_DEALS = (
    "SELECT deal_id, request_number, received_at, foreign_minor, cny_minor, rate_e8, bank_reference FROM fx_deals"
    " WHERE bank_code = ? AND status = 'SUCCESS' ORDER BY deal_id"
)
_POSITIONS = sa.text(
    "SELECT coalesce(sum(abs(b.posted)) + sum(abs(b.held)), 0)::bigint FROM ledger.account a"
    " JOIN ledger.balance b ON b.account_id = a.id WHERE a.code LIKE 'fx_position:%'"
)
_SLOTS = sa.text("SELECT f.id, f.slot_at FROM app.fx f WHERE f.state = 'waiting' AND f.id = ANY(:ids)")
_MOVED = ("foreign_minor", "cny_minor", "rate_e8", "bank_reference")


@dataclass(frozen=True)
class Dealt:
    """One conversion in the books, and when the desk received it, in order of the desk."""

    fx_id: str
    accepted_at: datetime
    slot_at: datetime
    received_at: float


class DeskDiffersError(RuntimeError):
    """The desk's books and ours do not say the same; the message says of how many."""


async def slots_of(engine: AsyncEngine, ids: Sequence[str]) -> dict[str, datetime]:
    """Where those that wait have their slots."""
    async with engine.connect() as connection:
        return {row.id: row.slot_at for row in await connection.execute(_SLOTS, {"ids": list(ids)})}


async def what_was_dealt(engine: AsyncEngine, simulator: Path, ids: Sequence[str]) -> list[Dealt]:
    """All of these, in the order of the desk. Raises DeskDiffersError unless each was dealt once, as we have it."""
    async with engine.connect() as connection:
        ours = {row.request_number: row for row in await connection.execute(_OURS, {"ids": list(ids)})}
    with closing(sqlite3.connect(f"file:{simulator}?mode=ro", uri=True)) as books:
        books.row_factory = sqlite3.Row
        ulids = {fx_id.partition("_")[2] for fx_id in ids}
        deals = [row for row in books.execute(_DEALS, (DESK,)).fetchall() if row["request_number"][2:28] in ulids]
    if len(deals) != len(ids) or {row["request_number"] for row in deals} != ours.keys():
        raise DeskDiffersError(f"{len(ids)} were to be dealt; we have {len(ours)}, the desk {len(deals)}")
    if wrong := [row for row in deals if not _is_the_same(ours[row["request_number"]], row)]:
        raise DeskDiffersError(f"{len(wrong)} of {len(deals)} deals are otherwise in the desk's books than in ours")
    pairs = ((ours[row["request_number"]], row["received_at"] / 1000) for row in deals)
    return [Dealt(mine.id, mine.accepted_at, mine.slot_at, received_at) for mine, received_at in pairs]


def _is_the_same(mine: Any, row: sqlite3.Row) -> bool:
    stated = (mine.amount_minor, mine.cny_minor, mine.rate_e8, mine.bank_reference)
    return stated == tuple(row[name] for name in _MOVED)


async def open_positions(engine: AsyncEngine) -> int:
    """What desks have dealt and not delivered, in minor units of any currency: nought when all is settled."""
    async with engine.connect() as connection:
        return int(await connection.scalar(_POSITIONS) or 0)


def rows_of_opening(dealt: Sequence[Dealt], opens_at: datetime, promised: dict[str, datetime]) -> Rows:
    """The lines of the table. `promised`: the slots that they had before it opened."""
    received = [one.received_at for one in dealt]
    first, last = min(received), max(received)
    if first < opens_at.timestamp():
        raise DeskDiffersError("a conversion was dealt before the desk opened")
    slots = [one.slot_at.timestamp() for one in dealt]
    late = sorted(one.received_at - one.slot_at.timestamp() for one in dealt)
    after = sorted(one.received_at - promised[one.fx_id].timestamp() for one in dealt)
    accepted, slept_for = [(one.accepted_at, one.fx_id) for one in dealt], [promised[one.fx_id] for one in dealt]
    number, lost = len(dealt), sum(one.slot_at != promised[one.fx_id] for one in dealt)
    busiest, fullest = (max(Counter(int(at) for at in times).values()) for times in (received, slots))
    return [
        ("from the first deal to the last, s", f"{last - first:.1f}"),
        ("dealt a second", f"{(number - 1) / (last - first):.1f}" if last > first else "–"),
        ("first deal after the opening, s", f"{first - opens_at.timestamp():.1f}"),
        ("most with one second for their slot", f"{fullest}"),
        ("most that the desk received in one second", f"{busiest}"),
        ("dealt after its slot, p50 and p99, s", _both(late)),
        ("dealt after the slot that it slept for, p50 and p99, s", _both(after)),
        ("had lost that slot and got a later one", f"{lost:,}"),
        ("pairs dealt against the order of acceptance, %", f"{100 * share_of_inversions(accepted):.2f}"),
        ("of those that slept for different seconds, %", f"{100 * share_of_inversions(slept_for):.2f}"),
        ("dealt once, with the desk's books like ours", f"{number:,}"),
    ]


def _both(ordered: Sequence[float]) -> str:
    p50, p99 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
    return f"{p50:.2f} and {p99:.2f}"


def share_of_inversions(keys: Sequence[Key]) -> float:
    """Of all pairs of different keys, how many stand the other way round than their keys; a half at random."""
    before: list[Key] = []
    inverted = 0
    for key in keys:
        inverted += len(before) - bisect_right(before, key)
        insort(before, key)
    same = sum(number * (number - 1) // 2 for number in Counter(keys).values())
    pairs = len(keys) * (len(keys) - 1) // 2 - same
    return inverted / pairs if pairs else 0.0
