"""The codec server over HTTP: who may ask, what it answers, and what it turns away."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from google.protobuf import json_format
from pydantic import SecretBytes
from temporalio.api.common.v1 import Payload, Payloads

from config.settings import CodecServerSettings
from runtime.codec import EncryptionCodec
from runtime.codec_server import MAX_BODY_BYTES, MAX_PAYLOADS, create_app

KEYS = (("k1", SecretBytes(b"k" * 32)),)
ORIGIN = "http://127.0.0.1:8233"
HEADERS = {"X-Namespace": "liushui", "Origin": ORIGIN}
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"a sentence"')


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    settings = CodecServerSettings(
        environment="local", payload_keys=KEYS, codec_port=8002, ui_origin=ORIGIN, log_level="INFO"
    )
    transport = httpx.ASGITransport(create_app(settings, "liushui"))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


def body(*payloads: Payload) -> str:
    return json_format.MessageToJson(Payloads(payloads=payloads))


async def encrypted(payload: Payload) -> Payload:
    return (await EncryptionCodec(KEYS, "liushui").encode([payload]))[0]


async def test_what_it_encodes_it_decodes(client: httpx.AsyncClient) -> None:
    sealed = await client.post("/encode", content=body(PLAIN), headers=HEADERS)
    assert b"json/plain" not in base64.b64decode(sealed.json()["payloads"][0]["data"])
    opened = await client.post("/decode", content=sealed.content, headers=HEADERS)
    assert json_format.Parse(opened.content, Payloads()).payloads[0] == PLAIN


async def test_markers_of_temporal_itself_stay_as_they_are_beside_our_payloads(client: httpx.AsyncClient) -> None:
    marker = Payload(metadata={"encoding": b"json/plain"}, data=b'{"patch": 1}')
    answer = await client.post("/decode", content=body(marker, await encrypted(PLAIN)), headers=HEADERS)
    assert list(json_format.Parse(answer.content, Payloads()).payloads) == [marker, PLAIN]


async def test_a_page_of_the_ui_may_read_answers_and_no_other_page_may(client: httpx.AsyncClient) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-namespace,content-type"}
    allowed = await client.options("/decode", headers={"Origin": ORIGIN, **asked})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    for origin in ("http://evil.example", "http://127.0.0.1:9999", "null"):
        preflight = await client.options("/decode", headers={"Origin": origin, **asked})
        assert preflight.status_code == 400
        assert "access-control-allow-origin" not in preflight.headers
        content = body(await encrypted(PLAIN))
        refused = await client.post("/decode", content=content, headers={**HEADERS, "Origin": origin})
        assert (refused.status_code, refused.json()["code"]) == (403, "origin_refused")


async def test_a_name_that_a_stranger_points_at_this_machine_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/decode", content=body(), headers={**HEADERS, "Host": "rebound.example"})
    assert answer.status_code == 400


@pytest.mark.parametrize("namespace", [None, "default", ""])
async def test_another_namespace_is_refused(client: httpx.AsyncClient, namespace: str | None) -> None:
    headers = {} if namespace is None else {"X-Namespace": namespace}
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


async def test_a_changed_payload_is_refused_without_a_trace_of_it(client: httpx.AsyncClient) -> None:
    payload = await encrypted(PLAIN)
    payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
    answer = await client.post("/decode", content=body(payload), headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (400, "payload_refused")


async def test_it_says_that_it_is_well(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health")).json() == {"status": "ok"}
