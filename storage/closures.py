"""Closures as their process, the sweeper and the vault need them: looked at, moved on, answered."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.closing import ClosureStanding, LookAtClosure, RecipientReply, RecipientToTell

_LOOK = sa.text("SELECT app.look_at_closure(CAST(:item AS jsonb))")
_IDENTITY = sa.text("SELECT app.identity_to_retain(:user_id)")
_TRANSACTIONS = sa.text("SELECT * FROM app.transactions_to_retain(:user_id, :after, :most)")
_KEYS = sa.text("SELECT app.keys_of_user(:user_id)")
_ITEMS = sa.text("SELECT token, field FROM app.items_to_forget(:closure_id)")
_NOTICES = sa.text("SELECT * FROM app.notices_to_give(:closure_id)")
_CLAIM_NOTICE = sa.text("SELECT app.claim_notice(CAST(:item AS jsonb))")
_REPLY = sa.text("SELECT app.record_reply(CAST(:item AS jsonb))")
_COMPLETE = sa.text("SELECT app.complete_closure(CAST(:item AS jsonb))")
_END = sa.text("SELECT app.end_following(CAST(:item AS jsonb))")
_FACTS = sa.text("SELECT app.closure_facts(:closure_id, :at)")
_UNANSWERED = sa.text(
    "SELECT count(DISTINCT recipient) FROM app.erasure_notice"
    " WHERE closure_id = :closure_id AND reply NOT IN ('erased', 'kept')"
)
_RECEIVED_AT = sa.text("SELECT received_at FROM app.closure WHERE id = :closure_id")
_UNATTENDED = sa.text("SELECT * FROM app.unattended_closures(:at, :older_than, :again_after, :most)")
_CLAIM_TELLING = sa.text("SELECT app.claim_telling(:closure_id, :print, :at, :again_after)")
_UNFINISHED = sa.text(
    "SELECT 'start' AS kind, id, merchant_id, user_id, '' AS print"
    " FROM app.unfinished_closures(:at, :older_than, :after, :most)"
)
_ESCALATE = sa.text("SELECT app.escalate_closures(:at)")
_LATE_MONEY = sa.text("SELECT app.open_late_money_cases(:at)")
_UNKNOWN = sa.text("SELECT app.open_unknown_closure_case(:closure_id, :user_id, :at)")
_IS_ANSWERED = sa.text("SELECT state IN ('completed', 'refused') FROM app.closure WHERE id = :closure_id")
_LOST_COPIES = sa.text("SELECT app.open_lost_copies_case(:user_id, :at)")


# A process that has been told and has not looked since is told of the same again after so long.
TELL_AGAIN_AFTER = timedelta(minutes=10)


class UnattendedClosure(BaseModel):
    """A closure whose process is to be started, or told to look again; `print`: of what it is told."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["start", "tell"]
    id: str
    merchant_id: str
    user_id: str
    print: str


class ClosureBook:
    """`engine` is of the app role."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def received_at(self, closure_id: str) -> datetime | None:
        """When the request arrived; None if there is no such closure."""
        async with self._engine.connect() as connection:
            found: datetime | None = await connection.scalar(_RECEIVED_AT, {"closure_id": closure_id})
        return found

    async def look(self, command: LookAtClosure) -> ClosureStanding:
        """Where it stands; the next step is taken if nothing is in its way."""
        return ClosureStanding.model_validate(await self._call(_LOOK, command))

    async def identity(self, user_id: str) -> dict[str, Any] | None:
        """What is to be retained of who the user is, with tokens in place of values."""
        async with self._engine.connect() as connection:
            found: dict[str, Any] | None = _json(await connection.scalar(_IDENTITY, {"user_id": user_id}))
        return found

    async def transactions(self, user_id: str, after: str, most: int) -> list[dict[str, Any]]:
        """A page of what was booked for the user, by id, with tokens in place of values."""
        asked = {"user_id": user_id, "after": after, "most": most}
        async with self._engine.connect() as connection:
            return [_json(row) for row in (await connection.execute(_TRANSACTIONS, asked)).scalars()]

    async def keys_of(self, user_id: str) -> list[str]:
        """Under which keys of the vault the user's data are, the user's own first."""
        async with self._engine.connect() as connection:
            found: list[str] = await connection.scalar(_KEYS, {"user_id": user_id}) or []
        return sorted(found, key=lambda key: key != user_id)

    async def items_to_forget(self, closure_id: str) -> list[str]:
        """The tokens that a closure of quick pay or a deletion erases."""
        async with self._engine.connect() as connection:
            return list((await connection.execute(_ITEMS, {"closure_id": closure_id})).scalars())

    async def recipients(self, closure_id: str) -> list[RecipientToTell]:
        """The notices to banks that have not said yet that they erased or keep what they got."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_NOTICES, {"closure_id": closure_id})).scalars().all()
        return [RecipientToTell.model_validate(_json(row)) for row in rows]

    async def unanswered(self, closure_id: str) -> int:
        """How many recipients, the merchant among them, have not replied for good."""
        async with self._engine.connect() as connection:
            return int(await connection.scalar(_UNANSWERED, {"closure_id": closure_id}) or 0)

    async def is_answered(self, closure_id: str) -> bool:
        """Whether the user has the answer; also where there is no such closure, and nobody to answer."""
        async with self._engine.connect() as connection:
            found: bool | None = await connection.scalar(_IS_ANSWERED, {"closure_id": closure_id})
        return found is not False

    async def claim_notice(self, request_number: str, now: datetime) -> None:
        """Its number is in the books before the notice leaves."""
        await self._run(_CLAIM_NOTICE, {"request_number": request_number, "now": now.isoformat()})

    async def record_reply(self, reply: RecipientReply) -> None:
        """What a bank has replied to a notice; a final reply stays."""
        await self._run(_REPLY, reply.model_dump(mode="json"))

    async def complete(self, closure_id: str, answer: dict[str, Any], now: datetime) -> str:
        """Gives the answer, and tells the merchant to delete; once. Answers the state that holds."""
        item = {"closure_id": closure_id, "answer": answer, "now": now.isoformat()}
        async with self._engine.begin() as connection:
            return str(await connection.scalar(_COMPLETE, {"item": json.dumps(item)}))

    async def end_following(self, closure_id: str, now: datetime) -> None:
        """No reply is waited for any more; who owes one is a case for people."""
        await self._run(_END, {"closure_id": closure_id, "now": now.isoformat()})

    async def facts(self, closure_id: str, now: datetime) -> dict[str, Any] | None:
        """What the answer to the user is made of."""
        async with self._engine.connect() as connection:
            found: dict[str, Any] | None = _json(await connection.scalar(_FACTS, {"closure_id": closure_id, "at": now}))
        return found

    async def unattended(self, now: datetime, older_than: timedelta, most: int = 100) -> list[UnattendedClosure]:
        """Accepted and not started; or what is in the way has changed since the process looked or was told."""
        asked = {"at": now, "older_than": older_than, "again_after": TELL_AGAIN_AFTER, "most": most}
        return await self._found(_UNATTENDED, asked)

    async def claim_telling(self, item: UnattendedClosure, now: datetime) -> bool:
        """Before a process is started or told: whether it is the caller who does it, for a while."""
        return await self._claim_telling(item.id, item.print, now)

    async def give_up_telling(self, item: UnattendedClosure, now: datetime) -> None:
        """Nobody could be told: it is found again in the next round."""
        await self._claim_telling(item.id, None, now)

    async def _claim_telling(self, closure_id: str, of_what: str | None, now: datetime) -> bool:
        asked = {"closure_id": closure_id, "print": of_what, "at": now, "again_after": TELL_AGAIN_AFTER}
        async with self._engine.begin() as connection:
            return bool(await connection.scalar(_CLAIM_TELLING, asked))

    async def unfinished(self, now: datetime, older_than: timedelta, after: str, most: int) -> list[UnattendedClosure]:
        """Those that have not ended and have not moved for long, by id from `after` on."""
        return await self._found(_UNFINISHED, {"at": now, "older_than": older_than, "after": after, "most": most})

    async def escalate(self, now: datetime) -> int:
        """People hear of what is nearly due, or overdue, whatever it is at; answers of how many for the first time."""
        async with self._engine.begin() as connection:
            return int(await connection.scalar(_ESCALATE, {"at": now}) or 0)

    async def open_late_money_cases(self, now: datetime) -> int:
        """Money that came to users who have left; answers how many new cases."""
        async with self._engine.begin() as connection:
            return int(await connection.scalar(_LATE_MONEY, {"at": now}) or 0)

    async def open_lost_copies_case(self, user_id: str, now: datetime) -> None:
        """What the law keeps of somebody can be copied no more; a case once a person."""
        async with self._engine.begin() as connection:
            await connection.execute(_LOST_COPIES, {"user_id": user_id, "at": now})

    async def open_unknown_closure_case(self, closure_id: str, user_id: str | None, now: datetime) -> None:
        """A process knows of a closure that these data do not; a case once, unless the user is gone."""
        asked = {"closure_id": closure_id, "user_id": user_id, "at": now}
        async with self._engine.begin() as connection:
            await connection.execute(_UNKNOWN, asked)

    async def _found(self, statement: sa.TextClause, asked: dict[str, Any]) -> list[UnattendedClosure]:
        async with self._engine.connect() as connection:
            rows = await connection.execute(statement, asked)
            return [UnattendedClosure.model_validate(dict(row)) for row in rows.mappings()]

    async def _call(self, statement: sa.TextClause, command: BaseModel) -> Any:
        async with self._engine.begin() as connection:
            return _json(await connection.scalar(statement, {"item": command.model_dump_json()}))

    async def _run(self, statement: sa.TextClause, item: dict[str, Any]) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(statement, {"item": json.dumps(item)})


def _json(value: Any) -> Any:
    """A JSON column that was read through plain text SQL comes as text."""
    return json.loads(value) if isinstance(value, str) else value
