"""What the contract tests of foreign currency need: a desk, a bank abroad, and orders to both."""

from __future__ import annotations

import secrets
from itertools import count
from typing import Any

from banks.agreement_pay.client import AgreementPayConnector
from domain.banking import BankOutcome
from domain.fx_banking import ConversionRequest, FxAnswer, FxConnector, FxQuote, InboundReturnRequest, QuoteSide
from tests.contracts.harness import SimulatorHarness, number, until
from tests.simulator_process import SimulatorProcess

DESK, ABROAD = "HBRB", "OSPB"
_people = count(1)


def id_number() -> str:
    """The document of a person whom no other test knows."""
    return f"1101011990{next(_people):07d}X"


class FxStage:
    """Harbour Bank's desk converts what lies at Ocean Span Bank."""

    def __init__(self, process: SimulatorProcess) -> None:
        self.process = process
        self.desk: AgreementPayConnector = SimulatorHarness(process, DESK).connector()
        self.abroad: AgreementPayConnector = SimulatorHarness(process, ABROAD).connector()
        self.impatient: AgreementPayConnector = SimulatorHarness(process, DESK).connector(timeout_seconds=0.5)
        self.impatient_abroad: AgreementPayConnector = SimulatorHarness(process, ABROAD).connector(timeout_seconds=0.5)

    async def close(self) -> None:
        """Closes the connectors."""
        for connector in (self.desk, self.abroad, self.impatient, self.impatient_abroad):
            await connector.close()

    async def order(self, path: str, **content: Any) -> dict[str, Any]:
        """To the simulator's control."""
        return await self.process.control(path, **content)

    async def fault(self, kind: str, request_number: str, operation: str = "fx-deals", **more: Any) -> None:
        """Makes one request go wrong."""
        await self.process.order_fault(operation, kind, request_number=request_number, **more)

    async def fund(self, amount_minor: int, currency: str = "USD", bank_code: str = ABROAD) -> None:
        """Foreign currency, or CNY, that lies at a bank."""
        await self.process.fund(bank_code, amount_minor, currency)

    async def arrive(self, amount_minor: int = 10_000, currency: str = "USD", **more: Any) -> str:
        """A remittance; answers its reference."""
        order = {"bank_code": ABROAD, "account_number": "OSPB000000000001", "receiver_name": "Chen Xiaoman", **more}
        arrived = await self.order("inbound", currency=currency, amount_minor=amount_minor, **order)
        return str(arrived["reference"])

    async def conversion(self, foreign_minor: int = 10_000, currency: str = "USD", **more: Any) -> ConversionRequest:
        """A conversion of an individual at a fresh quote, not yet sent, and what it converts."""
        await self.fund(foreign_minor, currency)
        quote = await self.desk.fx_quote(currency, QuoteSide.BUYS)
        return conversion_at(quote, foreign_minor, **more)

    async def booked(self, request_number: str) -> tuple[int, int]:
        """How often the desk booked this number in CNY, and how often the currency left or came abroad."""
        books = await self.process.books()
        assert books["balanced"]
        at_desk, abroad = books["banks"][DESK], books["banks"][ABROAD]
        return (
            int(at_desk["deals_per_request_number"].get(request_number, 0)),
            int(abroad["deliveries_per_request_number"].get(request_number, 0)),
        )

    async def returns_booked(self, request_number: str) -> int:
        """How often a remittance was sent back under this number."""
        books = await self.process.books()
        assert books["balanced"]
        return int(books["banks"][ABROAD]["inbound_returns_per_request_number"].get(request_number, 0))

    async def reserve(self, bank_code: str, currency: str) -> int:
        """What a bank holds for the institution."""
        return int((await self.process.books())["banks"][bank_code]["reserves"][currency])


def conversion_at(quote: FxQuote, foreign_minor: int = 10_000, **more: Any) -> ConversionRequest:
    """A conversion of an individual at a quote, of currency that lies abroad."""
    content = {
        "request_number": number("FX"),
        "kind": "conversion",
        "quote_id": quote.quote_id,
        "rate_e8": quote.rate_e8,
        "foreign_minor": foreign_minor,
        "foreign_currency": quote.currency,
        "foreign_at": ABROAD,
        "purpose_code": "421990",
        "is_trade": False,
        "residency": "domestic_individual",
        "name": "陈小满",
        "id_number": id_number(),
        **more,
    }
    return ConversionRequest.model_validate(content)


def reversal_of(deal: ConversionRequest, quote: FxQuote, foreign_minor: int, **more: Any) -> ConversionRequest:
    """The reversal of a part of a conversion, at a quote of the other side."""
    person = {"name": deal.name, "id_number": deal.id_number}
    return conversion_at(
        quote, foreign_minor, **{**person, "kind": "reversal", "reverses": deal.request_number, **more}
    )


def return_of(reference: str, amount_minor: int, currency: str = "USD") -> InboundReturnRequest:
    """The return of a remittance, or of a part of it."""
    return InboundReturnRequest(
        request_number=number("RT"), inbound_reference=reference, amount_minor=amount_minor, currency=currency
    )


def reference() -> str:
    """A reference that no remittance has."""
    return f"OSPBIN{secrets.token_hex(8).upper()}"


async def fx_query_until(connector: FxConnector, request_number: str, *wanted: BankOutcome) -> FxAnswer:
    """Asks until the outcome is one of the wanted ones."""
    return await until(lambda: connector.fx_query(request_number), lambda answer: answer.outcome in wanted, 15)
