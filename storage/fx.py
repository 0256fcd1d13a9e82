"""Foreign currency in the books: a method a SQL function, each answering after its commit.

Resources come as the database's views give them. A refusal comes back as the `DomainError` of its code.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import EffectRefusedError, SettlementRefusedError
from domain.fx import (
    AcceptFx,
    AcceptFxMandate,
    AcceptReceivingAccount,
    AllocatedFxSlot,
    ClaimedFxEffect,
    ClaimFxEffect,
    DisposeOfFx,
    DoubtfulInbound,
    EndFxMandate,
    FxEntry,
    FxPlanRefusedError,
    FxSlotRequest,
    FxStanding,
    FxToPlan,
    OpenReversal,
    ReceivedInbound,
    ReceiveInbound,
    SentFx,
    WaitingFx,
)
from domain.fx_planning import FxWindow
from storage.instructions import refusal

Resource = dict[str, Any]

_STANDING = sa.text("SELECT app.fx_standing(:id, :at) AS answer").columns(answer=JSONB)
_FACTS = sa.text("SELECT app.fx_planning_facts(:id) AS answer").columns(answer=JSONB)
_RECEIVER = sa.text("SELECT app.receiver_of(:bank, :number, :name, :currency)")
_DEAL = sa.text(
    "SELECT request_number, bank_code FROM app.effect WHERE subject_id = :id AND step = 'FX' AND outcome = 'succeeded'"
)
_SENT = sa.text(
    "SELECT e.bank_code AS desk, f.kind, f.amount_minor, f.currency, q.quote_id, q.rate_e8, e.claimed_at"
    " FROM app.effect e JOIN app.fx f ON f.id = e.subject_id"
    " JOIN app.fx_quote q ON q.bank_code = f.desk AND q.quote_id = f.quote_id"
    " WHERE e.request_number = :number AND e.step IN ('FX', 'FR')"
)
_DESK_OF = sa.text("SELECT bank_code FROM app.effect WHERE request_number = :number AND step IN ('FX', 'FR')")
_ANNOUNCE = sa.text("SELECT app.announce_inbound(:bank, :reference, :notice, :at)")
_NO_SUCH = sa.text("SELECT app.no_such_inbound(:bank, :reference, :at)")
_TO_REPLAN = sa.text("SELECT * FROM app.fx_to_replan(:version, :after_at, :after_id, :most)")
_PLANNED = sa.text(
    "SELECT id FROM app.fx WHERE state = 'waiting' AND plan_version >= :version"
    " AND (CAST(:after_at AS timestamptz) IS NULL OR (accepted_at, id) > (:after_at, :after_id))"
    " ORDER BY accepted_at, id LIMIT :most"
)
_VERSION_TO_REPLAN = sa.text("SELECT app.version_to_replan_fx(:now, :older_than)")


class FxAcceptance:
    """What merchants ask for. Every method raises DomainError where it is refused."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def accept_receiving_account(self, command: AcceptReceivingAccount) -> Resource:
        return await self._accept("app.accept_receiving_account", command)

    async def accept_mandate(self, command: AcceptFxMandate) -> Resource:
        return await self._accept("app.accept_fx_mandate", command)

    async def end_mandate(self, command: EndFxMandate) -> Resource:
        return await self._accept("app.end_fx_mandate", command)

    async def accept(self, command: AcceptFx) -> Resource:
        """From its commit on what is to be converted is held."""
        return await self._accept("app.accept_fx", command)

    async def dispose(self, command: DisposeOfFx) -> Resource:
        """The conversion, and in `return_id` the return that is to be started, if one is."""
        answer = await call(self._engine, "app.dispose_of_fx", command)
        if not answer["ok"]:
            raise refusal(answer)
        return {**answer["resource"], "return_id": answer.get("return_id")}

    async def announce_inbound(self, bank: str, reference: str, notice_id: str, now: datetime) -> bool:
        """A signed notice was kept; answers whether the bank is still to be asked about it."""
        async with self._engine.begin() as connection:
            given = {"bank": bank, "reference": reference, "notice": notice_id, "at": now}
            return bool(await connection.scalar(_ANNOUNCE, given))

    async def _accept(self, function: str, command: BaseModel) -> Resource:
        answer = await call(self._engine, function, command)
        if not answer["ok"]:
            raise refusal(answer)
        resource: Resource = answer["resource"]
        return resource


class FxBook:
    """What processes claim, settle and learn."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim(self, command: ClaimFxEffect) -> ClaimedFxEffect:
        """Raises `EffectRefusedError` where something stands in the way."""
        answer = await call(self._engine, "app.claim_fx_effect", command)
        if not answer["ok"]:
            raise EffectRefusedError(answer["error"], answer.get("state"), sent_before=bool(answer.get("sent_before")))
        return ClaimedFxEffect.model_validate(answer)

    async def settle(self, entry: FxEntry) -> str | None:
        """Answers the state that now holds; a replay answers it too. Raises `SettlementRefusedError`."""
        answer = await call(self._engine, "app.settle_fx", entry)
        if not answer["ok"]:
            raise SettlementRefusedError(answer["error"], answer.get("state"))
        state: str | None = answer["state"]
        return state

    async def standing(self, fx_id: str, now: datetime) -> FxStanding | None:
        async with self._engine.connect() as connection:
            found = await connection.scalar(_STANDING, {"id": fx_id, "at": now})
        return None if found is None else FxStanding.model_validate(found)

    async def receiver_of(self, bank: str, account_index: str, name_index: str, currency: str) -> str | None:
        """The user whose a remittance is by number, name and currency; None if it goes to suspense."""
        given = {"bank": bank, "number": account_index, "name": name_index, "currency": currency}
        async with self._engine.connect() as connection:
            found: str | None = await connection.scalar(_RECEIVER, given)
        return found

    async def deal_of(self, fx_id: str) -> tuple[str, str] | None:
        """The number under which a conversion was dealt, and the desk."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_DEAL, {"id": fx_id})).one_or_none()
        return None if row is None else (row.request_number, row.bank_code)

    async def sent_terms(self, request_number: str) -> SentFx | None:
        """What was claimed under a number, the last of its conversion's; None if that is of no deal."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_SENT, {"number": request_number})).mappings().one_or_none()
        return None if row is None else SentFx.model_validate(dict(row))

    async def desk_of(self, request_number: str) -> str | None:
        """To whose desk a deal went under a number; None if nothing was ever claimed under it."""
        async with self._engine.connect() as connection:
            desk: str | None = await connection.scalar(_DESK_OF, {"number": request_number})
        return desk

    async def contradicted(self, bank_code: str, request_number: str, at: datetime) -> None:
        """A desk has what it had turned away: a case for people, the first time."""
        item = {"bank_code": bank_code, "notice_id": f"asked:{request_number}", "request_number": request_number}
        await call(self._engine, "app.record_callback", item | {"announces": "succeeded", "now": at.isoformat()})

    async def receive_inbound(self, command: ReceiveInbound) -> ReceivedInbound:
        return ReceivedInbound.model_validate(await call(self._engine, "app.receive_inbound", command))

    async def no_such_inbound(self, bank: str, reference: str, now: datetime) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(_NO_SUCH, {"bank": bank, "reference": reference, "at": now})

    async def doubt_inbound(self, command: DoubtfulInbound) -> str | None:
        """The remittance that is booked under this reference, if one is; otherwise people are told, once."""
        found: str | None = (await call(self._engine, "app.doubt_inbound", command))["inbound_id"]
        return found

    async def open_reversal(self, command: OpenReversal) -> str | None:
        """The reversal that is to be started; None where nothing is new. Raises `SettlementRefusedError`."""
        answer = await call(self._engine, "app.open_reversal", command)
        if not answer["ok"]:
            raise SettlementRefusedError(answer["error"], answer.get("state"))
        found: str | None = answer.get("reversal_id")
        return found


class FxSlots:
    """Allocates release slots at desks; the worker's."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def to_plan(self, fx_id: str) -> FxToPlan | None:
        async with self._engine.connect() as connection:
            found = await connection.scalar(_FACTS, {"id": fx_id})
        return None if found is None else FxToPlan.model_validate(found)

    async def to_replan(self, version: int, after: tuple[datetime, str] | None, most: int) -> list[WaitingFx]:
        """What waits by a plan of an older version, in order of acceptance."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_TO_REPLAN, _page(version, after, most))).mappings()
            return [WaitingFx.model_validate(dict(row)) for row in rows]

    async def planned(self, version: int, after: tuple[datetime, str] | None, most: int) -> list[str]:
        """What was planned by a version already, in order of acceptance."""
        async with self._engine.connect() as connection:
            return list((await connection.scalars(_PLANNED, _page(version, after, most))).all())

    async def allocate(self, request: FxSlotRequest) -> AllocatedFxSlot:
        """In its turn, by the row of its desk, and within the quota. Raises FxPlanRefusedError."""
        item = request.model_dump(mode="json", exclude={"plan", "version"}) | {
            "plan_version": request.version,
            "windows": [_window(each) for each in request.plan.windows] if request.plan else [],
        }
        answer = await call(self._engine, "app.plan_fx", item)
        if not answer["ok"]:
            raise FxPlanRefusedError(answer["error"])
        return AllocatedFxSlot.model_validate(answer)


async def version_to_replan_fx(engine: AsyncEngine, now: datetime, older_than: timedelta) -> int | None:
    """The version of the calendars, if it is older than that and conversions still wait by plans before it."""
    async with engine.connect() as connection:
        found = await connection.scalar(_VERSION_TO_REPLAN, {"now": now, "older_than": older_than})
        return None if found is None else int(found)


async def call(engine: AsyncEngine, function: str, item: BaseModel | Mapping[str, Any]) -> Resource:
    """One call in one transaction."""
    body = item.model_dump(mode="json", exclude_none=True) if isinstance(item, BaseModel) else dict(item)
    statement = sa.text(f"SELECT {function}(:item) AS answer").bindparams(sa.bindparam("item", type_=JSONB))
    async with engine.begin() as connection:
        answer: Resource = await connection.scalar(statement.columns(answer=JSONB), {"item": body})
    return answer


def _page(version: int, after: tuple[datetime, str] | None, most: int) -> dict[str, Any]:
    after_at, after_id = after or (None, None)
    return {"version": version, "after_at": after_at, "after_id": after_id, "most": most}


def _window(window: FxWindow) -> Resource:
    return {
        "opens_at": window.opens_at.isoformat(),
        "closes_at": window.closes_at.isoformat(),
        "waits_for": window.waits_for,
        "provisional": bool(window.rests_on),
    }
