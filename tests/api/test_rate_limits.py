"""How often one may ask: each merchant for itself, strangers by their address, and a flood leaves one record."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from api.rate_limits import address_of
from tests.api.conftest import Merchant, Stage
from tests.api.refused_signatures import limit

USER = {"merchant_user_ref": "customer-1", "type": "individual", "region": "CN"}
GUESS = {"Authorization": "Bearer lsk_01KB5N3E4H6Q8Z2T7V9W0X1Y2R_" + "a" * 43}


def left(answer: httpx.Response) -> tuple[str, int]:
    """The quota's name and what is left of it."""
    found = re.fullmatch(r'"(\w+)";r=(\d+);t=\d+', answer.headers["RateLimit"])
    assert found, answer.headers["RateLimit"]
    return found[1], int(found[2])


async def test_every_authenticated_answer_says_what_is_left(stage: Stage) -> None:
    merchant = await stage.merchant()
    limit(stage, reads=10, commands=5, money_commands=4)
    answers = [
        await merchant.get("/v1/balances"),
        await merchant.get("/v1/payments/nothing"),
        await merchant.post("/v1/users", USER),
        await merchant.post("/v1/users", {}),
        await merchant.post("/v1/payments", {}),
    ]
    assert [left(answer) for answer in answers] == [
        ("reads", 9),
        ("reads", 8),
        ("commands", 4),
        ("commands", 3),
        ("money_commands", 3),
    ]
    assert answers[0].headers["RateLimit-Policy"] == '"reads";q=10;w=3600'
    assert "RateLimit" not in (await stage.http.get("/v1/balances")).headers
    assert "RateLimit" not in (await stage.http.get("/health")).headers


async def test_beyond_its_quota_a_merchant_is_told_when_to_come_back_and_others_are_not_held_up(stage: Stage) -> None:
    merchant, other = await stage.merchant(), await stage.merchant("别家")
    limit(stage, commands=3)
    for number in range(3):
        assert (await merchant.post("/v1/users", USER | {"merchant_user_ref": f"c-{number}"})).status_code == 201
    refused = [await merchant.post("/v1/users", USER, key="over-the-quota") for _ in range(5)]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(429, "RATE_LIMITED")}
    assert all(1 <= int(answer.headers["Retry-After"]) <= 3600 for answer in refused)
    assert left(refused[-1]) == ("commands", 0)
    [record] = await stage.records(reason="rate_limited")
    assert (record["outcome"], record["subject_id"]) == ("refused", merchant.id)
    assert await stage.rows("SELECT 1 FROM app.idempotency WHERE answer IS NULL") == []
    # Other quotas of the same merchant and the same quota of others are apart.
    assert (await merchant.get("/v1/balances")).status_code == 200
    assert (await other.post("/v1/users", USER)).status_code == 201
    # The same intention, once there is room again.
    limit(stage, commands=100)
    assert (await merchant.post("/v1/users", USER, key="over-the-quota")).status_code == 201


async def test_two_keys_of_one_merchant_share_its_quota(stage: Stage) -> None:
    merchant = await stage.merchant()
    second = await stage.with_key(merchant.id)
    limit(stage, reads=4)
    counted = [left(await one.get("/v1/balances"))[1] for one in (merchant, second, merchant, second)]
    assert counted == [3, 2, 1, 0]
    assert (await second.get("/v1/balances")).status_code == 429


async def test_nobody_uses_up_the_quota_of_a_merchant_by_naming_its_key(stage: Stage) -> None:
    merchant = await stage.merchant()
    limit(stage, reads=5, unauthenticated=1000)
    stolen = {"Authorization": f"Bearer {merchant.key[:31]}{'x' * 43}"}
    for _ in range(20):
        assert (await stage.http.get("/v1/balances", headers=stolen)).status_code == 401
    assert left(await merchant.get("/v1/balances")) == ("reads", 4)


@pytest.mark.parametrize("headers", [GUESS, {}, {"Authorization": "Bearer x"}], ids=["guessed", "none", "garbage"])
async def test_a_flood_without_a_key_leaves_one_record_beyond_the_limit(stage: Stage, headers: dict[str, str]) -> None:
    merchant = await stage.merchant()
    assert (await merchant.get("/v1/balances")).status_code == 200
    limit(stage, unauthenticated=3)
    answers = await asyncio.gather(*(stage.http.get("/v1/balances", headers=headers) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [401] * 3 + [429] * 9
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 429)
    reasons = [record["reason"] for record in await stage.records(actor="unknown")]
    assert len(reasons) == 4
    assert reasons.count("rate_limited") == 1
    # A merchant from the same address, whose key is known to be true, is not held up.
    assert (await merchant.get("/v1/balances")).status_code == 200


async def test_a_flood_of_addresses_that_do_not_exist_leaves_one_record_beyond_the_limit(stage: Stage) -> None:
    limit(stage, unauthenticated=2)
    answers = [await stage.http.get(f"/nothing/{number}") for number in range(6)]
    assert [answer.status_code for answer in answers] == [404, 404, 429, 429, 429, 429]
    assert len(await stage.records(action="unknown_address")) == 3


async def test_a_flood_of_forged_callbacks_is_limited_too(stage: Stage) -> None:
    limit(stage, unauthenticated=2)
    answers = [await stage.http.post("/bank-callbacks/HBRB", content=b"n1 x") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401, 401, 429, 429, 429, 429]
    assert len(await stage.records(action="bank_callback")) == 3


async def test_a_burst_of_a_key_that_was_never_seen_is_not_taken_for_a_flood(stage: Stage) -> None:
    merchant = await stage.merchant()
    limit(stage, unauthenticated=1)
    answers = await asyncio.gather(*(merchant.get("/v1/balances") for _ in range(30)))
    assert {answer.status_code for answer in answers} == {200}


async def test_a_key_that_was_revoked_counts_as_a_strangers_again(stage: Stage) -> None:
    from storage.administration import Act, revoke_key

    merchant = await stage.merchant()
    assert (await merchant.get("/v1/balances")).status_code == 200
    key_id = f"key_{merchant.key.split('_')[1]}"
    await revoke_key(stage.database.owner_engine, Act("test", stage.clock.now()), key_id)
    limit(stage, unauthenticated=2)
    answers = [await merchant.get("/v1/balances") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429, 429]


@pytest.mark.parametrize(
    ("host", "counted_as"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("testclient", "testclient"),
        (None, "unknown"),
    ],
)
def test_an_ipv6_network_counts_as_one_address(host: str | None, counted_as: str) -> None:
    request: Any = SimpleNamespace(client=SimpleNamespace(host=host) if host else None)
    assert address_of(request) == counted_as


# What else a request must not leave open


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("limt=5", {"field": "limt", "code": "unknown_parameter"}),
        ("limit=5&limit=6", {"field": "limit", "code": "repeated"}),
        ("11010119900307803X=1", {"field": "*", "code": "unknown_parameter"}),
    ],
)
async def test_a_query_parameter_that_is_not_known_is_refused_by_name(
    stage: Stage, query: str, fault: dict[str, str]
) -> None:
    merchant = await stage.merchant()
    answer = await stage.http.get(f"/v1/payments?{query}", headers=merchant.headers(None))
    assert (answer.status_code, answer.json()["code"]) == (400, "REQUEST_INVALID")
    assert answer.json()["errors"] == [fault]
    [record] = await stage.records(request_id=answer.headers["x-request-id"])
    assert (record["outcome"], record["reason"]) == ("refused", "request_invalid")


async def test_a_command_takes_no_query_that_it_does_not_know(stage: Stage) -> None:
    merchant = await stage.merchant()
    answer = await merchant.post("/v1/users?dry_run=true", USER)
    assert answer.json()["errors"] == [{"field": "dry_run", "code": "unknown_parameter"}]
    assert await stage.rows("SELECT 1 FROM app.end_user") == []


async def test_a_length_beside_chunks_is_refused(stage: Stage) -> None:
    merchant: Merchant = await stage.merchant()
    headers = merchant.headers("") | {"Content-Type": "application/json"}
    for ambiguous in (
        [("Content-Length", "2"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "2"), ("Content-Length", "75")],
    ):
        request = httpx.Request("POST", "http://liushui.test/v1/users", content=b"{}", headers=headers)
        plain = [pair for pair in request.headers.multi_items() if pair[0] != "content-length"]
        request.headers = httpx.Headers([*plain, *ambiguous])
        answer = await stage.http.send(request)
        assert (answer.status_code, answer.json()["code"]) == (400, "REQUEST_INVALID")
        assert answer.json()["errors"] == [{"field": "*", "code": "ambiguous"}] or answer.json()["errors"] == [
            {"field": "Content-Length", "code": "ambiguous"}
        ]


async def test_a_request_id_of_the_callers_is_not_ours(stage: Stage) -> None:
    merchant = await stage.merchant()
    theirs = "req_01KB5N3E4H6Q8Z2T7V9W0X1Y2T"
    headers = merchant.headers(None) | {"X-Request-Id": theirs}
    answer = await stage.http.get("/v1/payments/none", headers=headers)
    assert answer.headers.get_list("x-request-id") != [theirs]
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert await stage.records(request_id=theirs) == []
