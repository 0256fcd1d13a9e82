"""Merchants to play with, on a local stack only: registered once, their keys where only their owner may read them.

One signs its instructions, as a merchant does. The other does not, so that a line of curl is enough; it cannot refund.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from shlex import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.institution import local_owner_url
from client import SigningKey
from domain.identifiers import IdPrefix, identifier
from runtime.clock import SystemClock
from runtime.id_source import UlidSource
from runtime.secrets import write_private
from runtime.stack import application_environment
from storage import signing_keys
from storage.administration import SCOPES, Act, create_merchant, issue_key, list_keys
from storage.database import create_engine

NAME, UNSIGNED_NAME = "海棠书店", "晴窗文具"
ACTOR = "operator:demo"
_CONTRACT = timedelta(days=3650)


class UnsignedMerchant(BaseModel):
    """Its id and API key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    merchant_id: str
    key: str = Field(repr=False)


class DemoMerchant(UnsignedMerchant):
    """Its signing key as well, in PKCS 8 PEM, and the merchant that does not sign."""

    signing_key_id: str
    private_key: str = Field(repr=False)
    unsigned: UnsignedMerchant | None = None

    @property
    def signing_key(self) -> SigningKey:
        """To sign with."""
        return SigningKey.from_pem(self.signing_key_id, self.private_key)


async def register(engine: AsyncEngine) -> DemoMerchant:
    """A new merchant with an API key for everything, and a signing key."""
    ids, act = UlidSource(), Act(ACTOR, SystemClock().now())
    plain = await _register(engine, NAME)
    private_key, ulid = Ed25519PrivateKey.generate(), ids.ulid()
    key = SigningKey(identifier(IdPrefix.SIGNING_KEY, ulid), private_key)
    await signing_keys.register(engine, act, ulid, plain.merchant_id, key.public_key_pem, label="demo")
    pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return DemoMerchant(**plain.model_dump(), signing_key_id=key.key_id, private_key=pem)


async def _register(engine: AsyncEngine, name: str) -> UnsignedMerchant:
    ids, act = UlidSource(), Act(ACTOR, SystemClock().now())
    merchant_id = identifier(IdPrefix.MERCHANT, ids.ulid())
    await create_merchant(engine, act, merchant_id, name, act.at + _CONTRACT)
    key = await issue_key(engine, act, ids.ulid(), merchant_id, SCOPES, label="demo")
    return UnsignedMerchant(merchant_id=merchant_id, key=key)


def owner_engine(folder: Path) -> AsyncEngine:
    """The institution's own connection to a running local stack."""
    url = local_owner_url(folder, application_environment(folder)["LIUSHUI_DATABASE_URL"])
    return create_engine(url, pool_size=1, application_name="liushui-demo")


def keep_one(folder: Path, addresses: Mapping[str, str]) -> DemoMerchant:
    """The folder's merchants, registered on the first call. With the addresses in `demo_merchant.json`, mode 0600."""
    return asyncio.run(_keep_one(folder, addresses))


async def _keep_one(folder: Path, addresses: Mapping[str, str]) -> DemoMerchant:
    engine = owner_engine(folder)
    try:
        kept = _read(folder / "demo_merchant.json")
        if kept is None or not await _may_do_everything(engine, kept.merchant_id):
            unsigned = await _register(engine, UNSIGNED_NAME)
            kept = (await register(engine)).model_copy(update={"unsigned": unsigned})
        where = {name: addresses[name] for name in ("api", "simulator")}
        write_private(folder / "demo_merchant.json", json.dumps(where | kept.model_dump(), indent=2) + "\n")
        # A header file for curl, so that the key shows neither on the screen nor in a list of processes.
        write_private(folder / "demo_merchant.header", f"Authorization: Bearer {(kept.unsigned or kept).key}\n")
        return kept
    finally:
        await engine.dispose()


async def _may_do_everything(engine: AsyncEngine, merchant_id: str) -> bool:
    """Whether the merchant is there, with a key for all that this version offers."""
    return any(set(SCOPES) <= set(key["scopes"]) for key in await list_keys(engine, merchant_id))


def _read(path: Path) -> DemoMerchant | None:
    try:
        kept = json.loads(path.read_text())
        return DemoMerchant(**{name: kept.get(name) for name in DemoMerchant.model_fields})
    except (OSError, ValueError, AttributeError, ValidationError):
        return None


def curl_line(folder: Path, addresses: Mapping[str, str]) -> str:
    """Registers a user of the merchant that does not sign, a new one each time that it is pasted."""
    header = quote(f"@{folder / 'demo_merchant.header'}")
    body = '\'{"merchant_user_ref":"customer-\'$(date +%s)\'","type":"individual","region":"CN"}\''
    return (
        f"curl -sS {addresses['api']}/v1/users -H {header} -H Content-Type:application/json"
        f" -H Idempotency-Key:try-$(date +%s) -d {body} -w '\\n'"
    )
