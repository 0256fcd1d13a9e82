"""The public keys by which merchants sign: registering, ending, finding (A3.2b, L14)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.identifiers import IdPrefix, identifier
from domain.instructions import AcceptSigningKey, EndSigningKey
from domain.signing import MAX_KEYS, SigningAlgorithm, SigningKey
from storage.administration import Act
from storage.instructions import Resource, refusal
from storage.public_keys import read_public_key

_REGISTER = sa.text("SELECT app.register_signing_key(CAST(:item AS jsonb)) AS answer").columns(answer=JSONB)
_REVOKE = sa.text("SELECT app.revoke_signing_key(CAST(:item AS jsonb)) AS answer").columns(answer=JSONB)
_LIST = sa.text(
    "SELECT app.signing_key_view(k) FROM app.signing_key k WHERE k.merchant_id = :merchant ORDER BY k.id DESC LIMIT 100"
)
_FIND = sa.text("SELECT id, merchant_id, algorithm, public_key FROM app.signing_key WHERE id = :id")
_REMEMBERED = 10_000


async def register(
    engine: AsyncEngine,
    act: Act,
    key_ulid: str,
    merchant_id: str,
    public_key: str,
    *,
    algorithm: str = SigningAlgorithm.ED25519,
    label: str = "",
    not_before: datetime | None = None,
) -> Resource:
    """The institution registers a merchant's key, the first one above all; answers it as merchants see it.

    `engine` is of the owner or the operators' role. Raises the DomainError of a refusal.
    """
    item = {
        "now": act.at,
        "actor": act.actor,
        "id": identifier(IdPrefix.SIGNING_KEY, key_ulid),
        "merchant_id": merchant_id,
        "algorithm": str(algorithm),
        "public_key": read_public_key(public_key, SigningAlgorithm(algorithm)).hex(),
        "label": label[:60],
        "not_before": not_before or act.at,
        "most": MAX_KEYS,
    }
    return await _administer(engine, _REGISTER, item)


async def revoke(engine: AsyncEngine, act: Act, merchant_id: str, key_id: str) -> Resource:
    """The institution ends a merchant's key, also its last one. Raises the DomainError of a refusal."""
    item = {"now": act.at, "actor": act.actor, "id": key_id, "merchant_id": merchant_id}
    return await _administer(engine, _REVOKE, item)


async def list_keys(engine: AsyncEngine, merchant_id: str) -> list[Resource]:
    """A merchant's keys, the newest first; those that ended too."""
    async with engine.connect() as connection:
        return list((await connection.execute(_LIST, {"merchant": merchant_id})).scalars())


class SigningKeys:
    """What the merchant API needs of signing keys."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._statements = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._found: OrderedDict[str, SigningKey] = OrderedDict()

    async def find(self, key_id: str) -> SigningKey | None:
        """The key's public part, from memory if it was read before: it never changes.

        Whether it is still in use is not asked here: `app.begin_requests` looks at that for each request.
        """
        found = self._found.get(key_id)
        if found is not None:
            self._found.move_to_end(key_id)
            return found
        async with self._statements.connect() as connection:
            row = (await connection.execute(_FIND, {"id": key_id})).one_or_none()
        if row is None:
            return None
        found = SigningKey(row.id, row.merchant_id, SigningAlgorithm(row.algorithm), bytes(row.public_key))
        self._found[key_id] = found
        if len(self._found) > _REMEMBERED:
            self._found.popitem(last=False)
        return found

    async def list(self, merchant_id: str) -> list[Resource]:
        """A merchant's keys, the newest first."""
        return await list_keys(self._engine, merchant_id)

    async def accept(self, command: AcceptSigningKey) -> Resource:
        """Raises the DomainError of a refusal; it is recorded."""
        return await self._accept(_REGISTER, command.model_dump(mode="json"))

    async def end(self, command: EndSigningKey) -> Resource:
        """Raises the DomainError of a refusal; it is recorded."""
        return await self._accept(_REVOKE, command.model_dump(mode="json"))

    async def _accept(self, statement: sa.TextualSelect, item: Mapping[str, Any]) -> Resource:
        answer = await _call(self._engine, statement, item)
        if not answer["ok"]:
            raise refusal(answer)
        resource: Resource = answer["resource"]
        return resource


async def _administer(engine: AsyncEngine, statement: sa.TextualSelect, item: Mapping[str, Any]) -> Resource:
    answer = await _call(engine, statement, item)
    if not answer["ok"]:
        raise refusal(answer)
    resource: Resource = answer["resource"]
    return resource


async def _call(engine: AsyncEngine, statement: sa.TextualSelect, item: Mapping[str, Any]) -> dict[str, Any]:
    text = statement.bindparams(sa.bindparam("item", type_=sa.JSON()))
    values = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in item.items()}
    async with engine.begin() as connection:
        answer: dict[str, Any] = (await connection.execute(text, {"item": values})).scalar_one()
    return answer
