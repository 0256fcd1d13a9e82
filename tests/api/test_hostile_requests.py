"""Bodies, headers and addresses that nobody sends by accident: a clear 4xx, never a 5xx, and nothing repeated."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from api import limits_on_size
from tests.api.conftest import ELEMENTS, Stage

DEEP = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
ORDER = (
    b'{"user_id":"usr_01KB5N3E4H6Q8Z2T7V9W0X1Y2R","binding_id":"bnd_01KB5N3E4H6Q8Z2T7V9W0X1Y2S","order_number":"o-1",'
    b'"amount_minor":%s,"currency":"CNY","payee_kind":"merchant"}'
)

NOT_JSON = {
    "nothing": b" ",
    "an array": b"[]",
    "a string": b'"x"',
    "null": b"null",
    "deep nesting": DEEP,
    "deep arrays": b'{"a":' + b"[" * 60_000,
    "nine levels": b'{"a":' * 9 + b"1" + b"}" * 9,
    "NaN": b'{"merchant_user_ref": NaN}',
    "infinity": b'{"merchant_user_ref": -Infinity}',
    "a number out of range": b'{"merchant_user_ref": 1e999}',
    "a name twice": b'{"type":"individual","type":"enterprise"}',
    "a nested name twice": b'{"type":{"a":1,"a":2}}',
    "latin-1": '{"merchant_user_ref":"é"}'.encode("latin-1"),
    "utf-16": '{"merchant_user_ref":"x"}'.encode("utf-16"),
    "a byte-order mark": b'\xef\xbb\xbf{"type":"individual"}',
    "two objects": b"{}{}",
    "a comment": b'{/*x*/"type":"individual"}',
}


@pytest.fixture
async def hostile(stage: Stage) -> AsyncIterator[Stage]:
    yield stage
    # Whatever was sent, nothing of ours has failed.
    assert await stage.records(outcome="failed") == []


async def test_what_is_not_one_strict_json_object_is_refused(hostile: Stage) -> None:
    merchant = await hostile.merchant()
    for what, body in NOT_JSON.items():
        answer = await merchant.raw("/v1/users", body)
        assert (answer.status_code, answer.json()["code"]) == (400, "BODY_NOT_JSON"), what


@pytest.mark.parametrize("body", [b'{"type": "a\\u0000b"}', b'{"type": "\\ud800"}', b'{"\\u0000": 1}'])
async def test_characters_that_cannot_be_stored_are_refused_by_field(hostile: Stage, body: bytes) -> None:
    merchant = await hostile.merchant()
    answer = await merchant.raw("/v1/users", body)
    assert answer.status_code == 400
    assert [error["code"] for error in answer.json()["errors"]] == ["unstorable_character"]


@pytest.mark.parametrize(
    ("amount", "fault"),
    [
        (b"0", "out_of_range"),
        (b"-1", "out_of_range"),
        (b"10000000000001", "out_of_range"),
        (b"9" * 400, "out_of_range"),
        (b"9" * 5_000, "out_of_range"),
        (b"128.5", "not_an_integer"),
        (b"128.0", "not_an_integer"),
        (b"1e2", "not_an_integer"),
        (b'"12800"', "not_an_integer"),
        (b"true", "not_an_integer"),
        (b"null", "not_an_integer"),
        (b"[1]", "not_an_integer"),
    ],
)
async def test_an_amount_is_an_integer_in_range_or_a_fault_of_its_field(
    hostile: Stage, amount: bytes, fault: str
) -> None:
    merchant = await hostile.merchant()
    answer = await merchant.raw("/v1/payments/preview", ORDER % amount)
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"field": "amount_minor", "code": fault}]


async def test_a_body_without_an_announced_length_is_limited_too(hostile: Stage) -> None:
    merchant = await hostile.merchant()

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b" " * 1024

    headers = merchant.headers("") | {"Content-Type": "application/json"}
    answer = await hostile.http.post("/v1/users", content=chunks(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "REQUEST_TOO_LARGE")


async def test_large_headers_and_addresses_are_refused(hostile: Stage) -> None:
    merchant = await hostile.merchant()
    assert (await merchant.raw("/v1/users", b"{}", **{"X-Large": "x" * 17_000})).status_code == 413
    assert (await merchant.get("/v1/payments", order_number="x" * 3_000)).status_code == 413


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": ""},
    ],
    ids=lambda headers: headers["Content-Type"] or "none",
)
async def test_another_content_type_is_refused(hostile: Stage, headers: dict[str, str]) -> None:
    merchant = await hostile.merchant()
    answer = await merchant.raw("/v1/users", b'{"type":"individual"}', **headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "BODY_NOT_JSON")


@pytest.mark.parametrize("key", ["short", "x" * 65, "with space", "schlüssel1", "a'; drop--", ""])
async def test_a_malformed_idempotency_key_is_refused(hostile: Stage, key: str) -> None:
    merchant = await hostile.merchant()
    headers = merchant.headers(None) | {"Content-Type": "application/json"}
    headers_raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    headers_raw.append((b"Idempotency-Key", key.encode("latin-1", "replace")))
    answer = await hostile.http.post("/v1/users", content=b"{}", headers=headers_raw)
    assert (answer.status_code, answer.json()["code"]) == (400, "IDEMPOTENCY_KEY_REQUIRED")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("Basic dXNlcjpwYXNz", "API_KEY_MISSING"),
        ("Bearer", "API_KEY_MISSING"),
        ("Bearer x", "API_KEY_INVALID"),
        ("Bearer lsk_01KB5N3E4H6Q8Z2T7V9W0X1Y2R_' OR '1'='1", "API_KEY_INVALID"),
        ("Bearer lsk_01KB5N3E4H6Q8Z2T7V9W0X1Y2R_" + "a" * 43, "API_KEY_INVALID"),
    ],
)
async def test_who_shows_no_valid_key_is_denied_and_recorded(hostile: Stage, header: str, code: str) -> None:
    answer = await hostile.http.get("/v1/balances", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    [record] = await hostile.records(outcome="denied")
    assert (record["action"], record["reason"]) in {
        ("read_balance", code.lower()),
        ("read_balances", code.lower()),
    }


@pytest.mark.parametrize(
    "path",
    [
        "/v1/users/%00",
        "/v1/users/usr_'--",
        "/v1/payments/%E4%B8%AD",
        "/v1/refunds/rfd_01KB5N3E4H6Q8Z2T7V9W0X1Y2R%0a",
        "/v1/users/usr_01KB5N3E4H6Q8Z2T7V9W0X1Y2R/bindings/..%2f..",
        "/v1/fx/fx_'--",
        "/v1/fx/preview",
        "/v1/fx_mandates/%00",
        "/v1/inbounds/inb_01KB5N3E4H6Q8Z2T7V9W0X1Y2R%0a",
        "/v1/receiving_accounts/..%2f..",
        "/v1/users/%00/receiving_accounts",
        "/v1/closures/cls_'--",
        "/v1/closures/cls_01KB5N3E4H6Q8Z2T7V9W0X1Y2R%0a/certificate",
        "/v1/disputes/..%2f..",
    ],
)
async def test_an_odd_identifier_is_simply_not_there(hostile: Stage, path: str) -> None:
    merchant = await hostile.merchant()
    assert (await merchant.get(path)).status_code == 404


@pytest.mark.parametrize(
    "cursor", ["", "AAAA", "WyJhZnRlciJd", "e30", "WyJhZnRlciIsICIxJyBPUiAxPTEiXQ", "é", "x" * 500]
)
async def test_a_cursor_of_somebody_elses_making_is_refused(hostile: Stage, cursor: str) -> None:
    merchant = await hostile.merchant()
    more = ("/v1/fx", "/v1/fx_mandates", "/v1/inbounds", "/v1/closures", "/v1/disputes")
    for path in ("/v1/payments", "/v1/statement?account=pending", *more):
        joint = "&" if "?" in path else "?"
        answer = await merchant.get(f"{path}{joint}cursor={cursor}")
        assert (answer.status_code, answer.json()["code"]) == (400, "CURSOR_INVALID")


@pytest.mark.parametrize("limit", ["0", "-1", "101", "1.5", "many", ""])
async def test_a_page_size_out_of_range_is_refused(hostile: Stage, limit: str) -> None:
    merchant = await hostile.merchant()
    answer = await merchant.get(f"/v1/payments?limit={limit}")
    assert answer.json()["errors"] == [{"field": "limit", "code": "out_of_range"}]


async def test_names_of_fields_are_not_repeated_unless_they_are_plain(hostile: Stage) -> None:
    merchant = await hostile.merchant()
    body = {"11010119900307803X": 1, "nick_name": 2}
    answer = await merchant.post("/v1/users", body)
    fields = {error["field"] for error in answer.json()["errors"] if error["code"] == "unknown_field"}
    assert fields == {"*", "nick_name"}


async def test_wrong_elements_are_named_by_field_and_never_quoted(hostile: Stage) -> None:
    merchant = await hostile.merchant()
    user_id = await hostile.user(merchant)
    body = ELEMENTS | {"name": "张3", "mobile": "12345678901"}
    answer = await merchant.post(f"/v1/users/{user_id}/bindings", body)
    assert answer.json()["errors"] == [
        {"field": "name", "code": "contains_digits"},
        {"field": "mobile", "code": "not_a_mainland_mobile"},
    ]
    assert not any(value in answer.text for value in body.values())


@pytest.mark.parametrize("extra", [{"email": "a@b.cn"}, {"address": {"city": "x"}}, {"code": "123456"}])
async def test_a_fifth_element_is_refused(hostile: Stage, extra: dict[str, object]) -> None:
    merchant = await hostile.merchant()
    user_id = await hostile.user(merchant)
    answer = await merchant.post(f"/v1/users/{user_id}/bindings", ELEMENTS | extra)
    assert answer.json()["errors"] == [{"field": next(iter(extra)), "code": "unknown_field"}]


async def test_forbidden_card_data_is_refused_wherever_it_is_sent(hostile: Stage) -> None:
    merchant = await hostile.merchant()
    track = ";9901010000000000018=30122010000000000000?"
    for path, body in {
        "/v1/users": {"merchant_user_ref": track, "type": "individual", "region": "CN"},
        "/v1/payments": {"card": {"expiry": "12/30"}},
        "/v1/waiver/applications": {"note": {"cvv": "123"}},
    }.items():
        answer = await merchant.post(path, body)
        assert (answer.status_code, answer.json()["code"]) == (422, "FORBIDDEN_CARD_DATA")
    for row in await hostile.rows("SELECT d::text AS text FROM app.idempotency d"):
        assert "9901010000000000018" not in json.dumps(row)


@pytest.mark.parametrize("ending", ["hangs up", "goes silent"])
async def test_a_caller_that_never_ends_its_body_is_let_go_and_is_no_failure_of_ours(
    hostile: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(limits_on_size, "MAX_BODY_SECONDS", 0.02)
    merchant = await hostile.merchant()
    headers = [(name.lower().encode(), value.encode()) for name, value in merchant.headers("").items()]
    begun = iter([{"type": "http.request", "body": b"{", "more_body": True}])
    answers: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        for message in begun:
            return message
        if ending == "goes silent":
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        answers.append(message)

    app = hostile.http._transport.app  # type: ignore[attr-defined]
    scope = {"type": "http", "method": "POST", "path": "/v1/users", "raw_path": b"/v1/users", "query_string": b""}
    await app({**scope, "headers": headers, "app": app}, receive, send)
    assert answers[0]["status"] == 400
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    assert len(await hostile.records(outcome="refused", reason="request_invalid")) == 1


@pytest.mark.parametrize("prefix", ["", "user-"])
async def test_an_id_number_is_no_reference(stage: Stage, prefix: str) -> None:
    merchant = await stage.merchant()
    body = {"merchant_user_ref": f"{prefix}{ELEMENTS['id_number']}", "type": "individual", "region": "CN"}
    answer = await merchant.post("/v1/users", body)
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"field": "merchant_user_ref", "code": "personal_data"}]
    assert ELEMENTS["id_number"] not in answer.text
