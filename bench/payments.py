"""The kinds of work that are compared, each from its request to its end; the drivers of bare, floor and ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any

from temporalio.client import Client

from banks.directory import BankDirectory
from banks.simulator.cards import example_card
from banks.simulator.payer import Phone
from bench.comparison import Kind
from bench.floor import PLAIN_QUEUE, QUEUE, Bare, Floor, RawOrder
from bench.payers import BANK_CODE, Merchant, Payer, SetUpError
from domain.banking import FourElements, SignApplication, SignConfirmation
from domain.confirmation import ConfirmedContent
from domain.identifiers import BankStep, request_number
from runtime.id_source import UlidSource
from workflows.messages import ProcessResult
from workflows.names import Process, workflow_id

AMOUNT_MINOR = 1280


@dataclass
class Drivers:
    """Starts one piece of work of each kind and waits for its end; answers the workflow's id."""

    client: Client
    plain: Client
    merchant: Merchant
    payers: Sequence[Payer]
    agreements: Sequence[str]
    terms: dict[str, Any] = field(default_factory=dict)
    ids: UlidSource = field(default_factory=UlidSource)

    def __post_init__(self) -> None:
        self._payers, self._agreements = cycle(self.payers), cycle(self.agreements)

    def kinds(self) -> list[Kind]:
        """In the order of the table; the one before the last is what ratios are to."""
        return [
            Kind("bare Temporal, payloads in the clear", lambda: self._bare(self.plain, PLAIN_QUEUE), self.plain),
            Kind("bare Temporal", lambda: self._bare(self.client, QUEUE), self.client),
            Kind("floor: raw debit, raw posting", self._floor, self.client),
            Kind("ours, through the API", self._ours, self.client),
        ]

    async def read_terms(self) -> None:
        """What every payment costs, once, from a preview."""
        payer = self.payers[0]
        order = self._order(payer, f"preview-{self.ids.ulid()}")
        self.terms = await self.merchant.post("/v1/payments/preview", order)
        if self.terms["verification"] != "waived":
            raise SetUpError("payment without a code is not in force")

    async def _bare(self, client: Client, queue: str) -> str:
        number = f"bench-bare/{self.ids.ulid()}"
        await client.execute_workflow(Bare.run, number, id=number, task_queue=queue)
        return number

    async def _floor(self) -> str:
        payment_id = f"pay_{self.ids.ulid()}"
        order = RawOrder(
            payment_id=payment_id,
            request_number=request_number(BankStep.DEBIT, payment_id),
            agreement_number=next(self._agreements),
            bank_code=BANK_CODE,
            amount_minor=AMOUNT_MINOR,
            fee_minor=self.terms["fee_minor"],
            currency="CNY",
            payee=self.terms["payee_name"],
            payee_account=f"merchant_pending:{self.merchant.id}:CNY",
        )
        number = f"bench-floor/{payment_id}"
        await self.client.execute_workflow(Floor.run, order, id=number, task_queue=QUEUE)
        return number

    async def _ours(self) -> str:
        order = self._order(next(self._payers), f"order-{self.ids.ulid()}")
        content = ConfirmedContent(
            merchant_id=self.merchant.id,
            payee_name=self.terms["payee_name"],
            fee_minor=self.terms["fee_minor"],
            fee_rule=self.terms["fee_rule"],
            **order,
        )
        expires_at = (datetime.now(UTC) + timedelta(minutes=30)).isoformat()
        given = {"confirmation_hash": content.confirmation_hash(), "order_expires_at": expires_at}
        payment = await self.merchant.post("/v1/payments", order | given)
        number = workflow_id(Process.COLLECT_PAYMENT, payment["id"])
        handle = self.client.get_workflow_handle(number, result_type=ProcessResult)
        ended: ProcessResult = await handle.result()
        if ended.state != "succeeded":
            raise RuntimeError(f"a payment of the benchmark ended as {ended.state}: {ended.reason}")
        return number

    def _order(self, payer: Payer, order_number: str) -> dict[str, Any]:
        return {
            "user_id": payer.user_id,
            "binding_id": payer.binding_id,
            "order_number": order_number,
            "amount_minor": AMOUNT_MINOR,
            "currency": "CNY",
            "payee_kind": "merchant",
        }


async def sign_agreements(banks: BankDirectory, simulator_url: str, number: int) -> list[str]:
    """Agreements of the floor's own payers, straight at the bank."""
    bank, ids, agreements = banks.connector(BANK_CODE), UlidSource(), []
    for serial in range(1, number + 1):
        mobile, card = f"138{serial:08d}", example_card(BANK_CODE, serial=50_000 + serial)
        applied = request_number(BankStep.SIGN, ids.ulid())
        elements = FourElements(name="张三", id_number="11010119900307803X", card_number=card, mobile=mobile)
        await bank.apply_to_sign(SignApplication(request_number=applied, elements=elements))
        async with Phone(simulator_url, mobile) as phone:
            code = await phone.code(purpose="sign")
        confirmation = SignConfirmation(
            request_number=request_number(BankStep.VERIFY_CODE, ids.ulid()),
            application_request_number=applied,
            code=code,
        )
        answer = await bank.confirm_sign(confirmation)
        if answer.agreement_number is None:
            raise SetUpError("the bank signed no agreement")
        agreements.append(answer.agreement_number)
    return agreements
