"""Who comes in: counted, its signature looked at, and then the first commit of its request (A3.2a, A4.1a, A7.8).

A quota belongs to who has proved to be the merchant. What only claims to be one counts towards the address that it
comes from, so nobody uses up the quota of another.
"""

from __future__ import annotations

from starlette.requests import Request

from api.rate_limits import Quota, RateLimitedError, Standing, address_of, quota_of
from api.services import services_of
from domain.signing import SIGNED_ACTIONS
from storage.requests import Begun, StartedRequest


async def admit(request: Request, started: StartedRequest, body: bytes = b"", *, keeps_evidence: bool = True) -> Begun:
    """What the first commit says of a request. Raises RateLimitedError before it; nothing is decided then."""
    callers = services_of(request).callers
    pair = (started.key_id, started.secret_hash)
    quota = quota_of(started.action, is_command=started.record)
    merchant_id = callers.merchant_of(pair)
    if merchant_id is None:
        async with callers.turn(pair):
            merchant_id = callers.merchant_of(pair)
            if merchant_id is None:
                return await _first_of_a_key(request, started, quota, body, keeps_evidence)
    await _count_merchant(request, started, quota, merchant_id)
    return await _begin(request, started, body, keeps_evidence)


async def _first_of_a_key(
    request: Request, started: StartedRequest, quota: Quota, body: bytes, keeps_evidence: bool
) -> Begun:
    await _count_address(request, started)
    begun = await _begin(request, started, body, keeps_evidence)
    if begun.merchant_id is not None:
        request.state.rate_limit = await services_of(request).rate_limits.take(quota, begun.merchant_id)
    return begun


async def _begin(request: Request, started: StartedRequest, body: bytes, keeps_evidence: bool) -> Begun:
    services = services_of(request)
    signature = await services.signatures.check(
        request, body, started.now, started.request_id, keeps_evidence=keeps_evidence
    )
    found = {"signature": signature, "must_be_signed": started.action in SIGNED_ACTIONS and started.record}
    begun = await services.requests.begin(started.model_copy(update=found))
    services.callers.learn((started.key_id, started.secret_hash), begun.merchant_id)
    return begun


async def _count_merchant(request: Request, started: StartedRequest, quota: Quota, merchant_id: str) -> None:
    standing = await services_of(request).rate_limits.take(quota, merchant_id)
    request.state.rate_limit = standing
    if not standing.is_within:
        await _refuse(request, started, standing, started.key_id, merchant_id)


async def _count_address(request: Request, started: StartedRequest) -> None:
    standing = await services_of(request).rate_limits.take(Quota.UNAUTHENTICATED, address_of(request))
    if not standing.is_within:
        await _refuse(request, started, standing, "unknown", None)


async def _refuse(
    request: Request, started: StartedRequest, standing: Standing, actor: str, subject_id: str | None
) -> None:
    if standing.is_first_refusal:
        await services_of(request).requests.record_operation(
            started.now,
            actor,
            started.action,
            "refused",
            "rate_limited",
            subject_id=subject_id,
            request_id=started.request_id,
        )
    raise RateLimitedError(standing)
