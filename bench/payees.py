"""Sets the scene of payouts: accounts of the payers' own that no rule minds, and money to pay out. Not timed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import sqlalchemy as sa

from banks.simulator.payee_accounts import example_account
from bench.payers import BANK_CODE, Merchant, Payer, SetUpError
from domain import chart
from domain.journal import collection
from runtime.id_source import UlidSource
from storage.database import create_engine

NAME = "张三"
BANK_ID_KIND, BANK_ID = "cnaps", "102100099996"
AMOUNT_MINOR = 1280
# A payer's eleventh payout of a day is for a person to look at (config/risk_rules.toml, many_payouts), and a second one
# to an account within a day has to be confirmed twice: so many accounts has a payer, each paid once.
ACCOUNTS_OF_A_PAYER = 10
_BALANCE_MINOR = 10_000_000
_AT_ONCE = 8


@dataclass(frozen=True)
class Destination:
    """What `POST /v1/payouts` takes, as it was shown before."""

    body: dict[str, Any]
    fee_minor: int


async def give_money(owner_url: str, simulator_url: str, payers: Sequence[Payer]) -> None:
    """Posted to the payers' balances and the bank's reserve, as if collected; the bank has it too."""
    order = {"bank_code": BANK_CODE, "currency": "CNY", "amount_minor": _BALANCE_MINOR * len(payers)}
    async with httpx.AsyncClient(base_url=simulator_url, trust_env=False) as bank:
        (await bank.post("/control/funds", json=order)).raise_for_status()
    engine, ids, now = create_engine(owner_url, pool_size=1), UlidSource(), datetime.now(UTC)
    accounts = [chart.user(payer.user_id, "CNY") for payer in payers]
    try:
        async with engine.begin() as connection:
            await connection.execute(sa.text("SELECT ledger.open_accounts(:codes)"), {"codes": accounts})
            for account in accounts:
                made = collection(f"pay_{ids.ulid()}", BANK_CODE, account, _BALANCE_MINOR, 0, "CNY", now)
                item = {"item": 0, "transfers": [one.model_dump(mode="json", exclude_none=True) for one in made]}
                statement = sa.text("SELECT result->>'ok' FROM ledger.apply_batch(CAST(:items AS jsonb))")
                if await connection.scalar(statement, {"items": json.dumps([item])}) != "true":
                    raise SetUpError("the ledger refused a balance")
    finally:
        await engine.dispose()


async def open_destinations(
    merchant: Merchant, payers: Sequence[Payer], number: int, say: Callable[[str], None]
) -> list[Destination]:
    """So many payouts that were shown and not yet instructed, payers in turn."""
    if number > len(payers) * ACCOUNTS_OF_A_PAYER:
        raise SetUpError("more payouts than the payers may have in a day without a review")
    made: list[Destination] = []
    for first in range(0, number, _AT_ONCE):
        some = range(first, min(first + _AT_ONCE, number))
        made += await asyncio.gather(*(_open(merchant, payers[serial % len(payers)], serial + 1) for serial in some))
        if len(made) % 100 < _AT_ONCE:
            say(f"  {len(made)} of {number} payouts are prepared")
    return made


async def name_account(merchant: Merchant, payer: Payer, serial: int) -> str:
    """A payee that is the payer's own; its id."""
    new = {
        "relation": "own",
        "holder_type": "individual",
        "region": "CN",
        "bank_id": {"kind": BANK_ID_KIND, "value": BANK_ID},
        "name": NAME,
        "account_number": example_account("CN", serial=serial),
    }
    return str((await merchant.post(f"/v1/users/{payer.user_id}/payees", new))["id"])


async def _open(merchant: Merchant, payer: Payer, serial: int) -> Destination:
    order = {
        "user_id": payer.user_id,
        "payee_id": await name_account(merchant, payer, serial),
        "order_number": f"payout-{serial}",
        "amount_minor": AMOUNT_MINOR,
        "currency": "CNY",
        "speed": "real_time",
    }
    shown = await merchant.post("/v1/payouts/preview", order)
    return Destination(order | {"confirmation_hash": shown["confirmation_hash"]}, shown["fee_minor"])
