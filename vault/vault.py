"""The vault: personal data goes in as values and comes out as tokens, masks, or for a purpose as values."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from ulid import ULID

from domain.disclosure import PartnerOperation, PartnerRole
from domain.identifiers import IdPrefix, identifier
from domain.masking import mask
from domain.personal_data import DisclosureGround, PersonalField, Purpose, fields_for
from vault.disclosures import Disclosure, build_disclosure
from vault.errors import PurposeNotAllowedError, TokenNotFoundError, UserErasedError, VaultError
from vault.indexing import CODE_FIELDS, IndexKind, KeyedDigests
from vault.sealing import MasterKeys, SealedItem, open_item, seal_item
from vault.user_keys import UserKeys

MAX_ITEMS_AT_ONCE = 100

_OPEN = sa.text("SELECT result FROM vault.open_items(CAST(:items AS jsonb))")
_TO_MASK = sa.text("SELECT * FROM vault.items_to_mask(:user_id, CAST(:tokens AS text[]))")
_ERASE_ITEMS = sa.text("SELECT vault.erase_items(:user_id, CAST(:tokens AS text[]), :at)")
_ERASE_USER = sa.text("SELECT vault.erase_user(:user_id, :at)")


def new_token() -> str:
    """A fresh `tok_…`."""
    return identifier(IdPrefix.TOKEN, str(ULID()))


class Vault:
    """Seals, opens, masks, indexes and erases the personal data of users; one instance an event loop.

    `main` and `keys` are engines of the app roles, `index_key` has 32 bytes, `clock` answers an aware datetime.
    No method logs, and no error holds a value.
    """

    def __init__(
        self,
        *,
        main: AsyncEngine,
        keys: AsyncEngine,
        master_keys: MasterKeys,
        index_key: bytes,
        clock: Callable[[], datetime],
        token_source: Callable[[], str] = new_token,
        user_keys: UserKeys | None = None,
    ) -> None:
        self._main = main.execution_options(isolation_level="AUTOCOMMIT")
        self._user_keys = user_keys or UserKeys(keys, master_keys)
        self._digests = KeyedDigests(index_key)
        self._clock = clock
        self._new_token = token_source

    async def ensure_user_key(self, user_id: str) -> None:
        """Gives the user a data key unless there is one; safe to race. Raises UserErasedError."""
        await self._user_keys.ensure(user_id, self._clock())

    async def require_user_key(self, user_id: str) -> None:
        """Raises UserKeyDestroyedError or UserKeyMissingError if there is no key under which anything could be read."""
        await self._user_keys.get(user_id)

    async def seal(self, user_id: str, values: Mapping[PersonalField, str]) -> list[SealedItem]:
        """Sealed items in the order of `values`, for `vault.store_items` in the caller's transaction.

        Writes nothing. Raises UserKeyMissingError, UserErasedError, ValueError (an empty or oversized value).
        """
        data_key = await self._user_keys.get(user_id)
        now = self._clock()
        return [
            seal_item(data_key, token=self._new_token(), user_id=user_id, field=field, value=value, created_at=now)
            for field, value in values.items()
        ]

    async def reveal(
        self, user_id: str, tokens: Collection[str], purpose: Purpose, actor: str
    ) -> dict[PersonalField, str]:
        """The values behind tokens of one user, one a field, all or none; recorded also when refused.

        Raises PurposeNotAllowedError (P1.2.1), TokenNotFoundError, UserErasedError, SealBrokenError, and ValueError
        if two tokens are of the same field.
        """
        sealed = await self._fetch_recorded(user_id, tokens, purpose, actor)
        return await self.open_items(user_id, sealed, purpose)

    async def open_items(
        self, user_id: str, sealed: Sequence[SealedItem], purpose: Purpose
    ) -> dict[PersonalField, str]:
        """As `reveal` for items that are at hand; who fetched them recorded the read (`vault.open_items`)."""
        _refuse_other_purposes((item.field for item in sealed), purpose)
        if len({item.field for item in sealed}) < len(sealed):
            raise ValueError("one value a field")
        data_key = await self._user_keys.get(user_id)
        return {item.field: open_item(data_key, user_id, item) for item in sealed}

    async def masked(self, user_id: str, tokens: Collection[str]) -> dict[str, str]:
        """The masked view behind each token (see `domain.masking`), without those erased or not the user's.

        Empty after the user's key was destroyed. Shows no value, so it is not recorded as a read.
        """
        parameters = {"user_id": user_id, "tokens": _bounded(tokens)}
        async with self._main.connect() as connection:
            rows = (await connection.execute(_TO_MASK, parameters)).scalars().all()
        items = [SealedItem.model_validate(_parsed(row)) for row in rows]
        if not items:
            return {}
        try:
            data_key = await self._user_keys.get(user_id)
        except UserErasedError:
            return {}
        return {item.token: mask(item.field, open_item(data_key, user_id, item)) for item in items}

    async def erase_items(self, user_id: str, tokens: Collection[str]) -> int:
        """Erases the ciphertext of some of the user's items (P3.3b) and answers how many it was."""
        parameters = {"user_id": user_id, "tokens": _bounded(tokens), "at": self._clock()}
        async with self._main.connect() as connection:
            return int((await connection.execute(_ERASE_ITEMS, parameters)).scalar_one())

    async def destroy_user_key(self, user_id: str, actor: str, reason: str) -> datetime:
        """Destroys the user's key for good, then erases the ciphertexts; may be repeated after a crash.

        Answers since when the key is destroyed. `reason` is a stable word. Copies of ciphertext in backups are
        unreadable from now on; another process may hold the key in memory for up to 30 s.
        """
        destroyed_at = await self._user_keys.destroy(user_id, actor, reason, self._clock())
        async with self._main.connect() as connection:
            await connection.execute(_ERASE_USER, {"user_id": user_id, "at": self._clock()})
        return destroyed_at

    def blind_index(self, kind: IndexKind, value: str, *, user_id: str | None = None) -> str:
        """64 hexadecimal digits; see `KeyedDigests.blind_index`."""
        return self._digests.blind_index(kind, value, user_id=user_id)

    def fingerprint(self, payload: object, *, leave_out: Collection[str] = CODE_FIELDS) -> str:
        """64 hexadecimal digits for a JSON value; see `KeyedDigests.fingerprint`."""
        return self._digests.fingerprint(payload, leave_out=leave_out)

    def disclose(
        self,
        *,
        user_id: str,
        recipient: str,
        role: PartnerRole,
        operation: PartnerOperation,
        fields: Collection[PersonalField],
        purpose: Purpose,
        ground: DisclosureGround,
        request_number: str,
        cross_border: bool = False,
    ) -> Disclosure:
        """The record for `vault.record_disclosures`, to be committed before anything leaves.

        Raises DisclosureRefusedError unless the fields are those of the role and operation (P2.1.3).
        """
        return build_disclosure(
            user_id=user_id,
            recipient=recipient,
            role=role,
            operation=operation,
            fields=fields,
            purpose=purpose,
            ground=ground,
            request_number=request_number,
            cross_border=cross_border,
            at=self._clock(),
        )

    async def _fetch_recorded(
        self, user_id: str, tokens: Collection[str], purpose: Purpose, actor: str
    ) -> list[SealedItem]:
        request = read_request(user_id, _bounded(tokens), purpose, actor, self._clock())
        async with self._main.connect() as connection:
            row = (await connection.execute(_OPEN, {"items": json.dumps([request])})).scalar_one()
        return sealed_items(_parsed(row))


def read_request(user_id: str, tokens: Collection[str], purpose: Purpose, actor: str, at: datetime) -> dict[str, Any]:
    """One item for the SQL function `vault.open_items`, which fetches sealed items and records the read."""
    return {
        "user_id": user_id,
        "tokens": list(tokens),
        "purpose": purpose.value,
        "allowed_fields": sorted(fields_for(purpose)),
        "actor": actor,
        "at": at.isoformat(),
    }


def sealed_items(result: Mapping[str, Any]) -> list[SealedItem]:
    """What `vault.open_items` answered to one read request, or the error it stands for."""
    if result["ok"]:
        return [SealedItem.model_validate(item) for item in result["items"]]
    match result["error"]:
        case "purpose_not_allowed":
            raise PurposeNotAllowedError(result["fields"])
        case "erased":
            raise UserErasedError
        case "token_not_found":
            raise TokenNotFoundError
        case other:
            raise VaultError(str(other))


def _refuse_other_purposes(fields: Iterable[PersonalField], purpose: Purpose) -> None:
    refused = set(fields) - fields_for(purpose)
    if refused:
        raise PurposeNotAllowedError(field.value for field in refused)


def _bounded(tokens: Collection[str]) -> list[str]:
    if len(tokens) > MAX_ITEMS_AT_ONCE:
        raise ValueError(f"at most {MAX_ITEMS_AT_ONCE} tokens at once")
    return list(tokens)


def _parsed(value: Any) -> Any:
    """A JSON column that was read through plain text SQL comes as text."""
    return json.loads(value) if isinstance(value, str) else value
