"""Every route with every kind of credential, generated from the document; what is not named fails (P3.1b, A3.2a)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import httpx

from api import application
from api.problems import status_of
from client.signing import SigningKey
from domain.error_codes import ErrorCode
from storage.administration import SCOPES, Act, revoke_key
from storage.signing_keys import revoke
from tests.api.conftest import Merchant, Stage
from tests.api.houses import BODIES, QUERIES, WITHOUT_A_KEY, House, Route, forget_quotas, house_of, routes
from tests.api.refused_users_and_cards import suspend
from tests.api.rows import fingerprints

C = ErrorCode
ULID = "01KB5N3E4H6Q8Z2T7V9W0X1Y2R"
# What a suspended merchant is refused; everything else that was accepted is finished (A0.3).
NEW_BUSINESS = {
    "POST /v1/users",
    "POST /v1/users/{user_id}/bindings",
    "POST /v1/payments",
    "POST /v1/payments/{payment_id}/refunds",
    "POST /v1/users/{user_id}/payees",
    "POST /v1/payouts",
    "POST /v1/users/{user_id}/receiving_accounts",
    "POST /v1/fx_mandates",
    "POST /v1/fx",
    "POST /v1/settlement_account",
    "POST /v1/waiver/applications",
}
FINISHES = {
    "POST /v1/users/{user_id}/consents",
    "POST /v1/users/{user_id}/reports",
    "DELETE /v1/users/{user_id}/bindings/{binding_id}",
    "POST /v1/users/{user_id}/bindings/{binding_id}/code",
    "POST /v1/users/{user_id}/bindings/{binding_id}/code/resend",
    "POST /v1/payments/{payment_id}/code",
    "POST /v1/payments/{payment_id}/code/resend",
    "DELETE /v1/payees/{payee_id}",
    "POST /v1/payouts/{payout_id}/confirm",
    "POST /v1/payouts/{payout_id}/evidence",
    "POST /v1/fx_mandates/{fx_mandate_id}/end",
    "POST /v1/fx/{fx_id}/disposal",
    "POST /v1/users/{user_id}/disputes",
    "POST /v1/users/{user_id}/closures",
    "POST /v1/closures/{closure_id}/records",
    "POST /v1/closures/{closure_id}/erasure_reply",
    "POST /v1/signing_keys",
    "POST /v1/signing_keys/{signing_key_id}/revoke",
    "POST /v1/webhook_endpoints",
    "DELETE /v1/webhook_endpoints/{endpoint_id}",
    "POST /v1/webhook_endpoints/{endpoint_id}/enable",
    "POST /v1/webhook_endpoints/{endpoint_id}/disable",
    "POST /v1/webhook_endpoints/{endpoint_id}/rotate_secret",
    "POST /v1/webhook_endpoints/{endpoint_id}/test",
    "POST /v1/webhook_endpoints/{endpoint_id}/replay",
}
# What a stranger is told who names what is not its own.
NOT_THERE = {
    "{user_id}": C.USER_NOT_FOUND,
    "{binding_id}": C.BINDING_NOT_FOUND,
    "{payment_id}": C.PAYMENT_NOT_FOUND,
    "{refund_id}": C.REFUND_NOT_FOUND,
    "{payee_id}": C.PAYEE_NOT_FOUND,
    "{settlement_id}": C.SETTLEMENT_NOT_FOUND,
    "{payout_id}": C.PAYOUT_NOT_FOUND,
    "{receiving_account_id}": C.RECEIVING_ACCOUNT_NOT_FOUND,
    "{inbound_id}": C.INBOUND_NOT_FOUND,
    "{fx_mandate_id}": C.FX_MANDATE_NOT_FOUND,
    "{fx_id}": C.FX_NOT_FOUND,
    "{closure_id}": C.CLOSURE_NOT_FOUND,
    "{dispute_id}": C.DISPUTE_NOT_FOUND,
    "{endpoint_id}": C.WEBHOOK_ENDPOINT_NOT_FOUND,
    "{signing_key_id}": C.SIGNING_KEY_NOT_FOUND,
}
# The document's addresses that name nothing: a stranger gets or makes its own there.
NAMES_NOTHING = {
    "POST /v1/settlement_account",
    "GET /v1/settlement_account",
    "GET /v1/settlements",
    "POST /v1/users",
    "GET /v1/payments",
    "GET /v1/payouts",
    "GET /v1/data_export",
    "GET /v1/inbounds",
    "GET /v1/fx_mandates",
    "GET /v1/fx",
    "GET /v1/closures",
    "GET /v1/disputes",
    "GET /v1/balances",
    "GET /v1/statement",
    "POST /v1/waiver/applications",
    "GET /v1/waiver",
    "GET /v1/agreement",
    "GET /v1/events",
    "POST /v1/signing_keys",
    "GET /v1/signing_keys",
    "POST /v1/webhook_endpoints",
    "GET /v1/webhook_endpoints",
}
_OF_A_HOUSE = ("end_user", "binding", "payment", "refund", "payee", "payout", "event", "effect")
_OF_A_HOUSE += ("receiving_account", "inbound", "fx_mandate", "fx", "closure", "dispute", "erasure_notice")
IN_THE_BODY = {
    "POST /v1/payments",
    "POST /v1/payments/preview",
    "POST /v1/payouts",
    "POST /v1/payouts/preview",
    "POST /v1/fx_mandates",
    "POST /v1/fx",
    "POST /v1/fx/preview",
}


async def ask(
    stage: Stage, house: House, route: Route, key: str | None, number: int, *, signing_key: SigningKey | None
) -> httpx.Response:
    """A good request about this house, with whatever credentials are given."""
    assert route.name in BODIES or route.method == "GET", f"{route.name}: say in BODIES what it is sent"
    path = re.sub(r"\{(\w+)\}", lambda found: house.ids[found[1]], route.template)
    make = BODIES.get(route.name)
    headers = {} if key is None else {"Authorization": key}
    if route.is_command:
        headers["Idempotency-Key"] = f"matrix-{number:08d}"
    body = None if make is None else make(house, stage)
    request = stage.http.build_request(route.method, path, json=body, headers=headers, params=QUERIES.get(route.name))
    if signing_key is not None and route.is_command:
        signing_key.sign(request, created=stage.clock.now(), nonce=stage.ids.ulid())
    return await stage.http.send(request)


Credential = Callable[[Stage, Merchant, Route], Awaitable[str | None]]


async def _expired(stage: Stage, merchant: Merchant, _route: Route) -> str:
    return f"Bearer {(await stage.with_key(merchant.id, expires_at=stage.clock.now())).key}"


async def _revoked(stage: Stage, merchant: Merchant, _route: Route) -> str:
    made = await stage.with_key(merchant.id)
    act = Act("test", stage.clock.now())
    await revoke_key(stage.database.owner_engine, act, f"key_{made.key.split('_')[1]}")
    return f"Bearer {made.key}"


async def _without_the_scope(stage: Stage, merchant: Merchant, route: Route) -> str:
    others = tuple(scope for scope in SCOPES if scope != route.scope)
    return f"Bearer {(await stage.with_key(merchant.id, others)).key}"


def _sent(make: Callable[[Merchant], str | None]) -> Credential:
    async def made(_stage: Stage, merchant: Merchant, _route: Route) -> str | None:
        return make(merchant)

    return made


def _secret(merchant: Merchant) -> str:
    return merchant.key.split("_", 2)[2]


CREDENTIALS: dict[str, tuple[Credential, int, ErrorCode]] = {
    "none": (_sent(lambda _: None), 401, C.API_KEY_MISSING),
    "an empty one": (_sent(lambda _: "Bearer"), 401, C.API_KEY_MISSING),
    "another scheme": (_sent(lambda m: f"Basic {m.key}"), 401, C.API_KEY_MISSING),
    "no key at all": (_sent(lambda _: "Bearer letmein"), 401, C.API_KEY_INVALID),
    "a key and more": (_sent(lambda m: f"Bearer {m.key} {m.key}"), 401, C.API_KEY_INVALID),
    "an unknown key": (_sent(lambda m: f"Bearer lsk_{ULID}_{_secret(m)}"), 401, C.API_KEY_INVALID),
    "the wrong secret": (_sent(lambda m: f"Bearer {m.key[:-4]}AAAA"), 401, C.API_KEY_INVALID),
    "an operator's token": (_sent(lambda m: f"Bearer lso_{ULID}_{_secret(m)}"), 401, C.API_KEY_INVALID),
    "a merchant's id": (_sent(lambda m: f"Bearer {m.id}"), 401, C.API_KEY_INVALID),
    "an expired key": (_expired, 401, C.API_KEY_INVALID),
    "a revoked key": (_revoked, 401, C.API_KEY_INVALID),
    "a key without the scope": (_without_the_scope, 403, C.SCOPE_MISSING),
}


def test_addresses_that_ask_for_no_key_are_those_that_are_known(stage: Stage) -> None:
    rooms = [route for room in application._ROUTERS for route in room.router.routes]
    app = stage.http._transport.app  # type: ignore[attr-defined]
    there = {
        f"{method} {route.path}"
        for route in [*rooms, *app.routes]
        for method in getattr(route, "methods", None) or ()
        if method != "HEAD"
    }
    assert there - {route.name for route in routes(stage)} == WITHOUT_A_KEY


async def test_whoever_shows_no_good_credential_gets_nothing_changes_nothing_and_is_on_record(stage: Stage) -> None:
    house = await house_of(stage, "海棠书店")
    forget_quotas(stage)
    signing_key = await stage.sign(house.merchant)
    before, told = await fingerprints(stage), len(stage.processes.started)
    asked = {}
    for kind, (credential, status, code) in CREDENTIALS.items():
        keys: dict[str, str | None] = {}
        for number, route in enumerate(routes(stage)):
            if route.scope not in keys:
                keys[route.scope] = await credential(stage, house.merchant, route)
            key = keys[route.scope]
            answer = await ask(stage, house, route, key, number, signing_key=signing_key)
            assert (answer.status_code, answer.json()["code"]) == (status, code.value), f"{kind}: {route.name}"
            assert ("www-authenticate" in answer.headers) == (status == 401)
            assert not found_in(answer, house.marks), f"{kind}: {route.name}"
            asked[answer.headers["x-request-id"]] = code.value.lower()
    records = await stage.records(outcome="denied")
    assert {record["request_id"]: record["reason"] for record in records} == asked
    after = await fingerprints(stage)
    # The expired, revoked and narrower keys were made for this test.
    assert {name for name in after if after[name] != before[name]} == {"app.api_key"}
    assert len(stage.processes.started) == told


async def test_no_command_of_a_merchant_that_signs_is_taken_without_a_signature_of_its_own(stage: Stage) -> None:
    house, stranger = await house_of(stage, "海棠书店"), await stage.merchant("别家")
    ended = await stage.new_signing_key(house.merchant.id)
    await revoke(stage.database.owner_engine, Act("test", stage.clock.now()), house.merchant.id, ended.key_id)
    signers: dict[str, tuple[SigningKey | None, ErrorCode]] = {
        "none": (None, C.SIGNATURE_REQUIRED),
        "another merchant's": (await stage.sign(stranger), C.SIGNING_KEY_UNKNOWN),
        "an ended one": (ended, C.SIGNING_KEY_UNKNOWN),
        "one that nobody knows": (SigningKey.from_raw(f"sgk_{ULID}", b"k" * 32), C.SIGNING_KEY_UNKNOWN),
    }
    before = await fingerprints(stage)
    for kind, (signing_key, code) in signers.items():
        for number, route in enumerate(routes(stage)):
            if route.is_command:
                answer = await ask(stage, house, route, f"Bearer {house.merchant.key}", number, signing_key=signing_key)
                got = (answer.status_code, answer.json()["code"])
                assert got == (status_of(code), code.value), f"{kind}: {route.name}"
                [record] = await stage.records(request_id=answer.headers["x-request-id"])
                assert (record["outcome"], record["reason"]) == ("denied", code.value.lower())
    assert await fingerprints(stage) == before


async def test_a_stranger_with_a_good_key_finds_nothing_and_touches_nothing(stage: Stage) -> None:
    house = await house_of(stage, "别家")
    stranger = await stage.merchant("海棠书店")
    signing_key = await stage.sign(stranger)
    before = await fingerprints(stage, house.marks)
    assert all(before[f"app.{kind}"][0] for kind in _OF_A_HOUSE)
    for number, route in enumerate(routes(stage)):
        answer = await ask(stage, house, route, f"Bearer {stranger.key}", number, signing_key=signing_key)
        expected = _for_a_stranger(route)
        got = answer.json().get("code") if answer.is_error else None
        assert got == expected, f"{route.name}: {answer.text}"
        assert answer.is_success or answer.status_code == 404
        assert not found_in(answer, house.marks), route.name
        if answer.is_error and route.is_command:
            [record] = await stage.records(request_id=answer.headers["x-request-id"], outcome="refused")
            assert record["merchant_id"] == stranger.id
    assert await fingerprints(stage, house.marks) == before


def _for_a_stranger(route: Route) -> ErrorCode | None:
    if route.name in NAMES_NOTHING:
        return None
    named = "{user_id}" if route.name in IN_THE_BODY else re.findall(r"\{\w+\}", route.template)[0]
    # Whoever unbinds is not told which of the two is not there.
    unbinds = route.name == "DELETE /v1/users/{user_id}/bindings/{binding_id}"
    return C.BINDING_NOT_FOUND if unbinds else NOT_THERE[named]


async def test_a_suspended_merchant_reads_and_finishes_but_begins_nothing(stage: Stage) -> None:
    house = await house_of(stage, "海棠书店")
    signing_key = await stage.sign(house.merchant)
    await suspend(stage, house.merchant)
    # What is read must still be there, so what is deleted comes last.
    in_order = sorted(routes(stage), key=lambda route: (route.is_command, route.method == "DELETE"))
    for number, route in enumerate(in_order):
        before = await fingerprints(stage) if route.name in NEW_BUSINESS else {}
        answer = await ask(stage, house, route, f"Bearer {house.merchant.key}", number, signing_key=signing_key)
        if route.name in NEW_BUSINESS:
            assert answer.json().get("code") == C.MERCHANT_SUSPENDED, f"{route.name}: {answer.text}"
            assert await fingerprints(stage) == before, route.name
            [record] = await stage.records(request_id=answer.headers["x-request-id"], outcome="refused")
            assert record["reason"] == "merchant_suspended"
        elif route.is_command:
            code = answer.json().get("code")
            assert code != C.MERCHANT_SUSPENDED, route.name
            assert answer.status_code < 500, route.name
        else:
            assert answer.is_success, f"{route.name}: {answer.text}"


def test_every_command_says_whether_a_suspended_merchant_may_still_give_it(stage: Stage) -> None:
    commands = {route.name for route in routes(stage) if route.is_command}
    assert commands == NEW_BUSINESS | FINISHES
    assert NEW_BUSINESS.isdisjoint(FINISHES)


def found_in(answer: httpx.Response, marks: set[str]) -> set[str]:
    """Which of somebody's marks an answer gives away, in its body or its headers."""
    said = answer.text + str(answer.headers.raw)
    return {mark for mark in marks if mark in said}
