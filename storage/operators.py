"""Operators in the database: who they are, whether they may, their sessions; each method is one SQL function.

Passwords and second factors are judged by the caller: what comes here are hashes, sealed secrets and verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.roles import RoleBook
from storage.instructions import refusal
from storage.ops_reading import plain

Resource = dict[str, Any]
_COLUMNS = "login, name, roles, state, credentials_expire_at, trained_until, enrolled_at, enrolled_by"
_LIST = sa.text(f"SELECT id, {_COLUMNS} FROM app.operator ORDER BY login")  # noqa: S608
_ONE = sa.text(f"SELECT id, {_COLUMNS} FROM app.operator WHERE id = :who OR login = :who")  # noqa: S608
_ROLES = sa.text(
    "SELECT r.name, r.title_zh, r.title_en, array(SELECT p.permission FROM app.role_permission p WHERE p.role = r.name"
    " ORDER BY 1) AS permissions, array(SELECT c.other FROM app.role_conflict c WHERE c.role = r.name ORDER BY 1)"
    " AS incompatible FROM app.role r ORDER BY r.name"
)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class StartedAct(_Value):
    """A request of an operator as it came in. `record`: also when it is allowed, and before it is done."""

    now: datetime
    request_id: str
    action: str
    permission: str | None
    subject_id: str | None
    session_id: str
    token_hash: str = Field(repr=False)
    record: bool
    idle_seconds: int


class KnownOperator(_Value):
    """The person behind a request."""

    operator_id: str
    login: str
    name: str
    roles: tuple[str, ...]
    session_id: str
    credentials_expire_at: datetime
    trained_until: datetime | None

    @property
    def actor(self) -> str:
        """As it stands in records."""
        return f"operator:{self.login}"


class Brake(_Value):
    """How guessing is slowed down: free attempts by `login:digest` and `address:digest`, then pauses that double."""

    subjects: Mapping[str, int]
    pause_seconds: int = 30
    longest_pause_seconds: int = 900
    forget_seconds: int = 86_400


class ClaimedCredentials(_Value):
    """What a login is judged by."""

    id: str
    password_phc: str = Field(repr=False)
    sealed_totp: str = Field(repr=False)


class JudgedLogin(_Value):
    """A verdict on a login, and the session that it opens if it is right."""

    now: datetime
    request_id: str
    login: str
    verified: bool
    brake: Brake
    operator_id: str | None
    password_phc: str | None = Field(repr=False)
    totp_step: int | None
    session_id: str
    token_hash: str = Field(repr=False)
    session_seconds: int


class JudgedPassword(_Value):
    """A verdict on the current password, and the one that takes its place."""

    now: datetime
    request_id: str
    verified: bool
    brake: Brake
    operator_id: str
    old_phc: str | None = Field(repr=False)
    new_phc: str = Field(repr=False)
    credentials_expire_at: datetime


class NewOperator(_Value):
    """Somebody to be invited; `actor` is who does it."""

    now: datetime
    actor: str
    request_id: str | None
    id: str
    login: str
    name: str
    roles: tuple[str, ...]
    token_hash: str = Field(repr=False)
    token_expires_at: datetime


class RedeemedEnrolment(_Value):
    """A token against credentials that the person chose."""

    now: datetime
    request_id: str | None
    operator_id: str
    token_hash: str = Field(repr=False)
    password_phc: str = Field(repr=False)
    sealed_totp: str = Field(repr=False)
    credentials_expire_at: datetime


class ChangedOperator(_Value):
    """What one person does to another: `roles, training, suspend, resume, leave` or `reset`."""

    now: datetime
    actor: str
    actor_id: str
    request_id: str | None
    id: str
    change: str
    roles: tuple[str, ...] | None = None
    trained_until: datetime | None = None
    token_hash: str | None = Field(default=None, repr=False)
    token_expires_at: datetime | None = None


class Operators:
    """Over an engine of the ops role, or the owner's; refusals come as the `DomainError` of their code."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def begin_act(self, act: StartedAct) -> KnownOperator:
        """Raises NotAllowedError; whatever is denied is recorded."""
        return KnownOperator.model_validate(_without_ok(await self._call("app.begin_act", act)))

    async def begin_login(
        self, now: datetime, request_id: str, action: str, login: str, brake: Brake
    ) -> ClaimedCredentials | None:
        """Takes an attempt; None where nobody may log in under that name. Raises DomainError(LOGIN_LOCKED)."""
        item = {"now": now.isoformat(), "request_id": request_id, "action": action, "login": login}
        answer = await self._call("app.begin_login", item | {"brake": brake.model_dump()})
        found = answer["operator"]
        return ClaimedCredentials.model_validate(found) if found else None

    async def finish_login(self, judged: JudgedLogin) -> Resource:
        """`{expires_at, operator}` of the session. Raises NotAllowedError(LOGIN_FAILED); recorded either way."""
        return _without_ok(await self._call("app.finish_login", judged))

    async def end_session(self, now: datetime, session_id: str) -> None:
        await self._call("app.end_session", {"now": now.isoformat(), "session_id": session_id})

    async def change_password(self, judged: JudgedPassword) -> None:
        """Ends all sessions of the person. Raises RefusedError(PASSWORD_WRONG)."""
        await self._call("app.change_password", judged)

    async def enrol(self, operator: NewOperator) -> Resource:
        """Raises ConflictError(OPERATOR_EXISTS), RefusedError(ROLE_UNKNOWN, ROLES_INCOMPATIBLE)."""
        resource: Resource = (await self._call("app.enrol_operator", operator))["resource"]
        return resource

    async def invited_login(self, operator_id: str, token_hash: str, now: datetime) -> str | None:
        """Whose a token is, while it is good."""
        statement = sa.text("SELECT app.invited_login(:id, decode(:hash, 'hex'), :now)")
        async with self._engine.connect() as connection:
            login: str | None = await connection.scalar(statement, {"id": operator_id, "hash": token_hash, "now": now})
        return login

    async def redeem(self, enrolment: RedeemedEnrolment) -> Resource:
        """Raises NotAllowedError(ENROLMENT_INVALID); recorded either way."""
        resource: Resource = (await self._call("app.redeem_enrolment", enrolment))["resource"]
        return resource

    async def change(self, changed: ChangedOperator) -> Resource:
        """The operator as it then is; recorded if it is done."""
        resource: Resource = (await self._call("app.change_operator", changed))["resource"]
        return resource

    async def open_case(self, item: Mapping[str, Any]) -> str:
        """The merchant that it is about. Raises NotFoundError."""
        merchant_id: str = (await self._call("app.open_case", item))["merchant_id"]
        return merchant_id

    async def everybody(self) -> list[Resource]:
        return await self._rows(_LIST)

    async def find(self, who: str) -> Resource | None:
        """By id or login."""
        found = await self._rows(_ONE, who=who)
        return found[0] if found else None

    async def roles(self) -> list[Resource]:
        return await self._rows(_ROLES)

    async def _rows(self, statement: sa.TextClause, **parameters: Any) -> list[Resource]:
        async with self._engine.connect() as connection:
            return [plain(dict(row)) for row in (await connection.execute(statement, parameters)).mappings()]

    async def _call(self, function: str, item: BaseModel | Mapping[str, Any]) -> Resource:
        given = item.model_dump(mode="json") if isinstance(item, BaseModel) else dict(item)
        statement = sa.text(f"SELECT {function}(:item) AS answer").bindparams(sa.bindparam("item", type_=JSONB))
        async with self._engine.begin() as connection:
            rows = await connection.execute(statement.columns(answer=JSONB), {"item": given})
            answer: Resource = rows.scalar_one() or {"ok": True}
        if not answer.get("ok", True):
            raise refusal(answer)
        return answer


def _without_ok(answer: Resource) -> Resource:
    return {name: value for name, value in answer.items() if name != "ok"}


class ActRecords:
    """What operators did, and what came to the operators' API without a person behind it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._statements = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def record_act(
        self,
        now: datetime,
        actor: str,
        action: str,
        outcome: str,
        reason: str | None = None,
        *,
        request_id: str,
        subject_id: str | None = None,
        merchant_id: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """`detail` holds no personal data and fits into 4 KiB."""
        item = {"now": now.isoformat(), "actor": actor, "action": action, "outcome": outcome, "reason": reason}
        item |= {"request_id": request_id, "subject_id": subject_id, "merchant_id": merchant_id}
        await self._run(item | {"detail": dict(detail) if detail is not None else None})

    async def record_operation(
        self,
        now: datetime,
        actor: str,
        action: str,
        outcome: str,
        reason: str,
        *,
        subject_id: str | None = None,
        partner: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """As the merchant API's envelope records what did not get as far as a call."""
        await self.record_act(
            now, actor, action, outcome, reason, request_id=request_id or "", subject_id=subject_id or partner
        )

    async def _run(self, item: Mapping[str, Any]) -> None:
        statement = sa.text("SELECT app.record_act(:item)").bindparams(sa.bindparam("item", type_=JSONB))
        async with self._statements.connect() as connection:
            await connection.execute(statement, {"item": dict(item)})


async def register_roles(connection: AsyncConnection, book: RoleBook) -> bool:
    """Makes the tables say what the file says, as the owner; True if anything differed."""
    roles = [{"name": name, "title_zh": role.title_zh, "title_en": role.title_en} for name, role in book.roles.items()]
    permissions = [
        {"role": name, "permission": word} for name, role in book.roles.items() for word in sorted(role.permissions)
    ]
    conflicts = [{"role": role, "other": other} for role, other in sorted(book.conflicts())]
    changed = await _replace(connection, "app.role", ("name", "title_zh", "title_en"), roles)
    changed += await _replace(connection, "app.role_permission", ("role", "permission"), permissions)
    changed += await _replace(connection, "app.role_conflict", ("role", "other"), conflicts)
    return changed > 0


async def _replace(
    connection: AsyncConnection, table: str, columns: Sequence[str], rows: Sequence[Mapping[str, str]]
) -> int:
    """The number of rows that went or came; `table` and `columns` are words of this file."""
    listed = ", ".join(columns)
    typed = ", ".join(f"{column} text" for column in columns)
    wanted = f"SELECT {listed} FROM jsonb_to_recordset(:rows) AS n({typed})"  # noqa: S608
    given = sa.bindparam("rows", type_=JSONB)
    gone = sa.text(f"DELETE FROM {table} WHERE ({listed}) NOT IN ({wanted})")  # noqa: S608
    come = sa.text(f"INSERT INTO {table} ({listed}) {wanted} ON CONFLICT DO NOTHING")
    parameters = {"rows": [dict(row) for row in rows]}
    removed = await connection.execute(gone.bindparams(given), parameters)
    added = await connection.execute(come.bindparams(given), parameters)
    return removed.rowcount + added.rowcount
