"""The erasure list: what was forgotten, kept apart from all backups, so that no backup brings it back (P3.3, P4.5)."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.identifiers import ULID_PATTERN, IdPrefix, derived_ulid, identifier

PAGE = 500
MOST_IDS = 2000

_ADD = sa.text("SELECT erasures.add(CAST(:entry AS jsonb))")
_AFTER = sa.text("SELECT * FROM erasures.after(:position, :most)")
_HEAD = sa.text("SELECT erasures.head()")


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ErasureDetail(_Value):
    """What exactly is erased: tokens of items; or records and keys of the retention store. Identifiers alone.

    `ended_on`: on which day a person's agreement ended, for the copies that the law has us keep.
    """

    tokens: tuple[str, ...] = Field(default=(), max_length=MOST_IDS)
    record_ids: tuple[str, ...] = Field(default=(), max_length=MOST_IDS)
    key_ids: tuple[str, ...] = Field(default=(), max_length=MOST_IDS)
    ended_on: date | None = None


class Erasure(_Value):
    """One entry of the list; `subject_id` names the closure, or the run of the purge. It holds no personal data."""

    entry_id: str = Field(pattern=rf"^{IdPrefix.ERASURE.value}_{ULID_PATTERN}$")
    kind: Literal["person", "items", "retention"]
    user_id: str | None = Field(default=None, max_length=40)
    subject_id: str = Field(min_length=1, max_length=80)
    detail: ErasureDetail = ErasureDetail()
    at: AwareDatetime
    # Where it stands in the list; none before it was added.
    position: int | None = None

    @model_validator(mode="after")
    def _names_what_is_erased(self) -> Erasure:
        if self.kind != "retention" and self.user_id is None:
            raise PydanticCustomError("erasure", "whose data are erased has to be said")
        if self.kind == "items" and not self.detail.tokens:
            raise PydanticCustomError("erasure", "which items are erased has to be said")
        return self


class ListHead(NamedTuple):
    """Whose list it is, and the position of its last entry."""

    institution_id: UUID
    position: int


def erasure_id(at: datetime, kind: str, subject_id: str) -> str:
    """The same for the same erasure, so that a second attempt adds no second entry."""
    return identifier(IdPrefix.ERASURE, derived_ulid(at, "erasure", kind, subject_id))


class ErasureList:
    """The list in its own database; `engine` is of its app role, or of the ops role to read."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def add(self, entry: Erasure) -> Erasure:
        """Puts it at the end, and answers it with its position; again answers the same.

        Raises IntegrityError if the id is there with other content.
        """
        given = entry.model_dump_json(exclude={"position"}, exclude_defaults=True)
        async with self._engine.connect() as connection:
            position = (await connection.execute(_ADD, {"entry": given})).scalar_one()
        return entry.model_copy(update={"position": position})

    async def after(self, position: int, most: int = PAGE) -> list[Erasure]:
        """The entries behind a position, in their order."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_AFTER, {"position": position, "most": most})).scalars().all()
        return [Erasure.model_validate_json(_text(row)) for row in rows]

    async def head(self) -> ListHead:
        """How far it goes."""
        async with self._engine.connect() as connection:
            found = json.loads(_text((await connection.execute(_HEAD)).scalar_one()))
        return ListHead(UUID(found["institution_id"]), found["position"])


def _text(value: Any) -> str:
    """A JSON column that was read through plain text SQL comes as text with some drivers, parsed with others."""
    return value if isinstance(value, str) else json.dumps(value)
