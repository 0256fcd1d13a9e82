"""What the institution's people do around one payer: log in, look, decide, decode; and everything that proves them."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
from google.protobuf import json_format

from cli import demo_merchant, local_operators
from cli.local_operators import LocalOperator
from ops.credentials import code_at
from runtime.temporal import DEFAULT_NAMESPACE
from tests.end_to_end.operator import temporal_client
from tests.end_to_end.play import Payer
from tests.end_to_end.world import World

CODE_SECONDS = 30
WRONG_PASSWORD = "a-guess-that-8827-is-wrong"
CHOSEN_PASSWORD = "larch willow 5530 sandstone"


class Staff:
    """The operators that `make up` enrols, and what they hold; `held` grows with every token."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._people: dict[str, LocalOperator] = {}
        self._tokens: dict[str, str] = {}
        self.held: dict[str, str | bytes] = {}

    async def live(self, payer: Payer, payment_id: str) -> None:
        """A day's work; every answer is the one that is due."""
        await asyncio.to_thread(self._keep_as_make_up_does)
        # A second factor's code works once, and some of them have decided something a moment ago.
        await asyncio.sleep(CODE_SECONDS - time.time() % CODE_SECONDS)
        for login in ("ada", "rui", "ren", "chen", "su"):
            await self._log_in(login)
        await self._fail_to_log_in()
        await self._invite()
        await self._look_and_decide(payer, payment_id)
        await self._decode(payment_id)
        await self._post("ren", "/logout", None, 200)

    def _keep_as_make_up_does(self) -> None:
        folder = self._world.stack.folder
        local_operators.keep_some(folder)
        self._people = local_operators.read_operators(folder)
        for login, person in self._people.items():
            self._hold_person(login, person.password, person.totp_secret)
        kept = demo_merchant.keep_one(folder, self._world.stack.addresses)
        self.held["the demo merchant's API key"] = kept.key.split("_", 2)[2]
        body = "".join(line for line in kept.private_key.splitlines() if not line.startswith("-"))
        self.held["the demo merchant's private key"] = base64.b64decode(body)[-32:]

    def _hold_person(self, login: str, password: str, totp_secret: str) -> None:
        self.held |= {f"{login}'s password": password, f"{login}'s second factor": totp_secret}
        padded = totp_secret + "=" * (-len(totp_secret) % 8)
        self.held[f"{login}'s second factor in bytes"] = base64.b32decode(padded)

    async def _log_in(self, login: str) -> None:
        person = self._people[login]
        body = {"login": login, "password": person.password, "totp": person.code(datetime.now(UTC))}
        self._tokens[login] = (await self._post(None, "/login", body, 200))["token"]
        self.held[f"{login}'s session"] = self._tokens[login].split("_", 2)[2]

    async def _fail_to_log_in(self) -> None:
        body = {"login": "su", "password": WRONG_PASSWORD, "totp": "123456"}
        self.held["a password that was tried"] = WRONG_PASSWORD
        await self._post(None, "/login", body, 401)
        await self._post(None, "/login", {"login": WRONG_PASSWORD, "password": "su", "totp": WRONG_PASSWORD}, 401)

    async def _invite(self) -> None:
        invited = await self._post("ada", "/operators", {"login": "yun", "name": "云", "roles": ["support"]}, 201)
        token = invited["enrolment_token"]
        enrolled = await self._post(None, "/enrolment", {"token": token, "password": CHOSEN_PASSWORD}, 200)
        self.held["an invitation"] = token.split("_", 2)[2]
        self._hold_person("yun", CHOSEN_PASSWORD, enrolled["totp_secret"])
        code = code_at(base64.b32decode(enrolled["totp_secret"] + "=" * (-len(enrolled["totp_secret"]) % 8)), _now())
        body = {"login": "yun", "password": CHOSEN_PASSWORD, "totp": code}
        token = (await self._post(None, "/login", body, 200))["token"]
        self.held["yun's session"] = token.split("_", 2)[2]

    async def _look_and_decide(self, payer: Payer, payment_id: str) -> None:
        await self._get("su", f"/instructions/{payment_id}")
        reason = {"reason_code": "support_case", "reason_text": "The payer calls about a debit"}
        fields = ["name", "id_number", "card_number", "mobile"]
        shown = await self._post("chen", f"/users/{payer.user_id}/personal-data", {"fields": fields} | reason, 200)
        assert payer.mobile in json.dumps(shown)
        hostile = {"fields": ["mobile"], "reason_code": "support_case", "reason_text": f"calls about {payer.card}"}
        await self._post("chen", f"/users/{payer.user_id}/personal-data", hostile, 422)
        for kind, ground in (("user.suspend", "suspected_fraud"), ("user.resume", "resolved")):
            body = {"kind": kind, "subject_id": payer.user_id, "ground": ground, "reason": "三笔异常"}
            asked = await self._post("rui", "/decisions", body, 201)
            await self._post("chen", f"/decisions/{asked['id']}/approve", None, 200)
        hostile = {"kind": payer.mobile, "subject_id": payer.card, "ground": payer.id_number, "reason": payer.name}
        await self._post("rui", "/decisions", hostile, 400)
        for place in (payer.card, payer.id_number, quote(payer.name, safe=""), payer.mobile):
            for path in (f"/instructions/{place}", f"/users/{place}", f"/instructions?order_number={place}"):
                await self._send("su", "GET", path, None)

    async def _decode(self, payment_id: str) -> None:
        handle = (await temporal_client(self._world, with_keys=False)).get_workflow_handle(
            f"collect-payment/{payment_id}"
        )
        events = [json_format.MessageToDict(event) for event in (await handle.fetch_history()).events]
        payloads = [payload for event in events for payload in _payloads(event)]
        headers = {"X-Namespace": DEFAULT_NAMESPACE, "Authorization": f"Bearer {self._tokens['su']}"}
        address = f"{self._world.stack.addresses['codec']}/decode"
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(address, json={"payloads": payloads}, headers=headers)
        assert answer.is_success, answer.text

    async def _get(self, login: str, path: str) -> Any:
        answer = await self._send(login, "GET", path, None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def _post(self, login: str | None, path: str, body: Any, status: int) -> Any:
        answer = await self._send(login, "POST", path, body)
        assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def _send(self, login: str | None, method: str, path: str, body: Any) -> httpx.Response:
        headers = {} if login is None else {"Authorization": f"Bearer {self._tokens[login]}"}
        address = f"{self._world.stack.addresses['ops']}/ops/v1{path}"
        return await self._world.http.request(method, address, json=body, headers=headers)


def _now() -> datetime:
    return datetime.now(UTC)


def _payloads(value: object) -> list[dict[str, object]]:
    """Every payload in a history event, however deep."""
    if isinstance(value, dict):
        if isinstance(value.get("metadata"), dict) and "encoding" in value["metadata"]:
            return [value]
        return [payload for item in value.values() for payload in _payloads(item)]
    return [payload for item in value for payload in _payloads(item)] if isinstance(value, list) else []
