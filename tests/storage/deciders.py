"""People who decide, in a test database: operators with roles, and what they ask for and approve."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from config.roles import read_roles
from domain.decisions import AnswerDecision, RequestDecision
from domain.roles import RoleBook
from runtime.id_source import UlidSource
from storage.decisions import Decisions
from storage.operators import register_roles
from tests.conftest import Database
from tests.storage.books import NOW

ALL_ROLES = ("compliance", "risk", "treasury")
# What a request of each kind says beside kind and subject, where it says anything.
GROUNDS = {
    "waiver": "application_reviewed", "instruction.conclude": "evidence", "authority_order": "authority",
    "partner.disable": "technical", "user.resume": "resolved", "merchant.resume": "resolved",
    "funds.release": "resolved", "partner.enable": "resolved", "case": "resolved",
}  # fmt: skip


@dataclass
class Deciders:
    """`decide` has two people do it; `ask`, `approve` and `reject` are their single steps."""

    owner: AsyncEngine
    decisions: Decisions
    ids: UlidSource = field(default_factory=UlidSource)
    people: dict[str, str] = field(default_factory=dict)

    async def enrol(self, login: str, *roles: str, **columns: Any) -> str:
        """An operator whose credentials are good for as long as a test may last."""
        operator_id = f"opr_{self.ids.ulid()}"
        values = {"state": "active", "credentials_expire_at": NOW + timedelta(days=36500)} | columns
        async with self.owner.begin() as connection:
            await connection.execute(
                sa.text(
                    "INSERT INTO app.operator (id, login, name, roles, state, password_phc, sealed_totp,"
                    " credentials_expire_at, enrolled_at, enrolled_by)"
                    " VALUES (:id, :login, :login, :roles, :state, 'x', 'x', :credentials_expire_at, :now, 'test')"
                ),
                {"id": operator_id, "login": login, "roles": list(roles), "now": NOW} | values,
            )
        self.people[login] = operator_id
        return operator_id

    async def ask(self, kind: str, subject_id: str, *, by: str = "anna", **changes: Any) -> dict[str, Any]:
        ground = next((word for start, word in GROUNDS.items() if kind.startswith(start)), "security_concern")
        values = {
            "now": NOW, "request_id": f"req_{self.ids.ulid()}", "operator_id": self.people[by],
            "id": f"dec_{self.ids.ulid()}", "kind": kind, "subject_id": subject_id, "ground": ground,
            "reason": "tested",
        }  # fmt: skip
        return await self.decisions.request(RequestDecision.model_validate(values | changes))

    async def approve(self, decision_id: str, *, by: str = "ben", now: datetime = NOW) -> dict[str, Any]:
        return await self.decisions.approve(self._answer(decision_id, by, now))

    async def reject(self, decision_id: str, *, by: str = "ben", now: datetime = NOW) -> dict[str, Any]:
        return await self.decisions.reject(self._answer(decision_id, by, now))

    async def decide(self, kind: str, subject_id: str, **changes: Any) -> dict[str, Any]:
        """Asked for by anna and approved by ben, if it takes two."""
        asked = await self.ask(kind, subject_id, **changes)
        if asked["state"] == "committed":
            return asked
        return await self.approve(asked["id"], now=changes.get("now", NOW))

    def _answer(self, decision_id: str, by: str, now: datetime) -> AnswerDecision:
        return AnswerDecision(now=now, request_id=f"req_{self.ids.ulid()}", operator_id=self.people[by], id=decision_id)


async def enrol_deciders(database: Database, ops: AsyncEngine) -> Deciders:
    """Roles as the institution has them, and two people with every one that decides."""
    deciders = Deciders(database.owner_engine, Decisions(ops))
    async with database.owner_engine.begin() as connection:
        await register_roles(connection, RoleBook.model_validate(read_roles()))
    for login in ("anna", "ben"):
        await deciders.enrol(login, *ALL_ROLES)
    return deciders
