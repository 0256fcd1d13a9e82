"""Screening lists in the database: loaded whole, by versions; who is compared with them, what was found and cleared."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.screening import ListedEntry, NewList, ScreeningRules
from storage.instructions import refusal

Resource = dict[str, Any]
# Who loads the made-up lists of a local stack.
SETUP = "setup"

_LISTS = sa.text("SELECT app.screening_lists() AS answer").columns(answer=JSONB)
_ENTRIES = sa.text("SELECT app.screening_entries() AS answer").columns(answer=JSONB)
_DUE = sa.text("SELECT app.screening_due(:most, :now) AS answer").columns(answer=JSONB)
_RECORD = sa.text("SELECT app.record_screening(:item)").bindparams(sa.bindparam("item", type_=JSONB))
_LOAD = (
    sa.text("SELECT app.load_screening_list(:item) AS answer")
    .bindparams(sa.bindparam("item", type_=JSONB))
    .columns(answer=JSONB)
)
_LOAD_AS_OWNER = (
    sa.text("SELECT app.take_screening_list(:item, :who) AS answer")
    .bindparams(sa.bindparam("item", type_=JSONB))
    .columns(answer=JSONB)
)
_RULE = sa.text(
    "INSERT INTO app.screening_list_rule AS r (code, title_zh, title_en, fresh_seconds)"
    " VALUES (:code, :zh, :en, :seconds)"
    " ON CONFLICT (code) DO UPDATE SET title_zh = excluded.title_zh, title_en = excluded.title_en,"
    " fresh_seconds = excluded.fresh_seconds WHERE (r.title_zh, r.title_en, r.fresh_seconds)"
    " IS DISTINCT FROM (excluded.title_zh, excluded.title_en, excluded.fresh_seconds)"
)
_MATCHES = sa.text(
    "SELECT x.view FROM (SELECT m.id, app.screening_match_view(m) AS view FROM app.screening_match m"
    " WHERE (CAST(:subject AS text) IS NULL OR m.subject_id = :subject)"
    " AND (CAST(:before AS text) IS NULL OR m.id < :before)) x"
    " WHERE CAST(:state AS text) IS NULL OR x.view->>'state' = :state ORDER BY x.id DESC LIMIT :limit"
).columns(view=JSONB)


class Subject(BaseModel):
    """A user or a payee to be compared. The name is behind `token`, in the vault, under the holder's key.

    `cleared`: entries (list, key, fingerprint) that two people found to be somebody else. A user who has no name yet
    has no token.
    """

    model_config = ConfigDict(frozen=True)

    subject_id: str
    changes: int
    merchant_id: str = ""
    kind: Literal["user", "payee"] = "user"
    holder: str = ""
    token: str | None = None
    id_token: str | None = None
    id_index: str | None = None
    clearance_index: str = ""
    cleared: tuple[tuple[str, str, str], ...] = ()


class ListStanding(BaseModel):
    """The last version of a list; `confirmed_at`: when it was last found to be the publisher's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    code: str
    version: int
    confirmed_at: datetime


class ScreeningBook:
    """The worker's view, over an engine of the app role."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def lists(self) -> list[ListStanding]:
        """One a list that was ever loaded."""
        async with self._engine.connect() as connection:
            found = await connection.scalar(_LISTS)
        return [ListStanding.model_validate(row) for row in found or () if row["version"] is not None]

    async def entries(self) -> tuple[int, list[ListedEntry]]:
        """All entries in force, and the version that they are the state of."""
        async with self._engine.connect() as connection:
            found: Resource = await connection.scalar(_ENTRIES)
        return int(found["version"]), [ListedEntry.model_validate(row) for row in found["entries"]]

    async def due(self, most: int, now: datetime) -> list[Subject]:
        """Users and payees that were not compared with the lists as they are now."""
        async with self._engine.connect() as connection:
            found = await connection.scalar(_DUE, {"most": most, "now": now})
        return [Subject.model_validate(row) for row in found or ()]

    async def record(self, item: Resource) -> None:
        """Commits the screening of one of them (`app.record_screening`)."""
        async with self._engine.begin() as connection:
            await connection.execute(_RECORD, {"item": item})


class ScreeningLists:
    """The operators' view, over an engine of the ops role."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def load(self, given: NewList, now: datetime, operator_id: str, request_id: str) -> Resource:
        """The list as it then stands; the same content again confirms it and makes no version.

        Raises NotAllowedError(PERMISSION_MISSING), RefusedError(SCREENING_LIST_UNKNOWN).
        """
        item = _loaded(given, now) | {"operator_id": operator_id, "request_id": request_id}
        async with self._engine.begin() as connection:
            answer: Resource = await connection.scalar(_LOAD, {"item": item})
        if not answer["ok"]:
            raise refusal(answer)
        resource: Resource = answer["resource"] | {"is_new": answer["is_new"]}
        return resource

    async def lists(self) -> list[Resource]:
        """Those that have to be asked; `version` is None where one was never loaded."""
        async with self._engine.connect() as connection:
            found: list[Resource] = await connection.scalar(_LISTS) or []
        return found

    async def matches(
        self, before: str | None, limit: int, *, state: str | None, subject_id: str | None
    ) -> list[Resource]:
        """Newest first, one more than asked for if there is another page."""
        parameters = {"before": before, "limit": limit + 1, "state": state, "subject": subject_id}
        async with self._engine.connect() as connection:
            return list((await connection.execute(_MATCHES, parameters)).scalars())


async def register_screening_rules(connection: AsyncConnection, rules: ScreeningRules) -> int:
    """Which lists have to be asked, and for how long each is good; answers how many changed."""
    changed = 0
    for code, rule in rules.lists.items():
        values = {"code": code, "zh": rule.title_zh, "en": rule.title_en, "seconds": rule.fresh_hours * 3600}
        changed += (await connection.execute(_RULE, values)).rowcount
    return changed


async def load_list_as_owner(
    connection: AsyncConnection, given: NewList, now: datetime, actor: str = SETUP
) -> Resource | None:
    """The owner's own act, before there are operators: on a local stack, and in tests.

    None, and nothing is done, if somebody else has loaded that list since.
    """
    for standing in await connection.scalar(_LISTS) or ():
        if standing["code"] == given.code and standing["loaded_by"] not in (None, actor):
            return None
    answer: Resource = await connection.scalar(_LOAD_AS_OWNER, {"item": _loaded(given, now), "who": actor})
    return answer


def _loaded(given: NewList, now: datetime) -> Resource:
    entries = [entry.model_dump(mode="json") | {"fingerprint": entry.fingerprint} for entry in given.entries]
    return {
        "now": now.isoformat(),
        "code": given.code,
        "source": given.source,
        "fingerprint": given.fingerprint,
        "entries": entries,
    }
