"""Who asks: `Authorization: Bearer lso_{ULID}_{secret}`; and how somebody comes to have such a token."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request

from api.rate_limits import address_of
from domain.errors import ErrorCode, NotAllowedError
from ops.credentials import Token
from ops.services import OpsServices
from storage.operators import Brake, ClaimedCredentials, JudgedLogin


def read_session(headers: Headers) -> Token:
    """Raises NotAllowedError: SESSION_MISSING without a bearer token, SESSION_INVALID for one that is no session's."""
    given = headers.getlist("authorization")
    if len(given) != 1 or given[0][:7].lower() != "bearer ":
        raise NotAllowedError(ErrorCode.SESSION_MISSING)
    token = Token.read("lso", given[0][7:].strip())
    if token is None:
        raise NotAllowedError(ErrorCode.SESSION_INVALID)
    return token


def brake_of(services: OpsServices, request: Request, login: str) -> Brake:
    """What a guess is counted against: keyed digests, because what is typed as a login may be a password."""
    rules, address = services.rules, address_of(request)
    return Brake(
        subjects={
            f"login:{services.vault.fingerprint(['operator login', login])}": rules.attempts_a_login,
            f"address:{services.vault.fingerprint(['operator address', address])}": rules.attempts_an_address,
        }
    )


@dataclass(frozen=True)
class Claim:
    """What somebody says who wants to log in."""

    login: str
    password: str = field(repr=False)
    totp: str = field(repr=False)


async def log_in(services: OpsServices, request: Request, claim: Claim) -> dict[str, Any]:
    """A session with its token, which is shown once.

    The same answer after the same work whatever was wrong. Raises NotAllowedError(LOGIN_FAILED),
    DomainError(LOGIN_LOCKED).
    """
    now, request_id = services.clock.now(), request.state.request_id
    brake = brake_of(services, request, claim.login)
    known = await services.operators.begin_login(now, request_id, "log_in", claim.login, brake)
    step = await _judge(services, known, claim, now)
    token = Token.new("lso", services.ids.ulid())
    judged = JudgedLogin(
        now=now,
        request_id=request_id,
        login=claim.login,
        verified=step is not None,
        brake=brake,
        operator_id=known.id if known else None,
        password_phc=known.password_phc if known else None,
        totp_step=step,
        session_id=f"ses_{token.ulid}",
        token_hash=token.hash,
        session_seconds=int(services.rules.session.total_seconds()),
    )
    session = await services.operators.finish_login(judged)
    services.acquaintances.learn(token.hash)
    return {"object": "session", "token": token.text, **session}


async def _judge(services: OpsServices, known: ClaimedCredentials | None, claim: Claim, now: datetime) -> int | None:
    """The step of the second factor if password and code are right; both are looked at in every case."""
    right = await services.passwords.verify(claim.password, known.password_phc if known else None)
    sealed = known.sealed_totp if known else None
    step = services.second_factors.matching_step(known.id if known else None, sealed, claim.totp, now)
    return step if right else None
