"""`python -m bench.floor_worker`: the worker of the bare and the floor's processes, a process of its own as ours is."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.engine import make_url
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from banks.signatures import sign_request
from bench.floor import (
    PLAIN_QUEUE,
    QUEUE,
    Bare,
    BareClosing,
    BareSeries,
    ConversionFloor,
    Floor,
    PayoutFloor,
    RawConversion,
    RawDeal,
    RawOrder,
    RawPayout,
    Sleeper,
)
from config.settings import MigrationSettings, WorkerSettings, load
from domain.chart import fee_income, fx_position, reserve, user
from domain.journal import collection
from domain.transfers import Direction, Post, Transfer, TransferKind
from runtime.temporal import connect, connection
from worker import PASSED_THROUGH

READY = "ready"


class RawCalls:
    """The calls without any of our rooms around them."""

    def __init__(self, http: httpx.AsyncClient, key: Ed25519PrivateKey, pool: asyncpg.Pool) -> None:
        self._http = http
        self._key = key
        self._pool = pool

    @activity.defn(name="bench-debit")
    async def debit(self, order: RawOrder) -> str:
        """One signed request; the bank books it."""
        fields = order.model_dump(include={"request_number", "agreement_number", "amount_minor", "currency", "payee"})
        return await self._instruct(order.bank_code, "debits", {**fields, "verification": "waived"})

    @activity.defn(name="bench-pay-out")
    async def pay_out(self, order: RawPayout) -> str:
        """One signed request; the bank pays."""
        fields = {
            "request_number",
            "name",
            "account_number",
            "region",
            "bank_id_kind",
            "bank_id",
            "amount_minor",
            "currency",
        }
        return await self._instruct(order.bank_code, "payouts", order.model_dump(include=fields))

    @activity.defn(name="bench-convert")
    async def convert(self, order: RawConversion) -> int:
        """Two signed requests: the desk quotes, and deals at its quote."""
        quote = await self._exchange("GET", order.desk, f"fx-quotes/{order.currency}/buys", None)
        fields = {
            "request_number": order.request_number, "kind": "conversion", "quote_id": quote["quote_id"],
            "rate": quote["rate"], "foreign_minor": order.amount_minor, "foreign_currency": order.currency,
            "foreign_at": order.held_at, "purpose_code": order.purpose_code, "is_trade": False,
            "residency": "domestic_individual", "name": order.name, "id_number": order.id_number,
        }  # fmt: skip
        return int((await self._exchange("POST", order.desk, "fx-deals", fields))["cny_minor"])

    async def _instruct(self, bank_code: str, resource: str, fields: dict[str, Any]) -> str:
        return str((await self._exchange("POST", bank_code, resource, fields))["bank_reference"])

    async def _exchange(
        self, method: str, bank_code: str, resource: str, fields: dict[str, Any] | None
    ) -> dict[str, Any]:
        body, path = b"" if fields is None else json.dumps(fields).encode(), f"/banks/{bank_code}/v1/{resource}"
        headers = sign_request(self._key, method, path, body, datetime.now(UTC))
        if fields is not None:
            headers["Content-Type"] = "application/json"
        answer = await self._http.request(method, path, content=body, headers=headers)
        found: dict[str, Any] = answer.json()
        if found["status"] != "SUCCESS":
            raise RuntimeError(f"the bank answered {found['code']}")
        return found

    @activity.defn(name="bench-book")
    async def book(self, order: RawOrder) -> None:
        """One statement, one commit, for this payment alone."""
        transfers = collection(
            order.payment_id,
            order.bank_code,
            order.payee_account,
            order.amount_minor,
            order.fee_minor,
            order.currency,
            datetime.now(UTC),
        )
        await self._post(transfers)

    @activity.defn(name="bench-book-payout")
    async def book_payout(self, order: RawPayout) -> None:
        """What left and its fee, in one statement and one commit; ours has held both before."""
        paid = reserve(order.bank_code, order.currency)
        await self._post(
            (
                _entry(order, TransferKind.FEE, Direction.INTERNAL, fee_income(order.currency), order.fee_minor),
                _entry(order, TransferKind.PAYOUT, Direction.OUT, paid, order.amount_minor),
            )
        )

    @activity.defn(name="bench-book-deal")
    async def book_deal(self, deal: RawDeal) -> None:
        """Both currencies through the desk's position, in one statement and one commit; ours has held one before."""
        order, cny_minor = deal.order, deal.cny_minor
        foreign, cny = fx_position(order.desk, order.currency), fx_position(order.desk, "CNY")
        out, own, into = Direction.OUT, Direction.INTERNAL, Direction.IN
        await self._post(
            (
                _leg(order, "sold", own, user(order.user_id, order.currency), foreign, order.amount_minor),
                _leg(order, "left", out, foreign, reserve(order.held_at, order.currency), order.amount_minor),
                _leg(order, "came", into, reserve(order.desk, "CNY"), cny, cny_minor),
                _leg(order, "bought", own, cny, user(order.user_id, "CNY"), cny_minor),
            )
        )

    async def _post(self, transfers: Sequence[Transfer]) -> None:
        item = {"item": 0, "transfers": [one.model_dump(mode="json", exclude_none=True) for one in transfers]}
        result = await self._pool.fetchval(
            "SELECT result->>'ok' FROM ledger.apply_batch($1::jsonb)", json.dumps([item])
        )
        if result != "true":
            raise RuntimeError("the ledger refused a posting of the benchmark")


def _entry(order: RawPayout, kind: TransferKind, direction: Direction, credit: str, amount_minor: int) -> Post:
    return Post(
        key=f"{order.payout_id}:{kind}",
        kind=kind,
        direction=direction,
        debit=order.source_account,
        credit=credit,
        currency=order.currency,
        amount=amount_minor,
        instruction=order.payout_id,
        reference=order.payout_id,
        booked_at=datetime.now(UTC),
    )


def _leg(  # noqa: PLR0917 - an entry reads as who, where, to whom, how much
    order: RawConversion, what: str, direction: Direction, debit: str, credit: str, amount_minor: int
) -> Post:
    return Post(
        key=f"{order.fx_id}:{what}",
        kind=TransferKind.FX_CONVERSION if direction is Direction.INTERNAL else TransferKind.BANK_SETTLEMENT,
        direction=direction,
        debit=debit,
        credit=credit,
        currency=credit.rpartition(":")[2],
        amount=amount_minor,
        instruction=order.fx_id,
        reference=order.fx_id,
        booked_at=datetime.now(UTC),
    )


@activity.defn(name="bench-nothing")
async def nothing(number: str) -> str:
    """What it is given."""
    return number


def _worker(client: Client, queue: str, calls: RawCalls) -> Worker:
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH, "bench")
    return Worker(
        client,
        task_queue=queue,
        workflows=[Bare, BareClosing, BareSeries, ConversionFloor, Floor, PayoutFloor, Sleeper],
        activities=[
            calls.debit,
            calls.book,
            calls.pay_out,
            calls.book_payout,
            calls.convert,
            calls.book_deal,
            nothing,
        ],
        workflow_runner=SandboxedWorkflowRunner(restrictions=restrictions),
        max_concurrent_activities=200,
        max_concurrent_local_activities=200,
    )


async def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings, owner = load(WorkerSettings), load(MigrationSettings)
    url = make_url(owner.owner_database_url.get_secret_value()).set(drivername="postgresql")
    key = Ed25519PrivateKey.from_private_bytes(settings.bank_signing_key.get_secret_value())
    async with AsyncExitStack() as stack:
        limits = httpx.Limits(max_connections=128, max_keepalive_connections=64)
        client = httpx.AsyncClient(base_url=settings.simulator_url, timeout=10, limits=limits, trust_env=False)
        http = await stack.enter_async_context(client)
        pool = await stack.enter_async_context(
            asyncpg.create_pool(url.render_as_string(hide_password=False), min_size=10, max_size=10)
        )
        calls = RawCalls(http, key, pool)
        with_codec = await connect(settings.payload_keys, environment="local")
        plain = await Client.connect(**connection())
        await stack.enter_async_context(_worker(with_codec, QUEUE, calls))
        await stack.enter_async_context(_worker(plain, PLAIN_QUEUE, calls))
        print(READY, flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
