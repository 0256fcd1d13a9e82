"""What the institution does by its own commands: merchants, keys, partners, the agreement in force.

Each writes an operation record with the person behind it in the same transaction. Merchants and keys are made with the
rights of the operators' API or of the owner, the rest with the owner's. Never reachable from the merchants' API.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain import chart
from domain.errors import ErrorCode, FieldError, NotFoundError, RefusedError, ValidationRefusedError
from domain.identifiers import IdPrefix, identifier
from domain.policy import Policy
from domain.roles import RoleBook
from storage.decisions import register_decision_rules
from storage.fx_rules import RateChangedError, accounts_of_fx, register_fx_rules
from storage.operators import register_roles
from storage.reviews import register_review_rules
from storage.screening import register_screening_rules

CURRENCY = "CNY"
SECRET_BYTES = 32
SETUP = "setup"
LONGEST_CONTRACT = timedelta(days=3660)

SCOPES = (
    "users:read",
    "users:write",
    "bindings:read",
    "bindings:write",
    "payments:read",
    "payments:write",
    "refunds:read",
    "refunds:write",
    "payees:read",
    "payees:write",
    "payouts:read",
    "payouts:write",
    "settlements:read",
    "settlements:write",
    "fx:read",
    "fx:write",
    "closures:read",
    "closures:write",
    "disputes:read",
    "disputes:write",
    "balances:read",
    "waiver:read",
    "waiver:write",
    "signing_keys:read",
    "signing_keys:write",
    "events:read",
    "webhooks:read",
    "webhooks:write",
    "reports:write",
)


@dataclass(frozen=True)
class Act:
    """Who gave a command, and when, and in which request: what the record of it says."""

    actor: str
    at: datetime
    request_id: str | None = None


class AdministrationError(Exception):
    """A command that cannot be carried out; the message is for the person who gave it."""


class Partner(Protocol):
    """A registered partner as `config/banks.toml` states it."""

    @property
    def code(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def name_en(self) -> str: ...
    @property
    def name_zh(self) -> str: ...
    @property
    def enabled(self) -> bool: ...


async def register_institution(
    engine: AsyncEngine, policy: Policy, partners: Iterable[Partner], now: datetime, roles: RoleBook | None = None
) -> None:
    """Partners, the institution's accounts, the agreement in force, roles. Again it changes only what differs.

    A partner that an operator has switched off stays off. Raises AdministrationError for an agreement version that is
    there with another text.
    """
    listed = list(partners)
    async with engine.begin() as connection:
        for partner in listed:
            await _register_partner(connection, partner, now)
        codes = chart.accounts_of_institution([partner.code for partner in listed], CURRENCY)
        await _open_accounts(connection, codes + accounts_of_fx(policy.fx))
        await _publish_agreement(connection, policy, now)
        if await register_decision_rules(connection, policy.decisions):
            await _record(connection, Act(SETUP, now), "register_decision_rules", "decisions")
        if await register_review_rules(connection, policy.reviews):
            await _record(connection, Act(SETUP, now), "register_review_rules", "reviews")
        if roles is not None and (unknown := policy.reviews.roles - roles.roles.keys()):
            raise AdministrationError(f"reviews.toml names roles that do not exist: {', '.join(sorted(unknown))}")
        if await register_screening_rules(connection, policy.screening):
            await _record(connection, Act(SETUP, now), "register_screening_rules", "screening")
        try:
            if await register_fx_rules(connection, policy.fx, now):
                await _record(connection, Act(SETUP, now), "register_fx_rules", "fx")
        except RateChangedError as changed:
            raise AdministrationError(str(changed)) from None
        if roles is not None and await register_roles(connection, roles):
            await _record(connection, Act(SETUP, now), "register_roles", "roles")


async def create_merchant(engine: AsyncEngine, act: Act, merchant_id: str, name: str, contract_until: datetime) -> None:
    """A merchant with its ledger accounts (A0.3). Raises RefusedError(CONTRACT_END_INVALID), and
    ValidationRefusedError for a name that is not 1 to 60 printable characters.
    """
    if not 1 <= len(name) <= 60 or not name.isprintable() or name != name.strip():
        raise ValidationRefusedError(ErrorCode.REQUEST_INVALID, fields=[FieldError("name", "wrong_format")])
    if not act.at < contract_until <= act.at + LONGEST_CONTRACT:
        raise RefusedError(ErrorCode.CONTRACT_END_INVALID, field="contract_until")
    async with engine.begin() as connection:
        await connection.execute(
            sa.text(
                "INSERT INTO app.merchant (id, name, contract_until, created_at) VALUES (:id, :name, :until, :now)"
            ),
            {"id": merchant_id, "name": name, "until": contract_until, "now": act.at},
        )
        await _open_accounts(connection, chart.accounts_of_merchant(merchant_id, CURRENCY))
        await _record(connection, act, "create_merchant", merchant_id, merchant_id)


async def issue_key(
    engine: AsyncEngine,
    act: Act,
    key_ulid: str,
    merchant_id: str,
    scopes: Sequence[str],
    *,
    label: str = "",
    expires_at: datetime | None = None,
) -> str:
    """A new API key; answers the whole of it, which is stored nowhere (only its SHA-256 is).

    Raises ValidationRefusedError for scopes that there are not, NotFoundError(MERCHANT_NOT_FOUND).
    """
    if not scopes or set(scopes) - set(SCOPES):
        raise ValidationRefusedError(ErrorCode.REQUEST_INVALID, fields=[FieldError("scopes", "not_one_of_the_values")])
    secret = secrets.token_urlsafe(SECRET_BYTES)
    key_id = identifier(IdPrefix.API_KEY, key_ulid)
    row: dict[str, Any] = {"id": key_id, "merchant": merchant_id, "hash": hashlib.sha256(secret.encode()).digest()}
    row |= {"scopes": sorted(set(scopes)), "label": label[:60], "now": act.at, "until": expires_at}
    async with engine.begin() as connection:
        made = await connection.execute(
            sa.text(
                "INSERT INTO app.api_key (id, merchant_id, secret_hash, scopes, label, created_at, expires_at)"
                " SELECT :id, m.id, :hash, CAST(:scopes AS text[]), :label, :now, :until"
                " FROM app.merchant m WHERE m.id = :merchant"
            ),
            row,
        )
        if not made.rowcount:
            raise NotFoundError(ErrorCode.MERCHANT_NOT_FOUND)
        await _record(connection, act, "issue_key", key_id, merchant_id)
    return f"lsk_{key_ulid}_{secret}"


async def revoke_key(engine: AsyncEngine, act: Act, key_id: str) -> None:
    """From now on the key is refused. Raises NotFoundError(KEY_NOT_FOUND) unless it was in use."""
    async with engine.begin() as connection:
        merchant = await connection.scalar(
            sa.text(
                "UPDATE app.api_key SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL RETURNING merchant_id"
            ),
            {"id": key_id, "now": act.at},
        )
        if merchant is None:
            raise NotFoundError(ErrorCode.KEY_NOT_FOUND)
        await _record(connection, act, "revoke_key", key_id, merchant)


async def list_keys(engine: AsyncEngine, merchant_id: str) -> list[dict[str, Any]]:
    return await _rows(
        engine,
        "SELECT id, label, scopes, created_at, expires_at, revoked_at FROM app.api_key"
        " WHERE merchant_id = :merchant ORDER BY id",
        merchant=merchant_id,
    )


async def _register_partner(connection: AsyncConnection, partner: Partner, now: datetime) -> None:
    values = {"code": partner.code, "role": str(partner.role), "en": partner.name_en, "zh": partner.name_zh}
    made = await connection.execute(
        sa.text(
            "INSERT INTO app.partner AS p (code, role, name_en, name_zh, enabled, changed_at)"
            " VALUES (:code, :role, :en, :zh, :enabled, :now) ON CONFLICT (code) DO UPDATE SET"
            " role = excluded.role, name_en = excluded.name_en, name_zh = excluded.name_zh, changed_at = :now"
            " WHERE (p.role, p.name_en, p.name_zh) <> (excluded.role, excluded.name_en, excluded.name_zh)"
        ),
        values | {"enabled": partner.enabled, "now": now},
    )
    if made.rowcount:
        await _record(connection, Act(SETUP, now), "register_partner", partner.code)


async def _publish_agreement(connection: AsyncConnection, policy: Policy, now: datetime) -> None:
    agreement = policy.agreement
    stored = await connection.scalar(
        sa.text("SELECT content_hash FROM app.agreement_version WHERE version = :version"),
        {"version": agreement.version},
    )
    if stored == agreement.content_hash:
        return
    if stored is not None:
        raise AdministrationError(f"Agreement {agreement.version} is published with another text.")
    since = datetime.fromisoformat(agreement.in_force_from)
    await connection.execute(
        sa.text("UPDATE app.agreement_version SET in_force_until = :since WHERE in_force_until IS NULL"),
        {"since": since},
    )
    await connection.execute(
        sa.text("INSERT INTO app.agreement_version (version, content_hash, in_force_from) VALUES (:v, :h, :since)"),
        {"v": agreement.version, "h": agreement.content_hash, "since": since},
    )
    await _record(connection, Act(SETUP, now), "publish_agreement", f"agreement:{agreement.version}")


async def _open_accounts(connection: AsyncConnection, codes: Sequence[str]) -> None:
    await connection.execute(sa.text("SELECT ledger.open_accounts(CAST(:codes AS text[]))"), {"codes": list(codes)})


async def _record(
    connection: AsyncConnection, act: Act, action: str, subject: str, merchant_id: str | None = None
) -> None:
    item = {"now": act.at.isoformat(), "actor": act.actor, "action": action, "outcome": "done", "subject_id": subject}
    statement = sa.text("SELECT app.record_act(:item)").bindparams(sa.bindparam("item", type_=JSONB))
    await connection.execute(statement, {"item": item | {"merchant_id": merchant_id, "request_id": act.request_id}})


async def _rows(engine: AsyncEngine, statement: str, **parameters: Any) -> list[dict[str, Any]]:
    async with engine.connect() as connection:
        rows = await connection.execute(sa.text(statement), parameters)
        return [dict(row) for row in rows.mappings()]
