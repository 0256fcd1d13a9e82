"""The kinds of work that a payout is compared with, each from its request to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, cycle

from temporalio.client import Client

from banks.simulator.payee_accounts import example_account
from bench.comparison import Kind
from bench.floor import QUEUE, BareOrder, BareSeries, PayoutFloor, RawPayout
from bench.payees import BANK_ID, BANK_ID_KIND, NAME, Destination
from bench.payers import BANK_CODE, Merchant, Payer, SetUpError
from domain import chart
from domain.identifiers import BankStep, request_number
from runtime.id_source import UlidSource
from workflows.messages import ProcessResult
from workflows.names import Process, workflow_id

# As many as ours: assess, plan, send.
REMOTE = 3


@dataclass
class PayoutDrivers:
    """Starts one piece of work of each kind and waits for its end; answers the workflow's id.

    A destination is used once.
    """

    client: Client
    merchant: Merchant
    payers: Sequence[Payer]
    destinations: Sequence[Destination]
    ids: UlidSource = field(default_factory=UlidSource)

    def __post_init__(self) -> None:
        self._left, self._payers, self._serials = iter(self.destinations), cycle(self.payers), count(500_000)

    def kinds(self) -> list[Kind]:
        """In the order of the table; the one before the last is what ratios are to."""
        return [
            Kind("bare Temporal, one remote activity fewer", lambda: self._bare(REMOTE - 1), self.client),
            Kind("bare Temporal", lambda: self._bare(REMOTE), self.client),
            Kind("floor: raw payout, raw posting", self._floor, self.client),
            Kind("ours, through the API", self._ours, self.client),
        ]

    async def _bare(self, remote: int) -> str:
        order = BareOrder(number=f"bench-bare/{self.ids.ulid()}", remote=remote)
        await self.client.execute_workflow(BareSeries.run, order, id=order.number, task_queue=QUEUE)
        return order.number

    async def _floor(self) -> str:
        payout_id = f"po_{self.ids.ulid()}"
        order = RawPayout(
            payout_id=payout_id,
            request_number=request_number(BankStep.PAYOUT, payout_id),
            bank_code=BANK_CODE,
            amount_minor=self.destinations[0].body["amount_minor"],
            fee_minor=self.destinations[0].fee_minor,
            currency="CNY",
            source_account=chart.user(next(self._payers).user_id, "CNY"),
            name=NAME,
            account_number=example_account("CN", serial=next(self._serials)),
            bank_id_kind=BANK_ID_KIND,
            bank_id=BANK_ID,
            region="CN",
        )
        number = f"bench-payout-floor/{payout_id}"
        await self.client.execute_workflow(PayoutFloor.run, order, id=number, task_queue=QUEUE)
        return number

    async def _ours(self) -> str:
        destination = next(self._left, None)
        if destination is None:
            raise SetUpError("more payouts were made than had been prepared; shorten the rounds")
        payout = await self.merchant.post("/v1/payouts", destination.body)
        number = workflow_id(Process.SEND_PAYOUT, payout["id"])
        handle = self.client.get_workflow_handle(number, result_type=ProcessResult)
        ended: ProcessResult = await handle.result()
        if ended.state != "succeeded":
            raise RuntimeError(f"a payout of the benchmark ended as {ended.state}: {ended.reason}")
        return number
