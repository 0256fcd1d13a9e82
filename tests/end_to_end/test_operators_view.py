"""What an operator sees of a payment in Temporal, and what anybody else sees: nothing."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime

import httpx
from google.protobuf import json_format
from temporalio.client import Client, WorkflowExecution
from temporalio.common import TypedSearchAttributes

from ops.direct_enrolment import enrol_directly
from runtime.temporal import DEFAULT_NAMESPACE
from tests.end_to_end.operator import temporal_client
from tests.end_to_end.play import Merchant
from tests.end_to_end.world import World
from workflows import names


async def test_a_payment_is_found_by_its_order_number_and_tells_its_story(world: World, merchant: Merchant) -> None:
    payer = await merchant.payer("WLWB")
    payment = await payer.pay(30_000)
    await payer.code_awaited(payment["id"])
    client = await temporal_client(world)
    found = await _listed(client, f"LiushuiOrder = '{payment['order_number']}'")
    assert found.id == f"collect-payment/{payment['id']}"
    attributes: TypedSearchAttributes = found.typed_search_attributes
    assert attributes[names.MERCHANT] == merchant.id
    assert attributes[names.USER] == payer.user_id
    assert attributes[names.BANK] == "WLWB"
    described = await client.get_workflow_handle(found.id).describe()
    assert await described.static_summary() == f"Collect 300.00 CNY for {payment['order_number']}"
    details = await client.get_workflow_handle(found.id).query("__temporal_workflow_metadata")
    assert details.current_details.startswith("Waiting for the payer's code.")
    assert (await payer.enter_code(payment["id"])).status_code == 200
    assert (await merchant.ended(payment["id"]))["state"] == "succeeded"
    result = await client.get_workflow_handle(found.id).result()
    assert result["state"] == "succeeded"


async def test_a_history_is_ciphertext_on_the_server_and_readable_for_an_operator(
    world: World, merchant: Merchant
) -> None:
    payer = await merchant.payer(waiver=await world.waiver(merchant))
    payment = await payer.pay_to_the_end()
    handle = (await temporal_client(world, with_keys=False)).get_workflow_handle(f"collect-payment/{payment['id']}")
    events = [json_format.MessageToDict(event) for event in (await handle.fetch_history()).events]
    payloads = [payload for event in events for payload in _payloads(event)]
    assert len(payloads) > 5
    assert {_encoding(payload) for payload in payloads} <= {"binary/encrypted", "json/plain"}
    plain = [payload for payload in payloads if _encoding(payload) == "json/plain"]
    # In the clear are only the search attributes and marks of the SDK itself.
    assert not any(word in json.dumps(plain) for word in ("amount_minor", "payee_account", "12800"))
    shown = await _decoded(world, payloads)
    assert any('"amount_minor":12800' in text for text in shown)
    looks = await world.rows("SELECT detail FROM app.operation WHERE actor = 'operator:onlooker' AND outcome = 'done'")
    assert any(payment["id"] in (look["detail"] or {}).get("subjects", ()) for look in looks)
    assert any(f'"Collect 128.00 CNY for {payment["order_number"]}"' in text for text in shown)


async def test_the_codec_server_serves_no_other_page_than_the_ui_and_nobody_who_has_not_logged_in(world: World) -> None:
    ui = world.stack.addresses["temporal_ui"]
    async with httpx.AsyncClient(base_url=world.stack.addresses["codec"], trust_env=False) as client:
        for origin, statuses in (("http://evil.example", {403}), (ui, {401})):
            headers = {"Origin": origin, "X-Namespace": "liushui"}
            assert (await client.post("/decode", json={"payloads": []}, headers=headers)).status_code in statuses


async def _listed(client: Client, query: str) -> WorkflowExecution:
    async with asyncio.timeout(15):
        while True:  # visibility follows the start by some milliseconds
            found = [execution async for execution in client.list_workflows(query)]
            if found:
                assert len(found) == 1
                return found[0]
            await asyncio.sleep(0.1)


def _payloads(value: object) -> list[dict[str, object]]:
    """Every payload in a history event, however deep."""
    if isinstance(value, dict):
        if isinstance(value.get("metadata"), dict) and "encoding" in value["metadata"]:
            return [value]
        return [payload for item in value.values() for payload in _payloads(item)]
    return [payload for item in value for payload in _payloads(item)] if isinstance(value, list) else []


def _encoding(payload: dict[str, object]) -> str:
    metadata = payload["metadata"]
    assert isinstance(metadata, dict)
    return base64.b64decode(metadata["encoding"]).decode()


async def _decoded(world: World, payloads: list[dict[str, object]]) -> list[str]:
    """As `temporal --codec-auth` has it decoded for an operator."""
    headers = {"X-Namespace": DEFAULT_NAMESPACE, "Authorization": f"Bearer {await _session(world)}"}
    async with httpx.AsyncClient(base_url=world.stack.addresses["codec"], trust_env=False) as client:
        answer = await client.post("/decode", json={"payloads": payloads}, headers=headers)
    answer.raise_for_status()
    return [base64.b64decode(payload.get("data", "")).decode() for payload in answer.json()["payloads"]]


async def _session(world: World) -> str:
    key = base64.b64decode(world.stack.environment["ops"]["LIUSHUI_OPERATOR_KEY"])
    now = datetime.now(UTC)
    person = await enrol_directly(world.owner, key, "onlooker", ["support"], ulid=world.ids.ulid(), now=now)
    body = {"login": person.login, "password": person.password, "totp": person.code(now)}
    answer = await world.http.post(f"{world.stack.addresses['ops']}/ops/v1/login", json=body)
    return str(answer.json()["token"])
