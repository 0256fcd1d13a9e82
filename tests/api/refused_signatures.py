"""Refusals of unsigned and wrongly signed instructions, of signing keys, and of too many requests."""

from __future__ import annotations

import base64

from api.rate_limits import RateLimits
from client.signing import SigningKey
from domain.error_codes import ErrorCode
from tests.api.conftest import Merchant, Stage
from tests.api.refusals import Ask, refused_with

C = ErrorCode
USER = {"merchant_user_ref": "customer-signed", "type": "individual", "region": "CN"}
PUBLIC_KEY = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="


async def signer(stage: Stage) -> tuple[Merchant, SigningKey]:
    merchant = await stage.merchant()
    return merchant, await stage.sign(merchant)


def new_key(public_key: str = PUBLIC_KEY) -> dict[str, str]:
    return {"public_key": public_key, "algorithm": "ed25519", "label": "next"}


@refused_with(C.SIGNATURE_REQUIRED)
async def unsigned_instruction_of_who_signs(stage: Stage) -> Ask:
    merchant, _ = await signer(stage)
    return lambda: stage.http.post("/v1/users", json=USER, headers=merchant.headers(""))


@refused_with(C.SIGNATURE_INVALID)
async def altered_instruction(stage: Stage) -> Ask:
    merchant, signing_key = await signer(stage)
    request = stage.http.build_request("POST", "/v1/users", json=USER, headers=merchant.headers(""))
    signing_key.sign(request, created=stage.clock.now(), nonce=stage.ids.ulid())
    request.headers["Idempotency-Key"] = "another-intention"
    return lambda: stage.http.send(request)


@refused_with(C.CONTENT_DIGEST_MISMATCH)
async def altered_body(stage: Stage) -> Ask:
    merchant, signing_key = await signer(stage)
    request = stage.http.build_request("POST", "/v1/users", json=USER, headers=merchant.headers(""))
    signing_key.sign(request, created=stage.clock.now(), nonce=stage.ids.ulid())
    altered = stage.http.build_request(
        "POST", "/v1/users", json=USER | {"region": "US"}, headers=dict(request.headers, **{"Content-Length": "75"})
    )
    altered.headers["Content-Length"] = str(len(altered.content))
    return lambda: stage.http.send(altered)


@refused_with(C.SIGNATURE_EXPIRED)
async def signature_of_long_ago(stage: Stage) -> Ask:
    merchant, signing_key = await signer(stage)
    request = stage.http.build_request("POST", "/v1/users", json=USER, headers=merchant.headers(""))
    signing_key.sign(request, created=stage.clock.now(), nonce=stage.ids.ulid())
    stage.clock.advance(seconds=301)
    return lambda: stage.http.send(request)


@refused_with(C.SIGNATURE_REPLAYED)
async def request_sent_twice(stage: Stage) -> Ask:
    merchant, signing_key = await signer(stage)
    request = stage.http.build_request("POST", "/v1/users", json=USER, headers=merchant.headers(""))
    signing_key.sign(request, created=stage.clock.now(), nonce=stage.ids.ulid())
    assert (await stage.http.send(request)).status_code == 201
    return lambda: stage.http.send(request)


@refused_with(C.SIGNING_KEY_UNKNOWN)
async def key_of_another_merchant(stage: Stage) -> Ask:
    merchant, _ = await signer(stage)
    _, theirs = await signer(stage)
    stage.signing_keys[merchant.id] = theirs
    return lambda: merchant.post("/v1/users", USER)


@refused_with(C.SIGNING_KEY_INVALID)
async def weak_key(stage: Stage) -> Ask:
    merchant, _ = await signer(stage)
    neutral = base64.b64encode(b"\x01" + bytes(31)).decode()
    return lambda: merchant.post("/v1/signing_keys", new_key(neutral))


@refused_with(C.SIGNING_KEY_EXISTS)
async def key_registered_twice(stage: Stage) -> Ask:
    merchant, _ = await signer(stage)
    assert (await merchant.post("/v1/signing_keys", new_key())).status_code == 201
    return lambda: merchant.post("/v1/signing_keys", new_key())


@refused_with(C.SIGNING_KEYS_EXHAUSTED)
async def sixth_key(stage: Stage) -> Ask:
    merchant, _ = await signer(stage)
    for _ in range(4):
        await stage.new_signing_key(merchant.id)
    return lambda: merchant.post("/v1/signing_keys", new_key())


@refused_with(C.SIGNING_KEY_NOT_FOUND)
async def end_of_a_key_of_another_merchant(stage: Stage) -> Ask:
    merchant, _ = await signer(stage)
    _, theirs = await signer(stage)
    return lambda: merchant.post(f"/v1/signing_keys/{theirs.key_id}/revoke")


@refused_with(C.LAST_SIGNING_KEY)
async def end_of_the_last_key(stage: Stage) -> Ask:
    merchant, signing_key = await signer(stage)
    return lambda: merchant.post(f"/v1/signing_keys/{signing_key.key_id}/revoke")


@refused_with(C.RATE_LIMITED)
async def more_than_the_quota(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    limit(stage, reads=1)
    assert (await merchant.get("/v1/balances")).status_code == 200
    return lambda: merchant.get("/v1/balances")


def limit(stage: Stage, **quotas: int) -> None:
    """Lowers the quotas for a test, with a window that does not end during it."""
    policy = stage.policy.rate_limits.model_copy(update={"window_seconds": 3600} | quotas)
    object.__setattr__(stage.services, "rate_limits", RateLimits(policy))
