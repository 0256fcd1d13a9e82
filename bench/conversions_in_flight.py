"""The kinds of work that a conversion inside its window is compared with, each from its request to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle

from temporalio.client import Client

from bench.comparison import Kind
from bench.conversions import AMOUNT_MINOR, CURRENCY, DESK, OVERSEAS, PURPOSE
from bench.floor import QUEUE, BareOrder, BareSeries, ConversionFloor, RawConversion
from bench.payers import ID_NUMBER, NAME, Merchant, Payer
from domain.confirmation import ConfirmedFx
from domain.identifiers import BankStep, request_number
from runtime.id_source import UlidSource
from workflows.messages import ProcessResult
from workflows.names import Process, workflow_id

# As many as ours: plan, convert.
REMOTE = 2


@dataclass
class ConversionDrivers:
    """Starts one piece of work of each kind and waits for its end; answers the workflow's id."""

    client: Client
    merchant: Merchant
    payers: Sequence[Payer]
    ids: UlidSource = field(default_factory=UlidSource)

    def __post_init__(self) -> None:
        self._payers = cycle(self.payers)

    def kinds(self) -> list[Kind]:
        """In the order of the table; the one before the last is what ratios are to."""
        return [
            Kind("bare Temporal", self._bare, self.client),
            Kind("floor: raw quote and deal, raw posting", self._floor, self.client),
            Kind("ours, through the API", self._ours, self.client),
        ]

    async def _bare(self) -> str:
        order = BareOrder(number=f"bench-bare/{self.ids.ulid()}", remote=REMOTE)
        await self.client.execute_workflow(BareSeries.run, order, id=order.number, task_queue=QUEUE)
        return order.number

    async def _floor(self) -> str:
        fx_id = f"fx_{self.ids.ulid()}"
        order = RawConversion(
            fx_id=fx_id,
            request_number=request_number(BankStep.FX_CONVERSION, fx_id),
            desk=DESK,
            held_at=OVERSEAS,
            amount_minor=AMOUNT_MINOR,
            currency=CURRENCY,
            purpose_code=PURPOSE,
            user_id=next(self._payers).user_id,
            name=NAME,
            id_number=ID_NUMBER,
        )
        number = f"bench-conversion-floor/{fx_id}"
        await self.client.execute_workflow(ConversionFloor.run, order, id=number, task_queue=QUEUE)
        return number

    async def _ours(self) -> str:
        order = {
            "user_id": next(self._payers).user_id, "order_number": f"bench-{self.ids.ulid()}",
            "amount_minor": AMOUNT_MINOR, "currency": CURRENCY, "purpose_code": PURPOSE, "is_trade": False,
            "over_quota": "split",
        }  # fmt: skip
        confirmed = ConfirmedFx.model_validate(order | {"merchant_id": self.merchant.id, "fee_minor": 0})
        fx = await self.merchant.post("/v1/fx", order | {"confirmation_hash": confirmed.confirmation_hash()})
        number = workflow_id(Process.SETTLE_FX, fx["id"])
        ended: ProcessResult = await self.client.get_workflow_handle(number, result_type=ProcessResult).result()
        if ended.state != "settled":
            raise RuntimeError(f"a conversion of the benchmark ended as {ended.state}: {ended.reason}")
        return number
