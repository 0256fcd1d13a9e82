"""Rotation of the master key: every user key is wrapped anew under the current one, while everything runs."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from vault.sealing import MasterKeys

_BATCH = 200
_OLD = sa.text(
    "SELECT user_id, wrapped_key, master_key_id FROM keys.user_key"
    " WHERE destroyed_at IS NULL AND master_key_id <> :current_id AND user_id > :after"
    " ORDER BY user_id LIMIT :batch"
)
# A key that was destroyed or wrapped anew in between is left alone.
_REWRAP = sa.text(
    "UPDATE keys.user_key SET wrapped_key = :rewrapped, master_key_id = :current_id"
    " WHERE user_id = :user_id AND wrapped_key = :wrapped_key"
)


async def rewrap_user_keys(key_owner: AsyncEngine, master_keys: MasterKeys) -> int:
    """Wraps all user keys under the first of `master_keys`, and answers how many it changed; repeatable.

    `key_owner` is an engine of the key database's owner role: the app role reads one key at a time. Give all
    processes both master keys before, and take the old one from them after.
    Raises MasterKeyMissingError, SealBrokenError.
    """
    changed, after = 0, ""
    while True:
        async with key_owner.begin() as connection:
            wanted = {"current_id": master_keys.current_id, "after": after, "batch": _BATCH}
            rows = (await connection.execute(_OLD, wanted)).all()
            if not rows:
                return changed
            renewals = [_renewal(master_keys, *row) for row in rows]
            for renewal in renewals:
                changed += (await connection.execute(_REWRAP, renewal)).rowcount
            after = rows[-1].user_id


def _renewal(master_keys: MasterKeys, user_id: str, wrapped_key: bytes, master_key_id: str) -> dict[str, str | bytes]:
    data_key = master_keys.unwrap(user_id, wrapped_key, master_key_id)
    return {
        "user_id": user_id,
        "wrapped_key": wrapped_key,
        "rewrapped": master_keys.wrap(user_id, data_key),
        "current_id": master_keys.current_id,
    }
