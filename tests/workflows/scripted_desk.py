"""A bank's FX desk with books of its own: it deals a request number once, and says what a test has it say."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Literal

from domain.banking import BankCapabilities, BankOutcome, DeclineReason
from domain.disclosure import PartnerRole
from domain.fx_banking import (
    ConversionRequest,
    FxAnswer,
    FxQuote,
    InboundRemittance,
    InboundReturnRequest,
    OfficialQuota,
    QuoteSide,
    QuoteUnavailableError,
    ReceivingAccountRequest,
    RemittanceUnavailableError,
)
from domain.rates import convert, parse_rate
from tests.workflows.booking_bank import KilledError

# What befalls one call. `lost`: it never arrives; `unheard`: it arrives and its answer is lost; `killed…`: our process
# dies before it is sent, or after it was dealt; `processing`: the desk takes its time; a reason: its definite no. With
# `…_then_silent` it answers nothing more, until a test has it.
Weather = (
    Literal[
        "fair", "lost", "unheard", "processing", "killed_before", "killed_after", "dealt_then_silent",
        "lost_then_silent",
    ]
    | DeclineReason
)  # fmt: skip
Quoting = Literal["fresh", "stale", "expired", "none"]
Clock = Callable[[], Awaitable[datetime]]

UNKNOWN = FxAnswer(outcome=BankOutcome.UNKNOWN)
PROCESSING = FxAnswer(outcome=BankOutcome.PROCESSING)
NOT_FOUND = FxAnswer(outcome=BankOutcome.NOT_FOUND)
NUMBER = "880000000777"


def declined(reason: DeclineReason) -> FxAnswer:
    """A desk's no."""
    return FxAnswer(outcome=BankOutcome.DECLINED, reason=reason, raw_code="F51")


class ScriptedDesk:
    """`weather` and `quoting` are taken by one call each; when there is none left, all is well.

    `silent`: it answers nothing at all. `delivers_after` None: it has not delivered, until it is set. `found_excess`:
    what it has found above the quota, by request number, in total.
    """

    def __init__(self, code: str, clock: Clock) -> None:
        self.code = code
        self._clock = clock
        self.capabilities = BankCapabilities(
            bank_code=code, remembers_request_numbers_seconds=7 * 86400, request_validity_seconds=60, timeout_seconds=3,
            requests_per_second=100,
        )  # fmt: skip
        self.rates = {QuoteSide.BUYS: "7.1234", QuoteSide.SELLS: "7.1334"}
        self.weather: deque[Weather] = deque()
        self.quoting: deque[Quoting] = deque()
        self.gives_no_rate = False
        self.is_closed = False
        self.silent = False
        self.delivers_after: timedelta | None = timedelta(0)
        self.found_excess: dict[str, int] = {}
        self.remittances: dict[str, InboundRemittance] = {}
        self.requests: list[Any] = []
        self.quotes: list[FxQuote] = []
        self.queries: list[str] = []
        self.dealt: Counter[str] = Counter()
        self._answers: dict[str, FxAnswer] = {}
        self._undecided: dict[str, Any] = {}

    async def fx_quote(self, currency: str, side: QuoteSide) -> FxQuote:
        how = self.quoting.popleft() if self.quoting else "fresh"
        if self.silent or self.is_closed or self.gives_no_rate or how == "none":
            raise QuoteUnavailableError("DESK_CLOSED" if self.is_closed else "NO_QUOTE")
        now = await self._clock()
        published = now - timedelta(seconds={"stale": 900, "expired": 61}.get(how, 0))
        valid = timedelta(seconds=1800 if how == "stale" else 60)
        quote = FxQuote(
            quote_id=f"Q{self.code}{len(self.quotes):06d}", bank_code=self.code, currency=currency, side=side,
            rate_e8=parse_rate(self.rates[side]), publisher=f"{self.code} FX desk", published_at=published,
            valid_until=published + valid,
        )  # fmt: skip
        self.quotes.append(quote)
        return quote

    async def deal(self, request: ConversionRequest) -> FxAnswer:
        return await self._take(request)

    async def return_inbound(self, request: InboundReturnRequest) -> FxAnswer:
        return await self._take(request)

    async def open_receiving_account(self, request: ReceivingAccountRequest) -> FxAnswer:
        return await self._take(request)

    async def fx_query(self, request_number: str) -> FxAnswer:
        self.queries.append(request_number)
        if self.silent:
            return UNKNOWN
        return await self._known(request_number)

    async def inbound(self, reference: str) -> InboundRemittance:
        self.queries.append(reference)
        if self.silent:
            raise RemittanceUnavailableError("TIME_OUT")
        if reference not in self.remittances:
            raise RemittanceUnavailableError("NOT_FOUND", is_unknown=True)
        return self.remittances[reference]

    async def official_quota(self, name: str, id_number: str, year: int) -> OfficialQuota | None:
        return None

    async def decide(self, request_number: str, reason: DeclineReason | None = None) -> None:
        """What it was still thinking about is done, or has its no."""
        request = self._undecided.pop(request_number)
        self._answers[request_number] = await self._done(request) if reason is None else declined(reason)

    async def deal_late(self, request: Any) -> None:
        """What was thought lost is there, and dealt at once."""
        self.requests.append(request)
        self._answers[request.request_number] = await self._done(request)

    def arrive_late(self, request_number: str) -> None:
        """What was thought lost is there, and takes its time."""
        self._answers[request_number] = PROCESSING

    def forget(self, request_number: str) -> None:
        """Its memory of request numbers is over."""
        self._answers.pop(request_number, None)

    @property
    def numbers(self) -> list[str]:
        """Under which something was sent to it, in order."""
        return [request.request_number for request in self.requests]

    async def _take(self, request: Any) -> FxAnswer:
        weather = self.weather.popleft() if self.weather else "fair"
        if weather == "killed_before":
            raise KilledError
        self.silent = self.silent or weather in ("dealt_then_silent", "lost_then_silent")
        if weather in ("lost", "lost_then_silent") or (self.silent and weather == "fair"):
            return UNKNOWN
        self.requests.append(request)
        number = request.request_number
        if number not in self._answers:
            self._answers[number] = await self._first(request, weather)
        if weather == "killed_after":
            raise KilledError
        return UNKNOWN if weather in ("unheard", "dealt_then_silent") else await self._known(number)

    async def _first(self, request: Any, weather: Weather) -> FxAnswer:
        if weather == "processing":
            self._undecided[request.request_number] = request
            return PROCESSING
        if isinstance(weather, DeclineReason):
            return declined(weather)
        if self.is_closed:
            return declined(DeclineReason.DESK_CLOSED)
        return await self._done(request)

    async def _done(self, request: Any) -> FxAnswer:
        now, number = await self._clock(), request.request_number
        self.dealt[number] += 1
        words = {"outcome": BankOutcome.SUCCEEDED, "bank_reference": f"REF{number}", "booked_at": now}
        if isinstance(request, InboundReturnRequest):
            return FxAnswer.model_validate(words | {"amount_minor": request.amount_minor})
        if isinstance(request, ReceivingAccountRequest):
            return FxAnswer.model_validate(words | {"account_number": NUMBER})
        cny = convert(request.foreign_minor, request.foreign_currency, request.rate_e8, "half_up").minor
        return FxAnswer.model_validate(
            words | {
                "rate_e8": request.rate_e8, "foreign_minor": request.foreign_minor,
                "foreign_currency": request.foreign_currency, "cny_minor": cny,
            }
        )  # fmt: skip

    async def _known(self, number: str) -> FxAnswer:
        """What it says of a number now; a deal is delivered once its time has come."""
        answer = self._answers.get(number, NOT_FOUND)
        if answer.cny_minor is None or answer.booked_at is None:
            return answer
        more: dict[str, Any] = {"excess_minor": self.found_excess.get(number, 0)}
        if self.delivers_after is not None and await self._clock() >= answer.booked_at + self.delivers_after:
            more |= {"delivered_at": answer.booked_at + self.delivers_after, "delivery_reference": f"DLV{number}"}
        return answer.model_copy(update=more)


class ScriptedDesks(dict[str, ScriptedDesk]):
    """From a bank code to its desk."""

    def fx_connector_for_sent(self, bank_code: str) -> ScriptedDesk:
        return self[bank_code]

    def role(self, bank_code: str) -> PartnerRole:
        return PartnerRole.OVERSEAS_BANK if bank_code == "OSPB" else PartnerRole.DOMESTIC_BANK
