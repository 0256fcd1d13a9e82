"""Operators without an administrator: the first one, those of a local stack, and those of tests.

Only the owner of the tables can do this; the operators' API has no way to it.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from domain.identifiers import IdPrefix, identifier
from ops.credentials import Passwords, SecondFactors, Token, code_at
from storage.operators import ChangedOperator, NewOperator, Operators, RedeemedEnrolment

ACTOR = "setup"
_TRAINED = timedelta(days=365)


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
        token_hash=token.hash, token_expires_at=now + timedelta(minutes=5),
    )  # fmt: skip
    await operators.enrol(made)
    password, secret = secrets.token_urlsafe(18), factors.new_secret()
    enrolment = RedeemedEnrolment(
        now=now, request_id=None, operator_id=operator_id, token_hash=token.hash,
        password_phc=await (passwords or Passwords()).hash(password), sealed_totp=factors.seal(operator_id, secret),
        credentials_expire_at=now + credentials,
    )  # fmt: skip
    await operators.redeem(enrolment)
    training = ChangedOperator(
        now=now, actor=ACTOR, actor_id=ACTOR, request_id=ACTOR, id=operator_id, change="training",
        trained_until=trained_until or now + _TRAINED,
    )  # fmt: skip
    await operators.change(training)
    return DirectCredentials(operator_id, login, password, base64.b32encode(secret).decode().rstrip("="))
