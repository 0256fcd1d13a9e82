"""Every route with every kind of credential, generated from the document; what is not named fails (P3.1b, A3.2a)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from api import application
from domain.error_codes import ErrorCode
from storage.administration import SCOPES, Act, revoke_key
from tests.api.conftest import ELEMENTS, Merchant, Stage
from tests.api.refused_payments import enable_waiver
from tests.api.refused_users_and_cards import suspend
from tests.api.rows import fingerprints

C = ErrorCode
ULID = "01KB5N3E4H6Q8Z2T7V9W0X1Y2R"
# Whom banks, monitors and readers of the document are is not known by a merchant's key.
WITHOUT_A_KEY = {
    "POST /bank-callbacks/{bank_code}",
    "GET /health",
    "GET /ready",
    "GET /docs",
    "GET /openapi.json",
}


@dataclass(frozen=True)
class Route:
    """An address of the document and the scope it asks for."""

    name: str
    scope: str
    is_command: bool

    @property
    def method(self) -> str:
        return self.name.split()[0]

    @property
    def template(self) -> str:
        return self.name.split()[1]


@dataclass
class House:
    """A merchant with something of everything."""

    merchant: Merchant
    ids: dict[str, str] = field(default_factory=dict)
    # A card whose code is still waited for, and what a payment's confirmation is about.
    order: dict[str, Any] = field(default_factory=dict)

    @property
    def marks(self) -> set[str]:
        """Whatever identifies this merchant's rows and must never be in a stranger's answer."""
        return {self.merchant.id, *self.ids.values(), self.order["order_number"], "9901010000000000018"}


Body = Callable[[House, Stage], dict[str, Any]]


def _consent(_house: House, stage: Stage) -> dict[str, Any]:
    return {
        "kind": "agreement",
        "version": stage.policy.agreement.version,
        "content_hash": stage.policy.agreement.content_hash,
        "channel": "app",
        "acted_at": stage.clock.now().isoformat(),
    }


# What each command is sent: good enough to be carried out, were it only asked by the right one.
BODIES: dict[str, Body | None] = {
    "POST /v1/users": lambda *_: {"merchant_user_ref": "customer-new", "type": "individual", "region": "CN"},
    "POST /v1/users/{user_id}/consents": _consent,
    "POST /v1/users/{user_id}/bindings": lambda *_: ELEMENTS | {"card_number": "9901010000000000026"},
    "DELETE /v1/users/{user_id}/bindings/{binding_id}": None,
    "POST /v1/users/{user_id}/bindings/{binding_id}/code": lambda *_: {"code": "482913"},
    "POST /v1/users/{user_id}/bindings/{binding_id}/code/resend": None,
    "POST /v1/payments/preview": lambda house, _: {
        name: value for name, value in house.order.items() if name not in ("confirmation_hash", "order_expires_at")
    },
    "POST /v1/payments": lambda house, _: house.order,
    "POST /v1/payments/{payment_id}/code": lambda *_: {"code": "482913"},
    "POST /v1/payments/{payment_id}/code/resend": None,
    "POST /v1/payments/{payment_id}/refunds": lambda *_: {"amount_minor": 100, "reason_code": "other"},
    "POST /v1/waiver/applications": lambda *_: {"limit_minor": 5_000, "currency": "CNY"},
}
# What a suspended merchant is refused; everything else that was accepted is finished (A0.3).
NEW_BUSINESS = {
    "POST /v1/users",
    "POST /v1/users/{user_id}/bindings",
    "POST /v1/payments",
    "POST /v1/payments/{payment_id}/refunds",
    "POST /v1/waiver/applications",
}
FINISHES = {
    "POST /v1/users/{user_id}/consents",
    "DELETE /v1/users/{user_id}/bindings/{binding_id}",
    "POST /v1/users/{user_id}/bindings/{binding_id}/code",
    "POST /v1/users/{user_id}/bindings/{binding_id}/code/resend",
    "POST /v1/payments/{payment_id}/code",
    "POST /v1/payments/{payment_id}/code/resend",
}
# What a stranger is told who names what is not its own.
NOT_THERE = {
    "{user_id}": C.USER_NOT_FOUND,
    "{binding_id}": C.BINDING_NOT_FOUND,
    "{payment_id}": C.PAYMENT_NOT_FOUND,
    "{refund_id}": C.REFUND_NOT_FOUND,
}
# The document's addresses that name nothing: a stranger gets or makes its own there.
NAMES_NOTHING = {
    "POST /v1/users",
    "GET /v1/payments",
    "GET /v1/balances",
    "GET /v1/statement",
    "POST /v1/waiver/applications",
    "GET /v1/waiver",
    "GET /v1/agreement",
}
IN_THE_BODY = {"POST /v1/payments", "POST /v1/payments/preview"}
QUERIES = {"GET /v1/statement": {"account": "pending"}}


def routes(stage: Stage) -> Iterator[Route]:
    """Every address that asks for a key."""
    for template, methods in stage.openapi()["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {template}"
            if name not in WITHOUT_A_KEY:
                assert operation.get("security"), f"{name} asks for no credential"
                keyed = any(item["name"] == "Idempotency-Key" for item in operation["parameters"])
                yield Route(name, operation["x-scope"], keyed)


async def house_of(stage: Stage, name: str) -> House:
    merchant = await stage.merchant(name)
    user_id, binding_id = await stage.payer(merchant)
    paid = await stage.paid(merchant, user_id, binding_id, amount_minor=77_700)
    refund = await merchant.post(f"/v1/payments/{paid['id']}/refunds", {"amount_minor": 700, "reason_code": "other"})
    assert refund.status_code == 201, refund.text
    await enable_waiver(stage, merchant)
    ids = {"user_id": user_id, "binding_id": binding_id, "payment_id": paid["id"], "refund_id": refund.json()["id"]}
    order = await stage.confirmed(merchant, stage.order(user_id, binding_id, amount_minor=66_600))
    return House(merchant, ids, order)


async def ask(stage: Stage, house: House, route: Route, key: str | None, number: int) -> httpx.Response:
    """A good request about this house, with whatever credential is given."""
    assert route.name in BODIES or route.method == "GET", f"{route.name}: say in BODIES what it is sent"
    path = re.sub(r"\{(\w+)\}", lambda found: house.ids[found[1]], route.template)
    make = BODIES.get(route.name)
    headers = {} if key is None else {"Authorization": key}
    if route.is_command:
        headers["Idempotency-Key"] = f"matrix-{number:08d}"
    body = None if make is None else make(house, stage)
    return await stage.http.request(route.method, path, json=body, headers=headers, params=QUERIES.get(route.name))


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
    before, told = await fingerprints(stage), len(stage.processes.started)
    asked = {}
    for kind, (credential, status, code) in CREDENTIALS.items():
        for number, route in enumerate(routes(stage)):
            key = await credential(stage, house.merchant, route)
            answer = await ask(stage, house, route, key, number)
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


async def test_a_stranger_with_a_good_key_finds_nothing_and_touches_nothing(stage: Stage) -> None:
    house = await house_of(stage, "别家")
    stranger = await stage.merchant("海棠书店")
    before = await fingerprints(stage, house.marks)
    assert all(before[f"app.{kind}"][0] for kind in ("end_user", "binding", "payment", "refund", "event", "effect"))
    for number, route in enumerate(routes(stage)):
        answer = await ask(stage, house, route, f"Bearer {stranger.key}", number)
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
    return C.BINDING_NOT_FOUND if route.method == "DELETE" else NOT_THERE[named]


async def test_a_suspended_merchant_reads_and_finishes_but_begins_nothing(stage: Stage) -> None:
    house = await house_of(stage, "海棠书店")
    await suspend(stage, house.merchant)
    for number, route in enumerate(routes(stage)):
        before = await fingerprints(stage)
        answer = await ask(stage, house, route, f"Bearer {house.merchant.key}", number)
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
