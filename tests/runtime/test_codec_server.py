"""The codec server over HTTP: who may ask, what it answers, what goes on record, and what it turns away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import WorkflowSerializationContext

from runtime.codec import EncryptionCodec
from runtime.codec_server import MAX_BODY_BYTES, MAX_PAYLOADS
from tests.runtime.operators_stub import KEYS, NOW, TOKEN, UI, OperatorsStub, codec_client, logged_in, problem

HEADERS = {"X-Namespace": "liushui", "Origin": UI}
FROM_CLI = {"X-Namespace": "liushui", "Authorization": f"Bearer {TOKEN}"}
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"a sentence"')
PAYMENT = "pay_01JD0000000000000000000001"
USER = "usr_01JD0000000000000000000002"


@pytest.fixture
def operators() -> OperatorsStub:
    return OperatorsStub()


@pytest.fixture
async def stranger(operators: OperatorsStub) -> AsyncIterator[httpx.AsyncClient]:
    async with codec_client(operators) as client:
        yield client


@pytest.fixture
async def client(stranger: httpx.AsyncClient, operators: OperatorsStub) -> httpx.AsyncClient:
    """The browser of an operator who has logged in."""
    assert (await logged_in(stranger)).status_code == 303
    operators.asked.clear()
    return stranger


def body(*payloads: Payload) -> str:
    return json_format.MessageToJson(Payloads(payloads=payloads))


def payloads_in(answer: httpx.Response) -> list[Payload]:
    return list(json_format.Parse(answer.content, Payloads()).payloads)


async def encrypted(payload: Payload) -> Payload:
    return (await EncryptionCodec(KEYS, "liushui").encode([payload]))[0]


async def test_an_operator_who_logged_in_sees_payloads_on_the_page_of_the_ui(client: httpx.AsyncClient) -> None:
    answer = await client.post("/decode", content=body(await encrypted(PLAIN)), headers=HEADERS)
    assert payloads_in(answer) == [PLAIN]
    assert answer.headers["access-control-allow-origin"] == UI
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["cache-control"] == "no-store"


async def test_the_command_line_of_temporal_shows_its_token_in_a_header(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.post("/decode", content=body(await encrypted(PLAIN)), headers=FROM_CLI)
    assert payloads_in(answer) == [PLAIN]


async def test_each_decode_is_put_on_record_with_how_much_was_shown_and_of_what(
    client: httpx.AsyncClient, operators: OperatorsStub
) -> None:
    about = Payload(
        metadata={"encoding": b"json/plain"},
        data=json.dumps({"payment_id": PAYMENT, "user_id": USER, "again": PAYMENT}).encode(),
    )
    answer = await client.post("/decode", content=body(await encrypted(about), PLAIN), headers=HEADERS)
    assert answer.status_code == 200
    assert operators.decodes() == [{"namespace": "liushui", "payloads": 2, "subjects": [PAYMENT, USER]}]
    assert operators.asked[0][2]["authorization"] == f"Bearer {TOKEN}"


async def test_the_record_names_the_process_that_a_payload_was_made_for(
    client: httpx.AsyncClient, operators: OperatorsStub
) -> None:
    context = WorkflowSerializationContext("liushui", f"collect-payment/{PAYMENT}")
    sealed = await EncryptionCodec(KEYS, "liushui").with_context(context).encode([PLAIN])
    answer = await client.post("/decode", content=body(*sealed), headers=HEADERS)
    assert payloads_in(answer) == [PLAIN]
    assert operators.decodes()[0]["subjects"] == [PAYMENT]


async def test_nothing_that_is_shown_can_be_kept_out_of_the_record_by_what_is_asked_with_it(
    client: httpx.AsyncClient, operators: OperatorsStub
) -> None:
    others = [f"pay_01JD{number:022d}" for number in range(100, 160)]
    decoys = Payload(metadata={"encoding": b"json/plain"}, data=" ".join(others).encode())
    sealed = [await encrypted(Payload(metadata={"encoding": b"json/plain"}, data=name.encode())) for name in others]
    wanted = await encrypted(Payload(metadata={"encoding": b"json/plain"}, data=PAYMENT.encode()))
    assert (await client.post("/decode", content=body(decoys, wanted), headers=HEADERS)).status_code == 200
    assert [said["subjects"] for said in operators.decodes()] == [[PAYMENT]]
    operators.asked.clear()
    assert (await client.post("/decode", content=body(*sealed, wanted), headers=HEADERS)).status_code == 200
    assert [name for said in operators.decodes() for name in said["subjects"]] == [*others, PAYMENT]
    assert max(len(said["subjects"]) for said in operators.decodes()) == 20


async def test_payloads_about_more_than_can_be_named_are_not_shown(
    client: httpx.AsyncClient, operators: OperatorsStub
) -> None:
    text = " ".join(f"pay_01JD{number:022d}" for number in range(201))
    sealed = await encrypted(Payload(metadata={"encoding": b"json/plain"}, data=text.encode()))
    answer = await client.post("/decode", content=body(sealed), headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_subjects")
    assert len(operators.decodes()) == 10
    client.cookies.clear()
    assert (await client.post("/decode", content=body(sealed), headers=HEADERS)).status_code == 401


async def test_nobody_who_is_not_logged_in_sees_anything_and_the_attempt_is_on_record(
    stranger: httpx.AsyncClient, operators: OperatorsStub
) -> None:
    for headers in (HEADERS, {"X-Namespace": "liushui"}, {**FROM_CLI, "Authorization": "Bearer nonsense"}):
        answer = await stranger.post("/decode", content=body(await encrypted(PLAIN)), headers=headers)
        assert answer.status_code == 401
        assert answer.json().keys() == {"code", "message"}
        assert "Log in at http://127.0.0.1:8002/login" in answer.json()["message"]
    assert [said["payloads"] for said in operators.decodes()] == [1, 1, 1]
    assert not any("authorization" in headers for _, _, headers in operators.asked)


async def test_a_page_learns_that_it_must_log_in(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.post("/decode", content=body(PLAIN), headers=HEADERS)
    assert answer.headers["access-control-allow-origin"] == UI
    assert answer.headers["access-control-allow-credentials"] == "true"


async def test_a_token_in_a_header_does_not_serve_a_web_page_nor_a_cookie_a_caller_that_is_none(
    client: httpx.AsyncClient,
) -> None:
    without_origin = await client.post("/decode", content=body(PLAIN), headers={"X-Namespace": "liushui"})
    assert without_origin.status_code == 401
    client.cookies.clear()
    on_a_page = await client.post("/decode", content=body(PLAIN), headers={**FROM_CLI, "Origin": UI})
    assert on_a_page.status_code == 401


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_what_the_operators_api_refuses_is_refused_with_its_code(
    client: httpx.AsyncClient, operators: OperatorsStub, status: int
) -> None:
    operators.refusal = problem(status, "PERMISSION_MISSING", "Not yours", "无权", **{"Retry-After": "7"})
    answer = await client.post("/decode", content=body(await encrypted(PLAIN)), headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (status, "permission_missing")
    assert answer.headers["retry-after"] == "7"
    assert "a sentence" not in answer.text


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, text="oh"),
        httpx.Response(302, headers={"location": "http://evil.example/"}),
        httpx.Response(200, text="<html>some proxy</html>"),
        httpx.Response(200, json=["yes"]),
        httpx.Response(404, text="no such route"),
        None,
    ],
)
async def test_without_a_plain_yes_from_the_operators_api_nothing_is_shown(
    client: httpx.AsyncClient, operators: OperatorsStub, answer: httpx.Response | None
) -> None:
    operators.refusal, operators.reached = answer, answer is not None
    refused = await client.post("/decode", content=body(await encrypted(PLAIN)), headers=HEADERS)
    assert (refused.status_code, refused.json()["code"]) == (503, "operators_unavailable")
    assert refused.headers["access-control-allow-origin"] == UI


async def test_a_session_that_is_over_opens_nothing(client: httpx.AsyncClient) -> None:
    late = OperatorsStub()
    async with codec_client(late, now=NOW + timedelta(hours=1)) as later:
        later.cookies = client.cookies
        answer = await later.post("/decode", content=body(await encrypted(PLAIN)), headers=HEADERS)
    assert answer.status_code == 401
    assert "authorization" not in late.asked[0][2]


async def test_nothing_is_ever_encrypted_for_a_caller(client: httpx.AsyncClient) -> None:
    for headers in (HEADERS, FROM_CLI):
        answer = await client.post("/encode", content=body(PLAIN), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "encode_refused")


async def test_markers_of_temporal_itself_stay_as_they_are_beside_our_payloads(client: httpx.AsyncClient) -> None:
    marker = Payload(metadata={"encoding": b"json/plain"}, data=b'{"patch": 1}')
    answer = await client.post("/decode", content=body(marker, await encrypted(PLAIN)), headers=HEADERS)
    assert payloads_in(answer) == [marker, PLAIN]


async def test_a_page_of_the_ui_may_read_answers_and_no_other_page_may(
    client: httpx.AsyncClient, operators: OperatorsStub
) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-namespace,content-type"}
    allowed = await client.options("/decode", headers={"Origin": UI, **asked})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == UI
    assert allowed.headers["access-control-allow-credentials"] == "true"
    for origin in ("http://evil.example", "http://127.0.0.1:9999", "null", "http://127.0.0.1:8002"):
        preflight = await client.options("/decode", headers={"Origin": origin, **asked})
        assert preflight.status_code == 400
        assert "access-control-allow-origin" not in preflight.headers
        content = body(await encrypted(PLAIN))
        refused = await client.post("/decode", content=content, headers={**HEADERS, "Origin": origin})
        assert (refused.status_code, refused.json()["code"]) == (403, "origin_refused")
        assert "access-control-allow-origin" not in refused.headers
    assert not operators.asked


async def test_a_name_that_a_stranger_points_at_this_machine_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/decode", content=body(), headers={**HEADERS, "Host": "rebound.example"})
    assert answer.status_code == 400


@pytest.mark.parametrize("namespace", [None, "default", ""])
async def test_another_namespace_is_refused(client: httpx.AsyncClient, namespace: str | None) -> None:
    headers = {"Origin": UI} if namespace is None else {**HEADERS, "X-Namespace": namespace}
    answer = await client.post("/decode", content=body(PLAIN), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "namespace_refused")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '"x"', "\xff", '{"payloads": 1}', '{"payloads": [{"data": 5}]}', '{"other": []}', "[" * 99_999],
)
async def test_a_body_that_is_no_list_of_payloads_is_refused(client: httpx.AsyncClient, content: str) -> None:
    answer = await client.post("/decode", content=content.encode("latin-1"), headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (400, "body_invalid")


async def test_oversized_requests_are_refused(client: httpx.AsyncClient) -> None:
    large = await client.post("/decode", content=b" " * (MAX_BODY_BYTES + 1), headers=HEADERS)
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
    many = await client.post("/decode", content=json.dumps({"payloads": [{}] * (MAX_PAYLOADS + 1)}), headers=HEADERS)
    assert (many.status_code, many.json()["code"]) == (413, "too_many_payloads")


async def test_a_flood_of_payloads_in_one_body_is_refused_before_anything_is_made_of_it(
    stranger: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("the body was read")

    monkeypatch.setattr(json, "loads", read)
    empty = b'{"payloads":[' + b"{}," * 1_000_000 + b"{}]}"
    crowded = b'{"payloads":[{"metadata":{' + b'"k":"YQ==",' * 300_000 + b'"k":"YQ=="}}]}'
    for content in (empty, crowded):
        answer = await stranger.post("/decode", content=content, headers=HEADERS)
        assert (answer.status_code, answer.text.count("too_many_payloads")) == (413, 1)


async def test_a_changed_payload_is_refused_without_a_trace_of_it_and_to_a_stranger_like_any_other(
    client: httpx.AsyncClient, operators: OperatorsStub
) -> None:
    payload = await encrypted(PLAIN)
    payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
    answer = await client.post("/decode", content=body(payload), headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (400, "payload_refused")
    assert operators.decodes() == [{"namespace": "liushui", "payloads": 1, "subjects": []}]
    client.cookies.clear()
    assert (await client.post("/decode", content=body(payload), headers=HEADERS)).status_code == 401


async def test_it_says_that_it_is_well_also_when_the_operators_api_is_not(
    stranger: httpx.AsyncClient, operators: OperatorsStub
) -> None:
    operators.reached = False
    assert (await stranger.get("/health")).json() == {"status": "ok"}
