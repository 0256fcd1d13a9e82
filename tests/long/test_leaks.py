"""Planted people, cards and codes go through everything, well-meant and hostile; then nothing of them is anywhere."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import pytest

from runtime.stack import LocalStack
from tests.end_to_end.operator import temporal_client
from tests.end_to_end.play import Merchant, Payer, fresh_key
from tests.end_to_end.staff import COMPLIANCE
from tests.end_to_end.staff import Staff as People
from tests.end_to_end.world import World, world_on
from tests.long.conftest import say
from tests.long.crowd import reject
from tests.long.foreign_life import foreign_life
from tests.long.places import DATABASES, KEPT_SECRETS, database_url, histories_without_keys, places
from tests.long.scan import Needles
from tests.long.staff import Staff
from tests.webhooks.receiver import Arrived, Receiver

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

# What no request may carry, whatever it is called: card verification, PIN block, magnetic stripe.
CODE_CANARY = "73920184"
TRACK_CANARY = ";9901010000018800001=29121010000000000000?"
CVN_CANARY = "CVN-8047219365"
PIN_CANARY = "PINBLOCK-9F3A7714C0DE55AA"
PASSWORD_CANARY = "correct-horse-7719-battery"
# To whom money is paid out: one who gets it, one at whose account the bank says no, and one whose name sounds like that
# of a listed person (EX-MPS-2 of config/screening).
PAYEES: dict[str, str] = {
    "payee's name": "司徒映雪岚",
    "refused payee's name": "尉迟青梧舟",
    "listed payee's name": "陆漠墟",
    "payee's account": "6208137745529600417",
    "refused payee's account": "6208137745529900701",
    "listed payee's account": "6208137745529600425",
}


async def test_nothing_planted_is_found_in_dumps_histories_logs_command_lines_or_strangers_answers(
    stack: LocalStack,
) -> None:
    async with world_on(stack) as world, receiving() as receiver:
        merchant, staff = await world.merchant("海棠书店"), Staff(world)
        secrets = await _webhooks(merchant, receiver) | _own_secrets(merchant)
        payers = [await _ordinary_life(world, merchant, name) for name in ("欧阳若璃澄", "Jacqueline Wrzesniewski")]
        payments = (await merchant.get("/v1/payments"))["items"]
        await _money_out(world, merchant)
        foreign = await foreign_life(world, merchant)
        await staff.live(payers[0], payments[-1]["id"])
        texted = await _texted_codes(world)
        await _hostile_traffic(world, merchant, payers)
        planted = _planted(payers) | PAYEES | foreign | secrets | staff.held
        needles = Needles(planted)
        ours = Needles(_secrets_of(stack))
        say(f"{len(planted)} planted values, {len(texted)} codes that were texted")
        found = [hit for place, content in places(stack) for hit in needles.found_in(place, content)]
        # Processes get the institution's own secrets in their environment, and nowhere else.
        ours_found = [
            hit
            for place, content in places(stack)
            if not place.startswith("environment of")
            for hit in ours.found_in(place, content)
        ]
        found += ours_found + [hit async for hit in _in_histories(world, needles)]
        found += [hit for arrived in receiver.arrived for hit in needles.found_in("a webhook", _all_of(arrived))]
        found += await _in_strangers_answers(world, merchant, payers, needles)
        assert not found, "\n".join(found)
        assert len(receiver.arrived) > 5
        assert await _stored_codes(world, set(texted)) == []
        assert _readable_by_others(stack.folder) == []
        assert await world.wrong() == []


async def test_the_scan_finds_what_is_there_in_every_form(stack: LocalStack) -> None:
    planted = {"name": "欧阳若璃澄", "card": "9901010000077880005", "mobile": "13977441122"}
    needles = Needles(planted)
    for value in planted.values():
        raw = value.encode()
        forms = [raw, raw.hex().encode(), quote(value).encode(), json.dumps(value).encode()]
        forms += [value.encode("utf-16-le"), value.encode("utf-16-be")]
        forms += [value[::-1].encode()] if value.isdigit() else []
        forms += [base64.b64encode(b"x" * offset + raw + b"tail") for offset in range(4)]
        forms += [base64.urlsafe_b64encode(b"{" * offset + raw) for offset in range(4)]
        assert [len(needles.found_in("here", form)) for form in forms] == [1] * len(forms)
    key = bytes(range(200, 232))
    for form in (key, key.hex().encode(), key.hex().upper().encode(), base64.b64encode(b"\0" + key)):
        assert Needles({"key": key}).found_in("here", b"before" + form + b"after") == ["key in here"]
    async with world_on(stack) as world:
        admin = await asyncpg.connect(database_url(stack, "liushui"))
        try:
            await admin.execute("CREATE TABLE app.scratch (kept text)")
            await admin.execute("INSERT INTO app.scratch VALUES ($1)", f"call {planted['mobile']}")
        finally:
            await admin.close()
        with (stack.folder / "log" / "worker.log").open("a") as log:
            log.write(f"{planted['card']}\n")
        temporal = await temporal_client(world, with_keys=False)
        await temporal.start_workflow(
            "nobody", base64.b64encode(planted["name"].encode()).decode(), id="planted", task_queue="nobody"
        )
        found = [hit for place, content in places(stack) for hit in needles.found_in(place, content)]
        found += [hit async for hit in _in_histories(world, needles)]
    assert "mobile in dump of liushui" in found
    assert "card in log/worker.log" in found
    assert "name in history of planted" in found


async def _ordinary_life(world: World, merchant: Merchant, name: str) -> Payer:
    """Bind, pay with a code after a wrong one, pay without, refund, unbind, and one bank that gives no answer."""
    payer = await merchant.register(fault=33)
    payer.name = name
    await payer.bind()
    payment = await payer.pay(30_000)
    await payer.code_awaited(payment["id"])
    wrong = await payer.enter_code(payment["id"], CODE_CANARY)
    assert wrong.json()["code"] == "CODE_WRONG", wrong.text
    assert (await payer.enter_code(payment["id"])).is_success
    assert (await merchant.ended(payment["id"], 60))["state"] == "succeeded"
    refund = (await merchant.refund(payment["id"], 10_000)).json()
    await merchant.refund_ended(refund["id"])
    await merchant.done("DELETE", f"/v1/users/{payer.user_id}/bindings/{payer.binding_id}")
    refused = await merchant.register(fault=1)
    refused.name = name
    assert (await refused.apply())["state"] == "declined"
    return payer


async def _money_out(world: World, merchant: Merchant) -> None:
    """Paid; refused by the bank; and stopped by a list and rejected by a person, who has looked at everything."""
    payer, people = await merchant.payer(), await People(world).arrive()
    await payer.top_up(100_000)
    for who, ends in (("", "succeeded"), ("refused ", "failed"), ("listed ", "under_review")):
        name, account = PAYEES[f"{who}payee's name"], PAYEES[f"{who}payee's account"]
        payout = await payer.pay_out(str(account), 10_000, name=name, relation="other")
        assert payout["state"] == "awaiting_confirmation"
        body = {"confirmation_hash": payout["confirmation_hash"]}
        await merchant.done("POST", f"/v1/payouts/{payout['id']}/confirm", body)
        await merchant.payout_ended(payout["id"], (ends,), 60)
    await people.as_person(COMPLIANCE, lambda ops: reject(ops, payout["id"]))
    assert (await merchant.payout_ended(payout["id"]))["reason"] == "review_rejected"
    for value in PAYEES.values():
        refused = await merchant.send("POST", f"/v1/users/{payer.user_id}/payees", {"name": value, str(value): value})
        assert refused.status_code == 400, refused.text
        assert (await merchant.send("GET", f"/v1/payees/{quote(value)}")).status_code == 404


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A merchant's server that takes every webhook."""
    receiver = await Receiver().open()
    try:
        yield receiver
    finally:
        await receiver.close()


async def _webhooks(merchant: Merchant, receiver: Receiver) -> dict[str, str | bytes]:
    """An endpoint, and both secrets that it has had."""
    endpoint = await merchant.done("POST", "/v1/webhook_endpoints", {"url": receiver.url})
    rotated = await merchant.done("POST", f"/v1/webhook_endpoints/{endpoint['id']}/rotate_secret", {})
    held: dict[str, str | bytes] = {}
    for name, secret in (("first", endpoint["secret"]), ("second", rotated["secret"])):
        held[f"the {name} webhook secret"] = secret.removeprefix("whsec_")
        held[f"the {name} webhook secret in bytes"] = base64.b64decode(secret.removeprefix("whsec_"))
    return held


def _own_secrets(merchant: Merchant) -> dict[str, str | bytes]:
    """What only the merchant has."""
    assert merchant.signing_key is not None
    private: Any = merchant.signing_key._private_key
    return {"the API key": merchant.key.split("_", 2)[2], "the private key": private.private_bytes_raw()}


def _secrets_of(stack: LocalStack) -> dict[str, str | bytes]:
    """The institution's own: keys in bytes too."""
    stored: dict[str, str] = json.loads((stack.folder / "secrets.json").read_text())
    found: dict[str, str | bytes] = {}
    for name, value in stored.items():
        secret = value.rpartition(":")[2]
        found[name] = secret
        # Those of age are bech32 and are handed on as they are.
        if name.endswith(("key", "keys")) and not secret.startswith("AGE-SECRET-KEY-"):
            found[f"{name} in bytes"] = base64.b64decode(secret)
    return found


def _all_of(arrived: Arrived) -> bytes:
    return arrived.path.encode() + str(arrived.headers).encode() + arrived.body


def _readable_by_others(folder: Path) -> list[str]:
    return [name for name in KEPT_SECRETS if (folder / name).exists() and (folder / name).stat().st_mode & 0o077]


def _planted(payers: list[Payer]) -> dict[str, str | bytes]:
    planted: dict[str, str | bytes] = {
        "code": CODE_CANARY,
        "track": TRACK_CANARY,
        "cvn": CVN_CANARY,
        "pin": PIN_CANARY,
        "password": PASSWORD_CANARY,
    }
    for number, payer in enumerate(payers):
        planted |= {f"name {number}": payer.name, f"id number {number}": payer.id_number}
        planted |= {f"card {number}": payer.card, f"mobile {number}": payer.mobile}
    return planted


async def _hostile_traffic(world: World, merchant: Merchant, payers: list[Payer]) -> None:
    """The same values where they do not belong: names of fields, nested, headers, addresses, broken JSON, floods."""
    values = [value for value in _planted(payers).values() if isinstance(value, str)]
    path = f"/v1/users/{payers[0].user_id}/bindings"
    elements = {"name": payers[0].name, "id_number": payers[0].id_number, "card_number": payers[0].card}
    bodies: list[Any] = [
        elements | {"mobile": payers[0].mobile, "cvn2": CVN_CANARY},
        elements | {"mobile": payers[0].mobile, "track2": TRACK_CANARY},
        elements | {"mobile": {"deep": [{"pin": PIN_CANARY}, values]}},
        elements | {"mobile": "not a mobile"},
        elements | {payers[1].name: payers[1].card, payers[1].mobile: payers[1].id_number},
        {"code": CODE_CANARY, "password": PASSWORD_CANARY, "note": TRACK_CANARY},
        {"code": [CODE_CANARY]},
        values,
        {value: value for value in values},
    ]
    places = [path, f"{path}/{payers[0].binding_id}/code", "/v1/users", "/v1/payments", "/v1/payments/preview"]
    places += [f"/v1/payments/{quote(value, safe='')}/refunds" for value in values]
    places += [f"{path}/{quote(value, safe='')}/code" for value in values]
    for place in places:
        for body in bodies:
            answer = await merchant.send("POST", place, body)
            assert 400 <= answer.status_code < 500, (place, answer.status_code)
    # One that need not sign: what it sends is read further.
    await _raw_hostility(world, await world.merchant("晴窗文具", signs=False), path, values)
    await asyncio.gather(*(merchant.send("GET", f"/v1/{quote(value, safe='')}") for value in values))


async def _raw_hostility(world: World, merchant: Merchant, path: str, values: list[str]) -> None:
    """What is no JSON, no UTF-8, no key, no cursor."""
    text = json.dumps(values, ensure_ascii=False)
    contents = [text.encode()[:-4], f'{{"name": {text}'.encode(), text.encode("utf-16"), text.encode("gb18030")]
    contents += [b"\xff" + text.encode(), text.encode() * 2000, b"[" * 5000 + text.encode()]
    for content in contents:
        for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded", quote(values[0])):
            headers = {"Authorization": f"Bearer {merchant.key}", "Idempotency-Key": fresh_key(), "Content-Type": kind}
            assert (await world.http.post(path, content=content, headers=headers)).status_code >= 400
    for value in values:
        plain = quote(value, safe="")
        query = {"cursor": value, "limit": value, "order_number": value, "account": value, "card_number": value}
        for headers in (
            {"Authorization": f"Bearer {plain}"},
            {"Authorization": f"Bearer lsk_{plain}"},
            {"Authorization": f"Bearer {merchant.key}", "Idempotency-Key": plain[:64], "User-Agent": plain},
            {"Authorization": f"Bearer {merchant.key}", "X-Request-Id": plain, "Cookie": f"card={plain}"},
            {"X-Bank-Signature": plain, "X-Bank-Nonce": plain, "X-Bank-Timestamp": plain, "Referer": f"/{plain}"},
        ):
            for place in ("/v1/payments", "/v1/statement", path, f"/bank-callbacks/{plain}", f"/{plain}"):
                await world.http.get(place, params=query, headers=headers)
                await world.http.post(place, params=query, headers=headers, json={"notice_id": value})


async def _texted_codes(world: World) -> list[str]:
    async with httpx.AsyncClient(trust_env=False) as client:
        messages = (await client.get(f"{world.simulator}/control/messages", params={"limit": 500})).json()
    return [message["code"] for message in messages]


async def _in_histories(world: World, needles: Needles) -> Any:
    """In every event of every process, as anybody sees it who gets at the server without our keys."""
    seen = set()
    async for place, content in histories_without_keys(world):
        seen.add(place)
        for hit in needles.found_in(place, content):
            yield hit
    assert seen
    say(f"{len(seen) // 2} histories read without keys")


async def _in_strangers_answers(world: World, merchant: Merchant, payers: list[Payer], needles: Needles) -> list[str]:
    """Another merchant asks for everything it can name; and the merchant itself never gets the elements back."""
    stranger = await world.merchant("别家")
    paths = ["/v1/payments", "/v1/balances", "/v1/statement?account=pending", "/openapi.json"]
    for payer in payers:
        paths += [f"/v1/users/{payer.user_id}", f"/v1/users/{payer.user_id}/bindings"]
        paths += [f"/v1/users/{payer.user_id}/bindings/{payer.binding_id}"]
    found = []
    paths += ["/v1/inbounds", "/v1/fx", "/v1/fx_mandates", "/v1/events"]
    # To whom the number is to be told, the merchant is told; nobody else.
    account = (await world.rows("SELECT id, user_id FROM app.receiving_account"))[0]
    numbers = [f"/v1/receiving_accounts/{account['id']}", f"/v1/users/{account['user_id']}/receiving_accounts"]
    for asking in (stranger, merchant):
        for path in paths + (numbers if asking is stranger else []):
            answer = await asking.send("GET", path)
            found += needles.found_in(f"answer to {path}", answer.content + str(answer.headers.raw).encode())
    return found


async def _stored_codes(world: World, codes: set[str]) -> list[str]:
    """Texted codes are too short to look for in a dump: digits of other things are full of them. As whole values or
    whole words of a text they may be in no column.
    """
    found = []
    for database in DATABASES:
        connection = await asyncpg.connect(database_url(world.stack, database))
        try:
            tables = await connection.fetch(
                "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
                " AND table_schema NOT IN ('pg_catalog', 'information_schema')"
            )
            for schema, table in tables:
                rows = await connection.fetch(f'SELECT to_jsonb(t)::text AS row FROM "{schema}"."{table}" t')  # noqa: S608
                found += [f"{table}: {code}" for row in rows for code in codes if f'"{code}"' in row["row"]]
        finally:
            await connection.close()
    return found
