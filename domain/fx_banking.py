"""The port through which the rules reach a bank's FX desk, and the banks at which foreign currency arrives.

As in `domain.banking`: every effect carries a stored request number, an answer is one of few outcomes, UNKNOWN is
neither success nor failure, and a connector never raises for what a bank or a network did. Amounts are integers of
minor units. A rate is an integer, too: CNY for one major unit of the foreign currency, times 10^8 (`domain.rates`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, Protocol

from pydantic import Field

from domain.banking import BankCapabilities, BankOutcome, DeclineReason, Frozen
from domain.money import AmountMinor, Currency
from domain.rates import RateE8

DealKind = Literal["conversion", "reversal"]
Residency = Literal["domestic_individual", "foreign_individual", "enterprise"]
# The balance-of-payments code of what the money is for.
PurposeCode = Annotated[str, Field(pattern=r"^[0-9]{6}$")]
# A value date further than this from the day on which the remittance is received is a mistake. That is never booked:
# whatever a user has would be converted no sooner than on that day.
LONGEST_AHEAD_OF_VALUE_DATE = timedelta(days=60)
LONGEST_AFTER_VALUE_DATE = timedelta(days=400)
# So long a bank may say nothing usable of what it has announced before a person is asked.
PATIENCE_FOR_REMITTANCE = timedelta(hours=24)


class QuoteSide(StrEnum):
    """What the desk does with the foreign currency: it buys it from us (conversion), or sells it to us (reversal)."""

    BUYS = "buys"
    SELLS = "sells"


class FxQuote(Frozen):
    """What a desk deals at until `valid_until`, as its publisher published it (A5.1b)."""

    quote_id: str = Field(pattern=r"^[A-Z0-9]{8,40}$")
    bank_code: str
    currency: Currency
    side: QuoteSide
    rate_e8: RateE8
    publisher: str = Field(min_length=1, max_length=60)
    published_at: datetime
    valid_until: datetime


class QuoteUnavailableError(Exception):
    """The desk gave no quote that can be trusted: it is closed, does not answer, or answered nonsense. Ask again.

    `reason` is a stable word: DESK_CLOSED, NO_QUOTE, TIME_OUT, LINE_BROKEN, ANSWER_…
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ConversionRequest(Frozen):
    """Deal `foreign_minor` at a quote: `conversion` gives it for CNY, `reversal` takes it back for CNY (A5.2c).

    `foreign_at`: the bank at which the foreign currency lies, and is delivered from or to. `name` and `id_number` are
    the individual's, for the bank's own registration of the quota (A4.3); None for an enterprise. `reverses`: the
    number of the conversion that a reversal takes back.
    """

    request_number: str
    kind: DealKind
    quote_id: str
    rate_e8: RateE8
    foreign_minor: AmountMinor
    foreign_currency: Currency
    foreign_at: str
    purpose_code: PurposeCode
    is_trade: bool
    residency: Residency
    name: str | None = Field(default=None, repr=False)
    id_number: str | None = Field(default=None, repr=False)
    reverses: str | None = None


class FxAnswer(Frozen):
    """What a bank said to a deal, a return of a remittance, a receiving account, or a query for one.

    Of a deal: SUCCEEDED says that it was dealt, with everything that proves it; `delivered_at` and
    `delivery_reference` are there once both currencies have moved, perhaps days later. `excess_minor`: how much of it
    (foreign minor units, in total) the bank has found to be above the quota since; 0 while it has found nothing.
    """

    outcome: BankOutcome
    reason: DeclineReason | None = None
    raw_code: str | None = None
    bank_reference: str | None = None
    booked_at: datetime | None = None  # of a deal: when it was dealt
    kind: DealKind | None = None
    rate_e8: RateE8 | None = None
    foreign_minor: int | None = None
    foreign_currency: str | None = None
    cny_minor: int | None = None
    delivered_at: datetime | None = None
    delivery_reference: str | None = None
    excess_minor: int = 0
    # Of an inbound return: what was sent back.
    amount_minor: int | None = None
    # Of a receiving account.
    account_number: str | None = Field(default=None, repr=False)


class ReceivingAccountRequest(Frozen):
    """Open a number under which remittances reach one user. The holder's name is all that the bank gets (P6b)."""

    request_number: str
    currency: Currency
    holder_name: str = Field(repr=False)


class InboundReturnRequest(Frozen):
    """Send all or part of a remittance back to where it came from."""

    request_number: str
    inbound_reference: str
    amount_minor: AmountMinor
    currency: Currency


class InboundRemittance(Frozen):
    """Foreign currency that a bank has booked for the institution; the names are personal data."""

    reference: str = Field(pattern=r"^[A-Z0-9]{8,40}$")
    amount_minor: AmountMinor
    currency: Currency
    value_date: date
    booked_at: datetime
    purpose_code: PurposeCode
    remitter_country: str = Field(pattern=r"^[A-Z]{2}$")
    account_number: str = Field(repr=False, min_length=1, max_length=34)
    receiver_name: str = Field(repr=False, min_length=1, max_length=140)
    remitter_name: str = Field(repr=False, min_length=1, max_length=140)


class RemittanceUnavailableError(Exception):
    """The bank gave no remittance that can be trusted under this reference; ask again. `reason` is a stable word.

    `is_unknown`: the bank's signed word that it knows no such remittance.
    """

    def __init__(self, reason: str, *, is_unknown: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_unknown = is_unknown


class RemittanceUnreadableError(RemittanceUnavailableError):
    """The bank has answered, and what it says of the remittance cannot be believed: a person has to ask it.

    `fields`: the names of what is wrong, and nothing of their content.
    """

    def __init__(self, reason: str, fields: Iterable[str] = ()) -> None:
        super().__init__(reason)
        self.fields = tuple(sorted(set(fields) & InboundRemittance.model_fields.keys()))


def check_value_date(remittance: InboundRemittance, received_on: date) -> None:
    """Raises RemittanceUnreadableError where it is too far from the day on which the remittance is received."""
    earliest, latest = received_on - LONGEST_AFTER_VALUE_DATE, received_on + LONGEST_AHEAD_OF_VALUE_DATE
    if not earliest <= remittance.value_date <= latest:
        raise RemittanceUnreadableError("VALUE_DATE_ABSURD", ["value_date"])


class OfficialQuota(Frozen):
    """What a partner says of a person's quota where it offers the question; nobody has a duty to ask (A5.2a)."""

    year: int
    remaining_usd_minor: int = Field(ge=0)
    is_exceeded: bool


class FxConnector(Protocol):
    """One bank as the FX processes see it."""

    @property
    def capabilities(self) -> BankCapabilities: ...

    async def fx_quote(self, currency: str, side: QuoteSide) -> FxQuote:
        """Raises QuoteUnavailableError. An answer whose time, currency or side is not what was asked for is none."""

    async def deal(self, request: ConversionRequest) -> FxAnswer: ...

    async def open_receiving_account(self, request: ReceivingAccountRequest) -> FxAnswer: ...

    async def return_inbound(self, request: InboundReturnRequest) -> FxAnswer: ...

    async def fx_query(self, request_number: str) -> FxAnswer:
        """What became of a deal, of a return of a remittance or of a receiving account."""

    async def inbound(self, reference: str) -> InboundRemittance:
        """Raises RemittanceUnavailableError; of these, RemittanceUnreadableError for an answer that nobody can book."""

    async def official_quota(self, name: str, id_number: str, year: int) -> OfficialQuota | None:
        """None where the partner does not offer it, or does not answer: that is no error (A5.2a)."""
