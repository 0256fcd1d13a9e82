"""Sets the scene over the API: a merchant with a waiver in force, and payers with bound cards. Not timed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncEngine
from stdnum.iso7064 import mod_11_2

from banks.simulator.cards import example_card
from banks.simulator.payer import Phone
from client import SigningKey
from config.policy import read_policy
from domain.decisions import DecisionKind
from domain.identifiers import IdPrefix, identifier
from domain.policy import Policy
from runtime.id_source import UlidSource
from storage.administration import SCOPES, Act, create_merchant, issue_key
from storage.database import create_engine
from storage.decisions import decide_directly
from storage.signing_keys import register

BANK_CODE = "HBRB"
WAIVED_UP_TO_MINOR = 10_000
_AT_ONCE = 8
NAME, ID_NUMBER = "张三", "11010119900307803X"
_BORN = "11010119900307"


class SetUpError(Exception):
    """The scene could not be set; the message says at what."""


@dataclass(frozen=True)
class Payer:
    """A user and an open binding."""

    user_id: str
    binding_id: str


class Merchant:
    """One merchant's client."""

    def __init__(
        self, merchant_id: str, api_key: str, http: httpx.AsyncClient, signing_key: SigningKey | None = None
    ) -> None:
        self.id = merchant_id
        self._http = http
        self._signing_key = signing_key
        self._authorization = {"Authorization": f"Bearer {api_key}"}
        self._numbers = count(1)

    async def post(self, path: str, body: Any) -> dict[str, Any]:
        """One command under a fresh Idempotency-Key. Raises SetUpError with the problem's code."""
        key = {"Idempotency-Key": f"bench-{next(self._numbers):010d}"}
        request = self._http.build_request("POST", path, json=body, headers=self._authorization | key)
        if self._signing_key is not None:
            self._signing_key.sign(request, created=datetime.now(UTC), nonce=secrets.token_hex(16))
        return _answer(await self._http.send(request))

    async def get(self, path: str) -> dict[str, Any]:
        return _answer(await self._http.get(path, headers=self._authorization))


def _answer(response: httpx.Response) -> dict[str, Any]:
    answer: dict[str, Any] = response.json()
    if response.is_error:
        raise SetUpError(f"{response.request.url.path} was refused: {answer.get('code', response.status_code)}")
    return answer


async def open_merchant(owner_url: str, http: httpx.AsyncClient, *, signs: bool = False) -> Merchant:
    """Created, with a key for everything, and with payment without a code applied for and approved."""
    engine, ids = create_engine(owner_url, pool_size=1), UlidSource()
    merchant_id, now = f"mch_{ids.ulid()}", datetime.now(UTC)
    try:
        await create_merchant(engine, Act("operator:bench", now), merchant_id, "海棠书店", now + timedelta(days=30))
        key = await issue_key(engine, Act("operator:bench", now), ids.ulid(), merchant_id, SCOPES)
        merchant = Merchant(merchant_id, key, http, await _signing_key(engine, merchant_id) if signs else None)
        application = {"limit_minor": WAIVED_UP_TO_MINOR, "currency": "CNY"}
        applied = await merchant.post("/v1/waiver/applications", application)
        await decide_directly(engine, DecisionKind.WAIVER_APPROVE, applied["id"], datetime.now(UTC))
    finally:
        await engine.dispose()
    return merchant


async def _signing_key(engine: AsyncEngine, merchant_id: str) -> SigningKey:
    ulid = UlidSource().ulid()
    key = SigningKey(identifier(IdPrefix.SIGNING_KEY, ulid), Ed25519PrivateKey.generate())
    await register(engine, Act("operator:bench", datetime.now(UTC)), ulid, merchant_id, key.public_key_pem)
    return key


async def open_payers(
    merchant: Merchant,
    simulator_url: str,
    number: int,
    say: Callable[[str], None],
    *,
    first_serial: int = 1,
    each_a_person: bool = False,
) -> list[Payer]:
    """Payers who may pay without a code, each with a card of its own; another merchant's begin at another serial.

    They are one person, unless each is a person of its own, with a document of its own.
    """
    waiver = (await merchant.get("/v1/waiver"))["version"]
    agreement = Policy.model_validate(read_policy()).agreement

    async def open_payer(serial: int) -> Payer:
        new = {"merchant_user_ref": f"payer-{serial}", "type": "individual", "region": "CN"}
        user_id = (await merchant.post("/v1/users", new))["id"]
        await _consent(merchant, user_id, "agreement", agreement.version, content_hash=agreement.content_hash)
        id_number = _id_number(serial) if each_a_person else ID_NUMBER
        binding_id = await _bind(merchant, user_id, simulator_url, serial, id_number)
        await _consent(merchant, user_id, "waiver_authorisation", waiver)
        await _consent(merchant, user_id, "waiver_notice", waiver)
        return Payer(user_id, binding_id)

    done: list[Payer] = []
    end = first_serial + number
    for first in range(first_serial, end, _AT_ONCE):
        some = range(first, min(first + _AT_ONCE, end))
        done += await asyncio.gather(*(open_payer(serial) for serial in some))
        say(f"  {len(done)} of {number} payers have a bound card")
    return done


async def _consent(merchant: Merchant, user_id: str, kind: str, version: str, **other: str) -> None:
    act = {"kind": kind, "version": version, "channel": "app", "evidence_ref": "bench:1"}
    act |= {"acted_at": datetime.now(UTC).isoformat()} | other
    await merchant.post(f"/v1/users/{user_id}/consents", act)


def _id_number(serial: int) -> str:
    digits = f"{_BORN}{serial % 1000:03d}"
    return digits + mod_11_2.calc_check_digit(digits)


async def _bind(merchant: Merchant, user_id: str, simulator_url: str, serial: int, id_number: str) -> str:
    path, mobile = f"/v1/users/{user_id}/bindings", f"139{serial:08d}"
    elements = {"name": NAME, "id_number": id_number, "card_number": example_card(BANK_CODE, serial=serial)}
    binding_id = str((await merchant.post(path, elements | {"mobile": mobile}))["id"])
    async with Phone(simulator_url, mobile) as phone:
        code = await phone.code(purpose="sign")
    for _ in range(100):
        if (await merchant.get(f"{path}/{binding_id}"))["state"] == "awaiting_code":
            break
        await asyncio.sleep(0.05)
    opened = await merchant.post(f"{path}/{binding_id}/code", {"code": code})
    if opened["state"] != "open":
        raise SetUpError(f"a binding is {opened['state']}, not open")
    return binding_id
