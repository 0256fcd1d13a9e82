"""What the contract suite needs of a connector and of the test bank behind it. A further connector brings
its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, Protocol, TypeVar

import httpx

from banks.agreement_pay.client import AgreementPayConnector
from banks.simulator.cards import FAULT_CARDS, example_card
from banks.simulator.faults import FaultKind
from banks.simulator.payee_accounts import example_account
from banks.simulator.payer import Phone
from banks.simulator.protocol import Operation
from domain.banking import (
    BankAnswer,
    BankCapabilities,
    BankConnector,
    BankOutcome,
    DebitRequest,
    ErasureNotice,
    ErasureOutcome,
    ErasureReply,
    FourElements,
    KeptReason,
    PaymentCodeRequest,
    PaymentCodeVerification,
    PayoutRequest,
    RefundRequest,
    SignApplication,
    SignConfirmation,
)
from domain.closing import ClosureScope
from tests.simulator_process import SimulatorProcess

_numbers = count(1)
PAYEE = "晨光书店"
Told = TypeVar("Told")
Region = Literal["CN", "HK", "MO", "TW"]
BankIdKind = Literal["cnaps", "bic", "hk_clearing", "tw_clearing"]


def number(step: str) -> str:
    """A request number that no other test uses."""
    return f"{step}{next(_numbers):026d}"


@dataclass(frozen=True)
class Payer:
    """A person with a card at the test bank."""

    elements: FourElements = field(repr=False)

    @property
    def mobile(self) -> str:
        """Where the bank texts codes to."""
        return self.elements.mobile


class BankHarness(Protocol):
    """A test bank: its connector, its payers, its phones, its books, and its faults."""

    name: str

    def connector(
        self, *, timeout_seconds: float = 10, transport: httpx.AsyncBaseTransport | None = None
    ) -> BankConnector: ...

    def payer(self, fault: tuple[str, str] | None = None) -> Payer: ...

    async def code(self, payer: Payer, request_number: str) -> str: ...

    async def debits_booked(self, request_number: str) -> int: ...

    async def order_fault(self, operation: str, kind: str, request_number: str) -> None: ...

    def payee_account(self, region: str = "CN", fault: str | None = None) -> str: ...

    async def fund(self, amount_minor: int, currency: str) -> None: ...

    async def payouts_booked(self, request_number: str) -> tuple[int, int]: ...

    async def reserve_minor(self, currency: str) -> int: ...

    async def send_back(self, request_number: str, callbacks: str = "ordinary") -> None: ...

    async def close_bank(self) -> None: ...

    async def open_bank(self) -> None: ...

    async def reply_to_notice(self, request_number: str, kept: KeptReason | None = None) -> None: ...


class SimulatorHarness:
    """The agreement-payment connector against the bank simulator."""

    name = "agreement_pay"

    def __init__(self, process: SimulatorProcess, bank_code: str = "HBRB") -> None:
        self.process = process
        self.bank_code = bank_code

    def connector(
        self, *, timeout_seconds: float = 10, transport: httpx.AsyncBaseTransport | None = None
    ) -> AgreementPayConnector:
        """A fresh connector; the test closes it."""
        capabilities = BankCapabilities(
            bank_code=self.bank_code,
            remembers_request_numbers_seconds=7 * 86_400,
            request_validity_seconds=60,
            timeout_seconds=timeout_seconds,
            requests_per_second=200,
        )
        return AgreementPayConnector(capabilities, self.process.connection, transport=transport)

    def payer(self, fault: tuple[str, str] | None = None) -> Payer:
        """A payer with a new card; `fault` is operation and kind (or the bank's decline code) of a fault
        card.
        """
        serial = next(_numbers)
        fault_number = None if fault is None else fault_card_number(*fault)
        elements = FourElements(
            name="陈小满",
            id_number="11010119900307889X",
            card_number=example_card(self.bank_code, fault_number, serial),
            mobile=f"138{serial:08d}",
        )
        return Payer(elements)

    async def code(self, payer: Payer, request_number: str) -> str:
        """The code that the bank texted for a request."""
        async with Phone(self.process.url, payer.mobile) as phone:
            return await phone.code(request_number=request_number)

    async def debits_booked(self, request_number: str) -> int:
        """How often the bank booked this number."""
        books = await self.process.books()
        assert books["balanced"]
        return int(books["banks"][self.bank_code]["debits_per_request_number"].get(request_number, 0))

    async def order_fault(self, operation: str, kind: str, request_number: str) -> None:
        """Makes one request go wrong."""
        await self.process.order_fault(operation, kind, request_number=request_number)

    def payee_account(self, region: str = "CN", fault: str | None = None) -> str:
        """An account number that no other test pays to; `fault` is a kind or the bank's decline code."""
        fault_number = None if fault is None else fault_card_number("payouts", fault)
        return example_account(region, fault_number, next(_numbers))

    async def fund(self, amount_minor: int, currency: str) -> None:
        """Money for payouts, on top of what debits brought."""
        await self.process.fund(self.bank_code, amount_minor, currency)

    async def payouts_booked(self, request_number: str) -> tuple[int, int]:
        """How often the bank paid this number, and how often it took it back."""
        books = await self.process.books()
        assert books["balanced"]
        bank = books["banks"][self.bank_code]
        paid, returned = bank["payouts_per_request_number"], bank["returns_per_request_number"]
        return int(paid.get(request_number, 0)), int(returned.get(request_number, 0))

    async def reserve_minor(self, currency: str) -> int:
        """What the bank holds for the institution."""
        return int((await self.process.books())["banks"][self.bank_code]["reserves"][currency])

    async def send_back(self, request_number: str, callbacks: str = "ordinary") -> None:
        """The payee's bank sends a payout back."""
        await self.process.send_back(self.bank_code, request_number, callbacks)

    async def close_bank(self) -> None:
        """Outside its hours, until `open_bank`."""
        await self.process.close_bank(self.bank_code)

    async def open_bank(self) -> None:
        """Inside its hours."""
        await self.process.open_bank(self.bank_code)

    async def reply_to_notice(self, request_number: str, kept: KeptReason | None = None) -> None:
        """The bank replies to a notice of erasure that it has taken in; `kept`: it deletes nothing."""
        told = {"reply": "erased"} if kept is None else {"reply": "kept", "reason": kept.value}
        await self.process.control("erasure-replies", bank_code=self.bank_code, request_number=request_number, **told)


def fault_card_number(operation: str, fault: str) -> int:
    """The `nn` of the fault card that does this."""
    for row in FAULT_CARDS.values():
        named = row.fault.code if row.fault.kind is FaultKind.DECLINE else row.fault.kind
        if (row.operation, named) == (Operation(operation), fault):
            return row.number
    raise LookupError(f"no fault card for {operation} {fault}")


async def sign(bank: BankHarness, connector: BankConnector, payer: Payer) -> str:
    """Signs an agreement and answers its number."""
    application = number("SG")
    applied = await connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    assert applied.outcome is BankOutcome.SUCCEEDED, applied
    confirmed = await connector.confirm_sign(
        SignConfirmation(
            request_number=number("SC"),
            application_request_number=application,
            code=await bank.code(payer, application),
        )
    )
    assert confirmed.agreement_number is not None, confirmed
    return confirmed.agreement_number


async def authorise(bank: BankHarness, connector: BankConnector, payer: Payer, debit: DebitRequest) -> DebitRequest:
    """Has the code texted and verified for a debit, and answers the debit with its authorisation."""
    request = PaymentCodeRequest(
        request_number=number("PC"),
        debit_request_number=debit.request_number,
        agreement_number=debit.agreement_number,
        amount_minor=debit.amount_minor,
        currency=debit.currency,
        payee=debit.payee,
    )
    sent = await connector.send_payment_code(request)
    assert sent.outcome is BankOutcome.SUCCEEDED, sent
    verified = await connector.verify_payment_code(
        PaymentCodeVerification(
            request_number=number("VC"),
            code_request_number=request.request_number,
            code=await bank.code(payer, request.request_number),
        )
    )
    assert verified.authorisation is not None, verified
    return debit.model_copy(update={"authorisation": verified.authorisation})


def waived_debit(agreement_number: str, amount_minor: int = 1_000) -> DebitRequest:
    """A debit for which verification is waived."""
    return DebitRequest(
        request_number=number("DB"),
        agreement_number=agreement_number,
        amount_minor=amount_minor,
        currency="CNY",
        payee=PAYEE,
    )


async def signed_debit(bank: BankHarness, connector: BankConnector) -> DebitRequest:
    """A debit, not yet sent, under a fresh agreement."""
    return waived_debit(await sign(bank, connector, bank.payer()))


def refund_of(debit: DebitRequest, amount_minor: int) -> RefundRequest:
    """A refund of a debit."""
    return RefundRequest(
        request_number=number("RF"),
        debit_request_number=debit.request_number,
        amount_minor=amount_minor,
        currency=debit.currency,
    )


# A bank that answers to each kind of bank number, by region.
BANK_IDS: dict[str, tuple[BankIdKind, str]] = {
    "CN": ("cnaps", "102100099996"),
    "HK": ("hk_clearing", "004"),
    "MO": ("bic", "BKCHMOMX"),
    "TW": ("tw_clearing", "0081005"),
}


def payout_to(
    account_number: str, region: Region = "CN", *, amount_minor: int = 1_000, currency: str = "CNY"
) -> PayoutRequest:
    """A payout, not yet sent."""
    kind, bank_id = BANK_IDS[region]
    return PayoutRequest(
        request_number=number("PO"),
        amount_minor=amount_minor,
        currency=currency,
        region=region,
        payee_name="陈小满",
        account_number=account_number,
        bank_id_kind=kind,
        bank_id=bank_id,
    )


async def funded_payout(bank: BankHarness, fault: str | None = None, amount_minor: int = 1_000) -> PayoutRequest:
    """A payout within the mainland, not yet sent, and the money for it."""
    await bank.fund(amount_minor, "CNY")
    return payout_to(bank.payee_account("CN", fault), amount_minor=amount_minor)


def notice_of(*disclosed_under: str, scope: ClosureScope = ClosureScope.ACCOUNT) -> ErasureNotice:
    """A notice of erasure, not yet sent."""
    return ErasureNotice(request_number=number("EN"), disclosed_under=disclosed_under, scope=scope)


async def reply_until(connector: BankConnector, request_number: str, *wanted: ErasureOutcome) -> ErasureReply:
    """Asks about a notice until the outcome is one of the wanted ones."""
    return await until(lambda: connector.ask_erasure_notice(request_number), lambda reply: reply.outcome in wanted, 15)


async def query_until(
    connector: BankConnector, request_number: str, *wanted: BankOutcome, within_seconds: float = 15
) -> BankAnswer:
    """Asks until the outcome is one of the wanted ones."""
    return await until(lambda: connector.query(request_number), lambda answer: answer.outcome in wanted, within_seconds)


async def until(ask: Callable[[], Awaitable[Told]], fits: Callable[[Told], bool], within_seconds: float) -> Told:
    """Asks again and again until the answer fits."""
    async with asyncio.timeout(within_seconds):
        while True:
            answer = await ask()
            if fits(answer):
                return answer
            await asyncio.sleep(0.05)
