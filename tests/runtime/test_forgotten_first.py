"""No process that serves starts on data that have not forgotten what the erasure list says (P3.3, P4.5)."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime

import pytest
from pyrage import x25519
from sqlalchemy.engine import make_url
from ulid import ULID

from config.settings import StoreSettings, load
from tests.conftest import Database
from vault.erasures import Erasure, ErasureList
from wiring import forgotten_or_exit, open_stores

KEY = base64.b64encode(bytes(range(32))).decode()


def settings(database: Database, **changes: str) -> StoreSettings:
    values = {
        "environment": "local",
        "database_url": database.app_url,
        "key_database_url": database.key_app_url,
        "erasure_database_url": database.erasure_app_url,
        "retention_public_key": str(x25519.Identity.generate().to_public()),
        "master_key": KEY,
        "index_key": KEY,
        "payload_keys": f"test:{KEY}",
    }
    return load(StoreSettings, **values | changes)


async def add(database: Database) -> None:
    at = datetime(2026, 11, 30, 4, tzinfo=UTC)
    entry = Erasure(entry_id=f"ers_{ULID()}", kind="person", user_id="usr_1", subject_id="cls_1", at=at)
    await ErasureList(database.erasure_app_engine).add(entry)


async def start(given: StoreSettings) -> None:
    """As a server calls it: with an event loop running."""
    await asyncio.to_thread(forgotten_or_exit, given, patience_seconds=0)


async def test_a_process_starts_once_everything_is_forgotten(database: Database) -> None:
    await database.make_erasures()
    given = settings(database)
    await start(given)
    await add(database)
    with pytest.raises(SystemExit):
        await start(given)
    async with open_stores(given) as stores:
        assert await stores.forgetting().apply_missing() == 1
    await start(given)


async def test_it_ends_with_code_2_and_a_sentence(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    await add(database)
    ops = settings(
        database, database_url=database.ops_url, key_database_url=database.key_ops_url,
        erasure_database_url=database.erasure_ops_url,
    )  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        await start(ops)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("1 entries of the erasure list have not been carried out on these data")


@pytest.mark.parametrize("name", ["database_url", "erasure_database_url"])
async def test_it_does_not_start_either_when_that_cannot_be_found_out(
    database: Database, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    await add(database)
    away = make_url(getattr(settings(database), name).get_secret_value()).set(database="not_there")
    given = settings(database, **{name: away.render_as_string(hide_password=False)})
    with pytest.raises(SystemExit) as ended:
        await start(given)
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("cannot be read: InvalidCatalogNameError).\n")
