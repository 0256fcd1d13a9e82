"""The protocol's request bodies about foreign currency, and what is read there: quotes and remittances."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from banks.simulator.protocol import Amount, BankCode, Body, CurrencyCode, DealKind, RequestNumber, Status
from domain.rates import parse_rate


def _is_rate(text: str) -> str:
    parse_rate(text)
    return text


Side = Literal["buys", "sells"]
Rate = Annotated[str, AfterValidator(_is_rate), Field(max_length=20, examples=["7.1234"])]
QuoteId = Annotated[str, Field(pattern=r"^[A-Z0-9]{8,40}$", examples=["HBRBQT4F2A9C1D7E3B"])]
Reference = Annotated[str, Field(pattern=r"^[A-Z0-9]{8,40}$", examples=["OSPBIN202611304F2A9C1D"])]
PurposeCode = Annotated[str, Field(pattern=r"^[0-9]{6}$", examples=["421990"])]
PersonName = Annotated[str, Field(min_length=1, max_length=140, examples=["陈小满"])]
IdNumber = Annotated[str, Field(min_length=6, max_length=30, examples=["11010119900307889X"])]


class FxDealBody(Body):
    """Deal at a quote. Name and ID number go with an individual's, and with no other; `reverses` with a reversal."""

    kind: DealKind
    quote_id: QuoteId
    rate: Rate
    foreign_minor: Amount
    foreign_currency: CurrencyCode
    foreign_at: str = Field(pattern=r"^[A-Z]{4}$", description="the bank where the foreign currency lies")
    purpose_code: PurposeCode
    is_trade: bool = Field(strict=True)
    residency: Literal["domestic_individual", "foreign_individual", "enterprise"]
    name: PersonName | None = Field(default=None, repr=False)
    id_number: IdNumber | None = Field(default=None, repr=False)
    reverses: RequestNumber | None = None

    @model_validator(mode="after")
    def _fits_who_and_what_it_is_for(self) -> Self:
        is_individual = self.residency != "enterprise"
        if (self.name is not None) != is_individual or (self.id_number is not None) != is_individual:
            raise ValueError("name and id_number go with an individual's deal")
        if (self.reverses is not None) != (self.kind == "reversal"):
            raise ValueError("`reverses` goes with a reversal")
        return self


class ReceivingAccountBody(Body):
    """Open a number under which remittances reach one user."""

    currency: CurrencyCode
    name: PersonName = Field(repr=False)


class InboundReturnBody(Body):
    """Send all or part of a remittance back to where it came from."""

    inbound_reference: Reference
    amount_minor: Amount
    currency: CurrencyCode


class OfficialQuotaBody(Body):
    """Ask what is left of a person's quota of a year. It changes nothing."""

    name: PersonName = Field(repr=False)
    id_number: IdNumber = Field(repr=False)
    year: int = Field(strict=True, ge=2000, le=2100)


class Quote(BaseModel):
    """What the desk deals at; with FAILED only status, code, currency and side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Status
    code: BankCode
    currency: str
    side: Side
    quote_id: str | None = None
    rate: str | None = Field(default=None, description="CNY for one unit of the currency", examples=["7.1234"])
    publisher: str | None = None
    published_at: str | None = None
    valid_until: str | None = None


class Remittance(BaseModel):
    """Foreign currency that has arrived. A signed 404 `REMITTANCE_NOT_FOUND`: none is known under the reference."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Status
    code: BankCode
    reference: str
    amount_minor: int | None = None
    currency: str | None = None
    value_date: str | None = Field(default=None, examples=["2026-11-30"])
    booked_at: str | None = None
    bank_reference: str | None = None
    purpose_code: str | None = None
    remitter_country: str | None = Field(default=None, examples=["HK"])
    account_number: str | None = Field(default=None, repr=False)
    receiver_name: str | None = Field(default=None, repr=False)
    remitter_name: str | None = Field(default=None, repr=False)
