"""Closures in a test database: what merchants and operators ask for, what their process does, and what is left."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from domain.closing import ClosureStanding, LookAtClosure
from domain.decisions import DecisionKind
from domain.errors import DomainError
from domain.instructions import AcceptBinding
from domain.personal_data import PersonalField
from storage.closures import ClosureBook
from storage.decisions import decide_directly
from tests.storage.books import BANK, ELEMENTS, NOW, Books
from tests.storage.deciders import Deciders

FAR = date(2099, 12, 31)


@dataclass
class Closures:
    """`deciders` only where an operator does something that asks for a permission."""

    books: Books
    deciders: Deciders | None = None

    async def call(self, function: str, item: dict[str, Any]) -> dict[str, Any]:
        """A function of the books, as the API and the worker call it."""
        statement = sa.text(f"SELECT app.{function}(CAST(:item AS jsonb))::text")
        async with self.books.app.begin() as connection:
            found = await connection.scalar(statement, {"item": json.dumps(item, default=str)})
        answer: dict[str, Any] = json.loads(found) if found else {}
        return answer

    def context(self, **changes: Any) -> dict[str, Any]:
        return self.books.context().model_dump(mode="json") | changes

    async def ask(self, scope: str = "account", **changes: Any) -> dict[str, Any]:
        """The merchant asks, and has made sure who does."""
        now = changes.pop("now", NOW)
        item = {
            "request": self.context(), "now": now, "id": self.books.new_id("cls"), "user_id": self.books.user_id,
            "scope": scope, "identity_method": "login", "identity_checked_at": now, "due_on": FAR, "escalate_on": FAR,
            "due_is_provisional": False,
        }  # fmt: skip
        return await self.call("accept_closure", item | changes)

    async def asked(self, scope: str = "account", **changes: Any) -> str:
        answer = await self.ask(scope, **changes)
        assert answer["ok"], answer
        return str(answer["resource"]["id"])

    async def work(self, what: str, *, by: str = "sue", **changes: Any) -> dict[str, Any]:
        """What an operator does. It is their database role that calls, and the owner's here."""
        assert self.deciders is not None
        item = {
            "what": what, "now": NOW, "request_id": self.books.new_id("req"),
            "operator_id": self.deciders.people[by],
        } | changes  # fmt: skip
        async with self.books.owner.begin() as connection:
            statement = sa.text("SELECT app.work_on_closure(CAST(:item AS jsonb))::text")
            found = await connection.scalar(statement, {"item": json.dumps(item, default=str)})
        answer: dict[str, Any] = json.loads(found)
        return answer

    async def record(self, scope: str = "account", **changes: Any) -> dict[str, Any]:
        """What came by telephone."""
        now = changes.get("now", NOW)
        item = {
            "id": self.books.new_id("cls"), "user_id": self.books.user_id, "scope": scope, "channel": "hotline",
            "evidence_ref": "call:1", "received_at": now, "due_on": FAR, "escalate_on": FAR,
            "due_is_provisional": False,
        }  # fmt: skip
        if scope == "deletion":
            item |= {"ground": "no_consent", "fields": ["mobile"]}
        return await self.work("record_closure", **(item | changes))

    async def recorded(self, scope: str = "account", **changes: Any) -> str:
        answer = await self.record(scope, **changes)
        assert answer["ok"], answer
        return str(answer["resource"]["id"])

    async def verify(self, closure_id: str, *, holds: bool = True, **changes: Any) -> dict[str, Any]:
        """By another person than the one who recorded it, unless one is named."""
        assert self.deciders is not None
        if "vic" not in self.deciders.people:
            await self.deciders.enrol("vic", "support")
        item = {"closure_id": closure_id, "method": "counter", "holds": holds, "most": 3, "by": "vic"}
        return await self.work("verify_identity", **(item | changes))

    async def recorded_and_verified(self, scope: str = "account", **changes: Any) -> str:
        closure = await self.recorded(scope, **changes)
        assert (await self.verify(closure))["ok"]
        return closure

    async def dispute(self, subject_id: str | None = None, **changes: Any) -> dict[str, Any]:
        item = {
            "request": self.context(), "now": NOW, "id": self.books.new_id("dsp"), "user_id": self.books.user_id,
            "subject_id": subject_id or self.books.user_id, "reason": "not_received", "evidence_ref": "mail:1",
        }  # fmt: skip
        return await self.call("open_dispute", item | changes)

    async def disputed(self, subject_id: str | None = None, **changes: Any) -> str:
        answer = await self.dispute(subject_id, **changes)
        assert answer["ok"], answer
        return str(answer["resource"]["id"])

    async def decide(self, kind: DecisionKind, subject_id: str, *, now: datetime = NOW, **detail: Any) -> str:
        return await decide_directly(self.books.owner, kind, subject_id, now, detail=detail)

    async def resolve(self, dispute_id: str, now: datetime = NOW) -> None:
        await self.decide(DecisionKind.DISPUTE_RESOLVE, dispute_id, now=now)

    async def refuse(self, closure_id: str, ground: str = "unreasonable_request", now: datetime = NOW) -> None:
        """By two people, on a ground."""
        assert self.deciders is not None
        await self.deciders.decide("closure.refuse", closure_id, ground=ground, now=now)

    async def hand_over(self, closure_id: str, **changes: Any) -> dict[str, Any]:
        item = {"request": self.context(), "now": NOW, "closure_id": closure_id, "count": 1, "complete": True}
        return await self.call("hand_over_records", item | changes)

    async def reply(self, closure_id: str, outcome: str = "erased", **changes: Any) -> dict[str, Any]:
        """The merchant's word about the notice of erasure."""
        item = {"request": self.context(), "now": NOW, "closure_id": closure_id, "outcome": outcome, "reason": None}
        return await self.call("reply_to_erasure", item | changes)

    async def look(self, closure_id: str, now: datetime = NOW, **changes: Any) -> ClosureStanding:
        return await ClosureBook(self.books.app).look(LookAtClosure(closure_id=closure_id, now=now, **changes))

    async def kinds(self, closure_id: str, now: datetime = NOW) -> list[str]:
        """What a look finds in the way."""
        return [obstacle.kind.value for obstacle in (await self.look(closure_id, now)).obstacles]

    async def state(self, closure_id: str) -> str:
        return str(await self.books.value("SELECT state FROM app.closure WHERE id = :id", id=closure_id))

    async def unbind(self) -> None:
        """What the processes of the user's bindings come to once their banks have answered."""
        await self.books.run(
            "UPDATE app.binding SET state = 'unbound', state_since = :at, wait_reason = NULL"
            " WHERE user_id = :u AND state = 'unbinding'",
            u=self.books.user_id, at=NOW,
        )  # fmt: skip

    async def ended(self, closure_id: str) -> None:
        """Through its gates, up to where data are forgotten."""
        await self.look(closure_id)
        await self.unbind()
        assert (await self.look(closure_id)).state == "forgetting", await self.kinds(closure_id)

    async def completed(self, closure_id: str, now: datetime = NOW) -> None:
        """As its process would, but nothing of it is sealed."""
        if await self.state(closure_id) != "forgetting":
            await self.ended(closure_id)
        scope = await self.books.value("SELECT scope FROM app.closure WHERE id = :id", id=closure_id)
        if scope == "account":
            await self.books.run("SELECT app.forget_user(:u, :at)", u=self.books.user_id, at=now)
        await ClosureBook(self.books.app).complete(closure_id, {}, now)

    async def cases(self, subject_id: str) -> list[str]:
        found = await self.books.value(
            "SELECT array(SELECT kind FROM app.case_record WHERE subject_id = :id ORDER BY opened_at, kind)",
            id=subject_id,
        )  # fmt: skip
        return list(found)

    async def counted(self) -> dict[str, int]:
        """How many there are of what a refused request must not make."""
        tables = ("payment", "binding", "payout", "payee", "refund", "fx", "receiving_account", "consent", "event")
        made = {name: int(await self.books.value(f"SELECT count(*) FROM app.{name}")) for name in tables}  # noqa: S608
        made["item"] = int(await self.books.value("SELECT count(*) FROM vault.item"))
        made["transfer"] = int(await self.books.value("SELECT count(*) FROM ledger.transfer"))
        made["used"] = int(await self.books.value("SELECT coalesce(sum(used_minor), 0) FROM app.limit_usage"))
        return made


async def binding(books: Books, user_id: str | None = None, **changes: Any) -> dict[str, Any]:
    """An application to bind one more card of the same person."""
    user_id = user_id or books.user_id
    await books.vault.ensure_user_key(user_id)
    sealed = await books.vault.seal(user_id, {PersonalField(name): value for name, value in ELEMENTS.items()})
    values = {
        "request": books.context(), "now": NOW, "id": books.new_id("bnd"), "user_id": user_id, "bank_code": BANK,
        "card_index": books.ids.ulid(), "card_last4": "0018", "card_type": "debit", "person_index": "person-1",
        "age_class": "adult", "sealed": tuple(item.model_dump(mode="json") for item in sealed),
        "element_tokens": {item.field.value: item.token for item in sealed}, "blocked_regions": ("KP",),
    }  # fmt: skip
    return await books.instructions.accept_binding(AcceptBinding.model_validate(values | changes))


async def refusal(doing: Awaitable[Any]) -> str:
    with pytest.raises(DomainError) as refused:
        await doing
    return str(refused.value.code.value).lower()
