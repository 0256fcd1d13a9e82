"""Operators without an administrator: the first one, those of a local stack, and those of tests.

Only the owner of the tables can do this; the operators' API has no way to it.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import ConflictError, ErrorCode, NotFoundError
from domain.identifiers import IdPrefix, identifier
from ops.credentials import Passwords, SecondFactors, Token, code_at
from storage.operators import ChangedOperator, NewOperator, Operators, RedeemedEnrolment

ACTOR = "setup"
_TRAINED, _TOKEN, _INVITATION = timedelta(days=365), timedelta(minutes=5), timedelta(days=3)


@dataclass(frozen=True)
class DirectCredentials:
    """Everything with which this person logs in; `totp_secret` in base 32."""

    operator_id: str
    login: str
    password: str = field(repr=False)
    totp_secret: str = field(repr=False)

    def code(self, now: datetime) -> str:
        """What the person's authenticator shows."""
        padded = self.totp_secret + "=" * (-len(self.totp_secret) % 8)
        return code_at(base64.b32decode(padded), now)


async def enrol_directly(
    owner: AsyncEngine,
    operator_key: bytes,
    login: str,
    roles: Sequence[str],
    *,
    ulid: str,
    now: datetime,
    name: str | None = None,
    passwords: Passwords | None = None,
    credentials: timedelta = timedelta(days=3650),
    trained_until: datetime | None = None,
) -> DirectCredentials:
    """An active operator with credentials made by chance, and a training mark for a year unless another is given.

    Raises ConflictError(OPERATOR_EXISTS), RefusedError(ROLE_UNKNOWN, ROLES_INCOMPATIBLE).
    """
    operators, factors = Operators(owner), SecondFactors(operator_key)
    operator_id, token = identifier(IdPrefix.OPERATOR, ulid), Token.new("lse", ulid)
    made = NewOperator(
        now=now, actor=ACTOR, request_id=None, id=operator_id, login=login, name=name or login, roles=tuple(roles),
        token_hash=token.hash, token_expires_at=now + _TOKEN,
    )  # fmt: skip
    await operators.enrol(made)
    found = await _redeem(operators, factors, passwords or Passwords(), token, now, credentials)
    await operators.change(_change(now, operator_id, "training", trained_until=trained_until or now + _TRAINED))
    return found


async def renew_directly(
    owner: AsyncEngine,
    operator_key: bytes,
    login: str,
    *,
    now: datetime,
    passwords: Passwords | None = None,
    credentials: timedelta = timedelta(days=3650),
) -> DirectCredentials:
    """New credentials of somebody whose old ones got lost. Raises NotFoundError, ConflictError if they have left."""
    operators = Operators(owner)
    known = await operators.find(login)
    if known is None:
        raise NotFoundError(ErrorCode.OPERATOR_NOT_FOUND)
    token = Token.new("lse", known["id"].removeprefix("opr_"))
    reset = _change(now, known["id"], "reset", token_hash=token.hash, token_expires_at=now + _TOKEN)
    await operators.change(reset)
    return await _redeem(operators, SecondFactors(operator_key), passwords or Passwords(), token, now, credentials)


async def invite_first(
    owner: AsyncEngine, login: str, *, ulid: str, now: datetime, role: str
) -> tuple[Token, datetime]:
    """An invitation for the first person who may invite others, and how long it is good.

    Raises ConflictError(OPERATOR_STATE_DIFFERS) while there is an active one already; an invitation that was never
    redeemed is replaced.
    """
    operators, expires_at = Operators(owner), now + _INVITATION
    everybody = await operators.everybody()
    if any(person["state"] == "active" and role in person["roles"] for person in everybody):
        raise ConflictError(ErrorCode.OPERATOR_STATE_DIFFERS)
    known = next((person for person in everybody if person["login"] == login), None)
    if known is not None:
        token = Token.new("lse", known["id"].removeprefix("opr_"))
        await operators.change(_change(now, known["id"], "roles", roles=(role,)))
        await operators.change(_change(now, known["id"], "reset", token_hash=token.hash, token_expires_at=expires_at))
        return token, expires_at
    token = Token.new("lse", ulid)
    made = NewOperator(
        now=now, actor=ACTOR, request_id=None, id=identifier(IdPrefix.OPERATOR, ulid), login=login, name=login,
        roles=(role,), token_hash=token.hash, token_expires_at=expires_at,
    )  # fmt: skip
    await operators.enrol(made)
    return token, expires_at


def _change(now: datetime, operator_id: str, change: str, **what: Any) -> ChangedOperator:
    return ChangedOperator(now=now, actor=ACTOR, actor_id=ACTOR, request_id=None, id=operator_id, change=change, **what)


async def _redeem(  # noqa: PLR0917 - internal
    operators: Operators,
    factors: SecondFactors,
    passwords: Passwords,
    token: Token,
    now: datetime,
    credentials: timedelta,
) -> DirectCredentials:
    operator_id, password = identifier(IdPrefix.OPERATOR, token.ulid), secrets.token_urlsafe(18)
    secret = factors.new_secret()
    enrolment = RedeemedEnrolment(
        now=now, request_id=None, operator_id=operator_id, token_hash=token.hash,
        password_phc=await passwords.hash(password), sealed_totp=factors.seal(operator_id, secret),
        credentials_expire_at=now + credentials,
    )  # fmt: skip
    operator = await operators.redeem(enrolment)
    text = base64.b32encode(secret).decode().rstrip("=")
    return DirectCredentials(operator_id, operator["login"], password, text)
