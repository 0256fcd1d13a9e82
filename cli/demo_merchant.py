"""A merchant to play with, on a local stack only: registered once, its key kept where only its owner may read it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from shlex import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.institution import local_owner_url
from domain.identifiers import IdPrefix, identifier
from runtime.clock import SystemClock
from runtime.id_source import UlidSource
from runtime.secrets import write_private
from runtime.stack import application_environment
from storage.administration import SCOPES, Act, create_merchant, issue_key, list_keys
from storage.database import create_engine

NAME = "海棠书店"
ACTOR = "operator:demo"
_CONTRACT = timedelta(days=3650)


class DemoMerchant(BaseModel):
    """Its id and API key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    merchant_id: str
    key: str = Field(repr=False)


async def register(engine: AsyncEngine) -> DemoMerchant:
    """A new merchant with a key for everything."""
    ids, act = UlidSource(), Act(ACTOR, SystemClock().now())
    merchant_id = identifier(IdPrefix.MERCHANT, ids.ulid())
    await create_merchant(engine, act, merchant_id, NAME, act.at + _CONTRACT)
    key = await issue_key(engine, act, ids.ulid(), merchant_id, SCOPES, label="demo")
    return DemoMerchant(merchant_id=merchant_id, key=key)


def owner_engine(folder: Path) -> AsyncEngine:
    """The institution's own connection to a running local stack."""
    url = local_owner_url(folder, application_environment(folder)["LIUSHUI_DATABASE_URL"])
    return create_engine(url, pool_size=1, application_name="liushui-demo")


def keep_one(folder: Path) -> DemoMerchant:
    """The folder's merchant; on the first call it is registered and written to `demo_merchant.json`, mode 0600."""
    return asyncio.run(_keep_one(folder))


async def _keep_one(folder: Path) -> DemoMerchant:
    engine = owner_engine(folder)
    try:
        kept = _read(folder / "demo_merchant.json")
        if kept is None or not await list_keys(engine, kept.merchant_id):
            kept = await register(engine)
            write_private(folder / "demo_merchant.json", json.dumps(kept.model_dump(), indent=2) + "\n")
        # A header file for curl, so that the key shows neither on the screen nor in a list of processes.
        write_private(folder / "demo_merchant.header", f"Authorization: Bearer {kept.key}\n")
        return kept
    finally:
        await engine.dispose()


def _read(path: Path) -> DemoMerchant | None:
    try:
        return DemoMerchant.model_validate_json(path.read_text())
    except (OSError, ValidationError):
        return None


def curl_line(folder: Path, addresses: Mapping[str, str]) -> str:
    """Registers a user of the demo merchant, a new one each time that it is pasted."""
    header = quote(f"@{folder / 'demo_merchant.header'}")
    body = '\'{"merchant_user_ref":"customer-\'$(date +%s)\'","type":"individual","region":"CN"}\''
    return (
        f"curl -sS {addresses['api']}/v1/users -H {header} -H Content-Type:application/json"
        f" -H Idempotency-Key:try-$(date +%s) -d {body} -w '\\n'"
    )
